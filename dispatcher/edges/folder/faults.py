"""Says what an error of the file system means for a delivery."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from dispatcher.errors import InDoubt, Refused, Unavailable


class Stale(Unavailable):
    """The server forgot our handle on the folder: opening it by its path again may do."""


# The kernel raises these before it touches the directory: nothing was published.
SURE: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EINVAL,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOSYS,
        errno.ENOTDIR,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)

# A file system that knows no hard links answers link() with one of these.
NO_LINKS: Final = frozenset({errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})

# One that cannot flush a directory answers with one of these; there is nothing to flush.
NO_FLUSH: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_ACCESS: Final = "Let the service's user write, list and enter this folder."
_SHARE: Final = "Look at the disk or the share; deliveries go on by themselves once it works."
_IN_USE: Final = "Somebody has a document open; it goes once that is closed."
_HINTS: Final = {
    errno.EACCES: _ACCESS,
    errno.EDQUOT: "The quota is used up: raise it or make room.",
    errno.ENOENT: "The folder is missing; mount its share. It is never created.",
    errno.ENOSPC: "The disk is full: make room (also for inodes).",
    errno.EPERM: _ACCESS,
    errno.EROFS: "The disk is mounted read-only, or the unit does not let the service write "
    "here: mount it for writing, or name it in ReadWritePaths=.",
}
# No change of the disk's state would help: somebody has to choose another folder.
_FOR_GOOD: Final = {
    errno.ENAMETOOLONG: "This file system takes only short names; choose another folder.",
    errno.EOPNOTSUPP: "This file system can neither link a file nor rename it without "
    "overwriting; choose another folder.",
}


def code_of(error: OSError) -> str:
    """Return the symbol of an error; its own text could hold a file's name."""
    return errno.errorcode.get(error.errno or 0, "unknown error")


def before_publishing(folder: Path, error: OSError) -> Unavailable | Refused:
    """Class an error that came before the document could be seen."""
    what = f"cannot write into {folder}: {code_of(error)}"
    if error.errno in _FOR_GOOD:
        return Refused(what, hint=_FOR_GOOD[error.errno])
    kind = Stale if error.errno == errno.ESTALE else Unavailable
    return kind(what, hint=_HINTS.get(error.errno or 0, _SHARE))


def while_publishing(folder: Path, error: OSError) -> Unavailable | Refused | InDoubt:
    """Class an error that came when the document may have become visible."""
    if error.errno in SURE:
        return before_publishing(folder, error)
    return InDoubt(
        f"may have been published in {folder}: {code_of(error)}",
        hint="It is looked for as soon as the folder answers; nothing has to be done.",
    )


def while_removing(folder: Path, error: OSError) -> Unavailable:
    """Class an error that came when a document was to be removed: it is asked again."""
    kind = Stale if error.errno == errno.ESTALE else Unavailable
    in_use = error.errno in {errno.EBUSY, errno.ETXTBSY}
    return kind(
        f"cannot remove from {folder}: {code_of(error)}",
        hint=_IN_USE if in_use else _HINTS.get(error.errno or 0, _SHARE),
    )


def cannot_look(folder: Path, error: OSError) -> Unavailable:
    """Class an error that came when only looking."""
    kind = Stale if error.errno == errno.ESTALE else Unavailable
    return kind(
        f"cannot look into {folder}: {code_of(error)}",
        hint=_HINTS.get(error.errno or 0, _SHARE),
    )
