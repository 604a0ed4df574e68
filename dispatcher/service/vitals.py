"""Takes the vitals: reads from the ledger, at one moment, how the service stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from dispatcher.core.ledger import DeliveryState, Entry, Event, State
from dispatcher.core.routing import Kind, Rules
from dispatcher.core.vitals import (
    Deadline,
    HeldVitals,
    LaneVitals,
    MailboxVitals,
    Oldest,
    Stopped,
    Vitals,
)
from dispatcher.ports import Ledger
from dispatcher.service.hindrance import hindrances
from dispatcher.service.lanes import Lane
from dispatcher.service.logins import refused_at
from dispatcher.service.pulse import Pulses
from dispatcher.service.purge import brakes, quota

# What something is being done about now, or could be.
_MOVING = frozenset({DeliveryState.DECIDED, DeliveryState.DELIVERING, DeliveryState.IN_DOUBT})


def take(
    ledger: Ledger,
    rules: Rules,
    mailboxes: Sequence[str],
    *,
    now: datetime,
    started_at: datetime | None = None,
    pulses: Pulses | None = None,
) -> Vitals:
    """Return the vitals at `now`; `mailboxes` are the names in the settings.

    It reads what is pending and held and counts the rest, so that it costs the same after
    years. From inside a service come `started_at` and `pulses`. Raises Unavailable.
    """
    pending = list(ledger.entries(state=State.PENDING))
    held = list(ledger.entries(state=State.HELD))
    return Vitals(
        at=now,
        balance=ledger.balance(),
        mailboxes=tuple(_mailbox(ledger, name, pending, now) for name in mailboxes),
        lanes=tuple(_lanes(ledger, rules, [*pending, *held])),
        held=tuple(
            HeldVitals(entry.id, entry.site, entry.reason)
            for entry in held
            if entry.reason is not None
        ),
        deadlines=_deadlines([*pending, *held]),
        started_at=started_at,
        silences={} if pulses is None else pulses.silences(),
        rules=ledger.rules_state(),
        vanished=tuple(entry.id for entry in [*pending, *held] if not entry.present),
    )


def _mailbox(
    ledger: Ledger, name: str, pending: Iterable[Entry], now: datetime
) -> MailboxVitals:
    place, refusals = ledger.place(name), ledger.refusals(name)
    past_term, overdue_at = ledger.backlog(name, now)
    return MailboxVitals(
        name,
        checked_at=None if place is None else place.checked_at,
        oldest=_oldest(ledger, [entry for entry in pending if entry.ref.mailbox == name]),
        refusals=0 if refusals is None else refusals.count,
        refused_at=refused_at(ledger, name),
        purged_at=ledger.last_did(f"purge {name}"),
        past_term=past_term,
        overdue_at=overdue_at,
        stopped=_stopped(ledger, name),
        quota=quota.read(ledger, name),
    )


def _stopped(ledger: Ledger, name: str) -> Stopped | None:
    found = brakes.read(ledger, name)
    if found is None:
        return None
    words = frozenset(one.value for one in found.brakes)
    return Stopped(words, found.since, asks=found.only_asks)


def _oldest(ledger: Ledger, pending: Iterable[Entry]) -> Oldest | None:
    """Return the one that has been on its way longest, from messages by reception."""
    found: Oldest | None = None
    for entry in pending:
        if found is not None and entry.received_at >= found.since_at:
            break
        if any(delivery.state in _MOVING for delivery in entry.deliveries):
            since_at = on_its_way_since(entry, ledger.history(entry.id))
            if found is None or since_at < found.since_at:
                found = Oldest(entry.id, since_at)
    return found


def on_its_way_since(entry: Entry, history: Iterable[Event]) -> datetime:
    """Return since when a pending message could be delivered.

    That is its reception, or a later moment at which its site opened or a person released
    it or asked for it once more.
    """
    moments = [event.at for event in history if _lets_go(event)]
    return max([entry.received_at, *moments])


def _lets_go(event: Event) -> bool:
    if event.delivery is None:
        return event.became is State.PENDING and event.was is not None
    return event.was is DeliveryState.WAITING and event.became is DeliveryState.DECIDED


def _lanes(ledger: Ledger, rules: Rules, entries: Sequence[Entry]) -> Iterator[LaneVitals]:
    kinds: dict[Lane, Kind] = {}
    counts: dict[Lane, dict[DeliveryState, int]] = {}
    for tally in ledger.tallies():
        lane = (tally.site, tally.target)
        kinds[lane] = tally.kind
        by_state = counts.setdefault(lane, {})
        by_state[tally.state] = by_state.get(tally.state, 0) + tally.count
    for site in rules.sites.values():
        kinds |= {(site.finess, target.name): target.kind for target in site.targets}
    by = sorted(entries, key=lambda entry: entry.received_at)
    hindered = hindrances(ledger, by)
    for lane in sorted(kinds, key=_place):
        yield LaneVitals(*lane, kinds[lane], counts.get(lane, {}), hindered.get(lane))


def _place(lane: Lane) -> tuple[str, str]:
    site, target = lane
    return str(site), target


def _deadlines(entries: Iterable[Entry]) -> tuple[Deadline, ...]:
    found = [
        Deadline(entry.id, entry.site, entry.purge_at)
        for entry in entries
        if entry.purge_at is not None
    ]
    return tuple(sorted(found, key=lambda deadline: deadline.at))
