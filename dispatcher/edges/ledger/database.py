"""Connections to the ledger's file: how they are made, and what their errors mean."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from dispatcher.core.vitals import Room
from dispatcher.errors import (
    ConfigInvalid,
    DispatcherError,
    InvariantBroken,
    NotNow,
)

MOVE_AWAY: Final = (
    "`sidep-dispatcher rebuild` moves it aside and makes a new one from the mailbox and the"
    " folders"
)


# The log is folded in after so many pages: SQLite's own 1,000 let it grow to 4 MB, on a
# small disk more than is left for folding it.
_LOG_PAGES: Final = 100
LOG_BYTES: Final = _LOG_PAGES * (4096 + 24)  # a page and its head: sqlite.org/fileformat2


def path_of(url: str) -> Path:
    """Return the file that a setting `ledger` names; raises ConfigInvalid."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if (
        parsed is None
        or parsed.get_backend_name() != "sqlite"
        or parsed.database in {None, "", ":memory:"}
        or parsed.query
        or parsed.host
    ):
        raise ConfigInvalid(
            ("ledger: not a SQLite file; write sqlite:////absolute/path/ledger.sqlite3",)
        )
    return Path(str(parsed.database)).absolute()


def writing_engine(path: Path, busy_timeout: float) -> Engine:
    """Return an engine whose transactions hold the write lock from their beginning.

    BEGIN IMMEDIATE: with the driver's own, lazy begin two threads read the same line
    and both write it (433 claims of 300 lines were measured). One connection only.
    """
    engine = _engine(path, busy_timeout, pool_size=1, max_overflow=0)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(path: Path, busy_timeout: float) -> Engine:
    """Return an engine whose transactions see one moment and can write nothing."""
    engine = _engine(path, busy_timeout, pool_size=4, max_overflow=-1)
    event.listen(engine, "connect", _read_only)
    event.listen(engine, "begin", _begin)
    return engine


def _engine(path: Path, busy_timeout: float, *, pool_size: int, max_overflow: int) -> Engine:
    # mode=rw: a file that has gone is an error, never silently a new and empty ledger.
    uri = f"{path.as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        hide_parameters=True,  # file numbers are among them
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "handle_error", _class_error, retval=True)
    return engine


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    """Set what SQLite keeps for a connection only (sqlite.org/pragma.html)."""
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        f"wal_autocheckpoint = {_LOG_PAGES}",
        f"journal_size_limit = {LOG_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def log_of(path: Path) -> Path:
    """Return the name of a file's write-ahead log."""
    return path.with_name(path.name + "-wal")


def fold_log(engine: Engine) -> bool:
    """Copy the log into the file and empty it; return False when somebody reads or writes.

    Waits for nobody: who writes has waited already, and the next write tries again. Call
    it outside a transaction. Raises what `classed` makes of an error of the disk.
    """
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()
            cursor.execute("PRAGMA busy_timeout = 0").fetchall()
            try:
                # Reading opens the log: right after the change to WAL, SQLite 3.40 answers
                # the checkpoint of a connection that has not read with SQLITE_LOCKED.
                cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
        except sqlite3.Error as error:
            raise classed(error) from error  # the engine classes only its own statements
        finally:
            cursor.close()
    return bool(busy == 0)


def rewrite(engine: Engine) -> None:
    """Write the whole file anew (sqlite.org/lang_vacuum.html), outside a transaction.

    Its draft is kept in memory, where it leaves nothing behind. Raises what `classed` makes
    of an error; the file is then as it was.
    """
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA temp_store = MEMORY").fetchall()
            cursor.execute("VACUUM").fetchall()
        except sqlite3.Error as error:
            raise classed(error) from error
        finally:
            cursor.close()


def _read_only(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _class_error(context: ExceptionContext) -> BaseException:
    """Let every error of the database leave as one of ours, wherever it arises."""
    return classed(context.original_exception)


def classed(error: BaseException) -> BaseException:
    """Return what an error of the database means for the caller.

    Result codes: sqlite.org/rescode.html. The library's own words are not repeated: the
    name of the code says as much and never bears a value.
    """
    if isinstance(error, DispatcherError) or not isinstance(error, Exception):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return InvariantBroken(
            f"the ledger was asked what it cannot do: {type(error).__name__}"
        )
    name = getattr(error, "sqlite_errorname", "unknown error")
    primary = code & 0xFF
    if primary in _DAMAGED:
        return ConfigInvalid((f"the ledger's file is damaged ({name}); {MOVE_AWAY}",))
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return _constraint(name, str(error))
    hint = _LATER.get(primary)
    if hint is None:
        return InvariantBroken(f"the ledger was asked what it cannot do: {name}")
    return NotNow(f"the ledger does not answer: {name}", hint=hint)


_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY: Final = "Another program holds the ledger; it is tried again."
_DISK: Final = "Look at the disk that holds the ledger: full, failing, or read-only?"
_LATER: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_FULL: _DISK,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CANTOPEN: _DISK,
    sqlite3.SQLITE_READONLY: _DISK,
    sqlite3.SQLITE_PERM: _DISK,
    sqlite3.SQLITE_NOMEM: "The machine has no memory left.",
}


def _constraint(name: str, words: str) -> DispatcherError:
    if words.endswith((" entry.id", " delivery.id")):
        # Two equal random ids: nothing is recorded, and the next try draws others.
        return NotNow("the ledger drew an id that is taken; nothing was recorded")
    # Constraint messages name columns and our own triggers' sentences, never values.
    return InvariantBroken(f"the ledger refuses: {words} ({name})")


def room_of(directory: Path) -> Room | None:
    """Return how full the disk below a directory is; None: it cannot be asked."""
    try:
        volume = os.statvfs(directory)
    except OSError:
        return None
    # What only root may use is not there for the service: `df` counts like this.
    usable = volume.f_blocks - volume.f_bfree + volume.f_bavail
    return Room(
        volume.f_bavail * volume.f_frsize,
        usable * volume.f_frsize,
        free_files=volume.f_favail,
        files=volume.f_files,
    )
