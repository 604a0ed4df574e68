"""Lays out what each source of a message says, side by side, before any judgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dispatcher.core import body, filename, subject
from dispatcher.core.body import Body, Label
from dispatcher.core.filename import NameReading
from dispatcher.core.message import Attachment, Message
from dispatcher.core.subject import Fields

_PDF_TYPES: Final = frozenset({"application/pdf", "application/x-pdf"})
_MAGIC: Final = b"%PDF-"
_MAGIC_REACH: Final = 1024  # ISO 32000-1, annex H.3, note 13


@dataclass(frozen=True, slots=True)
class Evidence:
    """A message with what its sources say.

    `key` is the subject when there is exactly one and it is readable, `candidates` are the
    attachments that may be the certificate, `named` the only candidate's name read with
    the key.
    """

    message: Message
    key: Fields | None = field(repr=False)
    said: Body
    candidates: tuple[Attachment, ...]
    named: NameReading | None

    def name(self) -> str:
        """Return the best name of the first candidate; empty when it has none."""
        agreed = self.named.name if self.named else ""
        return agreed or next((name for one in self.candidates for name in one.names), "")

    def sites(self) -> tuple[str | None, ...]:
        """Return every site that a source names; None for a body with no single one."""
        subjects = (subject.read(text) for text in self.message.subjects)
        stated = [self.said.site()] if self.said.of(Label.SITE) else []
        return (*(fields.site for fields in subjects if fields), *self.sites_named(), *stated)

    def sites_named(self) -> tuple[str, ...]:
        """Return the sites with which the candidates' names begin."""
        names = (name for one in self.candidates for name in one.names)
        return tuple(filter(None, map(filename.site_of, names)))

    def file_number(self) -> str | None:
        """Return the subject's file number unless the attachment's name lacks it."""
        if self.key is None or (self.named and self.named.contradicts_file_number):
            return None
        return self.key.file_number


def lay_out(message: Message) -> Evidence:
    """Return what the sources of a message say."""
    key = subject.read(message.subjects[0]) if len(message.subjects) == 1 else None
    candidates = tuple(filter(_is_pdf_like, message.attachments))
    named = (
        filename.read_all(candidates[0].names, key) if key and len(candidates) == 1 else None
    )
    return Evidence(message, key, body.read(message.bodies), candidates, named)


def has_magic(attachment: Attachment) -> bool:
    """Whether the content begins like a PDF, near enough for what opens PDF files."""
    return _MAGIC in attachment.content[:_MAGIC_REACH]


def _is_pdf_like(attachment: Attachment) -> bool:
    return (
        attachment.content_type in _PDF_TYPES
        or any(name.strip().lower().endswith(".pdf") for name in attachment.names)
        # An attached message may show a PDF's beginning without being one.
        or (not attachment.content_type.startswith("message/") and has_magic(attachment))
    )
