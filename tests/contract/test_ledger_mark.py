"""The mark beside the ledger's file tells a ledger from the one that worked here last."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dispatcher.edges.ledger import DaemonLock, SqlLedger, Suspicion, set_aside
from dispatcher.edges.ledger.mark import Mark, MarkFile
from dispatcher.errors import Unavailable
from tests.fakes.ledger_samples import NOW, StillClock, pending

Change = Callable[[Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    return state / "ledger.sqlite3"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@contextmanager
def opened(path: Path) -> Iterator[SqlLedger]:
    """Open the ledger as a command does: the mark is left alone."""
    ledger = SqlLedger(url(path), clock=StillClock())
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def serving(path: Path) -> Iterator[SqlLedger]:
    """Open the ledger as the service does, with the lock, and vouch for it."""
    with DaemonLock(url(path), clock=StillClock()), opened(path) as ledger:
        ledger.vouch()
        yield ledger


def receive(ledger: SqlLedger, *uids: int) -> None:
    for uid in uids:
        with ledger.writing() as writer:
            writer.receive(pending(uid))


def suspicion(path: Path) -> Suspicion | None:
    """Return what a start finds."""
    with DaemonLock(url(path), clock=StillClock()), opened(path) as ledger:
        return ledger.suspicion()


def remove(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        file.unlink()


@pytest.fixture
def worked(path: Path) -> Path:
    """Return the path of a ledger that worked: two messages."""
    with serving(path) as ledger:
        receive(ledger, 1, 2)
    return path


def test_a_first_ledger_is_not_suspected(path: Path) -> None:
    assert suspicion(path) is None


def test_a_ledger_that_goes_on_is_not_suspected(worked: Path) -> None:
    for _ in range(3):
        assert suspicion(worked) is None
    with serving(worked) as ledger:
        receive(ledger, 3)
    assert suspicion(worked) is None


def test_what_commands_write_beside_the_service_is_not_suspected(worked: Path) -> None:
    with opened(worked) as ledger:
        receive(ledger, 3)
    assert suspicion(worked) is None


def test_a_ledger_that_is_gone_is_told_as_lost(worked: Path) -> None:
    remove(worked)
    assert suspicion(worked) is Suspicion.LOST


def test_a_ledger_that_a_command_made_anew_is_told_as_lost(worked: Path) -> None:
    remove(worked)
    with opened(worked) as ledger:
        assert ledger.balance().received == 0
    assert suspicion(worked) is Suspicion.LOST
    # Until somebody vouches for it: looking is not enough.
    assert suspicion(worked) is Suspicion.LOST


def test_another_ledger_is_told(worked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    with opened(other) as ledger:
        receive(ledger, 1, 2, 3, 4)
    shutil.copy(other, worked)
    assert suspicion(worked) is Suspicion.OTHER


def test_a_backup_that_is_put_back_is_told_as_older(worked: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(worked, backup)
    with serving(worked) as ledger:
        receive(ledger, 3)
    remove(worked)
    shutil.copy(backup, worked)
    assert suspicion(worked) is Suspicion.OLDER
    with serving(worked):
        pass
    assert suspicion(worked) is None


def _again(found: Path, kept: Path) -> None:
    shutil.rmtree(found)
    shutil.copytree(kept, found, copy_function=shutil.copy2)


def _over(found: Path, kept: Path) -> None:
    shutil.copytree(kept, found, copy_function=shutil.copy2, dirs_exist_ok=True)


@pytest.mark.parametrize(
    "put_back",
    [pytest.param(_again, id="into an empty place"), pytest.param(_over, id="over it")],
)
def test_a_whole_directory_that_is_put_back_is_told(
    worked: Path, tmp_path: Path, put_back: Callable[[Path, Path], None]
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(worked.parent, kept, copy_function=shutil.copy2)
    with serving(worked) as ledger:
        receive(ledger, 3)
    put_back(worked.parent, kept)
    assert suspicion(worked) is Suspicion.COPIED
    # A start that fails after it took the lock does not make it forgotten.
    assert suspicion(worked) is Suspicion.COPIED


def test_a_service_that_is_killed_is_not_suspected_and_its_last_line_counts(
    path: Path, tmp_path: Path
) -> None:
    code = """
