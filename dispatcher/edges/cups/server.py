"""Asks one CUPS server, by way of a worker that may hang or die without harm."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from dispatcher.edges.cups import wire
from dispatcher.edges.cups.absence import Restart, Start, View
from dispatcher.edges.cups.jobs import Job, QueueState
from dispatcher.edges.cups.process import Died, Limits, Process, Silent
from dispatcher.edges.cups.words import clean
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Clock

__all__ = ["CupsServer", "Limits", "Trouble", "Unreachable", "available"]

_IPP = "ipp"
# Answers to Create-Job that say surely: no job was made (RFC 8011, appendix B).
_LATER: Final[Mapping[int, str]] = {
    0x0404: "CUPS cannot take a job now",
    0x0406: "the queue does not exist",
    0x0407: "the queue does not exist any more",
    0x0505: "CUPS has a temporary fault",
    0x0506: "the queue rejects jobs",
    0x0507: "CUPS is busy",
}
# What libcups itself says when the connection breaks.
_BROKEN_OFF: Final = frozenset({0x0500, 0x0502})
_FORBIDDEN: Final = frozenset({0x0401, 0x0402, 0x0403})
# Bad request, values too long, format or attributes or values not supported, and the like.
_WRONG: Final = frozenset({0x0400, *range(0x0408, 0x0413), 0x0501, 0x0503, 0x0509})


def available() -> bool:
    """Return whether pycups is installed (the extra `cups`). Does not load it."""
    return importlib.util.find_spec("cups") is not None


class Unreachable(Unavailable):
    """The server could not be asked at all: nothing was sent to it."""


class Trouble(Exception):
    """The server answered a request with an error."""

    def __init__(self, said: wire.Said) -> None:
        super().__init__()
        self.kind = str(said.get("kind"))
        code = said.get("code")
        self.code = code if isinstance(code, int) else None
        self.text = clean(str(said.get("text", "")), 120)
        self.connected = said.get("error") != "connect"


class CupsServer:
    """One CUPS server. Safe to share between threads; its calls come one after another.

    `server` is the path of a socket, `host:port`, or None for the system's own. With a
    `clock` a server whose clock is not ours can be believed about times.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = server or "cups"
        self._limits = limits or Limits()
        self._clock = clock
        self._process = Process(_environment(server), self._limits)
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self._began_at: float | None = None
        # Another machine's clock tells nothing of ours, unless both are read together.
        self._same_clock = server is None or server.startswith(_LOCAL)

    @property
    def pid(self) -> int | None:
        """The process id of the worker that runs now, if any."""
        return self._process.pid

    def at_work_for(self) -> float:
        """Return for how many seconds one call has been under way; 0: none is."""
        began_at = self._began_at
        return 0.0 if began_at is None else time.monotonic() - began_at

    def look(self, queue: str, *, first: int = 1, watch: bool = True) -> View:
        """Return what CUPS shows of its jobs, from number `first` on, and of a queue.

        With `watch` CUPS is asked to remember its own restarts from now on. Raises
        Unavailable.
        """
        request = {"do": "look", "queue": queue, "first": first, "watch": watch}
        before = self._now()
        said = self._simple(request)
        return _view(said, self._bracket(before, said))

    def watch(self) -> None:
        """Ask CUPS to remember its restarts from now on; see `look`. Raises Unavailable."""
        self.look("")

    def submit(
        self, queue: str, title: str, options: Mapping[str, str], document: bytes
    ) -> Job:
        """Make one job of one document and return it as CUPS shows it then.

        Raises Unavailable or Refused when surely no job with a document was made, InDoubt
        in every other case.
        """
        request = {"do": "submit", "queue": queue, "title": title, "options": dict(options)}
        with self._turn() as process:
            try:
                return _Submission(process).make(request, document)
            except Died:  # before it began
                return _Submission(process).make(request, document)

    def remove(self, job: Job) -> Job | None:
        """Remove a job that is `empty` or `half`; return what is left of it, if anything.

        Nothing is done to any other job. Raises Unavailable.
        """
        return self._without("remove", job)

    def purge(self, job: Job) -> Job | None:
        """Remove an ended job with its document; return what is left of it, if anything.

        Nothing is done to any other job, nor to one that has not ended. Raises Unavailable.
        """
        return self._without("purge", job)

    def describe(self, queue: str) -> Mapping[str, Any] | None:
        """Return every attribute of a queue; None: there is no such queue."""
        said = self._simple({"do": "describe", "queue": queue})
        found: Mapping[str, Any] | None = said.get("queue")
        return found

    def settings(self) -> str | None:
        """Return the server's cupsd.conf; None: it does not let us read it."""
        try:
            with self._turn() as process:
                return str(_asked(process, {"do": "settings"})["text"])
        except Trouble:
            return None
        except Silent as error:
            raise self._unreachable() from error

    def close(self) -> None:
        """End the worker, also in the midst of a request; later calls fail. Never raises."""
        self._process.close()
        with contextlib.suppress(Unavailable), self._turn(rested=True):
            self._process.end()

    def _without(self, act: str, job: Job) -> Job | None:
        uuid = f"urn:uuid:{_dashed(job.uuid or '')}"
        said = self._simple({"do": act, "job": job.number, "title": job.title, "uuid": uuid})
        return Job.read(said["job"]) if said.get("job") else None

    def _simple(self, request: wire.Said) -> wire.Said:
        """Return the answer to a request that leaves nothing behind."""
        try:
            with self._turn() as process:
                return _asked(process, request)
        except Trouble as error:
            if not error.connected or error.code in _BROKEN_OFF:
                raise self._unreachable() from error
            code = f"{error.kind} {error.code}"
            raise Unavailable(
                f"CUPS answered with an error ({code})", hint=error.text
            ) from error

    @contextlib.contextmanager
    def _turn(self, *, rested: bool = False) -> Iterator[Process]:
        """Yield the worker to one caller; a server that was silent is let alone a while."""
        if not self._lock.acquire(timeout=self._limits.line):
            raise Unreachable("CUPS is busy with other jobs")
        self._began_at = time.monotonic()
        try:
            if not rested and time.monotonic() < self._rests_until:
                raise self._unreachable()
            yield self._process
        except Silent as error:
            self._rests_until = time.monotonic() + self._limits.rest
            raise self._unreachable() from error
        except InDoubt:
            self._process.end()
            raise
        finally:
            self._began_at = None
            self._lock.release()

    def _unreachable(self) -> Unreachable:
        hint = f"Is cupsd running at {self.name}?"
        return Unreachable("the CUPS server does not answer", hint=hint)

    def _now(self) -> datetime | None:
        return self._clock.now() if self._clock is not None else None

    def _bracket(self, before: datetime | None, said: wire.Said) -> float | None:
        """Return the least that the server's clock is ahead, in seconds; None: unknown."""
        after, queue = self._now(), QueueState.read(said.get("queue"))
        if before is None or after is None:
            return 0.0 if self._same_clock else None
        if queue is None or queue.now is None:
            return None
        return queue.now - after.timestamp()


