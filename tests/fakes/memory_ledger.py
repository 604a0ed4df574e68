"""A ledger in memory: the same rules and the same transactions as the real one."""

from __future__ import annotations

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal

from dispatcher.core import audit, erasure, life
from dispatcher.core.audit import Deed, Mark, Trace, What
from dispatcher.core.certificate import ContentKey, HoldReason
from dispatcher.core.delivery import Removal
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
from dispatcher.core.paris import PARIS
from dispatcher.core.report import Turnover
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import (
    CHANGES_KEPT,
    VERSIONS_KEPT,
    Change,
    Origin,
    Refusal,
    RulesState,
)
from dispatcher.core.vitals import Room, Tally
from dispatcher.errors import InvariantBroken, NotNow
from dispatcher.ports import Alike, Clock

_BUSY_TIMEOUT = 10.0  # seconds
SECRET = b"a ledger in memory has one as well"


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
    traces: list[Trace] = field(default_factory=list)
    trail_start: Mark = audit.START
    trail_end: Mark = audit.START
    memos: dict[str, str] = field(default_factory=dict)
    versions: dict[str, bytes] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    refusal: Refusal | None = None
    owners: dict[str, str] = field(default_factory=dict)
    places_taken: dict[MessageRef, str] = field(default_factory=dict)
    received: int = 0
    foreign_seen: int = 0
    foreign_gone: int = 0
    # Which entries are not empty yet, and which have a copy that somebody changed. Most
    # questions are about these few; looked for among all, a year of them takes minutes.
    full: dict[str, None] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)

    def copy(self) -> Book:
        """Return a book that shares the long tables: who changes one copies it first."""
        return replace(
            self,
            foreign=dict(self.foreign),
            openings=dict(self.openings),
            places=dict(self.places),
            mounts=dict(self.mounts),
            refusals=dict(self.refusals),
            errands=dict(self.errands),
            memos=dict(self.memos),
            versions=dict(self.versions),
            changes=list(self.changes),
        )


Long = Literal["entries", "events", "traces", "owners", "places_taken", "full", "changed"]


