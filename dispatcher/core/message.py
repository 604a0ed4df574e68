"""Reads the raw bytes of a message: who sent it, its subject, its texts, its attachments.

Everything comes from the raw bytes (RFC 5322, 2045-2047, 2231): servers mangle ENVELOPE
and BODYSTRUCTURE, so nothing that a server parsed is believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.core import markup, mime
from dispatcher.core.header import UNREADABLE_SENDER, authors, decode_words, parameter, token
from dispatcher.core.mime import Entity
from dispatcher.core.text import can_be_composed, decode


@dataclass(frozen=True, slots=True, order=True)
class MessageRef:
    """Where a message lies (RFC 3501, 2.3.1.1). A uid means nothing without the rest."""

    mailbox: str
    uidvalidity: int
    uid: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """One leaf part that is neither a text body nor an inline picture, or shows a PDF.

    `names` are the distinct decoded names the part bears (`filename*`, `filename`,
    `name`), best first. `whole` is False when its transfer encoding was damaged.
    """

    names: tuple[str, ...] = field(repr=False)
    content_type: str
    content: bytes = field(repr=False)
    whole: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What the raw bytes say, decoded and not yet judged.

    `senders` holds every address of every From field, lower-cased; `subjects` one text a
    Subject field; `bodies` one text a rendering (plain, HTML turned into text).
    `oddities` are words for people about what was strange (`explain` prints them).
    """

    senders: tuple[str, ...] = field(repr=False)
    subjects: tuple[str, ...] = field(repr=False)
    bodies: tuple[str, ...] = field(repr=False)
    attachments: tuple[Attachment, ...]
    message_id: str | None = field(default=None, repr=False)
    oddities: tuple[str, ...] = ()


# A body larger than this is not one of ours: a message of 1 MB is nearly all document.
_BODY_LIMIT: Final = 250_000

_PDF_MARK: Final = b"%PDF-"
_PDF_REACH: Final = 1024  # ISO 32000-1, annex H.3, note 13
# As it is, in base64, uuencoded.
_PDF_MARKS: Final = (_PDF_MARK, b"JVBERi0", b")5!$1BT")

_MESSAGE_ID: Final = re.compile(r"<[^<>\s]+>", re.ASCII)


def read(raw: bytes) -> Message:
    """Return what the raw bytes of a message say. Never raises, whatever the bytes.

    Attached messages are never looked into. Past the limits of `dispatcher.core.mime`
    nothing more is read, and BEYOND_LIMITS is among the oddities.
    """
    oddities: list[str] = []
    top = mime.message(raw[: mime.MESSAGE_LIMIT])
    parts: list[Entity] = []
    if len(raw) > mime.MESSAGE_LIMIT or (len(raw) > mime.HEADER_LIMIT and not top.body):
        oddities.append(mime.BEYOND_LIMITS)
    else:
        parts.extend(mime.leaves(top, oddities))
    leaves = list(map(_leaf, parts))
    if _may_hide_pdf(top, leaves):
        oddities.append(mime.MAY_HIDE)
    bodies = tuple(_text_of(leaf, oddities) for leaf in leaves if leaf.is_body)
    attachments = tuple(
        _attachment(leaf) for leaf in leaves if not leaf.is_body and _is_file(leaf)
    )
    return Message(
        senders=_senders(top, oddities),
        subjects=tuple(decode_words(value).strip(" ") for value in top.values("subject")),
        bodies=bodies,
        attachments=attachments,
        message_id=_message_id(top),
        oddities=tuple(dict.fromkeys(oddities)),
    )


def shows_pdf(content: bytes) -> bool:
    """Whether some program may open it as a PDF, whatever else it is or is called."""
    return _PDF_MARK in content[:_PDF_REACH]