_LOCAL: Final = ("/", "localhost:", "127.0.0.1:", "[::1]:")


class _Submission:
    """One Create-Job with its Send-Document, and how far it certainly got."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._begun = False

    def make(self, request: wire.Said, document: bytes) -> Job:
        """Return the job; raises what `CupsServer.submit` does, or Silent if not begun."""
        try:
            said = self._conversation(request, document)
        except Silent as error:
            if not self._begun:
                raise
            raise _doubt("CUPS did not answer while it took a job") from error
        if "error" in said:
            raise _judged(Trouble(said), sent="job" in said)
        if said.get("job") is None:
            raise _doubt("CUPS took a job and does not show it")
        return Job.read(said["job"])

    def _conversation(self, request: wire.Said, document: bytes) -> wire.Said:
        self._process.ask(request, document)
        while True:
            said = self._process.answer()
            if "stage" not in said:
                return said
            self._begun = True


def _judged(trouble: Trouble, *, sent: bool) -> Unavailable | Refused | InDoubt:
    """Return what an error in answer to a submission means; `sent`: a job was made."""
    if not trouble.connected:
        return Unreachable("the CUPS server does not answer")
    if sent or trouble.kind != _IPP or trouble.code is None:
        return _doubt("CUPS broke off while it took a job")
    if trouble.code in _LATER:
        return Unavailable(_LATER[trouble.code])
    if trouble.code in _FORBIDDEN:
        hint = "Allow the service's user to print there (cupsd.conf, Policy; lpadmin -u)."
        return Refused("CUPS does not let the service print on this queue", hint=hint)
    if trouble.code in _WRONG:
        return Refused("CUPS does not take the job's options", hint=trouble.text)
    return _doubt(f"CUPS answered with an error ({trouble.code})")


def _doubt(what: str) -> InDoubt:
    return InDoubt(what, hint="It is looked for by its title; see `status`.")


def _asked(process: Process, request: wire.Said) -> wire.Said:
    """Return the answer to a question, which does no harm when it is asked again."""
    try:
        process.ask(request)
        said = process.answer()
    except Died:
        process.ask(request)
        said = process.answer()
    if "error" in said:
        raise Trouble(said)
    return said


def _view(said: wire.Said, ahead: float | None) -> View:
    return View(
        jobs=tuple(Job.read(job) for job in said["jobs"]),
        queue=QueueState.read(said.get("queue")),
        starts=tuple(
            Start(since, tuple(Restart(at, event) for at, event in events))
            for since, events in said["starts"]
        ),
        ahead=ahead,
    )


def _dashed(bare: str) -> str:
    return "-".join((bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]))


def _environment(server: str | None) -> Mapping[str, str]:
    """Return the worker's whole environment: libcups reads the server from it.

    A host and port given to a connection do not reach every call of libcups.
    """
    plain = {"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    return {**plain, "CUPS_SERVER": server} if server else plain
