"""Has messages read by a child process, which may die of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.edges.child.outside import (
    Child,
    Died,
    Left,
    cpu_seconds,
    read,
    read_some,
    write,
)
from dispatcher.edges.reading import wire
from dispatcher.errors import Unavailable, place_of
from dispatcher.ports import BroughtDown, ReadMessage

# A message over which its reader ended so often, alone, has done it itself.
_TIMES: Final = 3
# A child that ran less than this part of its time was starved: that is no message's doing.
_RAN: Final = 0.25
# How much of an answer is read at once.
_PIECE: Final = 1 << 20
# How long `close` waits for a batch to be read, and then for the child and its own to end by
# themselves, in seconds.
_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may cost. `seconds`, and `seconds_each` for every message in it.

    A document may use up to six of its own (`dispatcher.edges.pdf.worker.Limits`) where the
    machine is busy, six more when its PDF reader is killed over it, and one that is started
    anew 20. `memory` is bytes and bounds the child as a whole. `start_time` is how long it,
    and its PDF reader, may take to begin.
    """

    seconds: float = 30.0
    seconds_each: float = 3.0
    memory: int = 512 << 20
    start_time: float = 45.0


class _Late(Died):
    """The child fell silent. `ran`: it was at work all the same."""

    def __init__(self, *, ran: bool) -> None:
        super().__init__("it did not answer in time")
        self.ran = ran


class ReadBeside:
    """See `dispatcher.ports.MessageReader`. Safe to share between threads, which wait.

    `pdf_readers` is how many children of the child inspect documents at once.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        pdf_readers: int = 1,
        interpreter: str | None = None,
    ) -> None:
        self._limits = limits or Limits()
        limits = self._limits
        numbers = (limits.memory, limits.seconds, limits.seconds_each, pdf_readers)
        self._child = Child(
            "dispatcher.edges.reading.child",
            tuple(map(str, numbers)),
            name="the message reader",
            start_time=self._limits.start_time,
            interpreter=interpreter,
        )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if any."""
        return self._child.pid

    def read(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage | BroughtDown, ...]:
        """Read them; after a death each one alone, to know which it was."""
        if not raws:
            return ()
        if len(raws) > 1:
            with contextlib.suppress(Died):
                return self._ask(raws, senders, ask_names=ask_names)
        return tuple(self._alone(raw, senders, ask_names=ask_names) for raw in raws)

    def close(self) -> None:
        """End the child; a later question starts a new one.

        One that is still at work after a while is left: it ends with this process.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            self._child.end(patience=_PATIENCE)
        finally:
            self._lock.release()

    def _alone(
        self, raw: bytes, senders: frozenset[str], *, ask_names: bool
    ) -> ReadMessage | BroughtDown:
        because, starved = "", False
        for _ in range(_TIMES):
            try:
                (found,) = self._ask([raw], senders, ask_names=ask_names)
            except _Late as late:
                if late.ran:  # it would be so again, and keep others waiting
                    return BroughtDown(str(late))
                starved = True
            except Died as death:
                because = str(death)
            else:
                return found
        if starved:
            hint = "Look at the load of this machine, and its memory."
            raise Unavailable("the message reader does not get to run", hint=hint)
        return BroughtDown(because or "it ended")

    def _ask(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage, ...]:
        # For one batch only: others are not to wait for what is read again and again.
        with self._lock:
            return self._asked(raws, senders, ask_names=ask_names)

    def _asked(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage, ...]:
        pid = self._child.ready()
        seconds = self._limits.seconds + self._limits.seconds_each * len(raws)
        before, until = cpu_seconds(pid), time.monotonic() + seconds
        ran: float | None = None

        def left() -> float:
            nonlocal ran
            rest = until - time.monotonic()
            if rest <= 0:  # asked for now: the child will be gone
                ran = cpu_seconds(pid) - before
            return rest

        try:
            with self._child.or_ended():
                question = wire.question(raws, senders, ask_names=ask_names)
                write(self._child.questions, question, left)
                found = _answer(self._child.answers, left)
        except Died as death:
            if ran is None or death.args:
                raise
            raise _Late(ran=ran >= _RAN * seconds) from death
        if isinstance(found, wire.NotNow):
            raise found.error()
        return found


def _answer(answers: int, left: Left) -> tuple[ReadMessage, ...] | wire.NotNow:
    (size,) = wire.SIZE.unpack(read(answers, wire.SIZE.size, left))
    payload = bytearray()
    while len(payload) < size:
        payload += read_some(answers, min(size - len(payload), _PIECE), left)
    try:
        found = wire.read_answer(payload)
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was answered
        raise Died(f"{type(error).__name__} {place_of(error)}") from None
    if isinstance(found, wire.Fell):
        raise Died(found.because)
    return found
