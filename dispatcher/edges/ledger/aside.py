"""Moves a ledger aside, whole, so that the next start makes a new one."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from dispatcher.edges.ledger.database import log_of, path_of
from dispatcher.edges.ledger.mark import MarkFile
from dispatcher.errors import NotNow


def set_aside(url: str, now: datetime) -> Path | None:
    """Rename a ledger's files, damaged or not; return the new name, None: there is none.

    Whichever ledger works here next, also when the program is killed in between, is told
    from the last one by the mark beside it. Only with the daemon's lock held.
    """
    path = path_of(url)
    try:
        MarkFile(path).forget()
    except OSError as error:
        raise _failed(path, error) from error
    if not os.path.lexists(path):
        return None
    aside = _free(path.with_name(f"{path.name}.aside-{now:%Y%m%dT%H%M%SZ}"))
    try:
        for old, new in (
            (log_of(path), log_of(aside)),
            (_index(path), _index(aside)),
            (path, aside),
        ):
            if os.path.lexists(old):
                old.rename(new)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _failed(path, error) from error
    return aside


def _failed(path: Path, error: OSError) -> NotNow:
    return NotNow(
        f"the ledger cannot be moved aside: {error.strerror}",
        hint=f"Check {path.parent}: owner, mode, free space.",
    )


def _free(wanted: Path) -> Path:
    """Return a name that nobody has: an earlier ledger that lies aside is never replaced."""
    found, number = wanted, 1
    while os.path.lexists(found) or os.path.lexists(log_of(found)):
        number += 1
        found = wanted.with_name(f"{wanted.name}-{number}")
    return found


def _index(path: Path) -> Path:
    return path.with_name(path.name + "-shm")
