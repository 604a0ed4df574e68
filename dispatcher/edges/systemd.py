"""Tells the service manager how the service is, by the protocol of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

# A manager that does not read its socket shall not stop the work (seconds).
_PATIENCE: Final = 2.0


class SystemdNotifier:
    """See `dispatcher.ports.Supervisor`. Without NOTIFY_SOCKET every call does nothing.

    What is read from `environ` is removed from it: a helper that inherits the environment
    must not be able to speak for the service (sd_notify(3), unset_environment).
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        self.patience = _patience(
            environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        )

    def ready(self, status: str) -> None:
        """See `Supervisor.ready`."""
        self._say("READY=1", f"STATUS={_line(status)}")

    def reloading(self, now: float) -> None:
        """See `Supervisor.reloading`."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={_usec(now)}")

    def status(self, text: str) -> None:
        """See `Supervisor.status`."""
        self._say(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """See `Supervisor.alive`."""
        self._say("WATCHDOG=1")

    def stuck(self, what: str) -> None:
        """See `Supervisor.stuck`."""
        self._say("WATCHDOG=trigger", f"STATUS={_line(what)}")

    def stopping(self, seconds: float) -> None:
        """See `Supervisor.stopping`."""
        self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={_usec(seconds)}")

    def _say(self, *assignments: str) -> None:
        if self._address is None:
            return
        # A socket for each datagram: the manager may have made its own anew meanwhile. What
        # it does not get it misses, and it acts on that; there is nobody else to tell.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.settimeout(_PATIENCE)
            sock.connect(self._address)
            sock.sendall("\n".join(assignments).encode())


def _address(value: str) -> str | None:
    """Return the socket's address: a path, or an abstract name, which is written with @."""
    if value.startswith("@"):
        return "\0" + value[1:]
    return value if value.startswith("/") else None


def _patience(usec: str, pid: str) -> float | None:
    """Return the seconds within which signs of life are expected (sd_watchdog_enabled(3))."""
    if not usec.isascii() or not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6 or None


def _usec(seconds: float) -> int:
    return round(seconds * 1e6)


def _line(text: str) -> str:
    return " ".join(text.split())
