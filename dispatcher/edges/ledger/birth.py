"""Opens the ledger's file: makes it when it is not there, brings its schema up to date."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, select, text

from dispatcher.edges.ledger import reading, rows
from dispatcher.edges.ledger.database import (
    MOVE_AWAY,
    classed,
    fold_log,
    log_of,
    reading_engine,
    writing_engine,
)
from dispatcher.edges.ledger.guards import guards
from dispatcher.edges.ledger.owner import give_to_owner
from dispatcher.edges.ledger.schema import ENTRY, META, REVISIONS
from dispatcher.errors import ConfigInvalid, NotNow

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_TOGETHER: Final = 500


def open_file(path: Path, busy_timeout: float) -> None:
    """Make sure that `path` is a ledger with the schema of this program.

    A new file appears under its name only when it is complete, so an empty one has
    lost its content and is refused. Raises ConfigInvalid, or NotNow for the disk.
    """
    if not path.parent.is_dir():
        raise ConfigInvalid(
            (f"ledger: {path.parent} is not a directory; make it, with mode 0700",)
        )
    try:
        if not path.exists():
            _make(path, busy_timeout)
        _tidy(path)
        if not path.is_file() or path.stat().st_size == 0:
            raise ConfigInvalid(
                (f"ledger: {path} is no ledger, or lost its content; {MOVE_AWAY}",)
            )
    except OSError as error:
        raise NotNow(
            f"the ledger cannot be opened: {error.strerror}",
            hint=f"Check {path.parent}: owner, mode, free space.",
        ) from error
    _bring_up_to_date(path, busy_timeout)


def _make(path: Path, busy_timeout: float) -> None:
    with _alone_in(path.parent) as directory:
        if path.exists():  # another process was quicker
            return
        unborn = _unborn(path)
        for leftover in (*_unfinished(path), *_companions(path)):
            # What a lost ledger left in its -wal would be played into the new one.
            leftover.unlink(missing_ok=True)
        try:
            _grow(unborn, busy_timeout)
            unborn.rename(path)
        finally:
            _remove(_unfinished(path))
        os.fsync(directory)


def _grow(unborn: Path, busy_timeout: float) -> None:
    """Make a whole ledger that is one file, on the disk; nothing of it waits in a log."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(unborn, flags, 0o600)
    try:
        give_to_owner(descriptor, unborn.parent)
        engine = writing_engine(unborn, busy_timeout)
        try:
            # With a rollback journal, as every new file has, COMMIT tells of a full disk;
            # folding in a log while closing does not.
            with engine.begin() as connection:
                _migrate(connection)
            _use_wal(engine)
            folded = fold_log(engine)
        finally:
            engine.dispose()
        if not folded or any(_size(one) for one in _companions(unborn)):
            raise NotNow("the ledger could not be made: its log was not folded in")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tidy(path: Path) -> None:
    """Remove what a program that was killed while making this ledger left behind."""
    if not any(os.path.lexists(leftover) for leftover in _unfinished(path)):
        return
    with suppress(OSError), _alone_in(path.parent):
        _remove(_unfinished(path))


def _remove(files: tuple[Path, ...]) -> None:
    for file in files:
        with suppress(OSError):  # another error is under way, or the next start tries again
            file.unlink()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _unborn(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _unfinished(path: Path) -> tuple[Path, ...]:
    unborn = _unborn(path)
    return (*_companions(unborn), unborn)


@contextmanager
def _alone_in(parent: Path) -> Iterator[int]:
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(directory)


def _companions(path: Path) -> tuple[Path, ...]:
    others = (path.with_name(path.name + end) for end in ("-shm", "-journal"))
    return (log_of(path), *others)


def _use_wal(engine: Engine) -> None:
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.Error as error:
            raise classed(error) from error
        finally:
            cursor.close()
    if mode != ("wal",):
        raise ConfigInvalid(
            ("ledger: its disk does not keep a write-ahead log; put it on a local disk",)
        )


def _bring_up_to_date(path: Path, busy_timeout: float) -> None:
    engine = reading_engine(path, busy_timeout)
    try:
        with engine.begin() as connection:
            version = _version(connection)
    finally:
        engine.dispose()
    if version == REVISIONS[-1]:
        return
    _known(version, path)
    engine = writing_engine(path, busy_timeout)
    try:
        with engine.begin() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if version is None else str(version)


def _known(version: str | None, path: Path) -> None:
    if version is None:
        raise ConfigInvalid(
            (f"ledger: {path} is a database, but no ledger; name another file",)
        )
    if version not in REVISIONS:
        newer = f"ledger: {path} was made by a newer version of this program"
        raise ConfigInvalid((f"{newer}; install that version, nothing is ever downgraded",))


def _migrate(connection: Connection) -> None:
    # Alembic takes longer to import than the rest of a command: only when it has work.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    # Both are made from today's code: after the last revision, never in between.
    _guard_anew(connection)
    _seal_again(connection)


def _guard_anew(connection: Connection) -> None:
    there = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for name in connection.execute(there).scalars().all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    for statement in guards().values():
        connection.exec_driver_sql(statement)


def _seal_again(connection: Connection) -> None:
    secret, after = read_secret(connection), 0
    query = select(ENTRY).order_by(ENTRY.c.seq).limit(_TOGETHER)
    while lines := connection.execute(query.where(ENTRY.c.seq > after)).mappings().all():
        after = lines[-1]["seq"]
        found = reading.deliveries_of(connection, [line["id"] for line in lines])
        seals = [
            {"key": line["id"], "new": rows.seal(secret, line, found.get(line["id"], ()))}
            for line in lines
        ]
        connection.execute(text("UPDATE entry SET seal = :new WHERE id = :key"), seals)


def read_secret(connection: Connection) -> bytes:
    """Return the ledger's own random secret."""
    secret = connection.execute(select(META.c.value).where(META.c.name == "secret")).scalar()
    if not isinstance(secret, bytes):
        raise ConfigInvalid((f"the ledger has lost its secret; {MOVE_AWAY}",))
    return secret


def read_birth(connection: Connection) -> datetime:
    """Return when this ledger was made, or brought up to date from one that did not know."""
    found = connection.execute(select(META.c.value).where(META.c.name == "born_at")).scalar()
    if not isinstance(found, bytes):
        raise ConfigInvalid((f"the ledger has lost the date of its birth; {MOVE_AWAY}",))
    return datetime.fromisoformat(found.decode("ascii"))


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another under the same name; None: it is gone."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
