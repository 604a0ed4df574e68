"""Re-checks the ledger against mailbox and destinations. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dispatcher.core.certificate import Certificate, Document, Foreign, HoldReason
from dispatcher.core.delivery import Order, Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry, State
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Mailbox, Selected
from dispatcher.service.assess import Assessment, assess
from dispatcher.service.desk import Desk
from dispatcher.service.groups import in_groups
from dispatcher.service.lanes import Lane, Lanes
from dispatcher.service.named import naming
from dispatcher.service.spool import left

Copied = tuple[Entry, Order, str]
"""A message, what was ordered of its document, and the digest of the rules it went by."""

# A destination that takes longer does not answer (seconds).
_SILENCE = 10.0
# Messages fetched and compared together.
_TOGETHER = 64
# States whose message is expected to lie in the mailbox still.
_KEPT = frozenset({State.PENDING, State.HELD, State.DELIVERED, State.DUPLICATE})

# Held without their document having been read: there is nothing to compare.
_UNREAD = frozenset({HoldReason.TOO_LARGE, HoldReason.PDF_UNREADABLE})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the ledger says. `what` names ids only; `id` may be empty."""

    id: str
    what: str


def verify(mailboxes: Sequence[Mailbox], desk: Desk) -> Iterator[Difference]:
    """Yield every difference between the ledger, the mailboxes and the destinations.

    Raises Unavailable or Refused when a mailbox or the ledger does not answer.
    """
    for flaw in desk.ledger.flaws():
        yield Difference("", f"ledger: {flaw}")
    difference = desk.ledger.balance().difference
    if difference:
        yield Difference("", f"balance: {abs(difference)} messages unaccounted for")
    for entry in desk.ledger.changed_copies():
        yield from _left(entry)
    names = {mailbox.name for mailbox in mailboxes}
    strangers = {
        entry.ref.mailbox
        for entry in desk.ledger.entries()
        if entry.ref.mailbox not in names and entry.emptied_at is None
    }
    for name in sorted(strangers):
        yield Difference("", f"ledger: mailbox {name} is in it and not in the settings")
    for mailbox in mailboxes:
        with naming(mailbox.name):
            yield from _Comparison(mailbox, desk).differences()
    yield from _spooled(desk)


def _spooled(desk: Desk) -> Iterator[Difference]:
    lanes: Lanes[tuple[str, ...]] = Lanes(desk.clock, patience=_SILENCE)
    for found in left(desk, lanes):
        for entry in found.entries:
            what = "its print has ended, and the spool still holds its document"
            yield Difference(entry, f"target {found.lane[1]}: {what}")


def _left(entry: Entry) -> Iterator[Difference]:
    for delivery in entry.deliveries:
        if delivery.removal is Removal.CHANGED:
            where = f"site {delivery.site or entry.site}, target {delivery.target}"
            what = f"{where}: its copy was changed there, so it was left: delete it by hand"
            yield Difference(entry.id, what)


