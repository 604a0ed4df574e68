"""Reads the system's clocks. No other module does."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """See `dispatcher.ports.Clock`."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()
