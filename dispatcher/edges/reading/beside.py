"""Has messages read by a child process, which may die of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.edges.child.outside import Child, Died, read, read_some, write
from dispatcher.edges.reading import wire
from dispatcher.ports import BroughtDown, ReadMessage

# A message that brought its reader down so often, alone, has done it itself.
_TIMES: Final = 3
# How much of an answer is read at once.
_PIECE: Final = 1 << 20
# How long `close` waits for a batch to be read, and then for the child and its own to end by
# themselves, in seconds.
_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may cost. `seconds`, and `seconds_each` for every message in it.

    A document may use up to six of its own (`dispatcher.edges.pdf.Limits`) where the
    machine is busy. `memory` is bytes and bounds the child as a whole. `start_time` is how
    long it may take to begin.
    """

    seconds: float = 10.0
    seconds_each: float = 3.0
    memory: int = 512 << 20
    start_time: float = 20.0


class ReadBeside:
    """See `dispatcher.ports.MessageReader`. Safe to share between threads, which wait."""

    def __init__(self, limits: Limits | None = None, *, interpreter: str | None = None) -> None:
        self._limits = limits or Limits()
        numbers = (self._limits.memory, self._limits.seconds, self._limits.seconds_each)
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
        with self._lock:
            if len(raws) != 1:
                try:
                    return self._ask(raws, senders, ask_names=ask_names)
                except Died:
                    pass
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
        because = ""
        for _ in range(_TIMES):
            try:
                (found,) = self._ask([raw], senders, ask_names=ask_names)
            except Died as death:
                because = str(death)
            else:
                return found
        return BroughtDown(because or "it ended or did not answer in time")

    def _ask(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage, ...]:
        self._child.ready()
        seconds = self._limits.seconds + self._limits.seconds_each * len(raws)
        until = time.monotonic() + seconds

        def left() -> float:
            return until - time.monotonic()

        with self._child.or_ended():
            question = wire.question(raws, senders, ask_names=ask_names)
            write(self._child.questions, question, left)
            answers = self._child.answers
            (size,) = wire.SIZE.unpack(read(answers, wire.SIZE.size, left))
            payload = bytearray()
            while len(payload) < size:
                payload += read_some(answers, min(size - len(payload), _PIECE), left)
            found = wire.read_answer(payload)
            if isinstance(found, wire.Fell):
                raise Died(found.because)
        if isinstance(found, wire.NotNow):
            raise found.error()
        return found
