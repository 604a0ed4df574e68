"""What keeps deliveries from their end, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.core.ledger import ENDED, Delivery, DeliveryState, Entry
from dispatcher.core.vitals import Hindrance
from dispatcher.ports import Clock, Ledger
from dispatcher.service.lanes import Lane

_log = structlog.get_logger(__name__)

# Printing takes seconds; whatever takes longer than this wants a person's eye.
LONG: Final = timedelta(minutes=30)


def hindrances(ledger: Ledger, entries: Iterable[Entry]) -> Mapping[Lane, Hindrance]:
    """Return it by site and target, from messages in the order of their reception.

    What waits as its rules want it, or for a person, is told only where nothing is hindered.
    """
    moving: dict[Lane, tuple[Entry, Delivery]] = {}
    held: dict[Lane, tuple[Entry, Delivery]] = {}
    waiting: dict[Lane, tuple[Entry, Delivery]] = {}
    kinds = {DeliveryState.HELD: held, DeliveryState.WAITING: waiting}
    for entry in entries:
        for delivery in entry.deliveries:
            if delivery.state not in ENDED and delivery.because:
                found = kinds.get(delivery.state, moving)
                site = delivery.site or entry.site
                if site is not None:
                    found.setdefault((site, delivery.target), (entry, delivery))
    return {
        key: Hindrance(delivery.because, since(ledger, entry, delivery))
        for key, (entry, delivery) in (held | waiting | moving).items()
    }


def since(ledger: Ledger, entry: Entry, delivery: Delivery) -> datetime:
    """Return since when a delivery stands where it stands; still to be made: since ever."""
    history = [event.at for event in ledger.history(entry.id) if event.delivery == delivery.id]
    if not history:
        return entry.received_at
    return history[0] if delivery.state is DeliveryState.DECIDED else history[-1]


class Overdue:
    """Warns once of each delivery that its destination works on for too long."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._since: dict[str, datetime] = {}
        self._told: set[str] = set()

    def look(self, followed: Iterable[tuple[Entry, Delivery]]) -> None:
        """Look at every delivery that is followed now; what is not among them has ended."""
        by_id = {delivery.id: (entry, delivery) for entry, delivery in followed}
        self._since = {key: at for key, at in self._since.items() if key in by_id}
        self._told &= by_id.keys()
        for key, (entry, delivery) in by_id.items():
            if key not in self._told and self._age(entry, delivery) >= LONG:
                self._told.add(key)
                _warn(entry, delivery, self._since[key])

    def _age(self, entry: Entry, delivery: Delivery) -> timedelta:
        if delivery.id not in self._since:
            self._since[delivery.id] = since(self._ledger, entry, delivery)
        return self._clock.now() - self._since[delivery.id]


def _warn(entry: Entry, delivery: Delivery, since_at: datetime) -> None:
    _log.warning(
        "delivery_took_long",
        id=entry.id,
        site=str(delivery.site or entry.site),
        target=delivery.target,
        since=since_at.isoformat(),
        because=delivery.because,
    )
