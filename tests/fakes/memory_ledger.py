"""A ledger in memory: the same rules and the same transactions as the real one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dispatcher.core import life
from dispatcher.core.certificate import ContentKey, HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    SETTLED,
    UNDER_WAY,
    Act,
    Balance,
    DeliveryState,
    Entry,
    Event,
    Identity,
    NewDelivery,
    NewEntry,
    Place,
    Refusals,
    State,
    state_of,
)
from dispatcher.core.message import MessageRef
from dispatcher.errors import InvariantBroken, NotNow
from dispatcher.ports import Clock

_BUSY_TIMEOUT = 10.0  # seconds


@dataclass
class Book:
    """Everything that is on disk in the real ledger."""

    entries: dict[str, Entry] = field(default_factory=dict)
    foreign: dict[MessageRef, Identity] = field(default_factory=dict)
    openings: dict[MessageRef, int] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Refusals] = field(default_factory=dict)
    errands: dict[str, datetime] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    received: int = 0
    foreign_seen: int = 0
    foreign_gone: int = 0

    def copy(self) -> Book:
        return replace(
            self,
            entries=dict(self.entries),
            foreign=dict(self.foreign),
            openings=dict(self.openings),
            places=dict(self.places),
            mounts=dict(self.mounts),
            refusals=dict(self.refusals),
            errands=dict(self.errands),
            events=list(self.events),
            acts=list(self.acts),
        )


class MemoryWriter:
    """See `ports.Writer`. Works on a copy that replaces the book at the end."""

    def __init__(self, book: Book, clock: Clock, ids: Iterator[int]) -> None:
        self.book = book
        self._clock = clock
        self._ids = ids

    def receive(self, new: NewEntry) -> Entry:
        ids = [self._new_id() for _ in range(1 + len(new.deliveries))]
        step = life.begin(new, ids, self._clock.now())
        self._take(new.ref)
        for other in filter(None, (new.replaces, new.duplicate_of)):
            self._entry(other)
        self.book.received += 1
        return self._apply(step)

    def note_foreign(self, ref: MessageRef, identity: Identity) -> None:
        known = self.book.foreign.get(ref)
        if known is None:
            self._take(ref)
        if known != identity:
            self.book.foreign_seen += 1
            self.book.foreign_gone += known is not None
        life.utc(identity.internal_at)
        self.book.foreign[ref] = identity

    def relocate(self, entry_id: str, ref: MessageRef, identity: Identity) -> None:
        entry = self._entry(entry_id)
        if not (entry.present and entry.ref == ref):
            self._take(ref)
        self.book.entries[entry_id] = life.relocated(entry, ref, identity)

    def absent(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings.pop(ref, None)
            self.book.foreign_gone += self.book.foreign.pop(ref, None) is not None
            for entry in self._at(ref):
                self.book.entries[entry.id] = replace(entry, present=False)

    def move(
        self,
        delivery_id: str,
        to: DeliveryState,
        *,
        because: str = "",
        reason: HoldReason | None = None,
        reference: str | None = None,
        next_try_at: datetime | None = None,
    ) -> Entry:
        turn = life.Turn(to, self._clock.now(), because, reason, reference, next_try_at)
        return self._apply(life.move(self._owner(delivery_id), delivery_id, turn))

    def divert(self, delivery_id: str, to: NewDelivery, because: str) -> Entry:
        turn = life.Turn(DeliveryState.DISCARDED, self._clock.now(), because)
        fallback = life.begun(to, self._new_id())
        return self._apply(life.divert(self._owner(delivery_id), delivery_id, fallback, turn))

    def hold(self, entry_id: str, reason: HoldReason, detail: str) -> Entry:
        entry = self._entry(entry_id)
        return self._apply(life.hold(entry, reason, detail, self._clock.now()))

    def release(
        self, entry_id: str, site: FinessET, deliveries: Sequence[NewDelivery]
    ) -> Entry:
        new = [life.begun(delivery, self._new_id()) for delivery in deliveries]
        return self._apply(life.release(self._entry(entry_id), site, new, self._clock.now()))

    def discard(self, entry_id: str) -> Entry:
        return self._apply(life.discard(self._entry(entry_id), self._clock.now()))

    def accepted(self, delivery_id: str, reference: str, because: str) -> Entry:
        entry, now = self._owner(delivery_id), self._clock.now()
        return self._apply(
            life.accepted(entry, delivery_id, reference, because=because, at=now)
        )

    def reprint(self, entry_id: str, target: str) -> Entry:
        entry = self._entry(entry_id)
        return self._apply(life.reprinted(entry, target, self._new_id(), self._clock.now()))

    def ask(self, delivery_id: str) -> Entry:
        return self._apply(life.asked(self._owner(delivery_id), delivery_id, self._clock.now()))

    def plan(self, delivery_id: str, at: datetime | None) -> Entry:
        entry = life.planned(self._owner(delivery_id), delivery_id, at)
        self.book.entries[entry.id] = entry
        return entry

    def expect(self, entry_id: str, state: State) -> None:
        life.expected(self._entry(entry_id), state)

    def record(self, act: Act) -> None:
        self._entry(act.entry)
        self.book.acts.append(replace(act, at=life.utc(act.at)))

    def opening(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings[ref] = self.book.openings.get(ref, 0) + 1

    def opened(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings.pop(ref, None)

    def keyword_set(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            for entry in self._at(ref):
                self.book.entries[entry.id] = replace(entry, keyword_set=True)

    def did(self, errand: str, at: datetime) -> None:
        self.book.errands[errand] = life.utc(at)

    def login_refused(self, mailbox: str) -> None:
        before = self.book.refusals.get(mailbox)
        count = 1 + (before.count if before else 0)
        self.book.refusals[mailbox] = Refusals(count, life.utc(self._clock.now()))

    def login_accepted(self, mailbox: str) -> None:
        self.book.refusals.pop(mailbox, None)

    def remember(self, place: Place) -> None:
        self.book.places[place.mailbox] = replace(place, checked_at=life.utc(place.checked_at))

    def _new_id(self) -> str:
        return f"m{next(self._ids):09d}"

    def _entry(self, entry_id: str) -> Entry:
        if entry_id not in self.book.entries:
            raise InvariantBroken(f"the ledger has no message {entry_id}")
        return self.book.entries[entry_id]

    def _owner(self, delivery_id: str) -> Entry:
        for entry in self.book.entries.values():
            if any(delivery.id == delivery_id for delivery in entry.deliveries):
                return entry
        raise InvariantBroken(f"the ledger has no delivery {delivery_id}")

    def _at(self, ref: MessageRef) -> list[Entry]:
        return [e for e in self.book.entries.values() if e.present and e.ref == ref]

    def _take(self, ref: MessageRef) -> None:
        if ref in self.book.foreign or self._at(ref):
            raise InvariantBroken("one place holds one message")

    def _apply(self, step: life.Step) -> Entry:
        self.book.entries[step.entry.id] = step.entry
        self.book.events.extend(step.events)
        return step.entry


class MemoryLedger:
    """Passes the ledger contract (tests/contract/test_ledger.py).

    What `book` holds survives a crash: an exception in `writing`, also one that is no
    `Exception`, leaves it as it was. `fail_next` makes a commit fail.
    """

    def __init__(self, *, clock: Clock, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        self.book = Book()
        self.faults: list[tuple[Literal["before", "after"], BaseException]] = []
        self._clock = clock
        self.born_at = clock.now()
        self._busy_timeout = busy_timeout
        self._ids = itertools.count(1)
        self._turn = threading.Lock()
        self._whose: int | None = None

    def fail_next(self, when: Literal["before", "after"], error: BaseException) -> None:
        """Raise `error` just "before" or "after" the next commit takes effect."""
        self.faults.append((when, error))

    @contextmanager
    def writing(self) -> Iterator[MemoryWriter]:
        me = threading.get_ident()
        if self._whose == me:
            raise InvariantBroken("a transaction on the ledger was opened inside another")
        if not self._turn.acquire(timeout=self._busy_timeout):
            raise NotNow("the ledger does not answer: another thread holds it")
        self._whose = me
        try:
            writer = MemoryWriter(self.book.copy(), self._clock, self._ids)
            yield writer
            when, error = self.faults.pop(0) if self.faults else ("never", None)
            if when == "before" and error:
                raise error
            self.book = writer.book
            if error:
                raise error
        finally:
            self._whose = None
            self._turn.release()

    def close(self) -> None:
        """There is nothing to close."""

    def entry(self, entry_id: str) -> Entry | None:
        return self.book.entries.get(entry_id)

    def entries(
        self, *, state: State | None = None, site: FinessET | None = None
    ) -> Iterator[Entry]:
        for entry in self._sorted():
            if state in {None, entry.state} and site in {None, entry.site}:
                yield entry

    def entries_at(self, refs: Iterable[MessageRef]) -> Mapping[MessageRef, Entry]:
        wanted = set(refs)
        return {e.ref: e for e in self._sorted() if e.present and e.ref in wanted}

    def same_content(self, key: ContentKey) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self._sorted()
            if (entry.site, entry.file_number, entry.sha256)
            == (key.site, key.file_number, key.sha256)
        )

    def same_raw(self, raw_sha256: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._sorted() if entry.raw_sha256 == raw_sha256)

    def latest_of(self, site: FinessET, file_number: str) -> Entry | None:
        latest = None
        for entry in self._sorted():
            same = (entry.site, entry.file_number) == (site, file_number)
            if same and entry.duplicate_of is None:
                latest = entry
        return latest

    def unsettled(self, mailbox: str) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self._sorted(mailbox)
            if any(delivery.state in UNDER_WAY for delivery in entry.deliveries)
        )

    def due(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self._sorted(mailbox)
            if any(
                delivery.state is DeliveryState.DECIDED
                and (delivery.next_try_at is None or delivery.next_try_at <= now)
                for delivery in entry.deliveries
            )
        )

    def opening(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self._sorted(mailbox)
            if any(
                delivery.state is DeliveryState.WAITING
                and delivery.next_try_at is not None
                and delivery.next_try_at <= now
                for delivery in entry.deliveries
            )
        )

    def next_due(self, mailbox: str) -> datetime | None:
        return min(
            (
                delivery.next_try_at or entry.received_at
                for entry in self._sorted(mailbox)
                for delivery in entry.deliveries
                if delivery.state is DeliveryState.DECIDED
                or (delivery.state is DeliveryState.WAITING and delivery.next_try_at)
            ),
            default=None,
        )

    def place(self, mailbox: str) -> Place | None:
        return self.book.places.get(mailbox)

    def last_did(self, errand: str) -> datetime | None:
        return self.book.errands.get(errand)

    def refusals(self, mailbox: str) -> Refusals | None:
        return self.book.refusals.get(mailbox)

    def known(self, mailbox: str, uidvalidity: int) -> Mapping[int, Identity]:
        there = {e.ref: e.identity for e in self.book.entries.values() if e.present}
        return {
            ref.uid: identity
            for ref, identity in {**self.book.foreign, **there}.items()
            if (ref.mailbox, ref.uidvalidity) == (mailbox, uidvalidity)
        }

    def openings(self, mailbox: str, uidvalidity: int) -> Mapping[int, int]:
        return {
            ref.uid: count
            for ref, count in self.book.openings.items()
            if (ref.mailbox, ref.uidvalidity) == (mailbox, uidvalidity)
        }

    def lacking_keyword(self, mailbox: str, uidvalidity: int) -> tuple[int, ...]:
        return tuple(
            sorted(
                entry.ref.uid
                for entry in self._sorted(mailbox)
                if entry.ref.uidvalidity == uidvalidity
                and entry.present
                and not entry.keyword_set
                and entry.state in SETTLED
            )
        )

    def balance(self) -> Balance:
        def count(state: State) -> int:
            return sum(1 for entry in self.book.entries.values() if entry.state is state)

        purged = [e for e in self.book.entries.values() if e.state is State.PURGED]
        copies = sum(1 for entry in purged if entry.duplicate_of)
        return Balance(
            received=self.book.received,
            delivered=count(State.DELIVERED) + len(purged) - copies,
            held=count(State.HELD),
            pending=count(State.PENDING),
            duplicate=count(State.DUPLICATE) + copies,
            expired=count(State.EXPIRED),
            foreign=self.book.foreign_seen,
        )

    def flaws(self) -> tuple[str, ...]:
        found = []
        if self.book.received != len(self.book.entries):
            found.append("not every message that was counted is in the ledger")
        if self.book.foreign_seen != len(self.book.foreign) + self.book.foreign_gone:
            found.append("not every foreign mail that was counted lies there or is gone")
        for entry in self.book.entries.values():
            found.extend(_flaws_of(entry, self.history(entry.id)))
        return tuple(found)

    def history(self, entry_id: str) -> tuple[Event, ...]:
        return tuple(event for event in self.book.events if event.entry == entry_id)

    def acts(self, entry_id: str) -> tuple[Act, ...]:
        return tuple(act for act in self.book.acts if act.entry == entry_id)

    def mount_of(self, path: str) -> str | None:
        return self.book.mounts.get(path)

    def remember_mount(self, path: str, mount_point: str) -> None:
        if self.mount_of(path) != mount_point:
            with self.writing() as writer:
                writer.book.mounts[path] = mount_point

    def _sorted(self, mailbox: str | None = None) -> list[Entry]:
        found = [
            entry
            for entry in self.book.entries.values()
            if mailbox in {None, entry.ref.mailbox}
        ]
        return sorted(found, key=lambda entry: entry.received_at)


def _flaws_of(entry: Entry, history: Sequence[Event]) -> Iterator[str]:
    follows = state_of([delivery.state for delivery in entry.deliveries])
    if entry.deliveries and entry.state not in {State.PURGED, follows}:
        yield f"message {entry.id} is not in the state that its deliveries say"
    told, breaks = life.folded(history)
    yield from breaks
    stands: dict[str | None, str] = {d.id: d.state.value for d in entry.deliveries}
    stands[None] = entry.state.value
    if dict(told) != stands:
        yield f"message {entry.id}: its history does not lead to its present state"
