"""The ledger on a disk with little room: whole or not there, small, and usable afterwards."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dispatcher.core.ledger import DeliveryState
from dispatcher.edges.ledger import SqlLedger
from dispatcher.edges.ledger.database import LOG_BYTES
from dispatcher.edges.ledger.schema import REVISIONS
from dispatcher.errors import DispatcherError, NotNow
from tests.fakes.ledger_samples import StillClock, pending

SIZE = 1 << 20
PROGRAM = Path(__file__).parents[1] / "crash" / "ledger_birth.py"


class SmallDisk:
    """A real file system of 1 MB, or, where none may be mounted, files of a bounded size."""

    def __init__(self, directory: Path, *, mounted: bool) -> None:
        self.directory = directory
        self._mounted = mounted
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(self, free: int) -> None:
        """Leave so many bytes for what is written from now on."""
        if not self._mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (free, self._limit[1]))
            return
        self.relieve()
        room = os.statvfs(self.directory)
        ballast = max(room.f_bavail * room.f_frsize - free, 0)
        (self.directory / "ballast").write_bytes(b"x" * ballast)

    def relieve(self) -> None:
        """Give all the room back."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
        (self.directory / "ballast").unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Return the names of all files but our own."""
        return {file.name for file in self.directory.iterdir()} - {"ballast"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    small = SmallDisk(tmp_path, mounted=mounted)
    try:
        yield small
    finally:
        small.relieve()
        if mounted:
            subprocess.run(["umount", str(tmp_path)], check=True)


@contextmanager
def opened(directory: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{directory}/l.sqlite3", clock=StillClock())
    try:
        yield ledger
    finally:
        ledger.close()


def attempt(step: Callable[[], object]) -> DispatcherError | None:
    try:
        step()
    except DispatcherError as error:
        return error
    return None


def start(directory: Path) -> None:
    with opened(directory):
        pass


def is_whole(path: Path) -> bool:
    """Whether the file alone, without anything that lies beside it, is a ledger."""
    uri = f"{path.as_uri()}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        secret = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchall()
    return (said, version, len(secret)) == ("ok", [(REVISIONS[-1],)], 1)


# --- the first start


def test_a_first_start_with_any_room_makes_a_whole_ledger_or_none(disk: SmallDisk) -> None:
    path = disk.directory / "l.sqlite3"
    outcomes = set()
    for free in range(0, 480_000, 12_288):
        disk.leave(free)
        error = attempt(lambda: start(disk.directory))
        assert error is None or isinstance(error, NotNow), (free, error)
        outcomes.add(error is None)
        assert not any(".new" in name for name in disk.names()), free
        assert not path.exists() or is_whole(path), free
        disk.relieve()
        with opened(disk.directory) as ledger:
            assert ledger.flaws() == (), free
        assert disk.names() == {"l.sqlite3"}, free
        path.unlink()
    assert outcomes == {True, False}


@pytest.mark.slow
def test_a_first_start_that_is_killed_leaves_a_whole_ledger_or_none_and_the_next_clears_up(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, str(PROGRAM), str(tmp_path)], check=True, timeout=500)
    seen: set[str] = set()
    outcomes = set()
    # Most deaths are between two calls that write nothing: what they leave is the same, byte
    # by byte, and all that the next start goes by. It is started once on each.
    states = {left_in(directory): directory for directory in sorted(tmp_path.iterdir())}
    for state, directory in states.items():
        path = directory / "l.sqlite3"
        seen.update(name for name, _ in state)
        outcomes.add(path.exists())
        assert not path.exists() or is_whole(path), directory.name
        with opened(directory) as ledger:
            assert ledger.flaws() == (), directory.name
        assert [file.name for file in directory.iterdir()] == ["l.sqlite3"]
    assert outcomes == {True, False}
    assert seen >= {".l.sqlite3.new", ".l.sqlite3.new-journal"}


def left_in(directory: Path) -> tuple[tuple[str, bytes], ...]:
    """Return the files of a directory, without the number that SQLite draws for a journal."""
    files = {file.name: file.read_bytes() for file in sorted(directory.iterdir())}
    for name, content in files.items():
        if name.endswith("-journal"):
            # Bytes 12 to 15 of its head: sqlite.org/fileformat2.html#the_rollback_journal
            files[name] = content[:12] + content[16:]
    return tuple(files.items())


def test_what_an_earlier_start_left_beside_a_whole_ledger_is_removed(tmp_path: Path) -> None:
    start(tmp_path)
    for end in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f".l.sqlite3.new{end}").write_bytes(b"half")
    start(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["l.sqlite3"]


# --- the log


def work(ledger: SqlLedger, uid: int) -> None:
    """Take one message through its life, each step in its own transaction."""
    with ledger.writing() as writer:
        delivery = writer.receive(pending(uid)).deliveries[0].id
    for to in (DeliveryState.DELIVERING, DeliveryState.DELIVERED):
        with ledger.writing() as writer:
            writer.move(delivery, to)


def log_size(directory: Path) -> int:
    return (directory / "l.sqlite3-wal").stat().st_size


def test_the_log_stays_small_however_much_is_written(tmp_path: Path) -> None:
    sizes = []
    with opened(tmp_path) as ledger:
        for uid in range(1, 80):
            work(ledger, uid)
            sizes.append(log_size(tmp_path))
        with ledger.writing() as writer:
            for uid in range(1000, 3000):
                writer.receive(pending(uid))
        assert log_size(tmp_path) == 0, "also after one large transaction"
    assert LOG_BYTES / 2 < max(sizes) < LOG_BYTES


def test_a_reader_who_stays_makes_no_writer_wait_and_its_log_is_folded_in_later(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as ledger:
        work(ledger, 1)
        with ledger._reading() as connection:
            connection.exec_driver_sql("SELECT * FROM entry").all()
            for uid in range(2, 60):
                work(ledger, uid)
            assert log_size(tmp_path) > LOG_BYTES
        work(ledger, 60)
        assert log_size(tmp_path) < LOG_BYTES
        assert ledger.balance().received == 60


def test_a_disk_that_fills_up_in_a_run_means_later_and_then_it_goes_on(
    disk: SmallDisk,
) -> None:
    with opened(disk.directory) as ledger:
        work(ledger, 1)
        disk.leave(150_000)
        error, uid = None, 1
        while error is None:
            uid += 1
            error = attempt(lambda uid=uid: work(ledger, uid))  # type: ignore[misc]  # bound now
            assert uid < 5000, "the disk never filled up"
        assert isinstance(error, NotNow), error
        done = len(list(ledger.entries()))
        assert isinstance(attempt(lambda: start(disk.directory)), NotNow | None)
        disk.relieve()
        work(ledger, uid + 1)
        assert len(list(ledger.entries())) == done + 1
        assert ledger.flaws() == ()


def test_a_write_that_met_a_full_disk_empties_the_log_before_it_tells(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        work(ledger, 1)
        assert log_size(tmp_path) > 0
        with ledger._writers.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        def too_much() -> None:
            with ledger.writing() as writer:
                for uid in range(10, 200):
                    writer.receive(pending(uid))

        with pytest.raises(NotNow, match="SQLITE_FULL"):
            too_much()
        assert log_size(tmp_path) == 0
        assert ledger.balance().received == 1
