"""What one transaction changes, gathered and then written in groups."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Table, Update, bindparam, delete, insert, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dispatcher.core import audit, life
from dispatcher.core.audit import Deed
from dispatcher.core.ledger import Entry, Event, Identity
from dispatcher.core.message import MessageRef
from dispatcher.edges.ledger import reading, rows
from dispatcher.edges.ledger.schema import (
    AUDIT,
    COUNTER,
    DELIVERY,
    ENTRY,
    EVENT,
    FOREIGN,
    TRAIL,
)
from dispatcher.errors import InvariantBroken
from dispatcher.ports import Clock

_ID_LENGTH: Final = 10
_BASE32: Final = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # RFC 4648, 6; 5 bits of each byte

_FOREIGN: Final = upsert(FOREIGN).on_conflict_do_update(
    index_elements=["mailbox", "uidvalidity", "uid"],
    set_={
        "size": upsert(FOREIGN).excluded.size,
        "internal_at": upsert(FOREIGN).excluded.internal_at,
    },
)
_COUNT: Final = (
    update(COUNTER)
    .where(COUNTER.c.name == bindparam("counted"))
    .values(value=COUNTER.c.value + bindparam("by"))
)

Values = dict[str, Any]


def new_id() -> str:
    """Return a random id: 50 bits, readable, free of anything about a patient."""
    return secrets.token_bytes(_ID_LENGTH).translate(_BASE32).decode("ascii")


class Gathering:
    """The changes of one transaction. What it gathers is written by `flush`.

    The transaction holds the write lock, so what was read stays true while it lasts.
    """

    def __init__(self, connection: Connection, *, clock: Clock, secret: bytes) -> None:
        self._connection = connection
        self._clock = clock
        self._secret = secret
        self._entries: dict[str, Entry] = {}  # as this transaction sees them
        self._owners: dict[str, str] = {}  # delivery -> message
        self._before: dict[str, Entry | None] = {}  # what the database holds of the changed
        self._events: list[Event] = []
        self._moved: set[tuple[str, str | None]] = set()
        self._vacated: set[MessageRef] = set()
        self._foreign: dict[MessageRef, Identity] = {}
        self._deeds: list[Deed] = []
        self.broken = False

    # --- reading, as this transaction sees it

    def _entry(self, entry_id: str) -> Entry:
        if entry_id not in self._entries:
            self._keep([reading.entry(self._connection, entry_id)])
        if entry_id not in self._entries:
            raise InvariantBroken(f"the ledger has no message {entry_id}")
        return self._entries[entry_id]

    def _owner(self, delivery_id: str) -> Entry:
        if delivery_id not in self._owners:
            self._keep([reading.owner(self._connection, delivery_id)])
        if delivery_id not in self._owners:
            raise InvariantBroken(f"the ledger has no delivery {delivery_id}")
        return self._entries[self._owners[delivery_id]]

    def _entries_at(self, refs: Sequence[MessageRef]) -> list[Entry]:
        """Return the messages at these places. Call `flush` first: it asks the database."""
        found = list(reading.entries_at(self._connection, refs))
        self._keep(entry for entry in found if entry.id not in self._entries)
        return [self._entries[entry.id] for entry in found]

    def _keep(self, entries: Iterable[Entry | None]) -> None:
        for entry in filter(None, entries):
            self._entries[entry.id] = entry
            self._owners.update((delivery.id, entry.id) for delivery in entry.deliveries)

    # --- writing

    def _stage(self, before: Entry | None, step: life.Step) -> Entry:
        """Take a change into the next group.

        A line that moves twice is written in between, because the database checks every
        transition by itself.
        """
        moved = {(event.entry, event.delivery) for event in step.events}
        if moved & self._moved:
            self.flush()
        self._moved |= moved
        self._before.setdefault(step.entry.id, before)
        self._keep([step.entry])
        self._events.extend(step.events)
        return step.entry

    def _claim(self, ref: MessageRef) -> None:
        """Write first what leaves this place or takes it, so that the order of both stays."""
        if ref in self._vacated or ref in self._foreign:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered: lines before what refers to them."""
        changed = [(before, self._entries[key]) for key, before in self._before.items()]
        events, foreign = self._events, self._foreign
        self._before, self._events, self._foreign = {}, [], {}
        self._moved.clear()
        self._vacated.clear()
        self._write_entries(changed)
        self._many(insert(EVENT), [rows.event_line(event) for event in events])
        self._write_foreign(foreign)
        self._write_deeds()

    def _write_deeds(self) -> None:
        """Bind what was done to the end of the trail; after the lines that it names."""
        deeds, self._deeds = self._deeds, []
        if not deeds:
            return
        end = reading.mark(self._connection, "end")
        lines = []
        for deed in deeds:
            trace = audit.linked(self._secret, end, new_id(), deed)
            lines.append(rows.trace_line(trace))
            end = audit.Mark(trace.seq, trace.digest)
        self._many(insert(AUDIT), lines)
        self._set_mark("end", end)

    def _set_mark(self, name: str, mark: audit.Mark) -> None:
        change = update(TRAIL).where(TRAIL.c.name == name)
        self._connection.execute(change.values(seq=mark.seq, digest=mark.digest))

    def _write_entries(self, changed: Sequence[tuple[Entry | None, Entry]]) -> None:
        new_entries: list[Values] = []
        new_deliveries: list[Values] = []
        entry_changes: list[Values] = []
        delivery_changes: list[Values] = []
        for before, after in changed:
            line, deliveries = self._sealed(after)
            if before is None:
                new_entries.append(line)
                new_deliveries.extend(deliveries)
                continue
            was, were = rows.entry_line(before), rows.delivery_lines(before)
            entry_changes.append(_difference(was, line))
            old, new = deliveries[: len(were)], deliveries[len(were) :]
            new_deliveries.extend(new)
            delivery_changes.extend(map(_difference, were, old))
        self._many(insert(ENTRY), new_entries)
        self._count("received", len(new_entries))
        self._update(ENTRY, entry_changes)
        self._update(DELIVERY, delivery_changes)
        self._many(insert(DELIVERY), new_deliveries)

    def _sealed(self, entry: Entry) -> tuple[Values, list[Values]]:
        line, deliveries = rows.entry_line(entry), rows.delivery_lines(entry)
        return {**line, "seal": rows.seal(self._secret, line, deliveries)}, deliveries

    def _write_foreign(self, foreign: dict[MessageRef, Identity]) -> None:
        """Count what is new there: another identity under a known uid is another message."""
        if not foreign:
            return
        known = reading.foreign_at(self._connection, tuple(foreign))
        fresh = {ref: one for ref, one in foreign.items() if known.get(ref) != one}
        lines = [
            {
                **place_line(ref),
                "size": one.size,
                "internal_at": rows.stored_time(one.internal_at),
            }
            for ref, one in fresh.items()
        ]
        self._many(_FOREIGN, lines)
        self._count("foreign", len(fresh))
        self._count("foreign_gone", len(fresh.keys() & known.keys()))

    def _update(self, table: Table, changes: Iterable[Values]) -> None:
        """Update only the columns that differ: others would rewrite their indexes."""
        real = sorted((change for change in changes if len(change) > 1), key=tuple)
        for names, group in groupby(real, key=tuple):
            self._many(_update_of(table, names), list(group))

    def _count(self, name: str, by: int) -> None:
        if by:
            self._many(_COUNT, [{"counted": name, "by": by}])

    def _delete(self, table: Table, places: Sequence[Values]) -> int:
        return self._many(_delete_at(table), places)

    def _many(self, statement: Any, lines: Sequence[Values]) -> int:
        """Run a statement for each line; return how many lines it touched.

        After an error the transaction is lost, even if the caller goes on: SQLite undoes
        all of it for a full disk, and one statement of it for a refused line.
        """
        if not lines:
            return 0
        was_broken, self.broken = self.broken, True
        touched = self._connection.execute(statement, list(lines)).rowcount
        self.broken = was_broken
        return touched


def _difference(before: Values, after: Values) -> Values:
    """Return the columns that changed, under the key `key_` of their line."""
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return {"key_": after["id"], **changed}


@lru_cache(maxsize=64)
def _update_of(table: Table, names: tuple[str, ...]) -> Update:
    columns: Values = {name: bindparam(name) for name in names if name != "key_"}
    return update(table).where(table.c.id == bindparam("key_")).values(columns)


@lru_cache(maxsize=4)
def _delete_at(table: Table) -> Any:
    return delete(table).where(
        *(table.c[name] == bindparam(name) for name in ("mailbox", "uidvalidity", "uid"))
    )


def place_line(ref: MessageRef) -> Values:
    """Return the columns of a place."""
    return {"mailbox": ref.mailbox, "uidvalidity": ref.uidvalidity, "uid": ref.uid}
