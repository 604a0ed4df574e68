"""Reads a certificate from a message, when its independent sources agree on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from dispatcher.core.finess import FinessET


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


@dataclass(frozen=True, slots=True)
class Document:
    """The attached PDF with the name it came under. Never written to a log."""

    name: str = field(repr=False)
    content: bytes = field(repr=False)

    @property
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
