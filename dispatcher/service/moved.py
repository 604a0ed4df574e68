"""A target that lies elsewhere since a change of the rules: where it was, and where it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dispatcher.core.delivery import Accepted, Order, Receipt, Removal
from dispatcher.core.vitals import PlaceHealth
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Copy, Destination, Finding, Outcome


class Moved:
    """What was delivered to `then` is looked for there, and at `now` as well.

    Either the place was left with what lies in it, or somebody moved it with all its files.
    Only both together can prove that something is nowhere.
    """

    def __init__(self, then: Destination, now: Destination) -> None:
        self._then = then
        self._now = now

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """See `Destination.deliver`: what was decided for the old place goes there."""
        return self._then.deliver(orders)

    def find(self, order: Order) -> Receipt | Accepted | None:
        """See `Destination.find`."""
        silent = None
        try:
            found = self._then.find(order)
        except Unavailable as error:
            found, silent = None, error
        if found is None:
            found = self._now.find(order)
        if found is None and silent is not None:
            raise silent
        return found

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        """See `Destination.follow`: it goes on where it began."""
        return self._then.follow(orders)

    def spool_left(self, references: Sequence[str], /) -> tuple[str, ...]:
        """See `Destination.spool_left`."""
        return self._then.spool_left(references)

    def remove(self, copy: Copy) -> Removal:
        """See `Destination.remove`. Each place removes only what is surely ours."""
        silent = None
        try:
            removal = self._then.remove(copy)
        except (Unavailable, Refused) as error:
            removal, silent = Removal.GONE, error
        if removal is Removal.GONE:
            removal = self._now.remove(copy)
        if removal is Removal.GONE and silent is not None:
            raise silent
        return removal

    def health(self) -> PlaceHealth:
        """See `Destination.health`: how it is where things went."""
        return self._then.health()

    def check(self) -> Iterable[Finding]:
        """See `Destination.check`."""
        return self._then.check()