class MemoryWriter:
    """See `ports.Writer`. Works on a copy that replaces the book at the end."""

    def __init__(self, book: Book, clock: Clock, ids: Iterator[int]) -> None:
        self.book = book
        self._clock = clock
        self._ids = ids
        self._copied: set[Long] = set()

    def recall(self, entry_ids: Iterable[str]) -> None:
        for _ in entry_ids:
            pass  # everything is in memory

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
        self._put(life.relocated(entry, ref, identity))

    def absent(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings.pop(ref, None)
            self.book.foreign_gone += self.book.foreign.pop(ref, None) is not None
            for entry in self._at(ref):
                self._put(replace(entry, present=False))

    def move(
        self,
        delivery_id: str,
        to: DeliveryState,
        *,
        because: str = "",
        reason: HoldReason | None = None,
        reference: str | None = None,
        next_try_at: datetime | None = None,
        rules: str | None = None,
    ) -> Entry:
        now = self._clock.now()
        turn = life.Turn(to, now, because, reason, reference, next_try_at, rules)
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
        return self._put(life.planned(self._owner(delivery_id), delivery_id, at))

    def expect(self, entry_id: str, state: State) -> None:
        life.expected(self._entry(entry_id), state)

    def record(self, act: Act) -> None:
        self._entry(act.entry)
        self.trace(audit.deed_of(act))

    def trace(self, deed: Deed) -> None:
        whole = replace(deed, at=life.utc(deed.at))
        trace = audit.linked(SECRET, self.book.trail_end, self._new_id(), whole)
        self._own("traces")
        self.book.traces.append(trace)
        self.book.trail_end = Mark(trace.seq, trace.digest)

    def trim_trail(self, before: datetime) -> int:
        gone = list(itertools.takewhile(lambda t: t.deed.at < before, self.book.traces))
        if gone:
            self.book.trail_start = Mark(gone[-1].seq, gone[-1].digest)
            self.book.traces = self.book.traces[len(gone) :]
        return len(gone)

    def note(self, name: str, value: str | None) -> None:
        self.book.memos.pop(name, None)
        if value is not None:
            self.book.memos[name] = value

    def take_rules(self, change: Change, content: bytes) -> None:
        self.book.changes.append(replace(change, at=life.utc(change.at)))
        self.book.changes = self.book.changes[-CHANGES_KEPT:]
        self.book.versions.setdefault(change.digest, content)
        if change.origin is not Origin.SET_ASIDE:
            self.book.refusal = None
        newest = dict.fromkeys(one.digest for one in reversed(self.book.changes))
        kept = {*list(newest)[:VERSIONS_KEPT]} | {
            delivery.rules
            for entry in self.book.entries.values()
            for delivery in entry.deliveries
            if delivery.state is not DeliveryState.DISCARDED and delivery.removal is None
        }
        self.book.versions = {k: v for k, v in self.book.versions.items() if k in kept}

    def refuse_rules(self, refusal: Refusal | None) -> None:
        self.book.refusal = refusal and replace(refusal, since_at=life.utc(refusal.since_at))

    def begin_purge(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            self._put(erasure.begun(self._entry(entry_id), self._clock.now()))

    def mail_gone(self, entry_id: str, how: Removal) -> Entry:
        return self._put(erasure.mail_gone(self._entry(entry_id), how, self._clock.now()))

    def located(self, delivery_id: str, reference: str) -> Entry:
        return self._put(erasure.located(self._owner(delivery_id), delivery_id, reference))

    def copy_gone(self, delivery_id: str, how: Removal) -> Entry:
        entry, now = self._owner(delivery_id), self._clock.now()
        return self._put(erasure.copy_gone(entry, delivery_id, how, now))

    def empty(self, entry_id: str) -> Entry:
        return self._apply(erasure.emptied(self._entry(entry_id), SECRET, self._clock.now()))

    def expire(self, entry_id: str) -> Entry:
        return self._apply(erasure.expired(self._entry(entry_id), self._clock.now()))

    def keep(self, entry_id: str, until: datetime | None) -> Entry:
        kept = None if until is None else life.utc(until)
        return self._put(replace(self._entry(entry_id), kept_until=kept))

    def warned(self, entry_id: str, hours: int) -> None:
        entry = self._entry(entry_id)
        first = entry.warned_at or life.utc(self._clock.now())
        self._put(replace(entry, warned_at=first, warned=hours))

    def set_term(self, entry_id: str, purge_at: datetime) -> None:
        self._put(replace(self._entry(entry_id), purge_at=life.utc(purge_at)))

    def forget_keys(self, received_before: datetime) -> int:
        before = life.utc(received_before)  # moments of one zone are compared fast
        old = [
            entry
            for entry in self.book.entries.values()
            if entry.key_digest is not None and entry.received_at <= before
        ]
        for entry in old:
            self._put(replace(entry, key_digest=None))
        return len(old)

    def opening(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings[ref] = self.book.openings.get(ref, 0) + 1

    def opened(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            self.book.openings.pop(ref, None)

    def keyword_set(self, refs: Iterable[MessageRef]) -> None:
        for ref in refs:
            for entry in self._at(ref):
                self._put(replace(entry, keyword_set=True))

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
        if delivery_id not in self.book.owners:
            raise InvariantBroken(f"the ledger has no delivery {delivery_id}")
        return self.book.entries[self.book.owners[delivery_id]]

    def _at(self, ref: MessageRef) -> list[Entry]:
        entry_id = self.book.places_taken.get(ref)
        return [] if entry_id is None else [self.book.entries[entry_id]]

    def _take(self, ref: MessageRef) -> None:
        if ref in self.book.foreign or self._at(ref):
            raise InvariantBroken("one place holds one message")

    def _apply(self, step: life.Step) -> Entry:
        if step.events:
            self._own("events")
            self.book.events.extend(step.events)
        return self._put(step.entry)

    def _put(self, entry: Entry) -> Entry:
        self._own("entries")
        before = self.book.entries.get(entry.id)
        self._place(before, entry)
        self.book.entries[entry.id] = entry
        self._list("full", entry.id, is_in=entry.emptied_at is None)
        self._list("changed", entry.id, is_in=_is_changed(entry))
        new = [one.id for one in entry.deliveries if one.id not in self.book.owners]
        if new:
            self._own("owners")
            self.book.owners.update(dict.fromkeys(new, entry.id))
        return entry

    def _place(self, before: Entry | None, entry: Entry) -> None:
        there = before.ref if before is not None and before.present else None
        now = entry.ref if entry.present else None
        if there == now and (now is None or self.book.places_taken.get(now) == entry.id):
            return
        self._own("places_taken")
        if there is not None:
            self.book.places_taken.pop(there, None)
        if now is not None:
            self.book.places_taken[now] = entry.id

    def _list(self, name: Literal["full", "changed"], entry_id: str, *, is_in: bool) -> None:
        if is_in == (entry_id in getattr(self.book, name)):
            return
        self._own(name)
        listed: dict[str, None] = getattr(self.book, name)
        if is_in:
            listed[entry_id] = None
        else:
            del listed[entry_id]

    def _own(self, name: Long) -> None:
        """Copy a long table before this transaction's first change of it."""
        if name not in self._copied:
            self._copied.add(name)
            setattr(self.book, name, copy.copy(getattr(self.book, name)))


def _is_changed(entry: Entry) -> bool:
    return any(delivery.removal is Removal.CHANGED for delivery in entry.deliveries)


class MemoryLedger:
    """Passes the ledger contract (tests/contract/test_ledger.py).

    What `book` holds survives a crash: an exception in `writing`, also one that is no
    `Exception`, leaves it as it was. `fail_next` makes a commit fail.
    """

    def __init__(self, *, clock: Clock, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        self.book = Book()
        self.disk: Room | None = None
        self.faults: list[tuple[Literal["before", "after"], BaseException]] = []
        self._clock = clock
        self.born_at = clock.now()
        self.read_by_others = 0
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
        self,
        *,
        state: State | None = None,
        site: FinessET | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Entry]:
        for entry in self._sorted():
            kinds = {None, *(delivery.kind for delivery in entry.deliveries)}
            if state in {None, entry.state} and site in {None, entry.site} and kind in kinds:
                yield entry

    def entries_at(self, refs: Iterable[MessageRef]) -> Mapping[MessageRef, Entry]:
        taken = self.book.places_taken
        return {ref: self.book.entries[taken[ref]] for ref in refs if ref in taken}

    def _same_content(self, key: ContentKey) -> tuple[Entry, ...]:
        purged = erasure.key_digest(SECRET, key)
        return tuple(
            entry
            for entry in self._sorted()
            if (entry.site, entry.file_number, entry.sha256)
            == (key.site, key.file_number, key.sha256)
            or entry.key_digest == purged
        )

    def _same_raw(self, raw_sha256: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._sorted() if entry.raw_sha256 == raw_sha256)

    def _latest_of(self, site: FinessET, file_number: str) -> Entry | None:
        latest = None
        for entry in self._sorted():
            same = (entry.site, entry.file_number) == (site, file_number)
            if same and entry.duplicate_of is None:
                latest = entry
        return latest

    def remarked(self, words: str) -> tuple[str, ...]:
        return tuple(
            entry.id
            for entry in self.entries()
            if any(words in delivery.because for delivery in entry.deliveries)
        )

    def alike(self, raws: Sequence[str], keys: Sequence[ContentKey]) -> Alike:
        tests = {(key.site, key.file_number) for key in keys}
        latest = {test: self._latest_of(*test) for test in tests}
        return Alike(
            {raw: found for raw in raws if (found := self._same_raw(raw))},
            {key: found for key in keys if (found := self._same_content(key))},
            {test: entry for test, entry in latest.items() if entry is not None},
        )

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
        present = [self.book.entries[one] for one in self.book.places_taken.values()]
        there = {entry.ref: entry.identity for entry in present}
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

    def arrivals(self, since: datetime) -> Mapping[FinessET, Mapping[date, int]]:
        found: dict[FinessET, dict[date, int]] = {}
        for entry in self.book.entries.values():
            if entry.site is not None and entry.received_at >= since:
                on = entry.received_at.astimezone(PARIS).date()
                days = found.setdefault(entry.site, {})
                days[on] = days.get(on, 0) + 1
        return found

    def turnover(self, since: datetime, until: datetime) -> tuple[Turnover, ...]:
        seen = {
            (event.entry, event.delivery, event.became, event.was is None)
            for event in self.book.events
            if since <= event.at < until
        }
        counts = Counter(
            (*self._owner_of(entry, delivery), became, began)
            for entry, delivery, became, began in seen
        )
        return tuple(Turnover(*key, count) for key, count in counts.items())

    def _owner_of(
        self, entry_id: str, delivery_id: str | None
    ) -> tuple[FinessET | None, Kind | None]:
        entry = self.book.entries[entry_id]
        if delivery_id is None:
            return entry.site, None
        (delivery,) = (one for one in entry.deliveries if one.id == delivery_id)
        return delivery.site or entry.site, delivery.kind

    def room(self) -> Room | None:
        return self.disk

    def tallies(self) -> tuple[Tally, ...]:
        counts = Counter(
            (delivery.site or entry.site, delivery.target, delivery.kind, delivery.state)
            for entry in self.book.entries.values()
            for delivery in entry.deliveries
        )
        return tuple(
            Tally(site, target, kind, state, count)
            for (site, target, kind, state), count in counts.items()
            if site is not None
        )

    def flaws(self) -> tuple[str, ...]:
        found = []
        if self.book.received != len(self.book.entries):
            found.append("not every message that was counted is in the ledger")
        if self.book.foreign_seen != len(self.book.foreign) + self.book.foreign_gone:
            found.append("not every foreign mail that was counted lies there or is gone")
        broken = self.trail_flaw()
        if broken:
            found.append(f"the audit trail is broken: {broken}")
        histories: dict[str, list[Event]] = {}
        for event in self.book.events:
            histories.setdefault(event.entry, []).append(event)
        for entry in self.book.entries.values():
            found.extend(_flaws_of(entry, histories.get(entry.id, [])))
        return tuple(found)

    def history(self, entry_id: str) -> tuple[Event, ...]:
        return tuple(event for event in self.book.events if event.entry == entry_id)

    def acts(self, entry_id: str) -> tuple[Act, ...]:
        return tuple(
            audit.act_of(trace.deed)
            for trace in self.book.traces
            if trace.deed.entry == entry_id and trace.deed.what is What.DECISION
        )

    def rules_state(self) -> RulesState | None:
        taken = [c for c in self.book.changes if c.origin is not Origin.SET_ASIDE]
        if not taken:
            return None
        return RulesState(taken[-1].digest, taken[-1].at, self.book.refusal)

    def rules_history(self) -> tuple[Change, ...]:
        return tuple(self.book.changes)

    def rules_content(self, digest: str) -> bytes | None:
        return self.book.versions.get(digest)

    def memo(self, name: str) -> str | None:
        return self.book.memos.get(name)

    def memos(self, prefix: str) -> Mapping[str, str]:
        return {k: v for k, v in sorted(self.book.memos.items()) if k.startswith(prefix)}

    def past_term(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        return tuple(
            sorted(
                (
                    entry
                    for entry in self._full()
                    if entry.ref.mailbox == mailbox
                    and entry.purge_at is not None
                    and entry.purge_at <= now
                ),
                key=lambda entry: entry.received_at,
            )
        )

    def backlog(self, mailbox: str, now: datetime) -> tuple[int, datetime | None]:
        terms = [e.purge_at for e in self.past_term(mailbox, now) if e.purge_at is not None]
        return len(terms), min(terms, default=None)

    def undelivered(self, mailbox: str, until: datetime) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self.past_term(mailbox, until)
            if entry.state in {State.PENDING, State.HELD}
        )

    def lying(self, mailbox: str) -> int:
        return sum(1 for ref in self.book.places_taken if ref.mailbox == mailbox)

    def vanished(self, mailbox: str) -> int:
        return sum(
            1
            for entry in self._full()
            if entry.ref.mailbox == mailbox and not entry.present and entry.removal is None
        )

    def changed_copies(self) -> tuple[Entry, ...]:
        changed = [self.book.entries[one] for one in self.book.changed]
        return tuple(sorted(changed, key=lambda entry: entry.received_at))

    def trail(self, since: datetime | None = None) -> Iterator[Trace]:
        yield from (t for t in self.book.traces if since is None or t.deed.at >= since)

    def trail_flaw(self) -> str | None:
        start, end = self.book.trail_start, self.book.trail_end
        return audit.flaw(SECRET, self.book.traces, start=start, end=end)

    def scour(self) -> bool:
        """Return False as often as somebody is said to read it just then."""
        if not self.read_by_others:
            return True
        self.read_by_others -= 1
        return False

    def mounts(self) -> Mapping[str, str]:
        return dict(self.book.mounts)

    def remember_mounts(self, mount_points: Mapping[str, str]) -> None:
        with self.writing() as writer:
            writer.book.mounts.update(mount_points)

    def _full(self) -> list[Entry]:
        book = self.book
        return [book.entries[one] for one in book.full]

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
