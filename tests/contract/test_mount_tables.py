"""The tables of mounts are read anew when they changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.edges.folder import tables
from dispatcher.edges.folder.tables import FileTable, KernelTable

_SCRIPT = """
import subprocess, sys
from dispatcher.edges.folder import MountTables, tables

tables._BELIEVED = 1e9
place, known = sys.argv[1], MountTables()
print(known.above(place) == place)
for change in (["mount", "-t", "tmpfs", "none", place], ["umount", place]) * 2:
    subprocess.run(change, check=True)
    print(known.above(place) == place)
"""


def lines(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def test_the_kernel_tells_of_each_mount_and_unmount(tmp_path: Path) -> None:
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    ran = subprocess.run(
        [*apart, sys.executable, "-c", _SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path.cwd(),
    )
    assert ran.stdout.split() == ["False", "True", "False", "True", "False"], ran.stderr


def test_a_kernel_that_never_tells_is_not_believed_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mountinfo"
    path.write_text("a")
    table = KernelTable(path, lines)
    assert table.points() == ("a",)
    path.write_text("b")
    monkeypatch.setattr(tables, "_BELIEVED", 1e9)
    assert table.points() == ("a",)
    monkeypatch.setattr(tables, "_BELIEVED", -1.0)
    assert table.points() == ("b",)


def test_a_kernel_s_table_that_could_not_be_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mountinfo"
    path.write_text("a")
    table = KernelTable(path, lines)
    assert table.points() == ("a",)
    path.unlink()
    monkeypatch.setattr(tables, "_BELIEVED", -1.0)
    with pytest.raises(OSError, match="No such file"):
        table.points()
    monkeypatch.setattr(tables, "_BELIEVED", 60.0)
    path.write_text("b")
    assert table.points() == ("b",)


def test_a_file_is_read_at_every_look_while_its_times_may_not_tell(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_text("a")
    before = path.stat()
    table = FileTable(path, lines)
    assert table.points() == ("a",)
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert table.points() == ("b",)


def test_a_file_that_stayed_as_it_was_is_read_once_more_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fstab"
    path.write_text("a")
    read: list[str] = []

    def noted(text: str) -> tuple[str, ...]:
        read.append(text)
        return lines(text)

    table = FileTable(path, noted)
    table.points()
    monkeypatch.setattr(tables, "_SETTLED", -1.0)
    assert [table.points(), table.points(), table.points()] == [("a",)] * 3
    assert read == ["a", "a"]
    path.write_text("other")
    assert table.points() == ("other",)
