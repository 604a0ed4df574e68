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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.edges.pdf import wire
from dispatcher.errors import Unavailable

# What any user may ask for a pipe (pipe(7), pipe-max-size).
_PIPE: Final = 1 << 20

_ANSWER: Final = wire.LENGTH.size + wire.LONGEST_ANSWER
_READY: Final = wire.LENGTH.size + len(wire.READY)

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
        self._patience: _Patience | None = None
        self._answered = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if any."""
        return self._process.pid if self._process else None

    @property
    def answers(self) -> int:
        """The descriptor on which the child that was asked will answer."""
        return _descriptor(self._asked().stdout)

    def begin(
        self, content: bytes, names: tuple[str, str] | None, *, text_only: bool = False
    ) -> None:
        """Hand a question over; `finish` must be called before the next one.

        Raises Died when this document ended the child, Unavailable when none can be started.
        """
        process = self._running()
        with self._or_ended():
            self._patience = _Patience(process.pid, self._limits.wall_time)
            head = wire.question(len(content), names, text_only=text_only)
            _write(_descriptor(process.stdin), [head, content], self.left)

    def left(self) -> float:
        """Return the seconds to wait for the answer now, none or less when it is over."""
        return 0.0 if self._patience is None else self._patience.left()

    def finish(self) -> wire.Answer:
        """Return the child's answer once it is there; raises Died when there will be none.

        However late this is called, an answer that came counts.
        """
        with self._or_ended():
            answer = wire.read_answer(_read_frame(self.answers, self.left))
        self._patience = None
        self._answered += 1
        if self._answered >= self._limits.documents:
            self.end()
        return answer

    def end(self) -> None:
        """Kill the child, if there is one. Never raises."""
        process, self._process = self._process, None
        self._patience = None
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

    @contextlib.contextmanager
    def _or_ended(self) -> Iterator[None]:
        """End the child unless this goes well: nothing of a question may be left in it."""
        well = False
        try:
            yield
            well = True
        except (OSError, wire.Garbled) as error:
            raise Died from error
        finally:
            if not well:
                self.end()

    def _asked(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise Died
        return self._process

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
            word = _read_frame(
                _descriptor(process.stdout), lambda: until - time.monotonic(), _READY
            )
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


def _write(fd: int, parts: Sequence[bytes], left: Left) -> None:
    rest = [memoryview(part) for part in parts]
    while rest:
        try:
            written = os.writev(fd, rest)
        except BlockingIOError:
            _wait(fd, select.POLLOUT, left)
            continue
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][written:]


def _read_frame(fd: int, left: Left, most: int = _ANSWER) -> bytes:
    """Return the payload of what comes; no more than so many bytes are read at once."""
    got = b""
    while (payload := wire.unframed(got)) is None:
        try:
            chunk = os.read(fd, most)
        except BlockingIOError:
            _wait(fd, select.POLLIN, left)
            continue
        if not chunk:
            raise Died
        got += chunk
    return payload


def first_to_finish(asked: Sequence[Worker]) -> list[Worker]:
    """Return those of the children asked whose answer is there, or whose time is over."""
    if len(asked) == 1:
        return list(asked)
    poll = select.poll()
    for worker in asked:
        poll.register(worker.answers, select.POLLIN)
    while True:
        seconds = max(0.0, min(worker.left() for worker in asked))
        if ready := {fd for fd, _ in poll.poll(seconds * 1000)}:
            return [worker for worker in asked if worker.answers in ready]
        if seconds == 0.0 and (late := [worker for worker in asked if worker.left() <= 0.0]):
            return late


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
    """Return what a process has run so far.

    The clock is the one that clock_getcpuclockid(3) names, which Python has for threads only;
    on Linux its number is made of the process id (MAKE_PROCESS_CPUCLOCK, CPUCLOCK_SCHED).
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return math.inf
