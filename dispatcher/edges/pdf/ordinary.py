"""Knows whole files that are written so plainly that pypdf need not open them.

In such a file everything is found by its cross-reference table, everything that the table lists
is a plain object (`plain`), and nothing else is in it. What pypdf would make of it follows from
its bytes: it opens strictly, does nothing, and has so many pages. Each rule here is narrower
than pypdf's own; a file that breaks one may be just as good, and is read by pypdf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from dispatcher.edges.pdf.active import MOST_OBJECTS, MOST_VALUES, PLAIN_OBJECTS, names_it

_LINE_END: Final = rb"(?:\r\n|\n|\r)"
# ISO 32000-1, 7.5.5: the last lines of a file.
_LAST_LINES: Final = re.compile(rb"startxref%s([0-9]{1,9})%s\Z" % (_LINE_END, _LINE_END))
_AFTER_TRAILER: Final = re.compile(rb"[\t\n\r ]*+startxref[\r\n]")
# What pypdf takes for a mark that was cut, at the end of a line.
_CUT_MARKS: Final = (b"%", b"%%E", b"%%EO")
# ISO 32000-1, 7.5.4: a table, its sections, its entries of 20 bytes each.
_TABLE: Final = re.compile(rb"xref ?%s" % _LINE_END)
_SECTION: Final = re.compile(rb"([0-9]{1,7}) ([0-9]{1,7}) ?%s" % _LINE_END)
_ENTRIES: Final = re.compile(rb"(?:[0-9]{10} [0-9]{5} [nf](?: \n| \r|\r\n))*+")
_ENTRY: Final = 20
_TRAILER: Final = b"trailer"
_TRAILER_KEYS: Final = frozenset({b"/Size", b"/Root", b"/Info", b"/ID", b"/Prev"})
_NUMBER: Final = re.compile(rb"[0-9]{1,9}")
_REFERENCE: Final = re.compile(rb"([0-9]{1,7})[\t\n\r ]([0-9]{1,5})[\t\n\r ]R")
_KIDS: Final = re.compile(
    rb"\[(?:[\t\n\r ]*+[0-9]{1,7}[\t\n\r ][0-9]{1,5}[\t\n\r ]R)*+[\t\n\r ]*+\]"
)

_MOST_TABLES: Final = 20
_MOST_PAGES: Final = 1_000
_DEEPEST: Final = 20

_Entries = Mapping[bytes, bytes]


class _Otherwise(Exception):
    """The file is not of this kind."""


def pages_of(body: bytes) -> int | None:
    """Return how many pages a sound file that does nothing has; None: pypdf has to read it.

    `body` begins with its header (`%PDF-`).
    """
    try:
        places, root = _tables(body)
        _require_plain(body, places)
        return _pages(body, places, root)
    except _Otherwise:
        return None


def _tables(body: bytes) -> tuple[dict[int, int], int]:
    """Return where each object lies, by its number, and the number of the catalog.

    The newest table counts; an older one only for what no newer one lists.
    """
    places: dict[int, int] = {}
    root: int | None = None
    at: int | None = _last_table(body)
    seen: set[int] = set()
    while at is not None:
        if at in seen or len(seen) == _MOST_TABLES:
            raise _Otherwise
        seen.add(at)
        trailer = _table(body, at, places)
        if root is None and b"/Root" in trailer:
            root = _reference(trailer[b"/Root"])
        at = None
        if b"/Prev" in trailer:
            if not _NUMBER.fullmatch(trailer[b"/Prev"]):
                raise _Otherwise
            at = int(trailer[b"/Prev"])
    if root is None or len(places) > MOST_OBJECTS:
        raise _Otherwise
    return places, root


def _last_table(body: bytes) -> int:
    mark = body.rfind(b"%%EOF")
    start = body.rfind(b"startxref")
    found = _LAST_LINES.match(body, start, mark) if 0 < start < mark else None
    if found is None or body[start - 1] not in b"\r\n":
        raise _Otherwise
    after = body[mark + len(b"%%EOF") :]
    lines = [line.strip() for line in after.splitlines()]
    if after[:1] not in b"\r\n" or any(line.endswith(_CUT_MARKS) for line in lines):
        raise _Otherwise
    return int(found[1])


def _table(body: bytes, at: int, places: dict[int, int]) -> _Entries:
    """Add what the table that begins there lists; return the entries of its trailer."""
    found = _TABLE.match(body, at)
    if found is None or body[at - 1] not in b"\r\n":
        raise _Otherwise
    at = _section(body, found.end(), places)
    while not body.startswith(_TRAILER, at):
        at = _section(body, at, places)
    read = PLAIN_OBJECTS.dictionary(body, at + len(_TRAILER))
    if (
        read is None
        or not _AFTER_TRAILER.match(body, read[1])
        or read[0].keys() - _TRAILER_KEYS
    ):
        raise _Otherwise
    return read[0]


def _section(body: bytes, at: int, places: dict[int, int]) -> int:
    """Add what a section lists; return where it ends. Only number 0 may be free."""
    found = _SECTION.match(body, at)
    if found is None:
        raise _Otherwise
    begin, number = found.end(), int(found[1])
    end = begin + int(found[2]) * _ENTRY
    if end > len(body) or not _ENTRIES.fullmatch(body, begin, end):
        raise _Otherwise
    for entry in range(begin, end, _ENTRY):
        free = body[entry + 17] == ord("f")
        if free != (number == 0) or not (free or body[entry + 11 : entry + 16] == b"00000"):
            raise _Otherwise
        if not free:
            places.setdefault(number, int(body[entry : entry + 10]))
        number += 1
    return end


def _require_plain(body: bytes, places: Mapping[int, int]) -> None:
    """See that each object is plain, that there is no other, and that no name tells of more."""
    words: set[int] = set()
    size = 0
    for number, at in places.items():
        plain = PLAIN_OBJECTS.at(body, at, (number, 0))
        if plain is None:
            raise _Otherwise
        words |= {plain.word, plain.last}
        size += plain.size
    if size > MOST_VALUES or body.count(b"obj") != len(words) or names_it(body):
        raise _Otherwise


def _pages(body: bytes, places: Mapping[int, int], root: int) -> int:
    catalog = _entries(body, places, root)
    if catalog.get(b"/Type") != b"/Catalog":
        raise _Otherwise
    count = 0
    seen: set[int] = set()
    left = [(_reference(catalog.get(b"/Pages", b"")), 0)]
    while left:
        number, depth = left.pop()
        if number in seen or depth > _DEEPEST or len(seen) > _MOST_PAGES:
            raise _Otherwise
        seen.add(number)
        node = _entries(body, places, number)
        match node.get(b"/Type"):
            case b"/Page":
                count += 1
            case b"/Pages":
                left += [(kid, depth + 1) for kid in _kids(node)]
            case _:
                raise _Otherwise
    if count == 0:
        raise _Otherwise
    return count


def _entries(body: bytes, places: Mapping[int, int], number: int) -> _Entries:
    """Return the entries of an object. All that they refer to is in the file."""
    at = places.get(number)
    word = -1 if at is None else body.find(b"obj", at)
    read = PLAIN_OBJECTS.dictionary(body, word + len(b"obj")) if word >= 0 else None
    if read is None:
        raise _Otherwise
    for value in read[0].values():
        for reference in _REFERENCE.finditer(value):
            if int(reference[1]) not in places or int(reference[2]):
                raise _Otherwise
    return read[0]


def _kids(node: _Entries) -> Iterator[int]:
    kids = node.get(b"/Kids", b"")
    if not _KIDS.fullmatch(kids):
        raise _Otherwise
    for reference in _REFERENCE.finditer(kids):
        yield int(reference[1])


def _reference(value: bytes) -> int:
    found = _REFERENCE.fullmatch(value)
    if found is None or int(found[2]):
        raise _Otherwise
    return int(found[1])