import sys
from pathlib import Path
from tests.contract.test_ledger_mark import receive, serving
with serving(Path(sys.argv[1])) as ledger:
    receive(ledger, 1, 2)
    print("there", flush=True)
    sys.stdin.readline()
    receive(ledger, 3)
    print("more", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "there\n"
        subprocess.run(
            ["sqlite3", str(path), f".backup '{tmp_path}/backup'"], check=True, timeout=60
        )
        child.stdin.write("go on\n")
        child.stdin.flush()
        assert child.stdout.readline() == "more\n"
        child.kill()
    assert suspicion(path) is None
    remove(path)
    shutil.copy(tmp_path / "backup", path)
    assert suspicion(path) is Suspicion.OLDER


def test_the_mark_is_never_ahead_of_the_ledger(worked: Path) -> None:
    class Undone(Exception):
        """Raised inside a transaction."""

    with serving(worked) as ledger:
        before = MarkFile(worked).read()
        with suppress(Undone), ledger.writing() as writer:
            writer.receive(pending(3))
            raise Undone
        assert MarkFile(worked).read() == before
        receive(ledger, 4)
        after = MarkFile(worked).read()
    assert before is not None
    assert after is not None
    assert after.events > before.events


def test_an_unreadable_mark_is_nobody_s(worked: Path) -> None:
    (worked.parent / f".{worked.name}.mark").write_bytes(b"\xff\x00 torn")
    assert suspicion(worked) is Suspicion.OTHER


def test_a_mark_that_cannot_be_written_keeps_no_work_back(worked: Path) -> None:
    with serving(worked) as ledger:
        mark = worked.parent / f".{worked.name}.mark"
        mark.unlink()
        mark.mkdir()
        receive(ledger, 3)
        assert ledger.balance().received == 3
        mark.rmdir()
        receive(ledger, 4)
    assert suspicion(worked) is None


def test_no_work_begins_where_the_mark_cannot_be_made(path: Path) -> None:
    (path.parent / f".{path.name}.mark").mkdir()
    with opened(path) as ledger, pytest.raises(Unavailable, match="mark beside the ledger"):
        ledger.vouch()


def test_the_mark_does_not_tell_the_ledger_s_secret(worked: Path) -> None:
    text = (worked.parent / f".{worked.name}.mark").read_text(encoding="ascii")
    with opened(worked) as ledger:
        assert ledger.secret.hex()[:32] not in text


# --- moving it aside


def test_a_ledger_is_moved_aside_whole_and_its_successor_is_told(worked: Path) -> None:
    with serving(worked) as ledger:
        receive(ledger, 3)
        content = worked.with_name(worked.name + "-wal").read_bytes()
        aside = set_aside(url(worked), NOW)
    assert aside is not None
    assert aside.parent == worked.parent
    assert aside.with_name(aside.name + "-wal").read_bytes() == content
    with opened(aside) as ledger:
        assert ledger.balance().received == 3
    assert suspicion(worked) is Suspicion.LOST


def _damaged(path: Path) -> None:
    path.write_bytes(b"no database" + path.read_bytes()[11:])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [pytest.param(_damaged, id="damaged"), pytest.param(_empty, id="empty")]
)
def test_a_damaged_ledger_is_moved_aside_without_a_look_into_it(
    worked: Path, damage: Change
) -> None:
    damage(worked)
    content = worked.read_bytes()
    aside = set_aside(url(worked), NOW)
    assert aside is not None
    assert aside.read_bytes() == content
    assert not worked.exists()


def test_an_earlier_ledger_that_lies_aside_is_never_replaced(worked: Path) -> None:
    first = set_aside(url(worked), NOW)
    with opened(worked):
        pass
    second = set_aside(url(worked), NOW)
    assert first is not None
    assert second is not None
    assert first != second
    assert first.exists()
    assert second.exists()


def test_a_ledger_of_before_the_mark_that_is_moved_aside_is_missed_all_the_same(
    path: Path,
) -> None:
    with opened(path) as ledger:
        receive(ledger, 1)
    assert MarkFile(path).read() is None
    set_aside(url(path), NOW)
    assert suspicion(path) is Suspicion.LOST


def test_where_no_ledger_is_none_is_moved(path: Path) -> None:
    assert set_aside(url(path), NOW) is None
    assert MarkFile(path).read() == Mark("-" * 32, 0, 0)
