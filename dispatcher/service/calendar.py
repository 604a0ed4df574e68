"""Notices that the clock was set, and plans anew what the wrong clock had planned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from dispatcher.core.ledger import DeliveryState, Entry
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Writer
from dispatcher.service.desk import Desk

_log = structlog.get_logger(__name__)

# What a clock that is kept by NTP never moves by between two looks (seconds).
_STEP: Final = 60.0
_FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Calendar:
    """Compares the clock with one that never goes back, from the moment that it is made.

    Tries and openings are planned for a time of day. A clock that was ten years ahead for a
    minute would leave them ten years away. Used by one thread.
    """

    def __init__(self, desk: Desk, mailboxes: Sequence[str]) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._apart = self._distance()
        self._to_plan = False

    def look(self) -> bool:
        """Return whether the clock was set since the last look."""
        before, self._apart = self._apart, self._distance()
        moved = self._apart - before
        was_set = abs(moved) >= _STEP
        if was_set:
            _log.warning("clock_was_set", seconds=round(moved))
            self._to_plan = True
        if self._to_plan:
            self._plan_anew()
        return was_set

    def _distance(self) -> float:
        return self._desk.clock.now().timestamp() - self._desk.clock.monotonic()

    def _plan_anew(self) -> None:
        """Let every try be made now, and ask the hours of every site again."""
        ledger = self._desk.ledger
        try:
            for mailbox in self._mailboxes:
                tries = ledger.due(mailbox, _FAR)
                openings = ledger.opening(mailbox, _FAR)
                with ledger.writing() as writer:
                    for entry in (*tries, *openings):
                        self._replan(writer, ledger.entry(entry.id) or entry)
        except (Unavailable, Refused):
            return  # tried again at the next look
        self._to_plan = False

    def _replan(self, writer: Writer, entry: Entry) -> None:
        now = self._desk.clock.now()
        for delivery in entry.deliveries:
            at = delivery.next_try_at
            if at is None or at <= now:
                continue
            if delivery.state is DeliveryState.DECIDED:
                writer.plan(delivery.id, now)
            elif delivery.state is DeliveryState.WAITING:
                writer.move(delivery.id, DeliveryState.DECIDED, because="the clock was set")
