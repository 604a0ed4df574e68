"""A clock that goes on only when told to."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class StandingClock:
    """Its calendar stands still; its monotonic side is the system's, for real waits."""

    def __init__(self, at: datetime = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)) -> None:
        self.at = at
        self.ahead = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def go(self, span: timedelta) -> None:
        """Let that much time pass at once."""
        self.at += span
        self.ahead += span.total_seconds()
