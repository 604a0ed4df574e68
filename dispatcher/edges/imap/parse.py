"""Reads what the server answers: numbers, dates, and whose body is whose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final

from imapclient.response_parser import parse_response

from dispatcher.core.ledger import UNDATED

# What imaplib collects: a response without literals is one bytes; a literal is a tuple of
# the line before it and its bytes, and bytes after the last literal end the response.
Piece = bytes | tuple[bytes, bytes]
Responses = Mapping[str, list[Piece]]

# A quoted string is matched first, so that no text within one is taken for flags.
_FLAGS: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|\bFLAGS \((?P<flags>[^()]*)\)', re.IGNORECASE | re.DOTALL
)
_PLAIN_BODY: Final = re.compile(
    rb"([0-9]{1,10}) \(UID ([0-9]{1,10}) FLAGS \(([^()\"]*)\) BODY\[\] \{[0-9]{1,10}\}"
)
_PLAIN_IDENTITY: Final = re.compile(
    rb"([0-9]{1,10}) \(UID ([0-9]{1,10}) RFC822\.SIZE ([0-9]{1,10})"
    rb' INTERNALDATE "([-+: 0-9A-Za-z]+)"\)'
)
_STATUS_CODE: Final = re.compile(rb"\[([A-Z-]+)(?: ([^\]]*))?\]", re.IGNORECASE)
_PERMANENT_FLAGS: Final = re.compile(rb"\[PERMANENTFLAGS \(([^()]*)\)\]", re.IGNORECASE)
_DATE: Final = re.compile(
    rb"([ 0-3]?\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)
_MONTHS: Final = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_ALL: Final = re.compile(rb"\bALL(?: (\S*))?", re.IGNORECASE)
_SET: Final = re.compile(rb"[0-9]{1,10}(?:[:,][0-9]{1,10})*")
_MOST_LISTED: Final = 2_000_000
_STORAGE: Final = re.compile(rb"\bSTORAGE (\d{1,18}) (\d{1,18})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One FETCH response: the message's number, its uid if given, what was said of it."""

    number: int
    uid: int | None
    values: Mapping[bytes, object] = field(repr=False)
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Opened:
    """What SELECT said. None: not said."""

    exists: int
    uidvalidity: int | None
    uidnext: int | None
    read_only: bool
    permanent_flags: frozenset[bytes]

    def keeps(self, keyword: str | None) -> bool:
        """Return whether the server keeps this keyword (RFC 3501, 7.1, PERMANENTFLAGS)."""
        known = {rb"\*", (keyword or "").lower().encode()}
        return bool(keyword) and bool(known & self.permanent_flags)


def opened(untagged: Responses, text: bytes) -> Opened:
    """Read the answer to SELECT or EXAMINE (RFC 3501, 6.3.1). `text` ended it."""
    codes: dict[bytes, bytes] = {}
    permanent: frozenset[bytes] = frozenset()
    for line in [*_lines(untagged, "OK"), text]:
        if flags := _PERMANENT_FLAGS.match(line):
            permanent = frozenset(flags[1].lower().split())
        elif code := _STATUS_CODE.match(line):
            codes[code[1].upper()] = code[2] or b""
    exists = _lines(untagged, "EXISTS")
    return Opened(
        exists=_number(exists[-1]) or 0 if exists else 0,
        uidvalidity=_number(codes.get(b"UIDVALIDITY", b"")),
        uidnext=_number(codes.get(b"UIDNEXT", b"")),
        read_only=b"READ-ONLY" in codes,
        permanent_flags=permanent,
    )


def found(untagged: Responses) -> tuple[int, ...] | None:
    """Return the numbers of every SEARCH and ESEARCH response, ascending; None: there was none.

    Raises ValueError for ranges of more messages than any mailbox holds.
    """
    lines, compact = _lines(untagged, "SEARCH"), _lines(untagged, "ESEARCH")
    if not lines and not compact:
        return None
    # A MODSEQ in brackets may follow (RFC 7162, 3.1.5).
    words = b" ".join(line.partition(b"(")[0] for line in lines).split()
    return tuple(sorted({int(word) for word in words}.union(*map(_listed, compact))))


def _listed(line: bytes) -> set[int]:
    """Return the numbers of an ESEARCH response; without ALL there are none (RFC 4731, 3.1)."""
    match = _ALL.search(line)
    if match is None:
        return set()
    if not _SET.fullmatch(match[1] or b""):
        raise ValueError("an ESEARCH response that is none")
    numbers: set[int] = set()
    for part in match[1].split(b","):
        ends = sorted(map(int, part.split(b":")))
        if ends[-1] - ends[0] + len(numbers) >= _MOST_LISTED:
            raise ValueError("a range of more messages than a mailbox holds")
        numbers.update(range(ends[0], ends[-1] + 1))
    return numbers


def storage(untagged: Responses) -> tuple[int, int] | None:
    """Return (used, limit) of the fullest quota root, in KiB (RFC 9208, 5.1)."""
    texts = [
        line if isinstance(line, bytes) else b"".join(line)
        for line in untagged.get("QUOTA", ())
    ]
    pairs = [(int(m[1]), int(m[2])) for text in texts if (m := _STORAGE.search(text))]
    return max(pairs, key=lambda pair: pair[0] / max(pair[1], 1), default=None)


