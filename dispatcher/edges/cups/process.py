"""Holds one worker process, and ends it when it does not answer in time."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from dispatcher.edges.cups import wire
from dispatcher.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often a worker is trusted. Times are seconds.

    `silence` is how long it may say nothing while a request is under way; `line` how long
    a caller waits for those before it; `rest` how long a server that did not answer is
    left alone; `start` how long a worker may take to begin. `calls` is how many requests
    one worker answers before a fresh one takes its place.
    """

    silence: float = 15.0
    line: float = 30.0
    rest: float = 5.0
    start: float = 20.0
    calls: int = 500


class Silent(Exception):
    """The worker died or said nothing for too long; it is gone."""


class Died(Silent):
    """The worker was found dead, which may have come to it long before and by itself."""


class Process:
    """One worker, started when it is first needed. Not shared between threads."""

    def __init__(self, environment: Mapping[str, str], limits: Limits) -> None:
        self._environment = environment
        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._calls = 0

    @property
    def pid(self) -> int | None:
        """The process id of the worker that runs now, if any."""
        return self._child.pid if self._child else None

    def ask(self, said: wire.Said, document: bytes = b"") -> None:
        """Send a request; raises Silent when the worker takes it not, or Unavailable."""
        sock = self._running()
        self._calls += 1
        try:
            wire.send(sock, said, document)
        except TimeoutError as error:
            self.end()
            raise Silent from error
        except OSError as error:
            self.end()
            raise Died from error

    def answer(self) -> wire.Said:
        """Return the next thing that the worker says; raises Silent."""
        if self._sock is None:
            raise Silent
        try:
            return wire.receive(self._sock)[0]
        except TimeoutError as error:
            self.end()
            raise Silent from error
        except (OSError, wire.Ended) as error:
            self.end()
            raise Died from error

    def end(self) -> None:
        """Kill the worker, if there is one. Never raises."""
        child, self._child = self._child, None
        sock, self._sock = self._sock, None
        self._calls = 0
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()
        if sock is not None:
            sock.close()
        if child is not None:
            child.wait()  # a killed process without open files ends at once

    def _running(self) -> socket.socket:
        if self._calls >= self._limits.calls:
            self.end()
        if self._child is not None and self._child.poll() is not None:
            self.end()  # it ended while idle
        return self._sock if self._sock is not None else self._started()

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # The environment is ours alone: no secret, no printer settings of a user.
                self._child = subprocess.Popen(
                    (sys.executable, "-I", "-B", "-X", "utf8", "-m",
                     "dispatcher.edges.cups.worker"),
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env=dict(self._environment), close_fds=True, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise Unavailable("the print worker cannot be started") from error
        self._sock = ours
        ours.settimeout(self._limits.start)
        try:
            self.answer()  # its first word, once pycups is loaded
        except Silent as error:
            hint = "Install the extra `cups`: it needs gcc and Debian's libcups2-dev."
            raise Unavailable("the print worker does not start", hint=hint) from error
        ours.settimeout(self._limits.silence)
        return ours
