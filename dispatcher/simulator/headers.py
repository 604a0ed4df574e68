"""Encodes subjects and file names the way real mailers do, well and badly."""

from __future__ import annotations

import base64
import quopri
import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Final
from urllib.parse import quote


class SubjectForm(Enum):
    """How a subject travels (RFC 2047, and what is seen beside it)."""

    BASE64 = "base64"
    BASE64_CUT = "base64 cut inside characters"
    QUOTED = "quoted-printable"
    QUOTED_CUT = "quoted-printable cut inside characters"
    WORDS = "only the words that need it"
    MIXED = "two charsets in one subject"
    RAW = "raw 8-bit"


class NameForm(Enum):
    """How the name of an attachment travels (RFC 2231, RFC 2183, and beside them)."""

    EXTENDED = "filename*"
    CONTINUED = "filename*0* and following"
    LYING = "filename* whose charset is not the true one"
    ENCODED_WORD = "an encoded word between quotes"
    ENCODED_WORDS = "folded encoded words between quotes"
    BOTH = "filename and filename*"
    CONTENT_TYPE = "only the old parameter of Content-Type"
    RAW = "raw 8-bit between quotes"


_WORD: Final = 75  # RFC 2047, 2: the length of one encoded word
_FOLD: Final = 50
_NOT_ASCII: Final = re.compile(r"[^ ]*[^ -~][^ ]*(?: +[^ ]*[^ -~][^ ]*)*")
_ASCII: Final = range(128)
_SAFE: Final = "!#$&+-.^_`|~"  # attr-char of RFC 5987, which RFC 2231 allows as well


def subject(text: str, form: SubjectForm, charset: str) -> bytes:
    """Return the value of a Subject field, folded, without the final line end."""
    if text.isascii():
        return _folded(text)
    match form:
        case SubjectForm.RAW:
            return encoded(text, charset)
        case SubjectForm.WORDS:
            return _only_words(text, charset)
        case SubjectForm.MIXED:
            middle = len(text) // 2
            halves = (
                *_words(text[:middle], "utf-8", "B"),
                *_words(text[middle:], charset, "Q"),
            )
            return b"\r\n ".join(halves)
        case SubjectForm.BASE64 | SubjectForm.BASE64_CUT:
            whole = form is SubjectForm.BASE64
            return b"\r\n ".join(_words(text, charset, "B", whole=whole))
        case SubjectForm.QUOTED | SubjectForm.QUOTED_CUT:
            whole = form is SubjectForm.QUOTED
            return b"\r\n ".join(_words(text, charset, "Q", whole=whole))


def disposition(name: str, form: NameForm, charset: str) -> bytes:
    """Return the value of Content-Disposition for an attachment of that name."""
    parts: list[bytes] = []
    match form:
        case NameForm.EXTENDED:
            parts = [b"filename*=" + _extended(name, charset)]
        case NameForm.LYING:
            parts = [b"filename*=us-ascii''" + _percent(name, "utf-8")]
        case NameForm.CONTINUED:
            parts = list(_continued(name, charset))
        case NameForm.BOTH:
            parts = [b"filename=" + _quoted(_plain(name).encode("ascii", "replace"))]
            parts.append(b"filename*=" + _extended(name, charset))
        case NameForm.CONTENT_TYPE:
            pass
        case NameForm.RAW:
            parts = [b"filename=" + _quoted(encoded(name, charset))]
        case NameForm.ENCODED_WORD | NameForm.ENCODED_WORDS:
            parts = [b"filename=" + _in_words(name, form, charset)]
    return b";\r\n ".join((b"attachment", *parts))


def content_type(kind: str, name: str, form: NameForm, charset: str) -> bytes:
    """Return the value of Content-Type; some mailers repeat the name in it."""
    if form is NameForm.CONTENT_TYPE:
        return kind.encode() + b";\r\n name=" + _in_words(name, NameForm.ENCODED_WORDS, charset)
    if form in {NameForm.ENCODED_WORD, NameForm.ENCODED_WORDS}:
        return kind.encode() + b";\r\n name=" + _in_words(name, form, charset)
    return kind.encode()


