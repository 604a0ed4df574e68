"""Answers what is wrong with a PDF, by asking child processes that may die of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from dispatcher.core.certificate import HoldReason, Inspection
from dispatcher.edges.child.outside import Died
from dispatcher.edges.pdf import wire
from dispatcher.edges.pdf.worker import Limits, Worker, first_to_finish
from dispatcher.ports import Question

# The child says a word; the sentence is ours, so that nothing of a document gets out.
_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no-header": "there is no PDF header in the first 1024 bytes",
        "truncated": "the file is cut: it does not end as a PDF does",
        "structure": "its cross-reference or trailer is broken",
        "objects": "something in it cannot be read",
        "no-pages": "it has no page",
        "too-much": "there is far more in it than in a certificate",
        "encrypted": "it is encrypted",
        "active": "it would run, open or carry something",
    }
)
_POISONOUS: Final = Inspection(
    HoldReason.PDF_UNREADABLE, "reading it took too much time or memory"
)
# More is not even sent; a message is far smaller (setting of the mailbox, 10 MB).
_LARGEST: Final = 32 << 20
# How long `close` waits for a child that is at work, in seconds.
_PATIENCE: Final = 5.0


class PdfInspector:
    """See `dispatcher.ports.Inspector`. Safe to share between threads.

    `workers` is how many children read at once. They start when first needed.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        limits: Limits | None = None,
        interpreter: str | None = None,
    ) -> None:
        self._workers = [Worker(limits or Limits(), interpreter) for _ in range(workers)]
        self._idle = _Idle(self._workers)

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        """Return one inspection each; see `Inspector.inspect`."""
        return _Round(self._idle).ask(questions)

    def close(self) -> None:
        """End the children once they are idle; a later question starts new ones."""
        ended = []
        for _ in self._workers:
            # A document is bounded in time, so this wait is only for a queue of them.
            worker = self._idle.take(_PATIENCE)
            if worker is None:
                break
            worker.end()
            ended.append(worker)
        for worker in ended:
            self._idle.give_back(worker)


class _Idle:
    """The children that nobody is asking. Safe to share between threads."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._workers = list(workers)
        self._changed = threading.Condition()
        self._waiting = 0

    def take(self, timeout: float | None = None) -> Worker | None:
        """Return one once there is one; None when there was none for so many seconds."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._workers, timeout)
            finally:
                self._waiting -= 1
            return self._workers.pop() if self._workers else None

    def take_spare(self) -> Worker | None:
        """Return one that nobody waits for, or None. Never waits."""
        with self._changed:
            return self._workers.pop() if len(self._workers) > self._waiting else None

    def give_back(self, worker: Worker) -> None:
        """Have others use it."""
        with self._changed:
            self._workers.append(worker)
            self._changed.notify()


class _Round:
    """One call of `inspect`, in its caller's thread.

    A child works while the next question is made. Only one who holds no child waits for one
    that another thread holds, so that no two wait for each other.
    """

    def __init__(self, idle: _Idle) -> None:
        self._idle = idle
        self._asked: dict[Worker, int] = {}
        self._found: dict[int, Inspection] = {}

    def ask(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        """Return one inspection each, in order."""
        try:
            for number, question in enumerate(questions):
                if len(question.content) > _LARGEST:
                    self._found[number] = _POISONOUS
                else:
                    self._begin(number, question)
        finally:  # what the questions raise, too, is raised when those begun have ended
            self._end()
        return tuple(self._found[number] for number in range(len(self._found)))

    def _begin(self, number: int, question: Question) -> None:
        worker = self._worker()
        try:
            worker.begin(question.content, question.names, text_only=question.text_only)
            self._asked[worker] = number
        except Died:
            self._found[number] = _POISONOUS
        finally:
            if worker not in self._asked:
                self._idle.give_back(worker)

    def _end(self) -> None:
        try:
            while self._asked:
                self._collect()
        finally:  # broken off: no child is lost, nor left with a question of ours
            for worker in self._asked:
                worker.end()
                self._idle.give_back(worker)

    def _worker(self) -> Worker:
        while True:
            worker = self._idle.take_spare() if self._asked else self._idle.take()
            if worker is not None:
                return worker
            self._collect()

    def _collect(self) -> None:
        """Wait for at least one answer."""
        for worker in first_to_finish(list(self._asked)):
            number = self._asked.pop(worker)
            try:
                self._found[number] = _inspection(worker.finish())
            except Died:
                self._found[number] = _POISONOUS
            finally:
                self._idle.give_back(worker)


def _inspection(found: wire.Answer) -> Inspection:
    if found.problem is None:
        return Inspection(pages=found.pages, names_patient=found.named)
    try:
        return Inspection(HoldReason(found.problem), _SENTENCES[found.why])
    except (ValueError, KeyError):  # no word that our child knows: it is no longer ours
        return _POISONOUS
