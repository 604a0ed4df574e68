"""The ledger's file: how it begins, what it refuses, and what damage it finds."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Table

from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import (
    ALLOWED,
    DELIVERY_ALLOWED,
    Act,
    DeliveryState,
    Entry,
    Place,
    State,
)
from dispatcher.edges.ledger import DaemonLock, SqlLedger
from dispatcher.edges.ledger import birth as birth_module
from dispatcher.edges.ledger.schema import METADATA, REVISIONS
from dispatcher.errors import ConfigInvalid, InvariantBroken, Unavailable
from tests.fakes.ledger_samples import (
    FOLDER,
    NOW,
    PRINTER,
    StillClock,
    duplicate,
    held,
    identity,
    pending,
    ref,
)

D = DeliveryState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@contextmanager
def opened(path: Path, *, busy_timeout: float = 10.0) -> Iterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{path}", clock=StillClock(), busy_timeout=busy_timeout)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as somebody with the sqlite3 command would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def fill(ledger: SqlLedger) -> list[Entry]:
    with ledger.writing() as writer:
        first = writer.receive(pending(1, deliveries=(FOLDER, PRINTER)))
        writer.receive(held(2))
        writer.receive(duplicate(3, first.id))
        first = writer.move(first.deliveries[0].id, D.DELIVERING)
        writer.note_foreign(ref(4), identity())
    return list(ledger.entries())


# --- how it begins


def test_the_file_is_its_owner_s_only_and_lies_alone(path: Path) -> None:
    with opened(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_what_was_recorded_is_there_after_a_restart(path: Path) -> None:
    with opened(path) as ledger:
        entries, secret = fill(ledger), ledger.secret
    with opened(path) as ledger:
        assert list(ledger.entries()) == entries
        assert (ledger.secret, len(secret)) == (secret, 32)
        assert ledger.flaws() == ()


def test_each_ledger_has_its_own_secret(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        assert one.secret != other.secret


def test_every_connection_keeps_the_promises_of_the_disk(path: Path) -> None:
    with opened(path) as ledger:
        for engine in (ledger._readers, ledger._writers):
            with engine.begin() as connection:
                said = [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
                ]
            assert said == ["wal", 2, 1, 1]


def test_a_directory_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="not a directory; make it"):
        SqlLedger(f"sqlite:///{tmp_path}/missing/l.sqlite3", clock=StillClock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("ledger.sqlite3", id="a path"),
        pytest.param("sqlite://", id="in memory"),
        pytest.param("sqlite:///:memory:", id="in memory, said so"),
        pytest.param("postgresql://host/db", id="another database"),
        pytest.param("sqlite:////l.sqlite3?mode=ro", id="with options"),
    ],
)
def test_an_address_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="ledger: "):
        SqlLedger(url, clock=StillClock())


def test_what_a_lost_ledger_left_in_its_log_is_not_played_into_a_new_one(path: Path) -> None:
    with opened(path) as ledger:
        fill(ledger)
        kept = path.with_name(path.name + "-wal").read_bytes()
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(kept)
    with opened(path) as ledger:
        assert list(ledger.entries()) == []
        assert ledger.flaws() == ()


def test_two_programs_may_open_a_new_ledger_at_the_same_time(path: Path) -> None:
    code = (
        "import sys; from dispatcher.edges.clock import SystemClock;"
        "from dispatcher.edges.ledger import SqlLedger;"
        "print(SqlLedger(sys.argv[1], clock=SystemClock()).secret.hex())"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{path}"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    secrets = {child.communicate(timeout=60)[0] for child in children}
    assert len(secrets) == 1
    assert [child.returncode for child in children] == [0, 0, 0]


# --- what it refuses


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with opened(path):
        pass
    with by_hand(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(ConfigInvalid, match="made by a newer version"):
        SqlLedger(f"sqlite:///{path}", clock=StillClock())
    assert path.read_bytes() == before


def test_a_database_that_is_no_ledger_is_refused(path: Path) -> None:
    with by_hand(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigInvalid, match="no ledger"):
        SqlLedger(f"sqlite:///{path}", clock=StillClock())


def _emptied(data: bytes) -> bytes:
    return data[:0]


def _other(data: bytes) -> bytes:
    return b"no database at all" * len(data)


def _overwritten(data: bytes) -> bytes:
    return b"\x00" * len(data)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_emptied, id="emptied"),
        pytest.param(_other, id="something else"),
        pytest.param(lambda data: data[:4096], id="cut after a page"),
        pytest.param(lambda data: data[: len(data) // 2 + 7], id="cut in the middle"),
        pytest.param(_overwritten, id="overwritten with zeros"),
    ],
)
def test_a_damaged_file_is_refused_with_what_to_do(
    path: Path, damage: Callable[[bytes], bytes]
) -> None:
    with opened(path) as ledger:
        fill(ledger)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigInvalid, match="rebuild"):
        SqlLedger(f"sqlite:///{path}", clock=StillClock())


def test_a_page_that_was_damaged_while_in_use_is_told(path: Path) -> None:
    with opened(path) as ledger, ledger.writing() as writer:
        for uid in range(1, 400):
            writer.receive(pending(uid))
    data = bytearray(path.read_bytes())
    half = len(data) // 2 // 4096 * 4096
    data[half : half + 8 * 4096] = b"\xa5" * (8 * 4096)
    path.write_bytes(data)
    with opened(path) as ledger:
        flaws = ledger.flaws()
    assert any("damaged" in flaw for flaw in flaws)


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_nothing_is_written_into_a_ledger_that_was_taken_away(
    path: Path, tmp_path: Path, replaced: bool
) -> None:
    with opened(path) as ledger:
        fill(ledger)
        path.rename(tmp_path / "taken")
        if replaced:
            path.write_bytes((tmp_path / "taken").read_bytes())
        with pytest.raises(ConfigInvalid, match="removed or replaced"), ledger.writing():
            pass


# --- when the disk or another program is in the way


def test_a_lock_held_for_too_long_means_try_later(path: Path) -> None:
    with opened(path, busy_timeout=0.1) as ledger, by_hand(path) as other:
        entries = fill(ledger)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable), ledger.writing():
            pass
        assert list(ledger.entries()) == entries, "reading goes on"
        other.execute("ROLLBACK")
        with ledger.writing() as writer:
            writer.receive(pending(9))


COUNTING = """
import sys
from dataclasses import replace
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.ledger import SqlLedger

