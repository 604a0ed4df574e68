"""Removes a delivered document from an open folder, if it is still what was written."""

from __future__ import annotations

import stat
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final

from dispatcher.edges.folder.names import is_part, reference_of
from dispatcher.edges.folder.opened import OpenFolder
from dispatcher.errors import Unavailable
from dispatcher.ports import Removal

# No document is as large as the largest message; what is larger is not read.
_LARGEST: Final = 16 << 20


def bearing(secret: bytes, names: Iterable[str], reference: str) -> str | None:
    """Return the name that a receipt's reference means, else None.

    Some shares list a name in another form than it was given in (NFD, mostly): what is the
    same in NFC counts when no name is the very one.
    """
    listed = list(names)
    exact = (name for name in listed if reference_of(secret, name) == reference)
    like = (name for name in listed if reference_of(secret, _composed(name)) == reference)
    return next(exact, None) or next(like, None)


def remove(folder: OpenFolder, name: str, sha256: str, ready: Callable[[], None]) -> Removal:
    """Remove this file if it is a regular one with this content, and nothing else.

    `ready` is called before the name goes; it raises when the folder is no longer the one
    meant. The caller flushes the folder. Raises OSError, and Unavailable when the file
    changed while it was looked at.
    """
    found = folder.look(name)
    if found is not None and (not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST):
        return Removal.CHANGED
    held = folder.hold(name) if found is not None else None
    if held is None:
        return Removal.GONE
    # Held open to the end, so that its number cannot go to another file meanwhile.
    with held:
        if held.sha256() != sha256:
            return Removal.CHANGED
        ready()
        now = folder.look(name)
        if now is None:
            return Removal.GONE
        if not held.is_at(now):
            raise Unavailable(
                "a document was changed just when it was to be removed",
                hint="It is looked at again; nothing has to be done.",
            )
        folder.unlink(name)
    return Removal.REMOVED


def sweep(folder: OpenFolder, before: float) -> int:
    """Remove temporary files of ours last written before then (POSIX time); count them.

    Raises OSError.
    """
    count = 0
    for name in filter(is_part, folder.names()):
        found = folder.look(name)
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_mtime < before:
            folder.unlink(name)
            count += 1
    return count


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
