"""What `ports.Writer` asks of a transaction, each in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import delete, literal_column
from sqlalchemy.dialects.sqlite import insert as upsert

from dispatcher.core import audit, erasure, life
from dispatcher.core.audit import Deed
from dispatcher.core.certificate import HoldReason
from dispatcher.core.delivery import Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    Act,
    DeliveryState,
    Entry,
    Identity,
    NewDelivery,
    NewEntry,
    Place,
    State,
)
from dispatcher.core.message import MessageRef
from dispatcher.core.rulebook import Change, Refusal
from dispatcher.edges.ledger import kept, reading, rows
from dispatcher.edges.ledger.gathering import Gathering, new_id, place_line
from dispatcher.edges.ledger.schema import (
    AUDIT,
    ERRAND,
    FOREIGN,
    MEMO,
    OPENING,
    PLACE,
    REFUSAL,
)
from dispatcher.edges.ledger.statements import Prepared

_OPENING: Final = Prepared(
    upsert(OPENING).on_conflict_do_update(
        index_elements=["mailbox", "uidvalidity", "uid"],
        set_={"count": OPENING.c.count + literal_column("1")},
    )
)
_PLACE: Final = Prepared(
    upsert(PLACE).on_conflict_do_update(
        index_elements=["mailbox"],
        set_={
            n: getattr(upsert(PLACE).excluded, n)
            for n in ("uidvalidity", "uidnext", "checked_at", "since")
        },
    )
)
_REFUSAL: Final = Prepared(
    upsert(REFUSAL).on_conflict_do_update(
        index_elements=["mailbox"],
        set_={
            "count": REFUSAL.c.count + literal_column("1"),
            "last_at": upsert(REFUSAL).excluded.last_at,
        },
    )
)
_ERRAND: Final = Prepared(
    upsert(ERRAND).on_conflict_do_update(
        index_elements=["name"], set_={"at": upsert(ERRAND).excluded.at}
    )
)
_MEMO: Final = Prepared(
    upsert(MEMO).on_conflict_do_update(
        index_elements=["name"], set_={"value": upsert(MEMO).excluded.value}
    )
)


class SqlWriter(Gathering):
    """See `ports.Writer`. What it gathers is written at the latest at the end."""

    # --- what the port asks

    def recall(self, entry_ids: Iterable[str]) -> None:
        """See `ports.Writer.recall`."""
        self._recall(entry_ids)

    def receive(self, new: NewEntry) -> Entry:
        """See `ports.Writer.receive`."""
        ids = [new_id() for _ in range(1 + len(new.deliveries))]
        step = life.begin(new, ids, self._clock.now())
        self._claim(new.ref)
        return self._stage(None, step)

    def note_foreign(self, ref: MessageRef, identity: Identity) -> None:
        """See `ports.Writer.note_foreign`."""
        self._claim(ref)
        life.utc(identity.internal_at)
        self._foreign[ref] = identity

    def relocate(self, entry_id: str, ref: MessageRef, identity: Identity) -> None:
        """See `ports.Writer.relocate`."""
        entry = self._entry(entry_id)
        if ref != entry.ref:
            self._claim(ref)
            self._vacated.add(entry.ref)
        self._stage(entry, life.Step(life.relocated(entry, ref, identity), ()))

    def absent(self, refs: Iterable[MessageRef]) -> None:
        """See `ports.Writer.absent`."""
        gone = tuple(refs)
        self.flush()
        for entry in self._entries_at(gone):
            self._vacated.add(entry.ref)
            self._stage(entry, life.Step(replace(entry, present=False), ()))
        places = [place_line(ref) for ref in gone]
        foreign = self._delete(FOREIGN, places)
        self._count("foreign_gone", foreign)
        self._delete(OPENING, places)

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
        """See `ports.Writer.move`."""
        entry = self._owner(delivery_id)
        now = self._clock.now()
        turn = life.Turn(to, now, because, reason, reference, next_try_at, rules)
        return self._stage(entry, life.move(entry, delivery_id, turn))

    def divert(self, delivery_id: str, to: NewDelivery, because: str) -> Entry:
        """See `ports.Writer.divert`."""
        entry = self._owner(delivery_id)
        turn = life.Turn(DeliveryState.DISCARDED, self._clock.now(), because)
        fallback = life.begun(to, new_id())
        return self._stage(entry, life.divert(entry, delivery_id, fallback, turn))

    def hold(self, entry_id: str, reason: HoldReason, detail: str) -> Entry:
        """See `ports.Writer.hold`."""
        entry = self._entry(entry_id)
        return self._stage(entry, life.hold(entry, reason, detail, self._clock.now()))

    def release(
        self, entry_id: str, site: FinessET, deliveries: Sequence[NewDelivery]
    ) -> Entry:
        """See `ports.Writer.release`."""
        entry = self._entry(entry_id)
        new = [life.begun(delivery, new_id()) for delivery in deliveries]
        return self._stage(entry, life.release(entry, site, new, self._clock.now()))

    def discard(self, entry_id: str) -> Entry:
        """See `ports.Writer.discard`."""
        entry = self._entry(entry_id)
        return self._stage(entry, life.discard(entry, self._clock.now()))

    def accepted(self, delivery_id: str, reference: str, because: str) -> Entry:
        """See `ports.Writer.accepted`."""
        entry, now = self._owner(delivery_id), self._clock.now()
        step = life.accepted(entry, delivery_id, reference, because=because, at=now)
        return self._stage(entry, step)

    def reprint(self, entry_id: str, target: str) -> Entry:
        """See `ports.Writer.reprint`."""
        entry = self._entry(entry_id)
        return self._stage(entry, life.reprinted(entry, target, new_id(), self._clock.now()))

    def ask(self, delivery_id: str) -> Entry:
        """See `ports.Writer.ask`."""
        entry = self._owner(delivery_id)
        return self._stage(entry, life.asked(entry, delivery_id, self._clock.now()))

    def plan(self, delivery_id: str, at: datetime | None) -> Entry:
        """See `ports.Writer.plan`."""
        entry = self._owner(delivery_id)
        return self._stage(entry, life.Step(life.planned(entry, delivery_id, at), ()))

    def expect(self, entry_id: str, state: State) -> None:
        """See `ports.Writer.expect`."""
        life.expected(self._entry(entry_id), state)

    def record(self, act: Act) -> None:
        """See `ports.Writer.record`."""
        self._entry(act.entry)
        self.trace(audit.deed_of(act))

    def trace(self, deed: Deed) -> None:
        """See `ports.Writer.trace`."""
        self._deeds.append(replace(deed, at=life.utc(deed.at)))

    def opening(self, refs: Iterable[MessageRef]) -> None:
        """See `ports.Writer.opening`."""
        self._many(_OPENING, [{**place_line(ref), "count": 1} for ref in refs])

    def opened(self, refs: Iterable[MessageRef]) -> None:
        """See `ports.Writer.opened`."""
        self._delete(OPENING, [place_line(ref) for ref in refs])

    def keyword_set(self, refs: Iterable[MessageRef]) -> None:
        """See `ports.Writer.keyword_set`."""
        self.flush()
        for entry in self._entries_at(tuple(refs)):
            self._stage(entry, life.Step(life.marked(entry), ()))

    def did(self, errand: str, at: datetime) -> None:
        """See `ports.Writer.did`."""
        self._many(_ERRAND, [{"name": errand, "at": rows.stored_time(life.utc(at))}])

    def login_refused(self, mailbox: str) -> None:
        """See `ports.Writer.login_refused`."""
        now = rows.stored_time(life.utc(self._clock.now()))
        self._many(_REFUSAL, [{"mailbox": mailbox, "count": 1, "last_at": now}])

    def login_accepted(self, mailbox: str) -> None:
        """See `ports.Writer.login_accepted`."""
        self._connection.execute(delete(REFUSAL).where(REFUSAL.c.mailbox == mailbox))

    def remember(self, place: Place) -> None:
        """See `ports.Writer.remember`."""
        line = {
            "mailbox": place.mailbox,
            "uidvalidity": place.uidvalidity,
            "uidnext": place.uidnext,
            "checked_at": rows.stored_time(life.utc(place.checked_at)),
            "since": None if place.since is None else place.since.isoformat(),
        }
        self._many(_PLACE, [line])

    # --- the rules in force

    def take_rules(self, change: Change, content: bytes) -> None:
        """See `ports.Writer.take_rules`."""
        self.flush()  # what refers to a version is on its line before versions are counted
        kept.take(self._connection, replace(change, at=life.utc(change.at)), content)

    def refuse_rules(self, refusal: Refusal | None) -> None:
        """See `ports.Writer.refuse_rules`."""
        kept.refuse(self._connection, refusal)

    # --- deletion at the term

    def begin_purge(self, entry_ids: Iterable[str]) -> None:
        """See `ports.Writer.begin_purge`."""
        for entry_id in entry_ids:
            self._set(entry_id, erasure.begun(self._entry(entry_id), self._clock.now()))

    def mail_gone(self, entry_id: str, how: Removal) -> Entry:
        """See `ports.Writer.mail_gone`."""
        entry = self._entry(entry_id)
        self._vacated.add(entry.ref)
        return self._set(entry_id, erasure.mail_gone(entry, how, self._clock.now()))

    def located(self, delivery_id: str, reference: str) -> Entry:
        """See `ports.Writer.located`."""
        entry = self._owner(delivery_id)
        return self._set(entry.id, erasure.located(entry, delivery_id, reference))

    def copy_gone(self, delivery_id: str, how: Removal) -> Entry:
        """See `ports.Writer.copy_gone`."""
        entry, now = self._owner(delivery_id), self._clock.now()
        return self._set(entry.id, erasure.copy_gone(entry, delivery_id, how, now))

    def empty(self, entry_id: str) -> Entry:
        """See `ports.Writer.empty`."""
        entry = self._entry(entry_id)
        return self._stage(entry, erasure.emptied(entry, self._secret, self._clock.now()))

    def expire(self, entry_id: str) -> Entry:
        """See `ports.Writer.expire`."""
        entry = self._entry(entry_id)
        return self._stage(entry, erasure.expired(entry, self._clock.now()))

    def keep(self, entry_id: str, until: datetime | None) -> Entry:
        """See `ports.Writer.keep`."""
        end = None if until is None else life.utc(until)
        return self._set(entry_id, replace(self._entry(entry_id), kept_until=end))

    def warned(self, entry_id: str, hours: int) -> None:
        """See `ports.Writer.warned`."""
        entry = self._entry(entry_id)
        first = entry.warned_at or life.utc(self._clock.now())
        self._set(entry_id, replace(entry, warned_at=first, warned=hours))

    def set_term(self, entry_id: str, purge_at: datetime) -> None:
        """See `ports.Writer.set_term`."""
        self._set(entry_id, replace(self._entry(entry_id), purge_at=life.utc(purge_at)))

    def forget_keys(self, received_before: datetime) -> int:
        """See `ports.Writer.forget_keys`."""
        self.flush()
        ids = reading.with_old_key(self._connection, received_before)
        for entry_id in ids:
            self._set(entry_id, replace(self._entry(entry_id), key_digest=None))
        return len(ids)

    def trim_trail(self, before: datetime) -> int:
        """See `ports.Writer.trim_trail`."""
        self.flush()
        start = reading.mark(self._connection, "start")
        begins = reading.trail_begins(self._connection, before)
        if begins.seq <= start.seq:
            return 0
        self._set_mark("start", begins)
        self._connection.execute(delete(AUDIT).where(AUDIT.c.seq <= begins.seq))
        return begins.seq - start.seq

    def note(self, name: str, value: str | None) -> None:
        """See `ports.Writer.note`."""
        if value is None:
            self._connection.execute(delete(MEMO).where(MEMO.c.name == name))
        else:
            self._many(_MEMO, [{"name": name, "value": value}])

    def _set(self, entry_id: str, after: Entry) -> Entry:
        """Take a change into the next group that moves no state."""
        return self._stage(self._entry(entry_id), life.Step(after, ()))