ledger = SqlLedger(sys.argv[1], clock=SystemClock(), busy_timeout=60)
for _ in range(20):
    with ledger.writing() as writer:
        place = ledger.place("lbm")
        writer.remember(replace(place, uidnext=place.uidnext + 1))
"""


def test_what_processes_count_together_is_not_lost(path: Path) -> None:
    with opened(path) as ledger:
        with ledger.writing() as writer:
            writer.remember(Place("lbm", 7, 0, NOW))
        command = [sys.executable, "-c", COUNTING, f"sqlite:///{path}"]
        children = [subprocess.Popen(command) for _ in range(3)]
        assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
        place = ledger.place("lbm")
    assert place is not None
    assert place.uidnext == 3 * 20


def test_a_disk_that_went_away_means_try_later(path: Path, tmp_path: Path) -> None:
    with opened(path) as ledger:
        ledger.close()
        path.rename(tmp_path / "away")
        with pytest.raises(Unavailable, match="SQLITE_CANTOPEN"):
            ledger.balance()
        assert not path.exists()
        (tmp_path / "away").rename(path)
        assert ledger.balance().received == 0


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse to write beyond `size` bytes of any file (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_undoes_the_transaction(path: Path) -> None:
    with opened(path) as ledger:
        entries = fill(ledger)
        size = path.with_name(path.name + "-wal").stat().st_size

        def write() -> None:
            with ledger.writing() as writer:
                for uid in range(10, 200):
                    writer.receive(pending(uid))

        with files_at_most(size), pytest.raises(Unavailable):
            write()
        assert list(ledger.entries()) == entries
        write()
        assert ledger.balance().received == len(entries) + 190
        assert ledger.flaws() == ()


def test_a_full_disk_undoes_the_transaction(path: Path) -> None:
    with opened(path) as ledger:
        entries = fill(ledger)
        with ledger._writers.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        def write() -> None:
            with ledger.writing() as writer:
                for uid in range(10, 200):
                    writer.receive(pending(uid))

        with pytest.raises(Unavailable, match="SQLITE_FULL"):
            write()
        assert list(ledger.entries()) == entries
        with ledger._writers.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        write()
        assert ledger.flaws() == ()


def test_a_caller_who_swallows_an_error_is_not_told_that_it_was_recorded(path: Path) -> None:
    with opened(path) as ledger:

        def swallow() -> None:
            with ledger.writing() as writer:
                writer.receive(pending(1))
                writer.receive(pending(1, file_number="another at the same place"))
                with pytest.raises(InvariantBroken):
                    writer.flush()

        with pytest.raises(Unavailable):
            swallow()
        assert ledger.balance().received == 0


# --- the database's own checks


LINE = {"entry": "duplicate_of IS NOT NULL", "delivery": "1"}


@contextmanager
def without_checks(connection: sqlite3.Connection) -> Iterator[None]:
    """Take the triggers away and put them back, as a person with bad intent would."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    checks = connection.execute(query).fetchall()
    for name, _ in checks:
        connection.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in checks:
        connection.execute(sql)


