"""The unit and its companions, by systemd's own tools; no running systemd is needed."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.generate import ROOT

SYSTEMD = ROOT / "systemd"
UNIT = SYSTEMD / "sidep-dispatcher.service"
# systemd-analyze counts in tenths: 1.5.
EXPOSURE = 15


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    assert found, "systemd-analyze is not installed: apt-get install systemd (Debian)"
    return subprocess.run(
        [found, *map(str, words)], capture_output=True, text=True, check=False
    )


def installed(unit: Path, folder: Path) -> Path:
    """Return a copy of a unit whose program is there, as it is once installed."""
    copy = folder / unit.name
    text = unit.read_text(encoding="utf-8")
    assert "/usr/bin/sidep-dispatcher" in text
    copy.write_text(text.replace("/usr/bin/sidep-dispatcher", sys.executable), "utf-8")
    return copy


def test_the_unit_is_clean(tmp_path: Path) -> None:
    ended = analyze("verify", "--recursive-errors=no", "--man=no", installed(UNIT, tmp_path))
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")


def test_the_unit_is_hardly_exposed(tmp_path: Path) -> None:
    ended = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", UNIT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    # The tool can say no: the same unit without its walls.
    bare = tmp_path / UNIT.name
    walls = ("Protect", "Private", "Restrict", "System", "Capability", "User=")
    lines = UNIT.read_text(encoding="utf-8").splitlines(keepends=True)
    bare.write_text("".join(one for one in lines if not one.startswith(walls)), "utf-8")
    ended = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", bare)
    assert ended.returncode != 0


def test_the_client_key_can_be_held_in_memory_behind_these_walls() -> None:
    """A PKCS#12 file is opened by memfd_create(2), which the unit must allow."""
    allowed: set[str] = set()
    forbidden: set[str] = set()
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.removeprefix("SystemCallFilter=")
            (forbidden if words.startswith("~") else allowed).update(words.lstrip("~").split())
    assert "memfd_create" in calls(allowed)
    assert "memfd_create" not in calls(forbidden)
    # The other half, /proc/self/fd, is a process of our own: seen with ProcSubset=pid.


def calls(groups: set[str]) -> set[str]:
    """Return the system calls of groups as the unit's filter names them."""
    found: set[str] = set()
    for group in groups:
        for line in analyze("syscall-filter", group).stdout.splitlines()[1:]:
            word = line.strip()
            found |= calls({word}) if word.startswith("@") else {word}
    return found


@pytest.mark.parametrize("name", ["site-folders", "network", "credentials"])
def test_an_example_of_a_drop_in_is_clean(tmp_path: Path, name: str) -> None:
    unit = installed(UNIT, tmp_path)
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    shutil.copy(SYSTEMD / f"{name}.conf.example", folder / f"{name}.conf")
    ended = analyze("verify", "--recursive-errors=no", "--man=no", unit)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_each_line_of_the_hardening_says_why() -> None:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("# --- "))
    end = lines.index("[Install]")
    bare = [
        line
        for before, line in zip(lines[begin:], lines[begin + 1 : end], strict=False)
        if line
        and not line.startswith("#")
        and not before.startswith("#")
        # Several lines of one setting share a comment.
        and before.split("=")[0] != line.split("=")[0]
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("RestartPreventExitStatus", "78"),
        ("StateDirectory", "sidep-dispatcher"),
        ("WatchdogSec", "8min"),
        ("KillMode", "mixed"),
        ("LimitCORE", "0"),
    ],
)
def test_the_unit_promises(key: str, value: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]  # keys as they are
    unit.read(UNIT, encoding="utf-8")
    assert unit["Service"][key] == value


def test_the_user_is_made_by_systemd_sysusers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    found = shutil.which("systemd-sysusers")
    assert found, "systemd-sysusers is not installed: apt-get install systemd (Debian)"
    subprocess.run(
        [found, f"--root={tmp_path}", SYSTEMD / "sidep-dispatcher.sysusers.conf"], check=True
    )
    (line,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert line.startswith("sidep-dispatcher:")
    assert line.endswith(":/var/lib/sidep-dispatcher:/usr/sbin/nologin")
