"""Supervises a program as systemd does a Type=notify service: a real socket, a real watchdog.

What is done here is what systemd.service(5) and sd_notify(3) say of READY, WATCHDOG and
Restart; nothing of the program under test is known.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_DEADLINE = 60.0


class Supervised:
    """One program, ended by SIGABRT and started anew when its watchdog bites.

    With `watchdog` (seconds) that is when it said WATCHDOG=1 for too long no more, or when
    it said WATCHDOG=trigger.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        log: IO[bytes],
        watchdog: float | None = None,
        abstract: bool = False,
    ) -> None:
        self._command = list(command)
        self._environ = dict(environ)
        self._log = log
        self._watchdog = watchdog
        self._abstract = abstract
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._fed_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.said: list[dict[str, str]] = []
        self.bitten = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notify-")))
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._socket.bind(self._address)
            self._socket.settimeout(0.1)
            self._start()
            self._thread = threading.Thread(target=self._supervise, daemon=True)
            self._thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        process = self._running()
        if process.poll() is None:
            process.kill()
        process.wait(_DEADLINE)
        self._stack.close()

    @property
    def pid(self) -> int:
        """The process id of the program that runs now."""
        return self._running().pid

    def times(self, assignment: str) -> int:
        """Return how often something was said, such as READY=1."""
        key, _, value = assignment.partition("=")
        with self._lock:
            return sum(1 for one in self.said if one.get(key) == value)

    def last(self, key: str) -> str:
        """Return what was said last of something, "" when it never was."""
        with self._lock:
            return next((one[key] for one in reversed(self.said) if key in one), "")

    def until(
        self, condition: Callable[[], bool], what: str, *, end: float = _DEADLINE
    ) -> None:
        """Wait on a condition."""
        deadline = time.monotonic() + end
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {end:g} s"
            self._over.wait(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal the program, which is then not started again; return its exit status."""
        self._over.set()
        self._thread.join()
        process = self._running()
        process.send_signal(number)
        status = process.wait(_DEADLINE)
        self._hear()
        return status

    @property
    def _address(self) -> str:
        path = str(self._top / "notify")
        return f"\0{path}" if self._abstract else path

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def _start(self) -> None:
        environ = {**self._environ, "NOTIFY_SOCKET": self._address.replace("\0", "@")}
        if self._watchdog is not None:
            environ["WATCHDOG_USEC"] = str(round(self._watchdog * 1e6))
        self._fed_at = None
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self._log, env=environ,
        )  # fmt: skip

    def _supervise(self) -> None:
        while not self._over.is_set():
            triggered = self._hear()
            if self._watchdog is not None and (triggered or self._hungry()):
                self.bitten += 1
                self._running().send_signal(signal.SIGABRT)
                self._running().wait(_DEADLINE)
                self._hear()  # the last words of the one that is gone
                self._start()

    def _hungry(self) -> bool:
        return self._fed_at is not None and (
            time.monotonic() - self._fed_at > (self._watchdog or 0)
        )

    def _hear(self) -> bool:
        """Take in what was said; return whether the watchdog is to bite."""
        triggered = False
        with contextlib.suppress(TimeoutError):
            while True:
                lines = self._socket.recv(4096).decode().splitlines()
                one = dict(line.split("=", 1) for line in lines)
                with self._lock:
                    self.said.append(one)
                if one.get("WATCHDOG") == "1" or one.get("READY") == "1":
                    self._fed_at = time.monotonic()
                triggered = triggered or one.get("WATCHDOG") == "trigger"
        return triggered


def environment() -> dict[str, str]:
    """Return the little that a service's program gets of this process's environment."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START"}
    return {name: value for name, value in os.environ.items() if name in kept}
