"""The parent's end: starts a child, writes to it, reads from it, and ends it."""

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
from typing import Final

from dispatcher.edges import memory
from dispatcher.edges.child import pipes
from dispatcher.errors import Unavailable

# What any user may ask for a pipe (pipe(7), pipe-max-size).
_PIPE: Final = 1 << 20

# Returns the seconds that are left, none or less when the time is over.
Left = Callable[[], float]


class Died(Exception):
    """The child ended or fell silent over a question."""


class Ended(Died):
    """The child ended: by what it was asked, or killed from outside."""


class Child:
    """One child process, started when it is first needed. Not shared between threads.

    `module` is run with `arguments` by our own interpreter, in an environment of its own and
    with no open file of ours: the child has no secret. `name` is what people call it.
    `start_time` is how many seconds it may take to begin.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        name: str,
        start_time: float,
        interpreter: str | None = None,
    ) -> None:
        program = interpreter or sys.executable
        self._command = (program, "-I", "-B", "-X", "utf8", "-m", module, *arguments)
        self._name = name
        self._start_time = start_time
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if any."""
        return self._process.pid if self._process else None

    @property
    def questions(self) -> int:
        """The descriptor on which the child is asked. Raises Died when there is no child."""
        return _descriptor(None if self._process is None else self._process.stdin)

    @property
    def answers(self) -> int:
        """The descriptor on which the child answers. Raises Died when there is no child."""
        return _descriptor(None if self._process is None else self._process.stdout)

    def ready(self) -> int:
        """Return the process id of a child that can be asked.

        Raises Unavailable when none can be started.
        """
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it ended while idle: no question's fault
        return self._process.pid if self._process is not None else self._started()

    @contextlib.contextmanager
    def or_ended(self) -> Iterator[None]:
        """End the child unless this goes well: nothing of a question may be left in it.

        Raises Ended for an OSError.
        """
        well = False
        try:
            yield
            well = True
        except OSError as error:
            raise Ended from error
        finally:
            if not well:
                self.end()

    def end(self, *, patience: float = 0.0) -> None:
        """Kill the child, if there is one. Never raises.

        With patience it may end by itself first, as it does once it is asked no more.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if patience and process.stdin is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                process.stdin.close()
                process.wait(patience)
        with contextlib.suppress(OSError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()  # a killed process without open files ends at once

    def _started(self) -> int:
        hint = "Run `check`; the service's Python must be able to start itself."
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=memory.ENVIRONMENT,
                bufsize=0,
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{self._name} cannot be started", hint=hint) from error
        self._process = process
        until = time.monotonic() + self._start_time
        word = b""
        try:
            with self.or_ended():
                for pipe in (self.questions, self.answers):
                    os.set_blocking(pipe, False)
                    _widen(pipe)
                word = read(self.answers, len(pipes.READY), lambda: until - time.monotonic())
        except Died as error:
            raise Unavailable(f"{self._name} does not start", hint=hint) from error
        if word != pipes.READY:
            self.end()
            raise Unavailable(f"{self._name} does not start", hint=hint)
        return process.pid


def write(fd: int, parts: Sequence[bytes], left: Left) -> None:
    """Write it all; raises Died when no time is left, OSError when nobody reads any more."""
    pipes.write(fd, parts, lambda: wait(fd, select.POLLOUT, left))


def read(fd: int, size: int, left: Left) -> bytes:
    """Return exactly so many bytes; raises Ended at the end of the pipe, Died of the time."""
    got = b""
    while len(got) < size:
        got += read_some(fd, size - len(got), left)
    return got


def read_some(fd: int, most: int, left: Left) -> bytes:
    """Return what is there, once there is something; raises Died as `read` does."""
    while True:
        try:
            chunk = os.read(fd, most)
        except BlockingIOError:
            wait(fd, select.POLLIN, left)
            continue
        if not chunk:
            raise Ended
        return chunk


def wait(fd: int, event: int, left: Left) -> None:
    """Return when the pipe is ready; raises Died when no time is left.

    It is asked once even then: a machine that stood still must not blame a question.
    """
    poll = select.poll()
    poll.register(fd, event)
    while True:
        seconds = max(0.0, left())
        if poll.poll(seconds * 1000):
            return
        if seconds == 0.0:
            raise Died


def _descriptor(pipe: object) -> int:
    fileno = getattr(pipe, "fileno", None)
    if fileno is None:
        raise Died
    return int(fileno())


def _widen(pipe: int) -> None:
    """Let a whole document lie in the pipe, so that writing it does not wait for the child."""
    with contextlib.suppress(OSError):  # the user may have too many such pipes (pipe(7))
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def cpu_seconds(pid: int) -> float:
    """Return what a process has run so far; infinite when it is no more.

    The clock is the one that clock_getcpuclockid(3) names, which Python has for threads only;
    on Linux its number is made of the process id (MAKE_PROCESS_CPUCLOCK, CPUCLOCK_SCHED).
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return math.inf
