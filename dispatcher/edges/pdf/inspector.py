"""Answers what is wrong with a PDF, by asking child processes that may die of it."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final

from dispatcher.core.certificate import HoldReason, Inspection
from dispatcher.edges.pdf import wire
from dispatcher.edges.pdf.worker import Died, Limits, Worker
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
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        """Return one inspection each; see `Inspector.inspect`."""
        with ThreadPoolExecutor(len(self._workers), "pdf") as pool:
            return tuple(pool.map(self._inspect, questions))

    def close(self) -> None:
        """End the children once they are idle; a later question starts new ones."""
        ended = []
        with contextlib.suppress(queue.Empty):
            for _ in self._workers:
                # A document is bounded in time, so this wait is only for a queue of them.
                worker = self._idle.get(timeout=_PATIENCE)
                worker.end()
                ended.append(worker)
        for worker in ended:
            self._idle.put(worker)

    def _inspect(self, question: Question) -> Inspection:
        if len(question.content) > _LARGEST:
            return _POISONOUS
        with self._worker() as worker:
            try:
                found = worker.ask(
                    question.content, question.names, text_only=question.text_only
                )
            except Died:
                return _POISONOUS
        return _inspection(found)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


def _inspection(found: wire.Answer) -> Inspection:
    if found.problem is None:
        return Inspection(pages=found.pages, names_patient=found.named)
    try:
        return Inspection(HoldReason(found.problem), _SENTENCES[found.why])
    except (ValueError, KeyError):  # no word that our child knows: it is no longer ours
        return _POISONOUS
