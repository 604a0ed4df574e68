"""Lays a page before a batch of prints, where the rules ask for one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.ledger import DeliveryState
from dispatcher.core.routing import Site
from dispatcher.service.desk import Desk
from dispatcher.service.gate import target_of
from dispatcher.service.lanes import Lane

# Prints to one queue belong to one batch until it was quiet for that long.
_QUIET: Final = timedelta(minutes=10)


class Separators:
    """The separators of one mailbox's prints; see `before`.

    A separator is no delivery: the ledger does not know it, nobody follows it, and when it
    fails the certificates go without. It bears the site's name and a count alone.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._batches: dict[Lane, datetime] = {}

    def before(
        self, lane: Lane, deliveries: Collection[str], mailboxes: Iterable[str]
    ) -> Callable[[], None] | None:
        """Return what lays the page before these deliveries (ids); None: none belongs there.

        One belongs before several certificates for one queue, whether they go now or wait
        in turn behind these; at most one a batch, which ends when the queue was quiet for
        10 minutes.
        """
        site = self._separated(lane)
        if site is None:
            return None
        now = self._desk.clock.now()
        began = self._batches.get(lane)
        if began is not None and timedelta(0) <= now - began < _QUIET:
            self._batches[lane] = now
            return None
        count = len(deliveries) + self._behind(lane, deliveries, mailboxes)
        if count <= 1:
            return None
        self._batches[lane] = now
        return partial(self._lay, lane, site, count)

    def _separated(self, lane: Lane) -> Site | None:
        target = target_of(self._desk.rules, *lane)
        wanted = target is not None and target.printing and target.printing.separator
        if not wanted or self._desk.paper is None:
            return None
        return self._desk.rules.site_of(lane[0])

    def _behind(self, lane: Lane, deliveries: Collection[str], mailboxes: Iterable[str]) -> int:
        """Count the certificates of the lane that are to be printed and are not among these."""
        far = self._desk.clock.now() + timedelta(days=1)
        return sum(
            (delivery.site or entry.site, delivery.target) == lane
            and delivery.state is DeliveryState.DECIDED
            and delivery.id not in deliveries
            for mailbox in set(mailboxes)
            for entry in self._desk.ledger.due(mailbox, far)
            for delivery in entry.deliveries
        )

    def _lay(self, lane: Lane, site: Site, count: int) -> None:
        """Send the page; what it comes to matters to nobody but the next batch."""
        destination = self._desk.page_destination(*lane)
        if destination is None or self._desk.paper is None:
            return
        page = self._desk.paper().separator(site.name or str(site.finess), count)
        order = Order(secrets.token_hex(16), *lane, Document("separateur.pdf", page))
        (outcome,) = destination.deliver([order])
        if not isinstance(outcome, Accepted | Receipt):
            self._batches.pop(lane, None)