def put_into(connection: sqlite3.Connection, table: str, state: str) -> None:
    """Put a line into a state whatever it was before."""
    with without_checks(connection):
        assert is_taken(connection, table, state)


def is_taken(connection: sqlite3.Connection, table: str, state: str) -> bool:
    """Return whether the database takes a line into this state."""
    sql = f"UPDATE {table} SET state = ?, reason = ? WHERE {LINE[table]}"  # noqa: S608 - ours
    try:
        connection.execute(sql, (state, "in-doubt" if state == "held" else None))
    except sqlite3.IntegrityError:
        return False
    return True


@pytest.mark.parametrize(
    ("table", "before", "allowed"),
    [
        *(pytest.param("entry", s, ALLOWED[s], id=f"message {s.value}") for s in State),
        *(pytest.param("delivery", d, DELIVERY_ALLOWED[d], id=f"its {d.value}") for d in D),
    ],
)
def test_the_database_itself_refuses_a_forbidden_transition(
    path: Path, table: str, before: State | D, allowed: frozenset[State | D]
) -> None:
    with opened(path) as ledger, ledger.writing() as writer:
        first = writer.receive(pending(1))
        writer.receive(duplicate(2, first.id))
    with by_hand(path) as connection:
        for after in type(before):
            put_into(connection, table, before.value)
            taken = is_taken(connection, table, after.value)
            assert taken is (after is before or after in allowed), after


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET because = 'nothing'",
        "DELETE FROM event",
        "UPDATE audit SET reason = 'nothing'",
        "DELETE FROM audit",
        "DELETE FROM delivery",
        "DELETE FROM entry",
        "UPDATE entry SET state = 'lost'",
        "UPDATE entry SET state = 'held', reason = NULL",
        "UPDATE entry SET uid = 'many'",
        "UPDATE entry SET uid = 4 WHERE uid = 1",
        "INSERT INTO foreign_mail VALUES ('lbm', 7, 1, 5, '2026')",
    ],
)
def test_the_database_itself_keeps_its_history_and_its_words(
    path: Path, statement: str
) -> None:
    with opened(path) as ledger:
        entries = fill(ledger)
        with ledger.writing() as writer:
            writer.record(Act("discard", entries[0].id, "claire", "a mistake", NOW))
    with by_hand(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


# --- what damage it finds


EDITS = {
    "mailbox": "'other'",
    "uidvalidity": "8",
    "uid": "99",
    "size": "1",
    "internal_at": "'2020-01-01T00:00:00.000000+00:00'",
    "received_at": "'2020-01-01T00:00:00.000000+00:00'",
    "state": "'delivered'",
    "detail": "'nothing'",
    "site": "'990000028'",
    "file_number": "'21048BC000020'",
    "result": "'positif'",
    "analysis": "'94558-4'",
    "sampled_at": "NULL",
    "purge_at": "'2030-01-01T00:00:00.000000+00:00'",
    "sha256": "NULL",
    "raw_sha256": "'aa'",
    "replaces": "(SELECT id FROM entry WHERE uid = 2)",
    "duplicate_of": "(SELECT id FROM entry WHERE uid = 2)",
    "present": "0",
    "keyword_set": "1",
    "rules": "'other'",
    "message_id": "'aa'",
    "kept_until": "'2030-01-01T00:00:00.000000+00:00'",
    "purge_begun_at": "'2030-01-01T00:00:00.000000+00:00'",
    "removal": "'removed'",
    "removed_at": "'2030-01-01T00:00:00.000000+00:00'",
    "emptied_at": "'2030-01-01T00:00:00.000000+00:00'",
    "key_digest": "'aa'",
    "warned_at": "'2030-01-01T00:00:00.000000+00:00'",
    "warned": "4",
    "seal": "'0'",
    "id": "'abcdefghij'",
}
DELIVERY_EDITS = {
    "site": "'990000028'",
    "target": "'other'",
    "kind": "'lis'",
    "state": "'in_doubt'",
    "reference": "'somewhere'",
    "attempts": "9",
    "copy": "1",
    "asked": "1",
    "next_try_at": "'2020-01-01T00:00:00.000000+00:00'",
    "because": "'nothing'",
    "made_at": "'2020-01-01T00:00:00.000000+00:00'",
    "removal": "'gone'",
    "removed_at": "'2020-01-01T00:00:00.000000+00:00'",
    "rules": "'other'",
    "id": "'abcdefghij'",
    "position": "7",
    "entry_id": "(SELECT id FROM entry WHERE uid = 2)",
}
UNEDITED = {"seq", "reason"}  # the order of reception; bound to `held` by the database


def test_every_column_is_tried_by_hand() -> None:
    for table, edits in (("entry", EDITS), ("delivery", DELIVERY_EDITS)):
        columns = {column.name for column in METADATA.tables[table].columns}
        assert set(edits) == columns - UNEDITED


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        *(pytest.param("entry", c, v, id=f"message's {c}") for c, v in EDITS.items()),
        *(
            pytest.param("delivery", c, v, id=f"its delivery's {c}")
            for c, v in DELIVERY_EDITS.items()
        ),
    ],
)
def test_an_edit_by_hand_is_found(path: Path, table: str, column: str, value: str) -> None:
    with opened(path) as ledger:
        first = fill(ledger)[0]
    of = first.id if table == "entry" else first.deliveries[0].id
    with by_hand(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = {value} WHERE id = ?", (of,))  # noqa: S608
    with opened(path) as ledger:
        flaws = ledger.flaws()
    assert flaws != ()
    told = " ".join(flaws)
    assert str(first.file_number) not in told
    assert "21048BC000020" not in told


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE counter SET value = 9 WHERE name = 'received'", id="received"),
        pytest.param("UPDATE counter SET value = 9 WHERE name = 'foreign'", id="foreign"),
        pytest.param("DELETE FROM foreign_mail", id="foreign mail forgotten"),
        pytest.param("DELETE FROM event WHERE seq = 1", id="the beginning of a history"),
        pytest.param(
            "DELETE FROM event WHERE became = 'delivering'", id="the end of a history"
        ),
        pytest.param(
            "UPDATE event SET became = 'lost' WHERE seq = 1", id="a word that is no state"
        ),
        pytest.param(
            "UPDATE event SET became = 'held' WHERE became = 'delivering'",
            id="another end of a history",
        ),
        pytest.param("DELETE FROM entry WHERE uid = 2", id="a message removed"),
        pytest.param("DELETE FROM delivery WHERE position = 1", id="a delivery removed"),
    ],
)
def test_what_does_not_fit_together_is_found(path: Path, statement: str) -> None:
    with opened(path) as ledger:
        fill(ledger)
    with by_hand(path) as connection, without_checks(connection):
        connection.execute(statement)
    with opened(path) as ledger:
        flaws = ledger.flaws()
    assert flaws != ()
    assert not any("own check" in flaw for flaw in flaws)


