"""Looks at every target of every site now and then: is it in order, and how full is it?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from dispatcher.core.routing import Kind
from dispatcher.core.vitals import PlaceHealth, PlaceVitals
from dispatcher.errors import Refused
from dispatcher.service.desk import Desk
from dispatcher.service.lanes import Ended, Lane, Lanes

_SILENT: Final = "it does not answer"
# A look that has not come back by then says so (seconds).
_PATIENCE: Final = 30.0


class Places:
    """The places as they were when they were last looked at. `turn` is for one thread.

    A share that hangs keeps its own look waiting and no other; it is in trouble meanwhile.
    """

    def __init__(self, desk: Desk, *, patience: float = 2.0, silent: float = _PATIENCE) -> None:
        self._desk = desk
        self._lanes: Lanes[PlaceHealth] = Lanes(desk.clock, patience=patience)
        self._silent = silent
        self._asked: dict[Lane, float] = {}
        self._known: dict[Lane, PlaceVitals] = {}
        self._turning = threading.Lock()

    def known(self) -> tuple[PlaceVitals, ...]:
        """Return what is known of every place of the rules in force; from any thread."""
        known = dict(self._known)
        return tuple(known[lane] for lane, _ in self._lanes_of_rules() if lane in known)

    def turn(self) -> None:
        """Look at every place."""
        if not self._turning.acquire(blocking=False):
            return
        try:
            self._turn()
        finally:
            self._turning.release()

    def _turn(self) -> None:
        kinds = dict(self._lanes_of_rules())
        self._take(self._lanes.leftovers(), kinds)
        now = self._desk.clock.monotonic()
        work: dict[Lane, Callable[[], PlaceHealth]] = {}
        for lane, kind in kinds.items():
            if not self._lanes.busy(lane):
                self._asked[lane] = now
                work[lane] = partial(self._look, lane)
            elif now - self._asked.get(lane, now) >= self._silent:
                self._keep(lane, kind, PlaceHealth(_SILENT))
        for group in self._lanes.run(work):
            self._take(group, kinds)

    def _look(self, lane: Lane) -> PlaceHealth:
        try:
            destination = self._desk.destination(*lane)
        except Refused as error:
            return PlaceHealth(str(error))
        return (
            PlaceHealth("it is no longer in routing.yaml")
            if destination is None
            else (destination.health())
        )

    def _take(self, group: list[Ended[PlaceHealth]], kinds: dict[Lane, Kind]) -> None:
        for ended in group:
            health = ended.result or PlaceHealth(
                f"the look at it failed ({type(ended.error).__name__})"
            )
            if ended.lane in kinds:
                self._keep(ended.lane, kinds[ended.lane], health)

    def _keep(self, lane: Lane, kind: Kind, health: PlaceHealth) -> None:
        before = self._known.get(lane)
        since = None
        if health.trouble:
            since = (before.since_at if before else None) or self._desk.clock.now()
        room = health.room or (before.health.room if before and health.trouble else None)
        self._known[lane] = PlaceVitals(*lane, kind, replace(health, room=room), since)

    def _lanes_of_rules(self) -> Iterator[tuple[Lane, Kind]]:
        for site in self._desk.rules.sites.values():
            for target in site.targets:
                yield (site.finess, target.name), target.kind
