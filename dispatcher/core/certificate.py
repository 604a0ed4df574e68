"""Reads a certificate from a message, when its independent sources agree on it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Final

from dispatcher.core import evidence, subject
from dispatcher.core.body import Body, Label, Value
from dispatcher.core.evidence import Evidence
from dispatcher.core.filename import NameReading, Verdict
from dispatcher.core.finess import FinessET
from dispatcher.core.message import Attachment, Message
from dispatcher.core.message import read as read_message
from dispatcher.core.mime import BEYOND_LIMITS, MAY_HIDE
from dispatcher.core.subject import Fields
from dispatcher.core.text import fold, same, squeeze


class Result(Enum):
    """Result of a test. Labels of the 2D-DOC B2 document; stored as these words."""

    POSITIVE = "positif"
    NEGATIVE = "negatif"
    UNDETERMINED = "indetermine"
    NOT_COMPLIANT = "non-conforme"


class HoldReason(Enum):
    """Why a certificate waits for a person. Stored and shown as these exact words."""

    SENDER_NOT_ALLOWED = "sender-not-allowed"
    SUBJECT_UNREADABLE = "subject-unreadable"
    ATTACHMENT_MISSING = "attachment-missing"
    ATTACHMENT_NAME_UNREADABLE = "attachment-name-unreadable"
    SEVERAL_CERTIFICATES = "several-certificates"
    NOT_A_PDF = "not-a-pdf"
    PDF_ENCRYPTED = "pdf-encrypted"
    PDF_ACTIVE_CONTENT = "pdf-active-content"
    PDF_UNREADABLE = "pdf-unreadable"
    TOO_LARGE = "too-large"
    FINESS_MISMATCH = "finess-mismatch"
    FILE_NUMBER_MISMATCH = "file-number-mismatch"
    PATIENT_MISMATCH = "patient-mismatch"
    SITE_UNKNOWN = "site-unknown"
    TARGET_REFUSED = "target-refused"
    IN_DOUBT = "in-doubt"


@dataclass(frozen=True, slots=True)
class ContentKey:
    """Identity of a certificate: the same key again is a duplicate (design, the way)."""

    site: FinessET
    file_number: str = field(repr=False)
    sha256: str


@dataclass(frozen=True)
class Document:
    """The attached PDF with the name it came under. Never written to a log."""

    name: str = field(repr=False)
    content: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one source says, as text and before any judgement. None: it does not say."""

    site: str | None = field(default=None, repr=False)
    file_number: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Sources:
    """The three independent sources, for `explain`. None: missing or unreadable."""

    subject: Claim | None = None
    attachment: Claim | None = None
    body: Claim | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a test. A field is None when unread or in disagreement.

    `sampled_at` and `integrated_at` are aware, in Europe/Paris.
    """

    site: FinessET | None = None
    file_number: str | None = field(default=None, repr=False)
    result: Result | None = None
    analysis: str | None = None
    sampled_at: datetime | None = None
    integrated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose sources agree. `last_name` and `first_name` as in the subject."""

    site: FinessET
    file_number: str = field(repr=False)
    last_name: str = field(repr=False)
    first_name: str = field(repr=False)
    document: Document
    facts: Facts
    sources: Sources = field(repr=False)

    @property
    def key(self) -> ContentKey:
        """The content key."""
        return ContentKey(self.site, self.file_number, self.document.sha256)


@dataclass(frozen=True, slots=True)
class Held:
    """A SI-DEP message that waits for a person.

    `document` is what a release would deliver, None when there is no single one.
    `detail` is one sentence for people, without patient data.
    """

    reason: HoldReason
    detail: str = ""
    document: Document | None = None
    facts: Facts = Facts()
    sources: Sources = field(default=Sources(), repr=False)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Not SI-DEP's: neither the sender nor the subject is. Never touched."""


