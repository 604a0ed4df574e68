"""Encodes a message as one of the mailers seen in the wild: letter in, raw bytes out."""

from __future__ import annotations

import html
import re
import textwrap
from dataclasses import dataclass, replace
from email.utils import format_datetime
from enum import Enum
from random import Random
from typing import Final

from dispatcher.simulator import headers
from dispatcher.simulator.headers import NameForm, SubjectForm
from dispatcher.simulator.mail import SAMPLED_AT, SAMPLED_AT_CUT, Enclosure, Letter

# Readers must survive a line of text this short, though mailers mostly wrap later.
_NARROW: Final = 46


class BodyForm(Enum):
    """Which renderings of the text a message carries."""

    PLAIN = "plain"
    HTML = "html"
    BOTH = "plain and html"


class Transfer(Enum):
    """Content-Transfer-Encoding of the text (RFC 2045, 6)."""

    QUOTED = "quoted-printable"
    BASE64 = "base64"
    RAW = "8bit"


@dataclass(frozen=True, slots=True)
class Mailer:
    """A way of encoding. Charsets fall back to UTF-8 for what they cannot say."""

    name: str
    subject: SubjectForm = SubjectForm.BASE64
    file_name: NameForm = NameForm.EXTENDED
    body: BodyForm = BodyForm.PLAIN
    transfer: Transfer = Transfer.QUOTED
    charset: str = "utf-8"
    curly: bool = False
    cut_label: bool = False
    wrapped: bool = False
    named_sender: bool = False
    kind: str = "application/pdf"


DEFAULT: Final = Mailer("default")

MAILERS: Final = (
    DEFAULT,
    Mailer("base64-cut", SubjectForm.BASE64_CUT, NameForm.CONTINUED, curly=True),
    Mailer("quoted-cut", SubjectForm.QUOTED_CUT, NameForm.ENCODED_WORDS, curly=True),
    Mailer("both-names", SubjectForm.QUOTED, NameForm.BOTH, BodyForm.BOTH),
    Mailer("html-only", body=BodyForm.HTML, transfer=Transfer.BASE64, curly=True),
    Mailer(
        "western",
        SubjectForm.QUOTED,
        NameForm.ENCODED_WORD,
        charset="iso-8859-1",
        kind="application/octet-stream",
    ),
    Mailer("windows", SubjectForm.WORDS, charset="windows-1252", curly=True, cut_label=True),
    Mailer("windows-html", SubjectForm.MIXED, body=BodyForm.HTML, charset="windows-1252"),
    Mailer("base64-body", transfer=Transfer.BASE64, wrapped=True, named_sender=True),
    Mailer("wrapped", SubjectForm.WORDS, NameForm.CONTENT_TYPE, wrapped=True, curly=True),
    Mailer("cut-label", cut_label=True, file_name=NameForm.LYING),
    Mailer("raw", SubjectForm.RAW, NameForm.RAW, transfer=Transfer.RAW),
    Mailer(
        "raw-western",
        SubjectForm.RAW,
        NameForm.RAW,
        transfer=Transfer.RAW,
        charset="iso-8859-1",
        named_sender=True,
    ),
    Mailer("html-and-text", SubjectForm.MIXED, NameForm.CONTINUED, BodyForm.BOTH, curly=True),
)


def encode(letter: Letter, rng: Random, mailer: Mailer = DEFAULT) -> bytes:
    """Return the message as it goes over the wire: CRLF, no line over 998 bytes."""
    if mailer.cut_label:
        letter = replace(letter, facts=_cut_label(letter))
    parts = [_text(letter, mailer, rng), *(_file(one, mailer) for one in letter.enclosures)]
    whole = parts[0] if len(parts) == 1 else _multipart("mixed", parts, rng)
    return b"".join((*_head(letter, mailer), b"MIME-Version: 1.0\r\n", whole))


