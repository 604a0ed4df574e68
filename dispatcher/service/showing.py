"""Keeps the door open at which a monitoring system asks; the work goes on without it."""

from __future__ import annotations

import threading
from typing import Final

import structlog

from dispatcher.errors import Unavailable
from dispatcher.ports import Door

_log = structlog.get_logger(__name__)

# How long until a port that was taken is tried again (seconds).
_AGAIN: Final = 60.0


class Showing:
    """Opens the door; where that fails it says so once and tries again, for ever."""

    def __init__(self, door: Door, *, again: float = _AGAIN) -> None:
        self._door = door
        self._again = again
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin, without waiting for the outcome."""
        threading.Thread(target=self._work, name="showing", daemon=True).start()

    def stop(self) -> None:
        """Answer no more. From any thread."""
        self._ended.set()
        self._door.close()

    def _work(self) -> None:
        told = False
        while not self._ended.is_set():
            try:
                self._door.open()
            except Unavailable as error:
                if not told:
                    _log.error("metrics_were_not_shown", because=str(error), hint=error.hint)
                told = True
                self._ended.wait(self._again)
            else:
                _log.info("metrics_were_shown")
                break
        if self._ended.is_set():
            # It may have been opened just when it was to be closed.
            self._door.close()
