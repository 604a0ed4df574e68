"""Reads messages to the end: sources, document, table of sites. Changes nothing anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
from dispatcher.core.mime import header_part
from dispatcher.core.retention import due_at
from dispatcher.core.routing import Rules, Target, decide
from dispatcher.ports import BroughtDown, Question, ReadMessage
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
    pdf_text = reader.policy.pdf_text
    leave = leave_text and pdf_text is PdfText.WARN
    ask_names = pdf_text is not PdfText.OFF and not leave
    found = reader.messages.read(raws, reader.policy.senders, ask_names=ask_names)
    rules = reader.rules()
    return tuple(
        assess_header(
            header_part(raw),
            reader,
            reason=HoldReason.PDF_UNREADABLE,
            detail=f"its reading brought its reader down ({one.because})",
        )
        if isinstance(one, BroughtDown)
        else _assessed(one, rules=rules, policy=reader.policy, leave=leave)
        for raw, one in zip(raws, found, strict=True)
    )


def assess_header(
    header: bytes, reader: Reader, *, reason: HoldReason, detail: str
) -> Assessment:
    """Assess a message of which only the header may be read: foreign, or held for `reason`."""
    (found,) = reader.messages.read([header], reader.policy.senders, ask_names=False)
    if isinstance(found, BroughtDown):
        # Not even by its header: whose it is, a person must see.
        digest = hashlib.sha256(header).hexdigest()
        found = ReadMessage(Held(reason, detail), digest, None, None)
    elif isinstance(found.reading, Held):
        keep = found.reading.reason is HoldReason.SENDER_NOT_ALLOWED
        held = found.reading if keep else Held(reason, detail, None, found.reading.facts)
        found = replace(found, reading=held)
    elif isinstance(found.reading, Certificate):
        found = replace(found, reading=Held(reason, detail, None, found.reading.facts))
    return _unread(found, reader.rules())


def _unread(found: ReadMessage, rules: Rules) -> Assessment:
    return Assessment(
        found.reading,
        found.raw_sha256,
        site=_site(found.reading, rules),
        rules=rules.digest,
        message_id=found.message_id,
    )


def purge_at(assessment: Assessment, received_at: datetime, policy: Policy) -> datetime:
    """Return the legal term of the message (guide, section 5)."""
    return due_at(assessment.facts, received_at, policy.terms)


def _assessed(message: ReadMessage, *, rules: Rules, policy: Policy, leave: bool) -> Assessment:
    reading, found = message.reading, message.inspection
    if not isinstance(reading, Certificate) or found is None:
        return _unread(message, rules)
    judged = certificates.judge(reading, found, policy.pdf_text)
    site = _site(reading, rules) or reading.site
    draft = Assessment(
        judged,
        message.raw_sha256,
        site=site,
        key=ContentKey(site, reading.file_number, reading.document.sha256),
        inspection=found,
        rules=rules.digest,
        message_id=message.message_id,
    )
    if isinstance(judged, Held):
        return draft
    if leave:
        content = reading.document.content
        names = (reading.last_name, reading.first_name)
        draft = replace(draft, left=Question(content, names, text_only=True))
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
