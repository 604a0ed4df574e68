"""Reads messages to the end: sources, document, table of sites. Changes nothing anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dispatcher.core import certificate as certificates
from dispatcher.core.certificate import (
    Certificate,
    ContentKey,
    Facts,
    Foreign,
    Held,
    HoldReason,
    Inspection,
    PdfText,
    Reading,
)
from dispatcher.core.finess import FinessET
from dispatcher.core.message import message_id_digest
from dispatcher.core.retention import due_at
from dispatcher.core.routing import Rules, Target, decide
from dispatcher.ports import Question
from dispatcher.service.desk import Policy, Reader


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is to become of one message.

    `site` is the number in the table (today's, where the message bears a former one).
    `key` is None unless the three sources agreed. `targets` is empty unless `reading` is a
    certificate. `message_id` is a digest of the Message-ID. `left` is what its document's
    text is still to be asked.
    """

    reading: Reading
    raw_sha256: str
    site: FinessET | None = None
    key: ContentKey | None = None
    targets: tuple[Target, ...] = ()
    inspection: Inspection = Inspection()
    rules: str = ""
    message_id: str | None = None
    left: Question | None = None

    @property
    def facts(self) -> Facts:
        """What is known of the test; nothing of a foreign message."""
        return Facts() if isinstance(self.reading, Foreign) else self.reading.facts

    @property
    def unnamed(self) -> bool:
        """Whether the document's text was read and does not name the patient."""
        return self.inspection.names_patient is False


def assess(
    raws: Sequence[bytes], reader: Reader, *, leave_text: bool = False
) -> tuple[Assessment, ...]:
    """Assess whole messages, one answer each, in order. Never raises on what they hold.

    `leave_text` leaves what would only warn to be asked afterwards: see `Assessment.left`.
    """
    senders = reader.policy.senders
    readings = (certificates.read(raw, senders) for raw in raws)
    return _assess(raws, readings, reader, leave_text=leave_text)


def assess_suspect(raw: bytes, reader: Reader) -> Assessment | None:
    """Assess a message that is read apart; None: it brought its reader down."""
    reading = reader.apart.read(raw, reader.policy.senders)
    return None if reading is None else _assess([raw], [reading], reader)[0]


def _assess(
    raws: Sequence[bytes],
    readings: Iterable[Reading],
    reader: Reader,
    *,
    leave_text: bool = False,
) -> tuple[Assessment, ...]:
    """Assess what was read; the documents are inspected while the next message is read."""
    read: list[Reading] = []
    pdf_text = reader.policy.pdf_text
    leave = leave_text and pdf_text is PdfText.WARN
    asked = pdf_text is not PdfText.OFF and not leave

    def questions() -> Iterator[Question]:
        for reading in readings:
            read.append(reading)
            if isinstance(reading, Certificate):
                yield Question(reading.document.content, _names(reading) if asked else None)

    found = iter(reader.inspector.inspect(questions()))
    rules = reader.rules()
    return tuple(
        _assessed(raw, reading, next(found), rules=rules, policy=reader.policy, leave=leave)
        if isinstance(reading, Certificate)
        else _unread(raw, reading, rules)
        for raw, reading in zip(raws, read, strict=True)
    )


def _names(reading: Certificate) -> tuple[str, str]:
    return reading.last_name, reading.first_name


def assess_header(
    header: bytes, reader: Reader, *, reason: HoldReason, detail: str
) -> Assessment:
    """Assess a message of which only the header may be read: foreign, or held for `reason`."""
    reading = certificates.read(header, reader.policy.senders)
    rules = reader.rules()
    if not isinstance(reading, Foreign):
        keep = isinstance(reading, Held) and reading.reason is HoldReason.SENDER_NOT_ALLOWED
        reading = reading if keep else Held(reason, detail, None, reading.facts)
    return _unread(header, reading, rules)


def _unread(raw: bytes, reading: Reading, rules: Rules) -> Assessment:
    return Assessment(
        reading,
        _sha256(raw),
        site=_site(reading, rules),
        rules=rules.digest,
        message_id=message_id_digest(raw),
    )


def purge_at(assessment: Assessment, received_at: datetime, policy: Policy) -> datetime:
    """Return the legal term of the message (guide, section 5)."""
    return due_at(assessment.facts, received_at, policy.terms)


def _assessed(
    raw: bytes,
    reading: Certificate,
    found: Inspection,
    *,
    rules: Rules,
    policy: Policy,
    leave: bool,
) -> Assessment:
    judged = certificates.judge(reading, found, policy.pdf_text)
    site = _site(reading, rules) or reading.site
    draft = Assessment(
        judged,
        _sha256(raw),
        site=site,
        key=ContentKey(site, reading.file_number, reading.document.sha256),
        inspection=found,
        rules=rules.digest,
        message_id=message_id_digest(raw),
    )
    if isinstance(judged, Held):
        return draft
    if leave:
        content = reading.document.content
        draft = replace(draft, left=Question(content, _names(reading), text_only=True))
    targets = decide(rules, judged.facts)
    if targets is None:
        return _held(draft, judged, HoldReason.SITE_UNKNOWN, "the site is not in routing.yaml")
    if not targets:
        detail = "no target of the site takes a certificate with this result or analysis"
        return _held(draft, judged, HoldReason.TARGET_REFUSED, detail)
    return replace(draft, targets=targets)


def _held(
    draft: Assessment, certificate: Certificate, reason: HoldReason, detail: str
) -> Assessment:
    held = Held(reason, detail, certificate.document, certificate.facts, certificate.sources)
    return replace(draft, reading=held)


def _site(reading: Reading, rules: Rules) -> FinessET | None:
    number = None if isinstance(reading, Foreign) else reading.facts.site
    if number is None:
        return None
    known = rules.site_of(number)
    return number if known is None else known.finess


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
