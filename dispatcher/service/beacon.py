"""Calls the dead man's switch after a good check of every mailbox, and at no other time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from dispatcher.errors import Unavailable
from dispatcher.ports import Beacon
from dispatcher.service.desk import Desk

_log = structlog.get_logger(__name__)


class Signals:
    """The calls. Used by one thread."""

    def __init__(self, desk: Desk, mailboxes: Sequence[str], beacon: Beacon) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._beacon = beacon
        self._last = desk.clock.now()
        self._failing = False

    def turn(self) -> None:
        """Call when every mailbox had a good check since the last call's. Raises Unavailable.

        Only for want of the ledger: a switch that does not answer is called at the next turn.
        """
        checked = self._checked()
        if checked is None or checked <= self._last:
            return
        try:
            self._beacon.call()
        except Unavailable as error:
            if not self._failing:
                _log.warning("ping_was_not_taken", because=str(error), hint=error.hint)
            self._failing = True
            return
        if self._failing:
            _log.info("ping_was_taken_again")
        self._failing = False
        self._last = checked

    def _checked(self) -> datetime | None:
        """Return when the mailbox that was checked longest ago was; None: one never was."""
        places = [self._desk.ledger.place(name) for name in self._mailboxes]
        found = [place.checked_at for place in places if place is not None]
        return min(found) if found and len(found) == len(places) else None
