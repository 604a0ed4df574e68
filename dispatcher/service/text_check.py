"""Asks delivered documents for their patients' names, beside the work (`pdf_text: warn`)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from dispatcher.errors import Unavailable
from dispatcher.ports import Inspector, Question

_log = structlog.get_logger(__name__)


class TextCheck:
    """Compares batches of documents one after the other. Used by one thread.

    What only warns keeps no certificate from its site: its text is read while the next
    batch is. No more than two batches are held: a new one waits for the one before.
    """

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._pool = ThreadPoolExecutor(1, "text")
        self._begun: Future[None] | None = None

    def begin(self, asked: Sequence[tuple[str, Question]]) -> None:
        """Have the text of these messages' documents compared, by id."""
        if asked:
            self.end()
            self._begun = self._pool.submit(self._compare, asked)

    def end(self) -> None:
        """Return when everything that was begun is compared."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def _compare(self, asked: Sequence[tuple[str, Question]]) -> None:
        try:
            found = self._inspector.inspect(question for _, question in asked)
        except Unavailable as error:
            _log.warning("texts_were_not_read", count=len(asked), because=str(error))
            return
        # Each was found sound before: now it is the text that its reader fell over.
        fatal = [one.detail for one in found if one.problem is not None]
        if fatal:
            _log.warning("texts_were_not_read", count=len(fatal), because=fatal[0])
        for (entry_id, _), inspection in zip(asked, found, strict=True):
            if inspection.names_patient is False:
                warn_of(entry_id)


def warn_of(entry_id: str) -> None:
    """Say that the text of a delivered document was read and does not name its patient."""
    _log.warning("document_did_not_name_its_patient", id=entry_id)