class _Comparison:
    def __init__(self, mailbox: Mailbox, desk: Desk) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._lanes: Lanes[list[Difference]] = Lanes(desk.clock, patience=_SILENCE)

    def differences(self) -> Iterator[Difference]:
        selected = self._mailbox.select(read_only=True)
        mine = [e for e in self._desk.ledger.entries() if e.ref.mailbox == self._mailbox.name]
        here = {
            entry.ref.uid: entry
            for entry in mine
            if entry.ref.uidvalidity == selected.uidvalidity and entry.present
        }
        yield from self._not_here(mine, here)
        listed = set(self._mailbox.uids(1))
        yield from self._unread(selected, listed)
        for uids in in_groups(sorted(here), _TOGETHER):
            yield from self._compared(uids, here)

    def _not_here(self, mine: Sequence[Entry], here: dict[int, Entry]) -> Iterator[Difference]:
        lying = {entry.id for entry in here.values()}
        for entry in mine:
            # What went at its term waits for the last of its copies.
            at_its_term = entry.removal is not None or entry.purge_begun_at is not None
            if entry.state in _KEPT and entry.id not in lying and not at_its_term:
                yield Difference(entry.id, "its message is no longer in the mailbox")

    def _unread(self, selected: Selected, listed: set[int]) -> Iterator[Difference]:
        # Below the watermark and never read; what lies above it is new mail.
        place = self._desk.ledger.place(self._mailbox.name)
        if place is None or place.uidvalidity != selected.uidvalidity:
            return
        known = self._desk.ledger.known(self._mailbox.name, selected.uidvalidity)
        for uid in sorted(uid for uid in listed - set(known) if uid < place.uidnext):
            where = f"{self._mailbox.name} {selected.uidvalidity}/{uid}"
            yield Difference("", f"{where}: the message is not in the ledger")

    def _compared(self, uids: Sequence[int], here: dict[int, Entry]) -> Iterator[Difference]:
        fetched = {one.uid: one for one in self._mailbox.fetch(uids)}
        for uid in uids:
            if uid not in fetched and not self._mailbox.too_large(uid):
                yield Difference(here[uid].id, "its message is no longer in the mailbox")
        found = list(fetched.values())
        assessed = assess([one.raw for one in found], self._desk.reader)
        pairs = [
            (here[one.uid], assessment) for one, assessment in zip(found, assessed, strict=True)
        ]
        for entry, assessment in pairs:
            yield from self._message_differences(entry, assessment)
        yield from self._copies([(entry, _document(one)) for entry, one in pairs])

    def _message_differences(
        self, entry: Entry, assessment: Assessment
    ) -> Iterator[Difference]:
        reading = assessment.reading
        if isinstance(reading, Foreign):
            yield Difference(entry.id, "its message reads as foreign mail")
            return
        if entry.sha256 is None and entry.reason in _UNREAD:
            return
        found = None if reading.document is None else reading.document.sha256
        if found != entry.sha256:
            yield Difference(entry.id, "its message holds another document")
        if isinstance(reading, Certificate):
            yield from self._fact_differences(entry, reading, assessment.site)

    def _fact_differences(
        self, entry: Entry, certificate: Certificate, site: FinessET | None
    ) -> Iterator[Difference]:
        facts = certificate.facts
        compared = {
            "site": (entry.site, site),
            "file number": (entry.file_number, certificate.file_number),
            "result": (entry.result, facts.result),
            "sampling time": (_utc(entry.sampled_at), _utc(facts.sampled_at)),
        }
        if any(act.verb == "release" for act in self._desk.ledger.acts(entry.id)):
            # A person chose the site.
            del compared["site"]
        for what, (written, read) in compared.items():
            if written != read:
                yield Difference(entry.id, f"the ledger's {what} is not the message's")

    def _copies(self, pairs: Sequence[tuple[Entry, Document | None]]) -> Iterator[Difference]:
        """Ask each destination for the copies it should hold, each in its own lane."""
        orders: dict[Lane, list[Copied]] = {}
        for entry, document in pairs:
            for delivery in entry.deliveries:
                if document and entry.site and delivery.lies_there:
                    order = Order(delivery.id, entry.site, delivery.target, document)
                    lane = (entry.site, delivery.target)
                    orders.setdefault(lane, []).append((entry, order, delivery.rules))
        work = {
            lane: lambda lane=lane, mine=mine: self._looked(lane, mine)
            for lane, mine in orders.items()
        }
        for group in self._lanes.run(work):
            for ended in group:
                if ended.error is not None:
                    raise ended.error
                yield from ended.result or ()
        for lane in (lane for lane in orders if self._lanes.busy(lane)):
            site, target = lane
            yield Difference("", f"site {site}, target {target}: does not answer")

    def _looked(self, lane: Lane, orders: Sequence[Copied]) -> list[Difference]:
        by = {rules for _, _, rules in orders}
        places = {rules: self._desk.destination(*lane, rules) for rules in by}
        found = []
        for entry, order, rules in orders:
            destination = places[rules]
            if destination is None:
                what = f"target {lane[1]} is no longer in routing.yaml"
                found.append(Difference(entry.id, what))
                continue
            try:
                missing = destination.find(order) is None
                what = "is not there, or was changed" if missing else ""
            except (Unavailable, Refused, InDoubt) as error:
                what = str(error)
            if what:
                found.append(Difference(entry.id, f"copy in target {order.target}: {what}"))
        return found


def _utc(at: datetime | None) -> datetime | None:
    """In UTC: an hour that exists twice equals itself only there (PEP 495)."""
    return None if at is None else at.astimezone(UTC)


def _document(assessment: Assessment) -> Document | None:
    reading = assessment.reading
    return None if isinstance(reading, Foreign) else reading.document
