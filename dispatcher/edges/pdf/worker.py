"""Holds one child process that reads PDF files, and ends it when it does not answer."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.edges.child.outside import (
    Child,
    Died,
    Ended,
    Left,
    cpu_seconds,
    read_some,
    write,
)
from dispatcher.edges.pdf import wire

_ANSWER: Final = wire.LENGTH.size + wire.LONGEST_ANSWER

# A child that ran less than this part of the time was starved, by no fault of a document;
# it is then asked again every so many seconds, up to so many times the time.
_RAN: Final = 0.75
_AGAIN: Final = 0.1
_STARVED: Final = 3

# What is sent before a document, and it.
_Question = tuple[bytes, bytes]


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


class Worker:
    """One child process, started when it is first needed. Not shared between threads."""

    def __init__(self, limits: Limits, interpreter: str | None = None) -> None:
        self._limits = limits
        self._child = Child(
            "dispatcher.edges.pdf.child",
            (str(limits.memory), str(limits.wall_time)),
            name="the PDF reader",
            start_time=limits.start_time,
            interpreter=interpreter,
        )
        self._patience: _Patience | None = None
        # What is asked, as long as a fresh child may be asked it, too.
        self._once_more: _Question | None = None
        self._answered = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if any."""
        return self._child.pid

    @property
    def answers(self) -> int:
        """The descriptor on which the child that was asked will answer."""
        return self._child.answers

    def begin(
        self, content: bytes, names: tuple[str, str] | None, *, text_only: bool = False
    ) -> None:
        """Hand a question over; `finish` must be called before the next one.

        A child that ends over it may have been killed from outside: a fresh one is asked once
        more, here or in `finish`. Raises Died when that was in vain or the time is over,
        Unavailable when none can be started.
        """
        question = (wire.question(len(content), names, text_only=text_only), content)
        self._once_more = None
        try:
            self._hand_over(question)
        except Ended:
            self._hand_over(question)
        else:
            self._once_more = question

    def left(self) -> float:
        """Return the seconds to wait for the answer now, none or less when it is over."""
        return 0.0 if self._patience is None else self._patience.left()

    def finish(self) -> wire.Answer:
        """Return the child's answer once it is there; raises what `begin` does.

        However late this is called, an answer that came counts.
        """
        question, self._once_more = self._once_more, None
        try:
            answer = self._answer()
        except Ended:
            if question is None:
                raise
            self._hand_over(question)
            answer = self._answer()
        self._patience = None
        self._answered += 1
        if self._answered >= self._limits.documents:
            self.end()
        return answer

    def end(self) -> None:
        """Kill the child, if there is one. Never raises."""
        self._patience = self._once_more = None
        self._child.end()

    def _hand_over(self, question: _Question) -> None:
        before = self._child.pid
        pid = self._child.ready()
        if pid != before:
            self._answered = 0
        with self._child.or_ended():
            self._patience = _Patience(pid, self._limits.wall_time)
            write(self._child.questions, question, self.left)

    def _answer(self) -> wire.Answer:
        with self._child.or_ended():
            try:
                return wire.read_answer(_read_frame(self.answers, self.left))
            except wire.Garbled as error:
                raise Died from error


def _read_frame(fd: int, left: Left) -> bytes:
    """Return the payload of what comes; no more than the longest answer is read at once."""
    got = b""
    while (payload := wire.unframed(got)) is None:
        got += read_some(fd, _ANSWER, left)
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


class _Patience:
    """How long one answer is waited for."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._asked_at = time.monotonic()
        self._used_before = cpu_seconds(pid)

    def left(self) -> float:
        """Return the seconds to wait now, none or less when it is over."""
        waited = time.monotonic() - self._asked_at
        if waited < self._seconds or waited >= _STARVED * self._seconds:
            return self._seconds - waited
        ran = cpu_seconds(self._pid) - self._used_before
        return _AGAIN if ran < _RAN * self._seconds else 0.0
