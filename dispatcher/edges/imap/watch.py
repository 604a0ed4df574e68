"""Waits for mail: IDLE as a hint, or the clock alone; a bell ends every wait at once."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Final

from dispatcher.edges.imap.client import Client

# How long a first announcement of nothing is remembered (seconds).
_FIRST_DOUBT: Final = 1.0


class Bell:
    """Rung by any thread, heard by the one that waits. A ring before the wait counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung = False
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def ring(self) -> None:
        """End the wait that is under way, or the next one."""
        with self._lock:
            if not self._rung and self._ends is not None:
                self._ends[1].send(b"\0")
            self._rung = True

    def take(self) -> bool:
        """Return whether it was rung, and be silent again."""
        with self._lock:
            rung, self._rung = self._rung, False
            if rung and self._ends is not None:
                self._ends[0].recv(1)
            return rung

    def is_rung(self) -> bool:
        """Return whether it was rung and not taken yet."""
        return self._rung

    def hear(self, seconds: float, other: socket.socket | None = None) -> None:
        """Return when it rings, when `other` can be read, or after `seconds`."""
        poll = select.poll()
        poll.register(self._fileno(), select.POLLIN)
        if other is not None:
            poll.register(other.fileno(), select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)

    def close(self) -> None:
        """Give the sockets back. It can still be rung."""
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()

    def _fileno(self) -> int:
        with self._lock:
            if self._ends is None:
                self._ends = socket.socketpair()
                if self._rung:
                    self._ends[1].send(b"\0")
            return self._ends[0].fileno()


class Trust:
    """Whether what a server announces in IDLE is there when somebody looks.

    One whose count in IDLE is not that of SELECT would have us look without end: after an
    announcement of nothing the next wait goes by the clock, each time for longer.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._pause = 0.0
        self._announced = False
        self._found = False

    def announced(self, *, news: bool) -> None:
        """Say how an IDLE ended."""
        self._announced, self._found = news, False
        if not news:
            self._pause = 0.0

    def found(self) -> None:
        """Say that there was new mail."""
        self._found = True

    def pause(self) -> float:
        """Return for how many seconds the wait that begins now is to go by the clock."""
        if not self._announced:
            return 0.0
        self._announced = False
        pause = min(self._longest, max(_FIRST_DOUBT, 2 * self._pause))
        self._pause = 0.0 if self._found else pause
        return self._pause


def sleep(bell: Bell, seconds: float) -> None:
    """Return when the bell rings or after `seconds`."""
    bell.hear(seconds)
    bell.take()


def idle(client: Client, bell: Bell, seconds: float) -> None:
    """Return when mail may have come, when the bell rings, or after `seconds`.

    IDLE is renewed before anything between us and the server forgets the connection, and
    DONE must be answered: so a connection that died in silence is noticed (RFC 2177, 3).
    Raises what the library and the network raise; the connection is then of no more use.
    """
    ends = time.monotonic() + seconds
    over = client.news
    while not over and time.monotonic() < ends:
        client.begin_idle()
        over = _listen(client, bell, min(ends, time.monotonic() + client.limits.idle))
        rung = bell.take()
        client.end_idle(client.limits.farewell if rung else client.limits.done)
        over = over or rung or client.news


def _listen(client: Client, bell: Bell, until: float) -> bool:
    """Listen in IDLE until mail may have come (True), the bell rings, or the time is up."""
    # Before any polling: what came in one packet with the `+` is in our buffer already, and
    # TLS may hold bytes that no poll can see.
    pause = client.limits.noise
    while not client.hear() and (left := until - time.monotonic()) > 0:
        if not client.wire.receive_waiting():
            pause = client.limits.noise
            bell.hear(left, client.wire.sock)
        elif not client.hear():
            # Noise. A server that makes a lot of it shall not keep us busy.
            bell.hear(min(left, pause))
            pause = min(2 * pause, 20 * client.limits.noise)
        if bell.is_rung():
            return False
    return client.news
