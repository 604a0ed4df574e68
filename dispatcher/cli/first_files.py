"""Writes the files of a first configuration: all of them or none, and never over another."""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher import wiring
from dispatcher.errors import ConfigInvalid
from dispatcher.service.decisions import NotAsked

# The group of the Debian package's user: it reads, root writes.
_GROUP: Final = "sidep-dispatcher"
_FILE: Final = 0o640
_SECRET_ALONE: Final = 0o600


class FirstFiles:
    """The files below one directory. What `writing` does not come to the end of is undone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self.config = self._directory / "dispatcher.yaml"
        self._written: list[Path] = []

    def ensure_free(self, *names: str) -> None:
        """Raise NotAsked when one of these files is there already."""
        there = [name for name in names if os.path.lexists(self._directory / name)]
        if there:
            raise NotAsked(
                f"{', '.join(there)} already there in {self._directory}; nothing was written",
                hint="Edit it, or move it away first. `init` never overwrites.",
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Undo what was written when the block fails."""
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            yield
        except OSError as error:
            self._undo()
            raise NotAsked(
                f"cannot write into {self._directory}: {error.strerror}",
                hint="Run it as root, or choose another directory with --dir.",
            ) from error
        except BaseException:
            self._undo()
            raise

    def write(self, name: str, text: str, *, secret: bool = False) -> Path:
        """Write one new file: for its owner and the service's group, a secret no wider."""
        path = self._directory / name
        group = _service_group()
        mode = _SECRET_ALONE if secret and group is None else _FILE
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._written.append(path)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            file.write(text)
        return path

    def settle(self, text: str) -> wiring.Configuration:
        """Write the settings under their name once they are valid; raises ConfigInvalid.

        The name appears last: the service's unit waits for it.
        """
        unsettled = self.write(f".{self.config.name}.new", text)
        try:
            chosen = wiring.configuration(unsettled)
            os.link(unsettled, self.config)
        except ConfigInvalid as error:
            named = (one.replace(unsettled.name, self.config.name) for one in error.problems)
            raise ConfigInvalid(tuple(named)) from None
        finally:
            unsettled.unlink()
            self._written.remove(unsettled)
        return chosen

    def _undo(self) -> None:
        while self._written:
            with contextlib.suppress(OSError):
                self._written.pop().unlink()


def _service_group() -> int | None:
    """Return the group that the files are given to; None where we cannot or there is none."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None
