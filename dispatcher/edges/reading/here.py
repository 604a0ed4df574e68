"""Reads messages in this very process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from dispatcher.core import certificate as certificates
from dispatcher.core.certificate import Certificate, Reading
from dispatcher.core.message import message_id_digest
from dispatcher.ports import Inspector, Question, ReadMessage


class ReadHere:
    """See `dispatcher.ports.MessageReader`. What brings it down brings its process down."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def read(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage, ...]:
        """Read them; the documents are inspected while the next message is read."""
        readings: list[Reading] = []

        def questions() -> Iterator[Question]:
            for raw in raws:
                reading = certificates.read(raw, senders)
                readings.append(reading)
                if isinstance(reading, Certificate):
                    names = (reading.last_name, reading.first_name) if ask_names else None
                    yield Question(reading.document.content, names)

        found = iter(self._inspector.inspect(questions()))
        return tuple(
            ReadMessage(
                reading,
                hashlib.sha256(raw).hexdigest(),
                message_id_digest(raw),
                next(found) if isinstance(reading, Certificate) else None,
            )
            for raw, reading in zip(raws, readings, strict=True)
        )

    def close(self) -> None:
        """Do nothing: the inspector is its maker's."""
