"""Remembers in the ledger what was told, so that an alarm comes once and not every hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dispatcher.service.desk import Desk

_DAILY: Final = timedelta(days=1)


def is_news(desk: Desk, what: str, every: timedelta = _DAILY) -> bool:
    """Whether this was not told for so long; from now on it was."""
    now = desk.clock.now()
    last = desk.ledger.last_did(f"told {what}")
    # A time to come: the clock was moved back since.
    if last is not None and last <= now < last + every:
        return False
    with desk.ledger.writing() as writer:
        writer.did(f"told {what}", now)
    return True
