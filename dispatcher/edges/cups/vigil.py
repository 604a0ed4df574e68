"""Lets CUPS remember its own restarts all the time, from before the first print on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dispatcher.edges.cups.server import CupsServer
from dispatcher.errors import Unavailable


class Vigil:
    """Asks again and again, in a thread of its own, so that it delays nobody.

    Only what CUPS remembers from before a print proves later that a lost print was never
    made. `wanted` is asked each time: whether anything prints at all. Times are seconds.
    """

    def __init__(
        self,
        server: CupsServer,
        wanted: Callable[[], bool],
        *,
        again: float = 3600.0,
        soon: float = 30.0,
    ) -> None:
        self._server = server
        self._wanted = wanted
        self._again = again
        self._soon = soon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cups-vigil", daemon=True)

    def start(self) -> None:
        """Begin. Returns at once, whether the server answers or not."""
        self._thread.start()

    def stop(self) -> None:
        """End; what hangs is ended by the server's `close`. Never raises."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._over.wait(self._again if self._asked() else self._soon)

    def _asked(self) -> bool:
        """Return whether the server was asked and answered."""
        if not self._wanted():
            return False
        try:
            self._server.watch()
        except Unavailable:
            return False
        return True
