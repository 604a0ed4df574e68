"""Asks print servers whether they still keep documents of ours that they are done with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import ENDED, DeliveryState
from dispatcher.core.routing import Kind
from dispatcher.core.vitals import Leftover
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Destination, Ledger
from dispatcher.service.desk import Desk
from dispatcher.service.lanes import Lane, Lanes

_log = structlog.get_logger(__name__)

_NOTED: Final = "spool "

Jobs = Mapping[str, str]
"""Messages' ids by the references of their prints."""


@dataclass(frozen=True, slots=True)
class Left:
    """Messages (ids) of which a place still keeps a document after its job ended."""

    lane: Lane
    entries: tuple[str, ...]


def ended_prints(ledger: Ledger) -> dict[Lane, Jobs]:
    """Return the prints that have ended, well or not, by the place that made them."""
    done = ENDED | {DeliveryState.HELD}
    found: dict[Lane, dict[str, str]] = defaultdict(dict)
    for entry in ledger.entries(kind=Kind.PRINT):
        for delivery in entry.deliveries:
            site = delivery.site or entry.site
            printed = delivery.kind is Kind.PRINT and delivery.state in done
            if printed and site is not None and delivery.reference is not None:
                found[site, delivery.target][delivery.reference] = entry.id
    return dict(found)


def left_at(destination: Destination | None, jobs: Jobs) -> tuple[str, ...]:
    """Return the messages of which this place still keeps a document. Raises Unavailable."""
    if destination is None or not jobs:
        return ()
    return tuple(sorted({jobs[one] for one in destination.spool_left(tuple(jobs))}))


def left(desk: Desk, lanes: Lanes[tuple[str, ...]]) -> Iterator[Left]:
    """Yield what each place of ended prints still keeps; silent places are left out."""
    work: dict[Lane, Callable[[], tuple[str, ...]]] = {
        lane: partial(_left, desk, lane, jobs)
        for lane, jobs in ended_prints(desk.ledger).items()
        if not lanes.busy(lane)
    }
    for ended in (one for group in lanes.run(work) for one in group):
        if ended.error is not None:
            raise ended.error
        yield Left(ended.lane, ended.result or ())


def _left(desk: Desk, lane: Lane, jobs: Jobs) -> tuple[str, ...]:
    try:
        return left_at(desk.destination(*lane), jobs)
    except (Unavailable, Refused):
        # Told elsewhere: its certificates wait for it.
        return ()


class SpoolWatch:
    """Reports once for each place that documents stay in its spool. Used by one thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lanes: Lanes[tuple[str, ...]] = Lanes(desk.clock)
        self._told: set[Lane] = set()

    def turn(self) -> None:
        """Ask every place; tell what is new. Raises Unavailable without the ledger."""
        self._lanes.leftovers()
        for found in left(self._desk, self._lanes):
            site, target = found.lane
            self._remember(found)
            if not found.entries:
                self._told.discard(found.lane)
            elif found.lane not in self._told:
                self._told.add(found.lane)
                _log.warning(
                    "spool_kept_documents",
                    site=str(site),
                    target=target,
                    count=len(found.entries),
                    hint="`check` says what to write in cupsd.conf.",
                )

    def _remember(self, found: Left) -> None:
        """Note what a place keeps, for `leftovers`."""
        site, target = found.lane
        name = f"{_NOTED}{site} {target}"
        text = str(len(found.entries)) if found.entries else None
        if self._desk.ledger.memo(name) != text:
            with self._desk.ledger.writing() as writer:
                writer.note(name, text)


def leftovers(ledger: Ledger) -> tuple[Leftover, ...]:
    """Return what the places were last seen to keep."""
    found = []
    for name, text in ledger.memos(_NOTED).items():
        site, _, target = name.removeprefix(_NOTED).partition(" ")
        found.append(Leftover(FinessET(site), target, int(text)))
    return tuple(found)
