"""An inspector that believes what it was told about each document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from dispatcher.core.certificate import HoldReason, Inspection
from dispatcher.errors import Unavailable
from dispatcher.ports import Question


class MemoryInspector:
    """Passes the same contract as the real inspector (tests/contract)."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = False
        self._told: dict[str, Inspection] = {}
        self.deadly_texts: set[bytes] = set()
        self._faults: list[Unavailable | BaseException] = []

    def tell(self, content: bytes, found: Inspection) -> None:
        """Answer `found` whenever this document is asked about."""
        self._told[hashlib.sha256(content).hexdigest()] = found

    def fail_next(self, error: Unavailable | BaseException) -> None:
        """Raise `error` at the next call, once."""
        self._faults.append(error)

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        asked = list(questions)
        if asked and self._faults:
            raise self._faults.pop(0)
        self.asked += len(asked)
        return tuple(map(self._inspect, asked))

    def _inspect(self, question: Question) -> Inspection:
        told = self._told.get(hashlib.sha256(question.content).hexdigest())
        if question.text_only and question.content in self.deadly_texts:
            return Inspection(HoldReason.PDF_UNREADABLE, "it brought its reader down")
        if question.text_only:
            return Inspection(names_patient=True if told is None else told.names_patient)
        if told is not None:
            return told if question.names else replace(told, names_patient=None)
        if not question.content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
            return Inspection(HoldReason.NOT_A_PDF, "no PDF header")
        return Inspection(pages=1, names_patient=True if question.names else None)

    def close(self) -> None:
        self.closed = True
