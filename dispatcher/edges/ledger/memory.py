"""Remembers messages as this process wrote them, for as long as nobody else writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection

from dispatcher.core.ledger import SETTLED, Entry, State
from dispatcher.core.message import MessageRef
from dispatcher.edges.ledger.rows import Lines

# What is delivered waits for its keyword in sets of 256, with a batch under way beside it.
_MOST: Final = 512


@dataclass(frozen=True, slots=True)
class Written:
    """A message and its lines, as the database holds them."""

    entry: Entry
    lines: Lines


class Memory:
    """What the last transactions wrote, so that the next one need not read it back.

    SQLite is asked, under the write lock, whether any other connection committed since
    (`PRAGMA data_version`, sqlite.org/pragma.html). It answers by what tells it itself whether
    its own copies of the file's pages still hold. After any other commit, by whomever, and
    after any error nothing is remembered.
    """

    def __init__(self) -> None:
        self._held: dict[str, Written] = {}
        self._new: list[Written] = []
        self._connection: object = None
        self._version: object = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Remember what is noted inside, which ends with a commit or with an error."""
        self._new = []
        try:
            yield
        except BaseException:
            self._held.clear()
            raise
        finally:
            new, self._new = self._new, []
        for one in new:
            self._held.pop(one.entry.id, None)
            if _is_awaited(one.entry):
                self._held[one.entry.id] = one
        for oldest in list(islice(self._held, max(0, len(self._held) - _MOST))):
            del self._held[oldest]

    def look(self, connection: Connection) -> None:
        """Forget everything if others wrote. Inside a transaction that holds the write lock."""
        driver: Any = connection.connection.driver_connection
        version = driver.execute("PRAGMA data_version").fetchone()
        if driver is not self._connection or version != self._version:
            self._held.clear()
        self._connection, self._version = driver, version

    def note(self, written: Iterable[Written]) -> None:
        """Take in what this transaction wrote; it counts when the transaction is committed."""
        self._new.extend(written)

    def of(self, entry_id: str) -> Written | None:
        """Return a message as it was when this transaction began; None: ask the database."""
        return self._held.get(entry_id)

    def at(self, refs: Iterable[MessageRef]) -> list[Entry]:
        """Return the messages that lay at these places, of those that are remembered."""
        wanted = set(refs)
        return [one.entry for one in self._held.values() if one.entry.ref in wanted]


def _is_awaited(entry: Entry) -> bool:
    """Whether there is something left to do for a message soon: to deliver it, or mark it."""
    under_way = entry.state is State.PENDING or entry.state in SETTLED
    return under_way and entry.present and not entry.keyword_set
