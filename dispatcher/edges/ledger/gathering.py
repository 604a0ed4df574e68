"""What one transaction changes, gathered and then written in groups."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dispatcher.core import audit, life
from dispatcher.core.audit import Deed
from dispatcher.core.ledger import Entry, Event, Identity
from dispatcher.core.message import MessageRef
from dispatcher.edges.ledger import reading, rows
from dispatcher.edges.ledger.memory import Memory, Written
from dispatcher.edges.ledger.rows import Columns, Lines
from dispatcher.edges.ledger.schema import (
    AUDIT,
    COUNTER,
    DELIVERY,
    ENTRY,
    EVENT,
    FOREIGN,
    TRAIL,
)
from dispatcher.edges.ledger.statements import Prepared, delete_at, insert_into, update_of
from dispatcher.errors import InvariantBroken
from dispatcher.ports import Clock

_ID_LENGTH: Final = 10
_BASE32: Final = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # RFC 4648, 6; 5 bits of each byte

_ENTRY: Final = insert_into(ENTRY, but="seq")
_DELIVERY: Final = insert_into(DELIVERY)
_EVENT: Final = insert_into(EVENT, but="seq")
_AUDIT: Final = insert_into(AUDIT)
_FOREIGN: Final = Prepared(
    upsert(FOREIGN).on_conflict_do_update(
        index_elements=["mailbox", "uidvalidity", "uid"],
        set_={
            "size": upsert(FOREIGN).excluded.size,
            "internal_at": upsert(FOREIGN).excluded.internal_at,
        },
    )
)
_COUNT: Final = Prepared(
    update(COUNTER)
    .where(COUNTER.c.name == bindparam("counted"))
    .values(value=COUNTER.c.value + bindparam("by"))
)

Values = dict[str, Any]
_Change = tuple[Any, Columns]  # an id, and the columns that differ


def new_id() -> str:
    """Return a random id: 50 bits, readable, free of anything about a patient."""
    return secrets.token_bytes(_ID_LENGTH).translate(_BASE32).decode("ascii")


@dataclass(slots=True)
class _Turns:
    """One message in this transaction: what the database holds, and what it is to hold.

    The database checks every transition by itself, so each state is written in its turn:
    there is a version for each. `moved` is what changed its state in the last of them.
    """

    before: Entry | None
    versions: list[Entry]
    moved: set[str | None] = field(default_factory=set)

    def take(self, step: life.Step) -> None:
        """Take in one more step: a new turn where a line moves that has moved in the last."""
        moved = {event.delivery for event in step.events}
        if moved & self.moved:
            self.versions.append(step.entry)
            self.moved = moved
        else:
            self.versions[-1] = step.entry
            self.moved |= moved


@dataclass(slots=True)
class _Writing:
    """Lines that are written together."""

    new_entries: list[Values] = field(default_factory=list)
    new_deliveries: list[Values] = field(default_factory=list)
    entries: list[_Change] = field(default_factory=list)
    deliveries: list[_Change] = field(default_factory=list)

    def begin(self, lines: Lines) -> None:
        """Add a message that is new."""
        self.new_entries.append(lines.entry)
        self.new_deliveries.extend(lines.deliveries)

    def change(self, lines: Lines, changed: Lines) -> None:
        """Add what changes in a message whose lines the database holds."""
        self.entries.append((lines.entry["id"], changed.entry))
        there = len(lines.deliveries)
        for line, change in zip(lines.deliveries, changed.deliveries, strict=False):
            self.deliveries.append((line["id"], change))
        self.new_deliveries.extend(changed.deliveries[there:])


class Gathering:
    """The changes of one transaction. What it gathers is written by `flush`.

    The transaction holds the write lock, so what was read stays true while it lasts.
    """

    def __init__(
        self, connection: Connection, *, clock: Clock, secret: bytes, memory: Memory
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._secret = secret
        self._memory = memory
        self._entries: dict[str, Entry] = {}  # as this transaction sees them
        self._owners: dict[str, str] = {}  # delivery -> message
        self._written: dict[str, Written] = {}  # as the database holds them by now
        self._changes: dict[str, _Turns] = {}
        self._events: list[Event] = []
        self._vacated: set[MessageRef] = set()
        self._foreign: dict[MessageRef, Identity] = {}
        self._deeds: list[Deed] = []
        self.broken = False

    # --- reading, as this transaction sees it

    def _entry(self, entry_id: str) -> Entry:
        if entry_id not in self._entries and not self._remember(entry_id):
            self._keep(filter(None, [reading.entry(self._connection, entry_id)]))
        if entry_id not in self._entries:
            raise InvariantBroken(f"the ledger has no message {entry_id}")
        return self._entries[entry_id]

    def _remember(self, entry_id: str) -> bool:
        """Take a message from memory; return whether it was there."""
        written = self._memory.of(entry_id)
        if written is not None:
            self._written[entry_id] = written
            self._keep([written.entry])
        return written is not None

    def _recall(self, entry_ids: Iterable[str]) -> None:
        """Have these messages at hand: from memory while it holds, else from the database."""
        unknown = dict.fromkeys(one for one in entry_ids if one not in self._entries)
        asked = [one for one in unknown if not self._remember(one)]
        if asked:
            self._keep(reading.entries_of(self._connection, asked))

    def _owner(self, delivery_id: str) -> Entry:
        if delivery_id not in self._owners:
            self._keep(filter(None, [reading.owner(self._connection, delivery_id)]))
        if delivery_id not in self._owners:
            raise InvariantBroken(f"the ledger has no delivery {delivery_id}")
        return self._entries[self._owners[delivery_id]]

    def _entries_at(self, refs: Sequence[MessageRef]) -> list[Entry]:
        """Return the messages at these places. Call `flush` first: it asks the database."""
        # What this transaction has touched may lie elsewhere by now.
        found = [one for one in self._memory.at(refs) if one.id not in self._entries]
        self._recall(one.id for one in found)
        left = set(refs) - {one.ref for one in found}
        asked = reading.entries_at(self._connection, left)
        self._keep(entry for entry in asked if entry.id not in self._entries)
        return [self._entries[entry.id] for entry in (*found, *asked)]

    def _keep(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._entries[entry.id] = entry
            for delivery in entry.deliveries:
                self._owners[delivery.id] = entry.id

    # --- writing

    def _stage(self, before: Entry | None, step: life.Step) -> Entry:
        """Take a change into the next group."""
        change = self._changes.get(step.entry.id)
        if change is None:
            change = self._changes[step.entry.id] = _Turns(before, [step.entry])
        change.take(step)
        self._keep([step.entry])
        self._events.extend(step.events)
        return step.entry

    def _claim(self, ref: MessageRef) -> None:
        """Write first what leaves this place or takes it, so that the order of both stays."""
        if ref in self._vacated or ref in self._foreign:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered: lines before what refers to them."""
        changes, events, foreign = self._changes, self._events, self._foreign
        self._changes, self._events, self._foreign = {}, [], {}
        self._vacated.clear()
        self._write_entries(list(changes.values()))
        self._many(_EVENT, [rows.event_line(event) for event in events])
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
        self._many(_AUDIT, lines)
        self._set_mark("end", end)

    def _set_mark(self, name: str, mark: audit.Mark) -> None:
        change = update(TRAIL).where(TRAIL.c.name == name)
        self._connection.execute(change.values(seq=mark.seq, digest=mark.digest))

    def _write_entries(self, changes: Sequence[_Turns]) -> None:
        most = max((len(change.versions) for change in changes), default=0)
        writings = [_Writing() for _ in range(most)]
        for change in changes:
            self._divide(change, writings)
        for one in writings:
            self._many(_ENTRY, one.new_entries)
            self._count("received", len(one.new_entries))
            self._update(ENTRY, one.entries)
            self._update(DELIVERY, one.deliveries)
            self._many(_DELIVERY, one.new_deliveries)
        self._memory.note(self._written[change.versions[-1].id] for change in changes)

    def _divide(self, turns: _Turns, writings: Sequence[_Writing]) -> None:
        """Add each version of a message to what is written in its turn.

        The seal goes with the first and is that of the last: nobody sees those between.
        """
        last, *later = turns.versions
        if turns.before is None:
            lines = rows.lines_of(last)
            writings[0].begin(lines)
            first = lines.entry
        else:
            held, changed = self._held(turns.before), rows.changes(turns.before, last)
            writings[0].change(held, changed)
            lines, first = rows.applied(held, changed), changed.entry
        for writing, after in zip(writings[1:], later, strict=False):
            changed = rows.changes(last, after)
            writing.change(lines, changed)
            lines, last = rows.applied(lines, changed), after
        sealed = rows.seal(self._secret, lines.entry, lines.deliveries)
        if lines.entry.get("seal") != sealed:
            first["seal"] = lines.entry["seal"] = sealed
        self._written[last.id] = Written(last, lines)

    def _held(self, before: Entry) -> Lines:
        """Return the lines of a message as the database holds it."""
        written = self._written.get(before.id)
        if written is not None and written.entry is before:
            return written.lines
        return rows.lines_of(before)

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

    def _update(self, table: Table, changes: Iterable[_Change]) -> None:
        """Update only the columns that differ: others would rewrite their indexes."""
        groups: dict[tuple[str, ...], list[Values]] = {}
        for key, columns in changes:
            if columns:
                line = {"key_": key, **columns}
                groups.setdefault(tuple(columns), []).append(line)
        for names, lines in groups.items():
            self._many(update_of(table, names), lines)

    def _count(self, name: str, by: int) -> None:
        if by:
            self._many(_COUNT, [{"counted": name, "by": by}])

    def _delete(self, table: Table, places: Sequence[Values]) -> int:
        return self._many(delete_at(table), places)

    def _many(self, statement: Prepared, lines: Sequence[Values]) -> int:
        """Run a statement for each line; return how many lines it touched.

        After an error the transaction is lost, even if the caller goes on: SQLite undoes
        all of it for a full disk, and one statement of it for a refused line.
        """
        if not lines:
            return 0
        was_broken, self.broken = self.broken, True
        touched = statement.run(self._connection, lines)
        self.broken = was_broken
        return touched


def place_line(ref: MessageRef) -> Values:
    """Return the columns of a place."""
    return {"mailbox": ref.mailbox, "uidvalidity": ref.uidvalidity, "uid": ref.uid}
