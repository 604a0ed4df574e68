"""Takes a message apart along its boundaries, within bounds, and undoes transfer encodings.

RFC 2045 and 2046. The library's parser builds an object for every part of a hostile message
and recurses as deep as it is told to; its price for a usual one is ten times this one's.
"""

from __future__ import annotations

import binascii
import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pybase64

from dispatcher.core.header import fields, loose_base64, parameter, token

MESSAGE_LIMIT: Final = 10_000_000
HEADER_LIMIT: Final = 1_000_000
PART_LIMIT: Final = 50
DEPTH_LIMIT: Final = 10

# The oddity of a message of which a part was left unread: it must not be decided upon.
BEYOND_LIMITS: Final = "larger, deeper or with more parts than the limits: not read to its end"

_HEADER_END: Final = re.compile(rb"(?:\A|\r?\n)\r?\n")
_FIRST_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_MBOX_LINE: Final = re.compile(rb">?From [^\n]*\n")
_DELIMITER_END: Final = re.compile(rb"(--)?[ \t]*+(?=\r?\n|\r?\Z)")
_TYPE: Final = re.compile(r"[!#$&^_.+a-z0-9-]+/[!#$&^_.+a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Entity:
    """A message or a part: header fields, type, and its body still encoded."""

    fields: tuple[tuple[str, bytes], ...] = field(repr=False)
    content_type: str
    body: bytes = field(repr=False)

    def values(self, name: str) -> tuple[bytes, ...]:
        """Return the values of every field of that lower-case name, in order."""
        return tuple(value for key, value in self.fields if key == name)

    def first(self, name: str) -> bytes:
        """Return the value of the first field of that name, or nothing."""
        return next(iter(self.values(name)), b"")

    @property
    def is_multipart(self) -> bool:
        """Whether it is made of parts."""
        return self.content_type.startswith("multipart/")


def entity(raw: bytes, *, default: str = "text/plain") -> Entity:
    """Return the header and body of a message or part. At most HEADER_LIMIT is header.

    RFC 2045, 5.2: without a type, or with one that cannot be read, it is `default`.
    """
    end = _HEADER_END.search(raw, 0, HEADER_LIMIT + 4)
    block, body = (raw[: end.start()], raw[end.end() :]) if end else (raw[:HEADER_LIMIT], b"")
    found = tuple(fields(block))
    kind = next((token(value) for name, value in found if name == "content-type"), default)
    return Entity(found, kind if _TYPE.fullmatch(kind) else default, body)


def header_fields(raw: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the header fields of an entity whose body does not matter; see `entity`."""
    end = _HEADER_END.search(raw, 0, HEADER_LIMIT)
    return tuple(fields(raw[: end.start()] if end else raw[:HEADER_LIMIT]))


def message(raw: bytes) -> Entity:
    """Return the outermost entity. Line ends that are all bare CR count as line ends."""
    raw = raw.replace(b"\r", b"\n") if b"\n" not in raw[:HEADER_LIMIT] else raw
    line = _MBOX_LINE.match(raw)
    return entity(raw[line.end() :] if line else raw)


def leaves(top: Entity, oddities: list[str]) -> Iterator[Entity]:
    """Yield the parts that are not multiparts, in order, and note what was strange.

    Attached messages are leaves: nothing inside them is looked at.
    """
    waiting = [(top, 0)]
    for count in itertools.count():
        if not waiting:
            return
        part, depth = waiting.pop()
        if count > PART_LIMIT or depth > DEPTH_LIMIT:
            oddities.append(BEYOND_LIMITS)
            return
        if part.is_multipart:
            waiting.extend((inner, depth + 1) for inner in reversed(_parts(part, oddities)))
        else:
            yield part


def _parts(whole: Entity, oddities: list[str]) -> list[Entity]:
    """Split at the boundary: whole lines only, because one may begin like another."""
    boundary = next(iter(parameter(whole.first("content-type"), "boundary")), "").rstrip()
    if not boundary:
        oddities.append("a multipart without a boundary")
        return []
    body = b"\n" + whole.body
    delimiters = _delimiters(body, b"\n--" + boundary.encode("utf-8"))
    default = "message/rfc822" if whole.content_type == "multipart/digest" else "text/plain"
    parts: list[Entity] = []
    begin = -1
    for start, end, closing in delimiters:
        if begin >= 0:
            parts.append(_part(body[begin:start], default))
        begin = end
        # One more than the limit shows the caller that the limit was passed.
        if closing or len(parts) > PART_LIMIT:
            return parts
    oddities.append("the closing boundary is missing")
    return [*parts, _part(body[begin:], default)] if begin >= 0 else parts


def _delimiters(body: bytes, marker: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each delimiter begins and ends, and whether it is the closing one.

    Not by an expression of its own for each message: making one costs more than this.
    """
    start = body.find(marker)
    while start >= 0:
        found = _DELIMITER_END.match(body, start + len(marker))
        if found:
            yield start, found.end(), found[1] is not None
        start = body.find(marker, found.end() if found else start + 1)


def _part(between: bytes, default: str) -> Entity:
    """Return the part between two delimiters; the line end before one belongs to it."""
    lines = between.removeprefix(b"\r").removeprefix(b"\n").removesuffix(b"\r")
    if _FIRST_FIELD.match(lines) or lines.startswith((b"\n", b"\r\n")):
        return entity(lines, default=default)
    # Neither a header nor the empty line in its place: all of it is meant to be read.
    return Entity((), default, lines)


# --- transfer encodings (RFC 2045, 6) -----------------------------------------------------

_IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary", "7-bit", "8-bit"})
_TRAILING: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_BAD_ESCAPE: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_LINE_ENDS: Final = b"\r\n\t "


def content_of(part: Entity) -> tuple[bytes, bool]:
    """Return the decoded content, and whether its transfer encoding was whole.

    Damaged base64 or quoted-printable is decoded as far as it goes. An encoding that is
    unknown, or named twice and differently, is not undone.
    """
    encodings = {token(value) for value in part.values("content-transfer-encoding")} or {""}
    encoding = encodings.pop()
    if encodings:
        return part.body, False
    if encoding == "base64":
        return _from_base64(part.body)
    if encoding == "quoted-printable":
        bare = _TRAILING.sub(b"", part.body)
        return binascii.a2b_qp(bare), not _BAD_ESCAPE.search(bare)
    return part.body, encoding in _IDENTITY


def _from_base64(body: bytes) -> tuple[bytes, bool]:
    letters = body.translate(None, _LINE_ENDS)
    with contextlib.suppress(binascii.Error):
        # Ten times sooner, and stricter: of padding it takes no sign too many.
        return pybase64.b64decode(letters, validate=True), True
    try:
        return binascii.a2b_base64(letters, strict_mode=True), True
    except binascii.Error:
        return loose_base64(letters), False