def _may_hide_pdf(top: Entity, leaves: Sequence[_Leaf]) -> bool:
    """Whether a PDF begins anywhere but at the beginning of the one attachment that shows it.

    In a text, an archive, or outside all parts; where a boundary was damaged, say. Two that
    show one are counted as two anyway.
    """
    shown = [leaf for leaf in leaves if leaf.shows_pdf]
    if len(shown) != 1:
        return False
    part, content = shown[0].part, shown[0].content
    places = [part.source[top.begin : part.begin], part.source[part.end :]]
    places.extend(leaf.content for leaf in leaves if leaf is not shown[0])
    # Base64 with another file glued to it is damaged.
    if token(part.first("content-transfer-encoding")) != "base64":
        places.append(content.partition(_PDF_MARK)[2])
    # A line end between two of them, so that no mark is made.
    whole = b"\n".join(places)
    return any(mark in whole for mark in _PDF_MARKS)


def message_id_digest(raw_or_header: bytes) -> str | None:
    r"""Return a digest of the Message-ID, the same for a message and for that field alone.

    Hexadecimal SHA-256 of the unfolded value (RFC 5322, 2.2.3 and 3.6.4); of several fields
    all count, in their order. None: there is none. Lines end as they do for a server, at
    \n: what `read` forgives a message without one would not be in a server's answer.
    """
    found = mime.header_fields(raw_or_header)
    values = [value for name, value in found if name == "message-id"]
    # No value holds a line end, so that two fields are never taken for one.
    return hashlib.sha256(b"\n".join(values)).hexdigest() if values else None


def _senders(top: Entity, oddities: list[str]) -> tuple[str, ...]:
    found = tuple(author for value in top.values("from") for author in authors(value))
    if UNREADABLE_SENDER in found:
        oddities.append("an author in From cannot be read strictly")
    counts = {name: len(top.values(name.lower())) for name in ("From", "Subject")}
    oddities.extend(f"{count} {name} fields" for name, count in counts.items() if count != 1)
    return found


def _message_id(top: Entity) -> str | None:
    found = _MESSAGE_ID.search(top.first("message-id").decode("latin-1"))
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A part with what it holds: decoded once, and asked once what it is."""

    part: Entity
    content: bytes = field(repr=False)
    whole: bool
    shows_pdf: bool
    is_body: bool


def _leaf(part: Entity) -> _Leaf:
    content, whole = mime.content_of(part)
    shown = shows_pdf(content)
    return _Leaf(part, content, whole, shown, not shown and _is_body(part))


def _is_body(part: Entity) -> bool:
    """A text without a file name, unless it is said to be an attachment."""
    disposition = part.first("content-disposition")
    return (
        part.content_type in {"text/plain", "text/html"}
        and token(disposition) != "attachment"
        and not parameter(disposition, "filename")
    )


def _is_file(leaf: _Leaf) -> bool:
    """Whether a part that is no body is more than an inline picture."""
    part = leaf.part
    is_inline = part.first("content-id") or token(part.first("content-disposition")) == "inline"
    is_picture = part.content_type.startswith("image/") and is_inline
    return not is_picture or leaf.shows_pdf


def _attachment(leaf: _Leaf) -> Attachment:
    part = leaf.part
    names = [
        name.strip(" ")
        for field, key in (("content-disposition", "filename"), ("content-type", "name"))
        for value in part.values(field)
        for name in parameter(value, key)
    ]
    return Attachment(tuple(dict.fromkeys(names)), part.content_type, leaf.content, leaf.whole)


def _text_of(leaf: _Leaf, oddities: list[str]) -> str:
    part, content = leaf.part, leaf.content
    if not leaf.whole:
        oddities.append("a body with a damaged transfer encoding")
    if len(content) > _BODY_LIMIT:
        oddities.append(mime.BEYOND_LIMITS)
        return ""
    charset = next(iter(parameter(part.first("content-type"), "charset")), "")
    text = decode(content, charset).removeprefix("\ufeff")
    text = markup.text_of(text) if part.content_type == "text/html" else text
    if not can_be_composed(text):
        oddities.append(mime.BEYOND_LIMITS)
        return ""
    return text
