"""Reads the tables of mounts anew only when they changed: they are asked twice a document."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

Points = tuple[str, ...]
Parse = Callable[[str], Points]

# What the kernel tells when something was mounted or unmounted (proc(5)).
_CHANGED: Final = select.POLLPRI | select.POLLERR
# Where a kernel that only looks like Linux never tells, a table is believed no longer than
# this (seconds).
_BELIEVED: Final = 1.0
# A file that was changed this short a time ago can change again without its times showing it
# (seconds): some file systems keep whole seconds only.
_SETTLED: Final = 3.0

_Sight = tuple[int, int, int, int, int]


class Table(Protocol):
    """A table of mount points."""

    def points(self) -> Points:
        """Return what it lists now. Raises OSError."""
        ...


class FileTable:
    """A table in a file, which anybody may change. Safe to share between threads."""

    def __init__(self, path: Path, parse: Parse) -> None:
        self._path = path
        self._parse = parse
        # The file as it was first seen so, and when; what it lists, once that can be kept.
        self._known: tuple[_Sight, float, Points | None] | None = None

    def points(self) -> Points:
        """See `Table.points`."""
        sight, now = self._sight(), time.monotonic()
        known = self._known
        if known is None or known[0] != sight:
            known = self._known = (sight, now, None)
        _, since, kept = known
        if kept is not None:
            return kept
        found = self._parse(_text(self._path))
        if now - since > _SETTLED:
            self._known = (sight, since, found)
        return found

    def _sight(self) -> _Sight:
        found = self._path.stat()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class KernelTable:
    """The kernel's own table, `/proc/self/mountinfo`. Safe to share between threads."""

    def __init__(self, path: Path, parse: Parse) -> None:
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._points: Points = ()
        self._read_at = -_BELIEVED
        self._poll: select.poll | None = None

    def points(self) -> Points:
        """See `Table.points`."""
        with self._lock:
            # Asked in this order: what changes after the question is told by the next one.
            if self._changed() or time.monotonic() - self._read_at > _BELIEVED:
                self._read_at = -_BELIEVED  # should it fail, it is read again
                began = time.monotonic()
                self._points = self._parse(_text(self._path))
                self._read_at = began
            return self._points

    def _changed(self) -> bool:
        if self._poll is None:
            with self._path.open("rb", buffering=0) as file:
                # Held open for as long as the program runs: it tells of changes since.
                told = os.dup(file.fileno())
            self._poll = select.poll()
            self._poll.register(told, _CHANGED)
            return True
        return bool(self._poll.poll(0))


def _text(path: Path) -> str:
    """Return a small file's text, by fewer calls than a text file takes: they add up."""
    with path.open("rb", buffering=0) as file:
        return file.read().decode("utf-8", "surrogateescape")
