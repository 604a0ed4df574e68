"""Puts new content into a file that people edit: whole or not at all, owner and mode kept."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.errors import Refused

# For a file that is not there any more: its group is the directory's, others see nothing.
_MODE: Final = 0o640


def put(path: Path, content: bytes, *, keep: bool = False) -> None:
    """Replace the file's content atomically and durably; a symlink stays one.

    `keep` leaves what was there beside it, under a name of its own. Raises Refused when it
    cannot be written or would change its owner: nothing changed.
    """
    real = path.resolve()
    try:
        if keep and real.is_file():
            os.link(real, real.with_name(f"{real.name}.aside.{secrets.token_hex(4)}"))
        _put(real, content)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {(error.strerror or 'unknown error').lower()}",
            hint="Run the command as root, or as whoever owns the file.",
        ) from error


def _put(real: Path, content: bytes) -> None:
    draft = real.with_name(f".{real.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _become_like(real, descriptor)
            os.fsync(descriptor)
        draft.rename(real)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync(real.parent)


def _become_like(real: Path, descriptor: int) -> None:
    """Take over owner and mode from the file that is replaced."""
    try:
        found = real.stat()
    except FileNotFoundError:
        group, owner, mode = real.parent.stat().st_gid, -1, _MODE
    else:
        group, owner, mode = found.st_gid, found.st_uid, found.st_mode & 0o7777
    mine = os.fstat(descriptor)
    if owner in {-1, mine.st_uid}:
        owner = -1
    if group == mine.st_gid:
        group = -1
    if (owner, group) != (-1, -1):
        os.fchown(descriptor, owner, group)
    os.fchmod(descriptor, mode)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