def test_a_check_of_the_database_that_was_dropped_is_missed(path: Path) -> None:
    with opened(path):
        pass
    with by_hand(path) as connection:
        connection.execute("DROP TRIGGER entry_follows")
    with opened(path) as ledger:
        assert ledger.flaws() == (
            "the database's own check entry_follows is missing or was changed",
        )


def test_a_word_that_this_program_never_wrote_stops_reading_without_repeating_it(
    path: Path,
) -> None:
    with opened(path) as ledger:
        fill(ledger)
    with by_hand(path) as connection:
        connection.execute("UPDATE entry SET site = 'MARTIN' WHERE uid = 1")
    with opened(path) as ledger, pytest.raises(InvariantBroken) as caught:
        list(ledger.entries())
    assert "MARTIN" not in str(caught.value)


def test_no_error_repeats_a_file_number(path: Path) -> None:
    def write(ledger: SqlLedger) -> None:
        with ledger.writing() as writer:
            writer.receive(pending(1, file_number="21048BC000020"))
            writer.receive(pending(1, file_number="21048BC000020"))

    with opened(path) as ledger, pytest.raises(InvariantBroken) as caught:
        write(ledger)
    error: BaseException | None = caught.value
    while error is not None:
        assert "21048BC000020" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


# --- the schema


