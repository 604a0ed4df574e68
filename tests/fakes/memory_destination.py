"""A destination that keeps documents in memory, counts effects and fails when told to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.vitals import PlaceHealth, Room
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Finding, Outcome, Removal

Moment = Literal["before", "after"]
Error = Unavailable | Refused | InDoubt


class MemoryDestination:
    """Passes the same contract as every real destination (tests/contract)."""

    def __init__(self) -> None:
        # Like a folder: the same content under the same name is the same delivery.
        self.documents: dict[tuple[str, str], Order] = {}
        self.effects: list[Order] = []
        self.removed: list[Copy] = []
        self.room: Room | None = None
        self._faults: list[tuple[Moment, Error]] = []
        self._down: Error | None = None
        self._edited: set[str] = set()
        self._removal_faults: list[Unavailable | Refused] = []

    def fail_next(self, when: Moment, error: Error) -> None:
        """Answer one coming order with `error`, "before" or "after" it took effect."""
        self._faults.append((when, error))

    def go_down(self, error: Error) -> None:
        """Answer everything with `error`, and do nothing, until `mend`."""
        self._down = error

    def mend(self) -> None:
        """Work again, and forget every fault that was planned."""
        self._down = None
        self._faults.clear()

    def fail_next_removal(self, error: Unavailable | Refused) -> None:
        """Answer one coming removal with `error`; nothing is then removed."""
        self._removal_faults.append(error)

    def take(self, reference: str) -> None:
        """Let somebody at the site move a document elsewhere."""
        self.documents = {
            key: order
            for key, order in self.documents.items()
            if self._reference(order) != reference
        }
        self._edited.discard(reference)

    def edit(self, reference: str) -> None:
        """Let somebody write something else under a document's name."""
        self.take(reference)
        self._edited.add(reference)

    def sites(self) -> dict[FinessET, int]:
        """Return how many effects each site has seen."""
        return {o.site: sum(e.site == o.site for e in self.effects) for o in self.effects}

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return tuple(self._deliver(order) for order in orders)

    def _deliver(self, order: Order) -> Outcome:
        if self._down is not None:
            return self._down
        when, error = self._faults.pop(0) if self._faults else ("after", None)
        if error is not None and when == "before":
            return error
        already = self._key(order) in self.documents
        if not already:
            self.documents[self._key(order)] = order
            self.effects.append(order)
        return error or Receipt(self._reference(order), already_there=already)

    def find(self, order: Order) -> Receipt | None:
        if self._down is not None:
            raise self._down
        if self._key(order) not in self.documents:
            return None
        return Receipt(self._reference(order), already_there=True)

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        """Nothing is ever accepted here, so nobody has a reason to ask."""
        return {key: InDoubt("never accepted") for key in orders}

    def spool_left(self, _references: Sequence[str], /) -> tuple[str, ...]:
        return ()

    def remove(self, copy: Copy) -> Removal:
        if self._down is not None:
            raise self._down
        if self._removal_faults:
            raise self._removal_faults.pop(0)
        if not copy.reference and copy.name:
            left = self.documents.pop((copy.name, copy.sha256), None)
            return Removal.GONE if left is None else Removal.REMOVED
        there = [o for o in self.documents.values() if self._reference(o) == copy.reference]
        if any(order.document.sha256 == copy.sha256 for order in there):
            self.take(copy.reference)
            self.removed.append(copy)
            return Removal.REMOVED
        return Removal.CHANGED if there or copy.reference in self._edited else Removal.GONE

    def health(self) -> PlaceHealth:
        return PlaceHealth("" if self._down is None else str(self._down), self.room)

    def check(self) -> Iterable[Finding]:
        if self._down is not None:
            return [Finding("problem", str(self._down), self._down.hint)]
        return [Finding("ok", "memory")]

    @staticmethod
    def _key(order: Order) -> tuple[str, str]:
        return order.document.name, order.document.sha256

    @classmethod
    def _reference(cls, order: Order) -> str:
        return hashlib.sha256("\0".join(cls._key(order)).encode()).hexdigest()[:32]
