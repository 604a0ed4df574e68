"""What the ledger remembers of the mounts under the site folders."""

from __future__ import annotations

import threading

from dispatcher.edges.ledger.sql_ledger import SqlLedger


class Mounts:
    """The mount on which each folder lay, by the folder's path. Shared by threads.

    Only the program that holds the daemon's lock writes there, so what was read or written
    once need not be asked for again. Folders that come at the same time share a commit.
    """

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger
        self._known: dict[str, str] | None = None
        self._waiting: dict[str, str] = {}
        self._turn = threading.Lock()

    def get(self, path: str) -> str | None:
        """Return what is remembered of a folder, or None. Raises what reading raises."""
        known = self._known
        if known is None:
            with self._turn:
                known = self._all()
        return known.get(path)

    def set(self, path: str, mount_point: str) -> None:
        """Remember it, on disk. Raises Unavailable when the ledger cannot be written."""
        self._waiting[path] = mount_point
        with self._turn:
            known = self._all()
            if known.get(path) == mount_point:
                return  # another one, which came first, wrote this one too
            together = {**self._waiting, path: mount_point}
            self._ledger.remember_mounts(together)
            known.update(together)
            for written in together:
                self._waiting.pop(written, None)

    def _all(self) -> dict[str, str]:
        """Return what is known, read once. Call it with the turn."""
        if self._known is None:
            self._known = dict(self._ledger.mounts())
        return self._known