def test_the_program_knows_every_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(birth_module._MIGRATIONS))
    known = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(known)) == REVISIONS


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: str(table.name))
def test_migrations_make_the_tables_that_the_program_queries(path: Path, table: Table) -> None:
    with opened(path):
        pass
    with by_hand(path) as connection:
        made = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
    assert {line[1] for line in made} == {column.name for column in table.columns}


# --- one daemon


def test_a_second_daemon_is_told_who_works(path: Path) -> None:
    url = f"sqlite:///{path}"
    with DaemonLock(url, clock=StillClock()) as lock:
        with pytest.raises(Unavailable, match=r"pid \d+, since 2026-03-29T00:30:00"):
            DaemonLock(url, clock=StillClock()).acquire()
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    with DaemonLock(url, clock=StillClock()):
        assert lock.path.exists()


def test_a_daemon_s_death_frees_the_lock(path: Path) -> None:
    code = (
        "import sys; from dispatcher.edges.clock import SystemClock;"
        "from dispatcher.edges.ledger import DaemonLock;"
        "DaemonLock(sys.argv[1], clock=SystemClock()).acquire();"
        "print('taken', flush=True); sys.stdin.read()"
    )
    url = f"sqlite:///{path}"
    child = subprocess.Popen(
        [sys.executable, "-c", code, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "taken\n"
        with pytest.raises(Unavailable, match=f"pid {child.pid},"):
            DaemonLock(url, clock=StillClock()).acquire()
        child.kill()
    with DaemonLock(url, clock=StillClock()):
        pass


def test_a_held_reason_survives(path: Path) -> None:
    with opened(path) as ledger, ledger.writing() as writer:
        entry = writer.receive(held(1, reason=HoldReason.SITE_UNKNOWN))
    with opened(path) as ledger:
        assert ledger.entry(entry.id) == entry


def test_what_root_makes_belongs_to_whom_the_directory_does(path: Path) -> None:
    somebody = (4242, 4343) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path.parent, *somebody)
    with DaemonLock(f"sqlite:///{path}", clock=StillClock()), opened(path) as ledger:
        ledger.vouch()
        with ledger.writing() as writer:
            writer.receive(held(1))
        files = {file.name: file.stat() for file in path.parent.iterdir()}
    assert {name: (file.st_uid, file.st_gid) for name, file in files.items()} == dict.fromkeys(
        files, somebody
    )
    assert len(files) == 5  # the ledger, its log and index, the lock, the mark


def test_a_lock_that_is_there_already_keeps_its_owner(path: Path) -> None:
    lock = DaemonLock(f"sqlite:///{path}", clock=StillClock())
    lock.path.touch(0o600)
    before = lock.path.stat()
    if os.geteuid() == 0:
        os.chown(path.parent, 4242, 4343)
    with lock:
        after = lock.path.stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