Reading = Certificate | Held | Foreign


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the PDF edge found. `problem` is None for a sound document.

    `names_patient` is None when its text was not asked for or could not be read.
    """

    problem: HoldReason | None = None
    detail: str = ""
    pages: int | None = None
    names_patient: bool | None = None


class PdfText(Enum):
    """Setting `agreement.pdf_text`: what the names in the PDF's text are asked for."""

    OFF = "off"
    WARN = "warn"
    REQUIRE = "require"


def judge(certificate: Certificate, found: Inspection, pdf_text: PdfText) -> Certificate | Held:
    """Return the certificate, or the hold that its document calls for."""
    reason, detail = found.problem, found.detail
    if reason is None and pdf_text is PdfText.REQUIRE and found.names_patient is not True:
        reason, detail = HoldReason.PATIENT_MISMATCH, "the PDF's text does not name the patient"
    if reason is None:
        return certificate
    return Held(reason, detail, certificate.document, certificate.facts, certificate.sources)


# --- reading ------------------------------------------------------------------------------


def read(raw: bytes, senders: frozenset[str]) -> Reading:
    """Return what a message is; never raises, on any bytes.

    `senders` are the allowed addresses, lower-cased. A message is foreign when neither its
    sender nor its subject is SI-DEP's. It is a certificate only if subject, attachment and
    body agree on the site and the patient, subject and attachment on the file number;
    otherwise it is held for the first reason that applies.
    """
    message = read_message(raw)
    if not (senders & set(message.senders) or any(map(subject.is_ours, message.subjects))):
        return Foreign()
    found = evidence.lay_out(message)
    refusal = next(_refusals(found, senders), None)
    facts, sources, document = _facts(found), _sources(found), _document(found)
    if refusal is None and found.key is not None and document is not None:
        key = found.key
        return Certificate(
            FinessET(key.site),
            key.file_number,
            last_name=key.last_name,
            first_name=key.first_name,
            document=document,
            facts=facts,
            sources=sources,
        )
    # Without a refusal there is a key and a document; were there none, holding is safe.
    reason, detail = refusal or (HoldReason.SUBJECT_UNREADABLE, "")
    return Held(reason, detail, document, facts, sources)


def _document(found: Evidence) -> Document | None:
    if len(found.candidates) != 1 or MAY_HIDE in found.message.oddities:
        return None
    return Document(found.name(), found.candidates[0].content)


# --- reasons to hold, in their order ------------------------------------------------------

_Refusal = tuple[HoldReason, str]


def _refusals(found: Evidence, senders: frozenset[str]) -> Iterator[_Refusal]:
    yield from _author(found.message, senders)
    yield from _subject(found)
    if BEYOND_LIMITS in found.message.oddities:
        yield HoldReason.TOO_LARGE, f"the message is {BEYOND_LIMITS}"
    yield from _attachment(found)
    if found.key and found.named:
        yield from _disagreements(found.key, found.named, found.said)
    if len(found.candidates) == 1:
        yield from _content(found.candidates[0])


def _author(message: Message, senders: frozenset[str]) -> Iterator[_Refusal]:
    if len(message.senders) != 1:
        yield HoldReason.SENDER_NOT_ALLOWED, "the message has not exactly one author"
    elif message.senders[0] not in senders:
        yield HoldReason.SENDER_NOT_ALLOWED, "the subject is SI-DEP's, the sender is not"


def _subject(found: Evidence) -> Iterator[_Refusal]:
    if len(found.message.subjects) != 1:
        yield HoldReason.SUBJECT_UNREADABLE, "the message has not exactly one subject"
    elif found.key is None:
        yield (
            HoldReason.SUBJECT_UNREADABLE,
            "the subject is not that of an original certificate",
        )


def _attachment(found: Evidence) -> Iterator[_Refusal]:
    if len(found.candidates) > 1:
        yield (
            HoldReason.SEVERAL_CERTIFICATES,
            "the message has more than one PDF, or a message attached beside it",
        )
    elif found.candidates and MAY_HIDE in found.message.oddities:
        yield HoldReason.SEVERAL_CERTIFICATES, MAY_HIDE
    elif not found.candidates and found.message.attachments:
        yield HoldReason.NOT_A_PDF, "no attachment is a PDF by its name, type or content"
    elif not found.candidates:
        yield HoldReason.ATTACHMENT_MISSING, "the message has no attachment"


