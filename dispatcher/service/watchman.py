"""Looks at everything now and then, and has the alarms told: the order of these steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.core.alarm import Alarm
from dispatcher.core.judging import Limits, judge
from dispatcher.core.silence import WEEKS, silent_sites
from dispatcher.core.vitals import Credential, Leftover, Silence, Vitals
from dispatcher.errors import Unavailable
from dispatcher.service import vitals
from dispatcher.service.desk import Desk
from dispatcher.service.herald import Herald
from dispatcher.service.places import Places
from dispatcher.service.spool import leftovers

_log = structlog.get_logger(__name__)

# A site that was silent for so long is closed, and nobody need be told any more.
_HISTORY: Final = timedelta(weeks=2 * WEEKS)
_SILENCE_EVERY: Final = timedelta(minutes=10)

Credentials = Callable[[], Iterable[Credential]]


class Watchman:
    """What the service tells people of itself. Used by one thread, which may wait long."""

    def __init__(
        self,
        desk: Desk,
        mailboxes: Sequence[str],
        herald: Herald,
        places: Places,
        *,
        limits: Limits,
        credentials: Credentials = tuple,
    ) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._herald = herald
        self._places = places
        self._limits = limits
        self._credentials = credentials
        self._started_at = desk.clock.now()
        self._silent: tuple[datetime, tuple[Silence, ...]] | None = None
        self._blind = False

    def turn(self) -> None:
        """Look, and tell what is to be told."""
        try:
            self._herald.look(self.alarms())
        except Unavailable as error:
            if not self._blind:
                _log.error("alarms_could_not_be_looked_for", because=str(error))
            self._blind = True
        else:
            self._blind = False

    def alarms(self) -> tuple[Alarm, ...]:
        """Return what is wrong now. Raises Unavailable without the ledger."""
        return judge(self.vitals(), self._limits)

    def vitals(self) -> Vitals:
        """Return how everything is now. Raises Unavailable without the ledger."""
        desk, now = self._desk, self._desk.clock.now()
        found = vitals.take(
            desk.ledger, desk.rules, self._mailboxes, now=now, started_at=self._started_at
        )
        return replace(
            found,
            places=self._places.known(),
            room=desk.ledger.room(),
            credentials=tuple(self._credentials()),
            leftovers=self._leftovers(),
            silent=self._silences(now),
        )

    def _leftovers(self) -> tuple[Leftover, ...]:
        return leftovers(self._desk.ledger)

    def _silences(self, now: datetime) -> tuple[Silence, ...]:
        """Return the silent sites; weeks are counted, which need not be done each time."""
        if self._silent is None or not timedelta() <= now - self._silent[0] < _SILENCE_EVERY:
            arrivals = self._desk.ledger.arrivals(now - _HISTORY)
            ours = {site: days for site, days in arrivals.items() if self._is_ours(site)}
            self._silent = now, silent_sites(ours, now)
        return self._silent[1]

    def _is_ours(self, site: object) -> bool:
        return site in self._desk.rules.sites
