"""Hears of changes of one file: a hint only, whoever waits for it looks by himself as well."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from watchdog.events import (
    FileClosedNoWriteEvent,
    FileOpenedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

_log = structlog.get_logger(__name__)

# Reading is no change; our own would otherwise wake us for ever.
_READING: Final = (FileOpenedEvent, FileClosedNoWriteEvent)

Places = tuple[tuple[str, int, int], ...]
"""Directories by path, device and inode: the same path may be another directory by now."""


class FileWatch(FileSystemEventHandler):
    """Watches the directories of a file and of what it points to; see `renew`."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        """`changed` is called in a thread of the watch's own, perhaps often."""
        super().__init__()
        self._path = path
        self._changed = changed
        self._observer: BaseObserver | None = None
        self._watched: Places = ()
        self._deaf = False

    def start(self) -> None:
        """Begin to listen."""
        self.renew()

    def renew(self) -> None:
        """Listen anew where a directory was made anew, or a symlink switched.

        inotify(7) follows the directory, not its name: who never renews goes deaf.
        """
        places = self._places()
        if places == self._watched and self._observer is not None:
            return
        self.stop()
        observer = Observer()
        observer.daemon = True
        try:
            for directory, _, _ in places:
                observer.schedule(self, directory)
            observer.start()
        except OSError as error:
            # Too many watches on this machine, or a directory that has just gone.
            if not self._deaf:
                _log.warning("rules_were_not_watched", because=error.strerror)
            self._deaf = True
            return
        self._observer, self._watched, self._deaf = observer, places, False

    def stop(self) -> None:
        """Stop listening. Never waits for long."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(1.0)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Tell of a change in one of the directories. Called by watchdog."""
        if not isinstance(event, _READING):
            self._changed()

    def _places(self) -> Places:
        found = {}
        for directory in (self._path.parent, self._path.resolve().parent):
            with suppress(OSError):
                seen = directory.stat()
                found[os.fspath(directory)] = (seen.st_dev, seen.st_ino)
        return tuple((path, *key) for path, key in found.items())