def _head(letter: Letter, mailer: Mailer) -> list[bytes]:
    sender = letter.sender
    if mailer.named_sender and "<" not in sender:
        sender = f'"Projet SI-DEP" <{sender}>'
    lines = [f"From: {sender}\r\nTo: {letter.recipient}\r\n".encode()]
    if letter.subject is not None:
        value = headers.subject(letter.subject, mailer.subject, mailer.charset)
        lines.append(b"Subject: " + value + b"\r\n")
    date = format_datetime(letter.written_at)
    lines.append(f"Date: {date}\r\nMessage-ID: {letter.message_id}\r\n".encode())
    return lines


def _text(letter: Letter, mailer: Mailer, rng: Random) -> bytes:
    """Return the text as a part: its own header fields, an empty line, its content."""
    plain = _text_part("plain", _as_plain(letter, mailer), mailer)
    if mailer.body is BodyForm.PLAIN:
        return plain
    rich = _text_part("html", _as_html(letter, mailer), mailer)
    if mailer.body is BodyForm.HTML:
        return rich
    return _multipart("alternative", [plain, rich], rng)


def _text_part(kind: str, text: str, mailer: Mailer) -> bytes:
    charset = headers.able(text, mailer.charset)
    raw = text.encode(charset)
    match mailer.transfer:
        case Transfer.QUOTED:
            raw = headers.quoted_printable(raw)
        case Transfer.BASE64:
            raw = headers.base64_lines(raw)
        case Transfer.RAW:
            pass
    head = (
        f"Content-Type: text/{kind}; charset={charset}\r\n"
        f"Content-Transfer-Encoding: {mailer.transfer.value}\r\n\r\n"
    )
    return head.encode() + raw


def _file(enclosure: Enclosure, mailer: Mailer) -> bytes:
    kind = mailer.kind if enclosure.kind == "application/pdf" else enclosure.kind
    kind_line, place = kind.encode(), b"attachment"
    if enclosure.name is not None:
        name = enclosure.name
        kind_line = headers.content_type(kind, name, mailer.file_name, mailer.charset)
        place = headers.disposition(name, mailer.file_name, mailer.charset)
    return b"".join(
        (
            b"Content-Type: " + kind_line + b"\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Content-Disposition: " + place + b"\r\n\r\n",
            headers.base64_lines(enclosure.content),
        )
    )


def _multipart(kind: str, parts: list[bytes], rng: Random) -> bytes:
    boundary = b"=_" + rng.randbytes(12).hex().encode()
    head = b'Content-Type: multipart/%s;\r\n boundary="%s"\r\n\r\n' % (kind.encode(), boundary)
    inner = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    return head + inner + b"--%s--\r\n" % boundary


def _as_plain(letter: Letter, mailer: Mailer) -> str:
    width = _NARROW if mailer.wrapped else 900
    facts = (_wrapped(f"{label} {value}", width) for label, value in letter.lines())
    sentences = [_wrapped(one, width) for one in (*letter.opening, *letter.closing)]
    sentences.insert(len(letter.opening), "\r\n".join(facts))
    return _typeset("\r\n\r\n".join(sentences) + "\r\n", mailer)


def _wrapped(line: str, width: int) -> str:
    return "\r\n".join(
        textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    )


def _as_html(letter: Letter, mailer: Mailer) -> str:
    """Write values in bold and glue the colon to its label, as French mailers do."""
    facts = (
        f"{_escaped(label).replace(' :', '&nbsp;:')} <b>{_escaped(value)}</b>"
        for label, value in letter.lines()
    )
    blocks = [_escaped(sentence) for sentence in (*letter.opening, *letter.closing)]
    blocks.insert(len(letter.opening), "<br>\r\n".join(facts))
    body = "".join(f"<p>{block}</p>\r\n" for block in blocks)
    style = "<style>p { margin: 0 0 1em } /* Nom : aucun */</style>"
    page = f"<html><head>{style}</head>\r\n<body>\r\n{body}</body></html>\r\n"
    return _typeset(page, mailer)


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _typeset(text: str, mailer: Mailer) -> str:
    return re.sub(r"(?<=\w)'(?=\w)", "’", text) if mailer.curly else text


def _cut_label(letter: Letter) -> dict[str, str]:
    return {
        SAMPLED_AT_CUT if label == SAMPLED_AT else label: value
        for label, value in letter.facts.items()
    }
