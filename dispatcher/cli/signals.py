"""What signals ask of a command that runs until it is told to end."""

from __future__ import annotations

import contextlib
import queue
import signal
from types import FrameType
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """The signals that came, one by one, in the order they came. Made in the main thread.

    Python runs a handler between two steps of the main thread, which may hold, just then, the
    lock that the handler asks for: an Event set there can wait for itself for ever. What the
    handler does here may come in at any point (queue.SimpleQueue.put, library reference).
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in numbers:
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> signal.Signals | None:
        """Return the next signal; None: none came in that time."""
        with contextlib.suppress(queue.Empty):
            return signal.Signals(self._came.get(timeout=seconds))
        return None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.put(number)
