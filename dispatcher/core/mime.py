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
# The oddity of a message that may hold more than its attachments.
MAY_HIDE: Final = "another document may lie where no attachment can be read"

_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")
_FIRST_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_MBOX_LINE: Final = re.compile(rb">?From [^\n]*\n")
_DELIMITER_END: Final = re.compile(rb"(--)?[ \t]*+(?=\r?\n|\r?\Z)")
# How far a delimiter is looked for before anything quicker is tried: over a part's header.
_NEAR: Final = 2048
_TYPE: Final = re.compile(r"[!#$&^_.+a-z0-9-]+/[!#$&^_.+a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Entity:
    """A message or a part: header fields, type, and where its body lies, still encoded.

    The body is not cut out: nearly all of a message is its document, at every depth.
    """

    fields: tuple[tuple[str, bytes], ...] = field(repr=False)
    content_type: str
    source: bytes = field(repr=False)
    begin: int = 0
    end: int = MESSAGE_LIMIT

    @property
    def body(self) -> bytes:
        """The body, still encoded: a copy."""
        return self.source[self.begin : self.end]

    def values(self, name: str) -> tuple[bytes, ...]:
        """Return the values of every field of that lower-case name, in order."""
        return tuple([value for key, value in self.fields if key == name])

    def first(self, name: str) -> bytes:
        """Return the value of the first field of that name, or nothing."""
        for key, value in self.fields:
            if key == name:
                return value
        return b""

    @property
    def is_multipart(self) -> bool:
        """Whether it is made of parts."""
        return self.content_type.startswith("multipart/")


def entity(
    source: bytes, begin: int = 0, end: int | None = None, *, default: str = "text/plain"
) -> Entity:
    """Return the header and body of what lies there. At most HEADER_LIMIT is header.

    RFC 2045, 5.2: without a type, or with one that cannot be read, it is `default`.
    """
    end = len(source) if end is None else end
    limit = min(end, begin + HEADER_LIMIT)
    stop, body = _header_end(source, begin, min(end, limit + 4)) or (limit, end)
    found = tuple(fields(source[begin:stop]))
    kind = next((token(value) for name, value in found if name == "content-type"), default)
    kind = kind if _TYPE.fullmatch(kind) else default
    return Entity(found, kind, source, begin=body, end=end)


def _header_end(source: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """Return where the header ends and the body begins; None: no empty line sets them apart."""
    if source.startswith((b"\n", b"\r\n"), begin, end):
        return begin, source.index(b"\n", begin) + 1
    # A CR before it stays with the last value, as white space.
    found = _EMPTY_LINE.search(source, begin, end)
    return found.span() if found else None


def header_fields(raw: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the header fields of an entity whose body does not matter; see `entity`."""
    stop, _ = _header_end(raw, 0, HEADER_LIMIT) or (HEADER_LIMIT, 0)
    return tuple(fields(raw[:stop]))


def header_part(raw: bytes) -> bytes:
    """Return the bytes of the header with the empty line that ends it, within HEADER_LIMIT.

    Line ends that are all bare CR count as line ends; see `message`.
    """
    header = raw[:HEADER_LIMIT]
    header = header if b"\n" in header else header.replace(b"\r", b"\n")
    _, body = _header_end(header, 0, HEADER_LIMIT) or (0, HEADER_LIMIT)
    return header[:body]


def message(raw: bytes) -> Entity:
    """Return the outermost entity. Line ends that are all bare CR count as line ends."""
    raw = raw.replace(b"\r", b"\n") if raw.find(b"\n", 0, HEADER_LIMIT) < 0 else raw
    line = _MBOX_LINE.match(raw)
    return entity(raw, line.end() if line else 0)


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
        if not part.is_multipart:
            yield part
            continue
        inner = _parts(part, oddities)
        if not inner and part.body.strip():
            oddities.append(MAY_HIDE)
        waiting.extend((one, depth + 1) for one in reversed(inner))


def _parts(whole: Entity, oddities: list[str]) -> list[Entity]:
    """Split at the boundary: whole lines only, because one may begin like another."""
    boundary = next(iter(parameter(whole.first("content-type"), "boundary")), "").rstrip()
    if not boundary:
        oddities.append("a multipart without a boundary")
        return []
    # The line end before the body is its header's.
    start = max(whole.begin - 1, 0)
    delimiters = _delimiters(whole, b"\n--" + boundary.encode("utf-8"), start)
    default = "message/rfc822" if whole.content_type == "multipart/digest" else "text/plain"
    parts: list[Entity] = []
    begin = -1
    for start, end, closing in delimiters:
        if begin >= 0:
            parts.append(_part(whole.source, begin, start, default=default))
        begin = end
        # One more than the limit shows the caller that the limit was passed.
        if closing or len(parts) > PART_LIMIT:
            return parts
    oddities.append("the closing boundary is missing")
    if begin >= 0:
        parts.append(_part(whole.source, begin, whole.end, default=default))
    return parts


def _delimiters(whole: Entity, marker: bytes, start: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where each delimiter begins and ends, and whether it is the closing one.

    Not by an expression of its own for each message: making one costs more than this.
    """
    source, stop = whole.source, whole.end
    start = _find(source, marker, start, stop)
    while start >= 0:
        found = _DELIMITER_END.match(source, start + len(marker), stop)
        if found:
            yield start, found.end(), found[1] is not None
        start = _find(source, marker, found.end() if found else start + 1, stop)


def _find(source: bytes, marker: bytes, start: int, stop: int) -> int:
    """Return what `source.find` does, where base64 lies between sooner.

    The marker begins with a line end and a hyphen, and base64 has no hyphen: one letter is
    looked for several times as fast as a text.
    """
    near = start + _NEAR
    found = source.find(marker, start, min(near, stop))
    if found >= 0 or near >= stop:
        return found
    start = max(start, near - len(marker) + 1)
    hyphen = source.find(b"-", start + 1, stop)
    return -1 if hyphen < 0 else source.find(marker, hyphen - 1, stop)


def _part(source: bytes, begin: int, end: int, *, default: str) -> Entity:
    """Return the part between two delimiters; the line end before one belongs to it."""
    begin += source.startswith(b"\r", begin, end)
    begin += source.startswith(b"\n", begin, end)
    end -= source.endswith(b"\r", begin, end)
    if _FIRST_FIELD.match(source, begin, end) or source.startswith(
        (b"\n", b"\r\n"), begin, end
    ):
        return entity(source, begin, end, default=default)
    # Neither a header nor the empty line in its place: all of it is meant to be read.
    return Entity((), default, source, begin=begin, end=end)


# --- transfer encodings (RFC 2045, 6) -----------------------------------------------------

_IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary", "7-bit", "8-bit"})
_TRAILING: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_BAD_ESCAPE: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_LINE_ENDS: Final = b"\r\n\t "
# In how many letters the line ends behind a document are looked for.
_LAST: Final = 16


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
        return _from_base64(part)
    if encoding == "quoted-printable":
        return _from_quoted_printable(part.body)
    return part.body, encoding in _IDENTITY


def _from_quoted_printable(body: bytes) -> tuple[bytes, bool]:
    if b" \n" in body or b" \r" in body or b"\t" in body or body.endswith(b" "):
        body = _TRAILING.sub(b"", body)
    return binascii.a2b_qp(body), not _BAD_ESCAPE.search(body)


def _from_base64(part: Entity) -> tuple[bytes, bool]:
    # Ten times sooner than the library, and stricter: of padding it takes no sign too many.
    with contextlib.suppress(binascii.Error):
        return pybase64.b64decode(_without_line_ends(part), validate=True), True
    letters = part.body.translate(None, _LINE_ENDS)
    with contextlib.suppress(binascii.Error):
        return pybase64.b64decode(letters, validate=True), True
    try:
        return binascii.a2b_base64(letters, strict_mode=True), True
    except binascii.Error:
        return loose_base64(letters), False


def _without_line_ends(part: Entity) -> bytearray:
    """Return the body without the line ends that come at equal distances, as mailers set them.

    Any other stays, and the strict decoder refuses what it stays in: what that takes is what
    all the letters say. Each byte is looked at a third as long as by `translate`.
    """
    body = bytearray(memoryview(part.source)[part.begin : part.end])
    # The last line is mostly shorter: its end would come too soon.
    last = body[-_LAST:]
    del body[len(body) - len(last) + len(last.rstrip(b"\r\n")) :]
    for line_end in b"\n\r":
        first = body.find(line_end)
        ends = body[first :: first + 1] if first >= 0 else b""
        if ends and ends.count(line_end) == len(ends):
            del body[first :: first + 1]
    return body
