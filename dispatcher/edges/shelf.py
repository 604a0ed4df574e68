"""Writes the reports' files: whole or not at all, readable by the service's group."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dispatcher.errors import Unavailable


class FileShelf:
    """See `ports.Shelf`. The folder is made when its parent is there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, name: str, content: bytes) -> None:
        """See `Shelf.put`."""
        part = self._directory / f".{name}.part"
        try:
            self._directory.mkdir(mode=0o750, exist_ok=True)
            self._write(part, content)
            part.replace(self._directory / name)
            self._flush()
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise Unavailable(
                f"{self._directory}: a report cannot be written: {error.strerror}",
                hint="look at `alerts.reports.directory`: its rights, and the room there",
            ) from error

    @staticmethod
    def _write(part: Path, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(part, flags, 0o640), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _flush(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
