"""Holds one child process that reads PDF files, and ends it when it does not answer."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.edges.pdf import wire
from dispatcher.errors import Unavailable

_CHUNK: Final = 1 << 18
# What any user may ask for a pipe (pipe(7), pipe-max-size).
_PIPE: Final = 1 << 20

# A child that ran less than this part of the time was starved, by no fault of a document;
# it is then asked again every so many seconds, up to so many times the time.
_RAN: Final = 0.75
_AGAIN: Final = 0.1
_STARVED: Final = 3

Left = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may cost. Times are seconds, `memory` is bytes.

    `wall_time` is what a document gets; on a machine so busy that the child hardly ran in
    it, three times that, so that nobody has to release a sound document. `memory` bounds
    the child as a whole. `documents` is how many one child reads before a fresh one takes
    its place; `start_time` how long a child may take to begin.
    """

    wall_time: float = 2.0
    memory: int = 300 << 20
    documents: int = 5_000
    start_time: float = 20.0


class Died(Exception):
    """The child ended or fell silent over a question."""


class Worker:
    """One child process, started when it is first needed. Not shared between threads."""

    def __init__(self, limits: Limits, interpreter: str | None = None) -> None:
        self._limits = limits
        self._interpreter = interpreter or sys.executable
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if any."""
        return self._process.pid if self._process else None

    def ask(
        self, content: bytes, names: tuple[str, str] | None, *, text_only: bool = False
    ) -> wire.Answer:
        """Return the child's answer; raises Died when this document ended it.

        Raises Unavailable when no child can be started.
        """
        process = self._running()
        try:
            left = _Patience(process.pid, self._limits.wall_time).left
            payload = wire.question(content, names, text_only=text_only)
            _write(process, wire.framed(payload), left)
            answer = wire.read_answer(_read_frame(process, left))
        except (Died, OSError, wire.Garbled) as error:
            self.end()
            raise Died from error
        self._answered += 1
        if self._answered >= self._limits.documents:
            self.end()
        return answer

    def end(self) -> None:
        """Kill the child, if there is one. Never raises."""
        process, self._process = self._process, None
        self._answered = 0
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()  # a killed process without open files ends at once

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it ended while idle: no document's fault
        if self._process is None:
            self._process = self._started()
            self._answered = 0
        return self._process

    def _started(self) -> subprocess.Popen[bytes]:
        hint = "Run `check`; the service's Python must be able to start itself."
        command = (self._interpreter, "-I", "-B", "-X", "utf8", "-m")
        numbers = (str(self._limits.memory), str(self._limits.wall_time))
        try:
            # An empty environment and no open file of ours: the child has no secret.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                (*command, "dispatcher.edges.pdf.child", *numbers),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                bufsize=0,
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable("the PDF reader cannot be started", hint=hint) from error
        self._process = process
        try:
            for pipe in (process.stdin, process.stdout):
                os.set_blocking(_descriptor(pipe), False)
            _widen(_descriptor(process.stdin))
            until = time.monotonic() + self._limits.start_time
            word = _read_frame(process, lambda: until - time.monotonic())
        except (Died, OSError, wire.Garbled) as error:
            self.end()
            raise Unavailable("the PDF reader does not start", hint=hint) from error
        if word != wire.READY:
            self.end()
            raise Unavailable("the PDF reader does not start", hint=hint)
        return process


def _descriptor(pipe: object) -> int:
    fileno = getattr(pipe, "fileno", None)
    if fileno is None:
        raise Died
    return int(fileno())


def _widen(pipe: int) -> None:
    """Let a whole document lie in the pipe, so that writing it does not wait for the child."""
    with contextlib.suppress(OSError):  # the user may have too many such pipes (pipe(7))
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _write(process: subprocess.Popen[bytes], payload: bytes, left: Left) -> None:
    fd = _descriptor(process.stdin)
    rest = memoryview(payload)
    while rest:
        _wait(fd, select.POLLOUT, left)
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(fd, rest[:_CHUNK]) :]


def _read_frame(process: subprocess.Popen[bytes], left: Left) -> bytes:
    fd = _descriptor(process.stdout)
    (length,) = wire.LENGTH.unpack(_read(fd, wire.LENGTH.size, left))
    if length > wire.LONGEST_ANSWER:
        raise wire.Garbled
    return _read(fd, length, left)


def _read(fd: int, size: int, left: Left) -> bytes:
    got = bytearray()
    while len(got) < size:
        _wait(fd, select.POLLIN, left)
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(fd, size - len(got))
            if not chunk:
                raise Died
            got += chunk
    return bytes(got)


def _wait(fd: int, event: int, left: Left) -> None:
    """Return when the pipe is ready; raises Died when no time is left.

    It is asked once even then: a machine that stood still must not blame a document.
    """
    poll = select.poll()
    poll.register(fd, event)
    while True:
        seconds = max(0.0, left())
        if poll.poll(seconds * 1000):
            return
        if seconds == 0.0:
            raise Died


class _Patience:
    """How long one answer is waited for."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._asked_at = time.monotonic()
        self._used_before = _cpu_seconds(pid)

    def left(self) -> float:
        """Return the seconds to wait now, none or less when it is over."""
        waited = time.monotonic() - self._asked_at
        if waited < self._seconds or waited >= _STARVED * self._seconds:
            return self._seconds - waited
        ran = _cpu_seconds(self._pid) - self._used_before
        return _AGAIN if ran < _RAN * self._seconds else 0.0


def _cpu_seconds(pid: int) -> float:
    """Return what a process has run so far (proc(5), /proc/pid/stat, fields 14 and 15)."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        )
    except OSError:
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
