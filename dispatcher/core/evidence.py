"""Lays out what each source of a message says, side by side, before any judgement."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from dispatcher.core import body, filename, subject
from dispatcher.core.body import Body, Label
from dispatcher.core.filename import NameReading
from dispatcher.core.message import Attachment, Message, shows_pdf
from dispatcher.core.subject import Fields

_PDF_TYPES: Final = frozenset({"application/pdf", "application/x-pdf"})
# A page or an archive with a PDF further on is two things at once, whatever opens it. The
# mark of UTF-8 and blanks are what careless gateways put before a document.
_BEGINNING: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]{0,8}%PDF-")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A message with what its sources say.

    `key` is the subject when there is exactly one and it is readable, `candidates` are the
    attachments that may be or hide a certificate, `named` the only candidate's name read with
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
        subjects = [self.key]
        if len(self.message.subjects) != 1:
            subjects = list(map(subject.read, self.message.subjects))
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
    candidates = _candidates(message.attachments)
    named = (
        filename.read_all(candidates[0].names, key) if key and len(candidates) == 1 else None
    )
    return Evidence(message, key, body.read(message.bodies), candidates, named)


def has_magic(attachment: Attachment) -> bool:
    """Whether the content begins like a PDF and like nothing else."""
    return _BEGINNING.match(attachment.content) is not None


def _candidates(attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    found = tuple(filter(_is_pdf_like, attachments))
    # Beside a PDF an attached message, which is not looked into, may hide another one.
    hiding = (one for one in attachments if _is_message(one) and one not in found)
    return (*found, *hiding) if found else ()


def _is_message(attachment: Attachment) -> bool:
    return attachment.content_type.startswith("message/")


def _is_pdf_like(attachment: Attachment) -> bool:
    return (
        attachment.content_type in _PDF_TYPES
        or any(name.strip().lower().endswith(".pdf") for name in attachment.names)
        # An attached message may show a PDF's beginning without being one.
        or (not _is_message(attachment) and shows_pdf(attachment.content))
    )