def _disagreements(key: Fields, named: NameReading, said: Body) -> Iterator[_Refusal]:
    if named.verdict is Verdict.UNREADABLE:
        yield (
            HoldReason.ATTACHMENT_NAME_UNREADABLE,
            "the attachment's name does not begin with a site, or its forms differ",
        )
    other = "the attachment's name gives another {} than the subject".format
    if named.verdict is Verdict.OTHER_SITE:
        yield HoldReason.FINESS_MISMATCH, other("site")
    if (stated := said.site()) != key.site:
        detail = "another site than the subject" if stated else "no single readable site"
        yield HoldReason.FINESS_MISMATCH, f"the body gives {detail}"
    if named.verdict is Verdict.OTHER_FILE:
        yield HoldReason.FILE_NUMBER_MISMATCH, other("file number")
    if named.verdict is Verdict.OTHER_PATIENT:
        yield HoldReason.PATIENT_MISMATCH, other("name")
    if not _names_agree(key, said):
        yield HoldReason.PATIENT_MISMATCH, "the body does not give the subject's names"


def _names_agree(key: Fields, said: Body) -> bool:
    last = said.states(Label.LAST_NAME, key.last_name)
    return last and said.states(Label.FIRST_NAME, key.first_name)


def _content(only: Attachment) -> Iterator[_Refusal]:
    if not only.whole:
        yield HoldReason.PDF_UNREADABLE, "the attachment's transfer encoding is damaged"
    elif not evidence.has_magic(only):
        yield HoldReason.NOT_A_PDF, "the attachment's content is not a PDF"


# --- what is known even of a message that is held -----------------------------------------

_RESULTS: Final = {
    fold(text): result
    for text, result in (
        ("Positif", Result.POSITIVE),
        ("Négatif", Result.NEGATIVE),
        ("Indéterminé", Result.UNDETERMINED),
        ("Prélèvement non conforme", Result.NOT_COMPLIANT),
    )
}
_RESULT_WORDS: Final = frozenset(
    {"positif", "positive", "negatif", "negative", "indetermine", "indeterminee", "conforme"}
)


def _facts(found: Evidence) -> Facts:
    said = found.said
    site = same(found.sites())
    return Facts(
        site=FinessET(site) if site else None,
        file_number=found.file_number(),
        result=same(_result(value) for value in said.of(Label.RESULT)),
        analysis=said.analysis(),
        sampled_at=said.time(Label.SAMPLED),
        integrated_at=said.time(Label.INTEGRATED),
    )


def _result(value: Value) -> Result | None:
    """Return a result that is exactly one of the four words, on as many lines as it takes."""
    for count in range(1, min(len(value), 3) + 1):
        result = _RESULTS.get(fold(squeeze(" ".join(value[:count])).rstrip(" .,;!")))
        if result is not None:
            rest = re.findall(r"\w+", " ".join(value[count:]))
            return None if any(fold(word) in _RESULT_WORDS for word in rest) else result
    return None


def _sources(found: Evidence) -> Sources:
    key, named, said = found.key, found.named, found.said
    in_name = Claim(site=same(found.sites_named()))
    if named is not None:
        in_name = Claim(named.site, named.file_number, named.last_name, named.first_name)
    in_body = Claim(
        site=said.site() or said.text(Label.SITE),
        last_name=said.text(Label.LAST_NAME),
        first_name=said.text(Label.FIRST_NAME),
    )
    return Sources(
        subject=Claim(key.site, key.file_number, key.last_name, key.first_name)
        if key
        else None,
        attachment=in_name if in_name != Claim() else None,
        body=in_body if in_body != Claim() else None,
    )