def internal_date(value: object) -> datetime:
    """Return INTERNALDATE, aware; UNDATED when it is missing or broken."""
    match = _DATE.fullmatch(value.strip()) if isinstance(value, bytes) else None
    if match is None:
        return UNDATED
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    away = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    try:
        zone = timezone(-away if sign == b"-" else away)
        number = _MONTHS.index(month.lower()) + 1
        return datetime(
            int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=zone
        )
    except (ValueError, OverflowError):
        return UNDATED


# --- FETCH


def items(untagged: Responses) -> list[Item]:
    """Read every FETCH response; raise ValueError or the library's error on a broken one.

    One that breaks the grammar says that the rest cannot be trusted either: a literal
    shorter than it was said to be swallows what follows.
    """
    return [_item(pieces) for pieces in _split(untagged.get("FETCH", ()))]


def merged(said: Sequence[Item], *, steady: bool) -> dict[int, Item]:
    """Return what was said of each uid, put together from several responses if need be.

    A response without a uid is believed only when its number stands for one uid in this
    very answer, and no number has moved (`steady`: nothing was expunged meanwhile). What
    contradicts itself is left out: the right body for the right uid, or none.
    """
    uids: dict[int, set[int]] = {}
    for item in said:
        if item.uid is not None:
            uids.setdefault(item.number, set()).add(item.uid)
    result: dict[int, Item] = {}
    torn: set[int] = set()
    for item in said:
        here = uids.get(item.number, set())
        known = next(iter(here)) if steady and len(here) == 1 else None
        uid = item.uid if item.uid is not None else known
        if uid is None:
            continue
        whole = joined(result.get(uid), item)
        if whole is None:
            torn.add(uid)
        else:
            result[uid] = whole
    return {uid: item for uid, item in result.items() if uid not in torn}


def content(item: Item, name: bytes) -> bytes | None:
    """Return the item's body or header; None when it is missing, NIL or empty.

    `name` is BODY[...] without the origin that a partial fetch adds (RFC 3501, 7.4.2).
    """
    for key, value in item.values.items():
        if key.partition(b"<")[0] == name and isinstance(value, bytes) and value:
            return value
    return None


def joined(before: Item | None, item: Item) -> Item | None:
    """Return what two responses say of one message; None when they contradict each other."""
    if before is None:
        return item
    for key, value in item.values.items():
        if before.values.get(key, value) != value:
            return None
    values = {**before.values, **item.values}
    return Item(before.number, before.uid or item.uid, values, before.flags | item.flags)


def _split(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    response: list[Piece] = []
    for piece in pieces:
        response.append(piece)
        if isinstance(piece, bytes):
            yield response
            response = []


def _item(pieces: Sequence[Piece]) -> Item:
    """Read one response: quickly where it is as nearly all are, else by the library."""
    head = pieces[0]
    if len(pieces) == 2 and isinstance(head, tuple) and pieces[1] == b")":  # noqa: PLR2004
        quick = _PLAIN_BODY.fullmatch(head[0])
        if quick:
            number, uid, flags = quick.groups()
            words = (word.decode("ascii", "replace") for word in flags.split())
            return Item(int(number), int(uid), {b"BODY[]": head[1]}, frozenset(words))
    if len(pieces) == 1 and isinstance(head, bytes):
        quick = _PLAIN_IDENTITY.fullmatch(head)
        if quick:
            number, uid, size, dated = quick.groups()
            values = {b"RFC822.SIZE": int(size), b"INTERNALDATE": dated}
            return Item(int(number), int(uid), values, frozenset())
    return carefully(pieces)


def carefully(pieces: Sequence[Piece]) -> Item:
    """Read one response by the library's grammar, whatever it holds."""
    flags: set[str] = set()

    def cut(match: re.Match[bytes]) -> bytes:
        # A flag may hold a bracket, on which the library's lexer stumbles.
        if match["flags"] is None:
            return match[0]
        flags.update(word.decode("ascii", "replace") for word in match["flags"].split())
        return b"FLAGS ()"

    response = parse_response(
        [
            _FLAGS.sub(cut, p) if isinstance(p, bytes) else (_FLAGS.sub(cut, p[0]), p[1])
            for p in pieces
        ]
    )
    number, listed = response
    if type(number) is not int or not isinstance(listed, tuple) or len(listed) % 2:
        raise ValueError("a FETCH response that is none")
    values: dict[bytes, object] = {}
    for key, value in zip(listed[::2], listed[1::2], strict=True):
        # A literal shorter than it was said to be swallows the head of the next response,
        # whose uid and body then follow in this one.
        if values.setdefault(bytes(key).upper(), value) != value:
            raise ValueError("a FETCH response that contradicts itself")
    uid = values.pop(b"UID", None)
    if uid is not None and type(uid) is not int:
        raise ValueError("a uid that is no number")
    values.pop(b"FLAGS", None)
    return Item(number, uid, values, frozenset(flags))


def _lines(untagged: Responses, name: str) -> list[bytes]:
    return [line for line in untagged.get(name, ()) if isinstance(line, bytes)]


def _number(text: bytes) -> int | None:
    match = re.match(rb"\d{1,10}", text)
    return int(match[0]) if match else None