def encoded(text: str, charset: str) -> bytes:
    """Return the text in that charset, in UTF-8 when the charset cannot say it."""
    return text.encode(able(text, charset))


def able(text: str, charset: str) -> str:
    """Return the charset, or UTF-8 when it cannot say the text."""
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return "utf-8"
    return charset


def _words(text: str, charset: str, kind: str, *, whole: bool = True) -> Iterator[bytes]:
    """Yield encoded words; `whole` keeps each character in one word (RFC 2047, 5)."""
    charset = able(text, charset)
    head = f"=?{charset}?{kind}?".encode()
    letters = _WORD - len(head) - 2
    # 3 bytes take 4 letters of base64; one takes at most 3 of quoted-printable.
    room = letters // 4 * 3 if kind == "B" else letters // 3
    code = base64.b64encode if kind == "B" else _q
    for piece in _pieces(text, charset, room) if whole else _cut(text, charset, room):
        yield head + code(piece) + b"?="


def _cut(text: str, charset: str, room: int) -> Iterator[bytes]:
    """Yield pieces of which one ends inside the first character of several bytes."""
    raw = text.encode(charset)
    first = next((n for n, octet in enumerate(raw) if octet not in _ASCII), 0) + 1
    step = first % room or room
    yield raw[:step]
    for start in range(step, len(raw), room):
        yield raw[start : start + room]


def _pieces(text: str, charset: str, room: int) -> Iterator[bytes]:
    piece = b""
    for character in text:
        raw = character.encode(charset)
        if len(piece) + len(raw) > room:
            yield piece
            piece = b""
        piece += raw
    yield piece


def _q(raw: bytes) -> bytes:
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return b"".join(
        b"_" if octet in b" " else bytes((octet,)) if octet in kept else b"=%02X" % octet
        for octet in raw
    )


def _only_words(text: str, charset: str) -> bytes:
    # Neighbours are encoded together with the space between them: white space between
    # two encoded words does not count (RFC 2047, 6.2).
    def code(found: re.Match[str]) -> str:
        return b"\r\n ".join(_words(found[0], charset, "Q")).decode()

    return _NOT_ASCII.sub(code, text).encode()


def _folded(text: str) -> bytes:
    place = text.find(" ", _FOLD)
    return (text if place < 0 else f"{text[:place]}\r\n{text[place:]}").encode()


def _extended(name: str, charset: str) -> bytes:
    charset = able(name, charset)
    return f"{charset}''".encode() + _percent(name, charset)


def _percent(name: str, charset: str) -> bytes:
    return quote(name.encode(charset), safe=_SAFE).encode()


def _continued(name: str, charset: str) -> Iterator[bytes]:
    value = _extended(name, charset)
    number = 0
    while value:
        room = 50
        # A percent triplet stays whole; the character that it is part of need not.
        while b"%" in value[room - 2 : room] and room < len(value):
            room += 1
        yield b"filename*%d*=%s" % (number, value[:room])
        value, number = value[room:], number + 1


def _in_words(name: str, form: NameForm, charset: str) -> bytes:
    if name.isascii():
        return _quoted(name.encode())
    if form is NameForm.ENCODED_WORD:
        coded = base64.b64encode(encoded(name, charset))
        return b'"=?%s?B?%s?="' % (able(name, charset).encode(), coded)
    return b'"' + b"\r\n ".join(_words(name, charset, "B", whole=False)) + b'"'


def _quoted(raw: bytes) -> bytes:
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _plain(name: str) -> str:
    return "".join(
        c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c)
    )


def quoted_printable(raw: bytes) -> bytes:
    """Return the text as quoted-printable with CRLF (RFC 2045, 6.7)."""
    return quopri.encodestring(raw.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def base64_lines(raw: bytes) -> bytes:
    """Return base64 in lines of 76 with CRLF (RFC 2045, 6.8)."""
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")
