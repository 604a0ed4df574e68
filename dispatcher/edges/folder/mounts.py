"""Tells whether the share that a folder should lie on is mounted."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from dispatcher.edges.folder.tables import FileTable, KernelTable, Points, Table
from dispatcher.errors import Unavailable

# The fifth field of a line (proc(5), /proc/pid/mountinfo).
_MOUNT_POINT: Final = 4
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_FSTAB: Final = Path("/etc/fstab")
_OCTAL: Final = re.compile(r"\\([0-7]{3})", re.ASCII)


class MountMemory(Protocol):
    """Remembers under which mount point a folder lay when it was last written."""

    def get(self, path: str) -> str | None:
        """Return the remembered mount point of that folder, or None."""
        ...

    def set(self, path: str, mountpoint: str) -> None:
        """Remember it. May raise Unavailable; nothing is then written to the folder."""
        ...


class MountTables:
    """Where the system says what is mounted (proc(5)) and what should be (fstab(5)).

    Safe to share between threads; one that is kept reads only what changed.
    """

    def __init__(self, mountinfo: Path = _MOUNTINFO, fstab: Path = _FSTAB) -> None:
        self.mountinfo = mountinfo
        self.fstab = fstab
        known = mountinfo == _MOUNTINFO
        self._now: Table = _KERNEL if known else FileTable(mountinfo, _mount_points)
        self._meant: Table = FileTable(fstab, _listed_points)

    def above(self, directory: str) -> str:
        """Return the mount point that a real path lies under. Raises Unavailable."""
        return max(_covering(self._mounted(), directory), key=len, default="/")

    def missing_above(self, *directories: str) -> str | None:
        """Return a mount point at or above these that should be mounted and is not."""
        wanted = _covering(self._wanted(), *directories)
        if not wanted:
            return None
        mounted = set(self._mounted())
        # Resolved only when it covers the folder: another share may hang.
        absent = (p for p in wanted if p not in mounted and os.path.realpath(p) not in mounted)
        return next(absent, None)

    def _mounted(self) -> Points:
        try:
            return self._now.points()
        except OSError as error:
            raise Unavailable(
                "cannot tell what is mounted",
                hint="The service needs to read /proc/self/mountinfo.",
            ) from error

    def _wanted(self) -> Points:
        try:
            return self._meant.points()
        except OSError:
            return ()  # a container has none; the memory still protects


def _mount_points(mountinfo: str) -> Points:
    lines = (line.partition(" - ") for line in mountinfo.split("\n"))
    return tuple(
        _unescaped(fields.split(" ")[_MOUNT_POINT])
        for fields, _, kind in lines
        # An automount point is a promise, not a mount.
        if kind and not kind.startswith("autofs ")
    )


def _listed_points(fstab: str) -> Points:
    found = []
    for line in fstab.split("\n"):
        device, point, *_ = [*line.split(), "", ""]
        point = os.path.normpath(_unescaped(point))
        # The second field of swap is `none` (fstab(5)).
        if not device.startswith("#") and point.startswith("/") and point != "/":
            found.append(point)
    return tuple(found)


_KERNEL: Final = KernelTable(_MOUNTINFO, _mount_points)
# The real ones, kept by the whole program.
SYSTEM: Final = MountTables()


def ensure_mounted(
    tables: MountTables, directory: Path, real: str, remembered: str | None
) -> str:
    """Return the mount point that `directory` lies under, or raise Unavailable.

    `real` is its path without symlinks. `remembered` is where it lay when it was last
    written: under a deeper mount point then than now means that the share is gone and the
    directory seen is the one below it.
    """
    absent = tables.missing_above(os.path.abspath(directory), real)
    if absent is not None:
        raise Unavailable(
            f"not mounted: {absent}",
            hint=f"Mount {absent}; it is listed in fstab. Nothing is written below it.",
        )
    now = tables.above(real)
    if remembered is not None and remembered != now and _covers(now, remembered):
        raise Unavailable(
            f"no longer on the share mounted at {remembered}",
            hint="Mount it again; if it was given up for good, choose another folder.",
        )
    return now


# Asked four times a document, of tables that hardly ever change.
@lru_cache(maxsize=2_048)
def _covering(points: Points, *directories: str) -> Points:
    """Return those points that one of the directories lies under."""
    return tuple(
        point for point in points if any(_covers(point, directory) for directory in directories)
    )


def _covers(point: str, path: str) -> bool:
    return path == point or path.startswith(point if point.endswith("/") else f"{point}/")


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
