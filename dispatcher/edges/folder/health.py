"""Says what IT should know of a site's folder, for `check`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.core.vitals import PlaceHealth, Room
from dispatcher.edges.folder.names import is_part
from dispatcher.edges.folder.opened import OpenFolder
from dispatcher.ports import Finding

# About a thousand certificates of the largest size.
_LITTLE_SPACE: Final = 1 << 30
_FEW_INODES: Final = 1000


def findings(directory: Path, folder: OpenFolder) -> Iterator[Finding]:
    """Yield what is good and what is not. Raises OSError when it cannot be looked at."""
    volume = os.fstatvfs(folder.fd)
    free = volume.f_bavail * volume.f_frsize
    problem = _not_writable(directory, folder, volume)
    yield problem or Finding("ok", f"{directory}: mounted, writable, {free >> 20} MiB free")
    if free < _LITTLE_SPACE:
        yield Finding("warning", f"{directory}: {free >> 20} MiB free", "Make room soon.")
    if volume.f_files > 0 and volume.f_favail < _FEW_INODES:
        yield Finding("warning", f"{directory}: few inodes are free", "Remove small files.")
    yield from _rights(directory, os.fstat(folder.fd).st_mode)
    yield from _strange(directory, folder)


def health(directory: Path, folder: OpenFolder) -> PlaceHealth:
    """Return whether it takes documents, and its room. Raises OSError like `findings`."""
    volume = os.fstatvfs(folder.fd)
    problem = _not_writable(directory, folder, volume)
    size = volume.f_frsize
    # What only root may use is not there for the service: `df` counts like this.
    usable = volume.f_blocks - volume.f_bfree + volume.f_bavail
    room = Room(
        volume.f_bavail * size, usable * size, free_files=volume.f_favail, files=volume.f_files
    )
    return PlaceHealth("" if problem is None else problem.what, room)


def _not_writable(
    directory: Path, folder: OpenFolder, volume: os.statvfs_result
) -> Finding | None:
    if volume.f_flag & os.ST_RDONLY:
        return Finding(
            "problem", f"{directory}: mounted read-only", "Mount the share for writing."
        )
    if not os.access(".", os.R_OK | os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
        return Finding(
            "problem",
            f"{directory}: not writable",
            "Let the service's user write, list and enter this folder.",
        )
    return None


def _rights(directory: Path, mode: int) -> Iterator[Finding]:
    if not mode & stat.S_ISGID:
        yield Finding(
            "warning",
            f"{directory}: new files do not inherit its group",
            "Give it the site's group and mode 2750 or 2770.",
        )
    if mode & stat.S_IRWXO:
        yield Finding(
            "warning",
            f"{directory}: open to every user of this machine",
            "Take the rights of others away: chmod o= on the folder.",
        )


def _strange(directory: Path, folder: OpenFolder) -> Iterator[Finding]:
    links = parts = 0
    for name in folder.names():
        found = folder.look(name)
        links += found is not None and stat.S_ISLNK(found.st_mode)
        parts += is_part(name)
    if links:
        yield Finding(
            "warning",
            f"{directory}: {links} symlinks lie in it",
            "The service made none: find out who did. A document of that name is refused.",
        )
    if parts:
        yield Finding(
            "warning",
            f"{directory}: {parts} unfinished files lie in it",
            "They go with the next deliveries, an hour after a crash.",
        )
