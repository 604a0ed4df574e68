"""Reads the public FINESS files: establishments (cs1100502) and legal bodies (cs1100501)."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator
from datetime import date
from pathlib import Path
from typing import Final

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.numbers import read_number
from dispatcher.registry.oddities import Noted, Oddities, Oddity
from dispatcher.registry.source import AGAIN, Limits, Lines, NotARegister, read
from dispatcher.registry.values import Establishment, LegalBody, Register

_FIRST: Final = "finess;etalab;"
_SITE: Final = "structureet"
_BODY: Final = "structureej"
# Rows of the file with coordinates; they say nothing that is needed here.
_PLACE: Final = "geolocalisation"

# Cells of an establishment, by position (domain.md, FINESS).
_NUMBER, _EJ, _SHORT, _LONG, _TOWN, _CATEGORY, _CATEGORY_NAME = 1, 2, 3, 4, 15, 18, 19
# 32 cells with the empty one at the end. A date after the last known one is a closing date
# in some layouts, which nobody has verified.
_CELLS: Final = 32
_BEYOND: Final = 31

# Cells of a legal body.
_NAME, _SIREN = 2, 20

# A name may go over this many lines inside its quotes; more is a quote that nothing closes.
_MOST_LINES: Final = 4

# The national file has 100,000 rows and 25 MB.
LIMITS: Final = Limits(size=200_000_000, lines=500_000)


def load(*paths: Path, limits: Limits = LIMITS) -> tuple[Register, tuple[Noted, ...]]:
    """Return the register that these files make together, and what was odd in them.

    Each is an establishments file or a legal bodies file, plain, zipped or gzipped. Raises
    NotARegister when one is something else or cannot be read.
    """
    sites: dict[FinessET, Establishment] = {}
    bodies: dict[FinessEJ, LegalBody] = {}
    dates: list[date] = []
    noted: list[Noted] = []
    for path in paths:
        found, oddities = read(path, begins=_begins, parse=_parse, limits=limits)
        sites |= found.sites
        bodies |= found.bodies
        dates += found.dates
        noted += oddities.noted()
    return Register(sites, bodies, max(dates, default=None)), tuple(noted)


def _begins(line: str) -> bool:
    return line.startswith((_FIRST, f"{_SITE};", f"{_BODY};"))


class _Rows:
    """What one file says so far. Texts and numbers that repeat are kept once."""

    def __init__(self, oddities: Oddities) -> None:
        self._oddities = oddities
        self._texts: dict[str, str] = {}
        self._owners: dict[str, FinessEJ] = {}
        self.sites: dict[FinessET, Establishment] = {}
        self.bodies: dict[FinessEJ, LegalBody] = {}
        self.dates: list[date] = []

    def take(self, cells: list[str], line: int) -> None:
        """Take one row."""
        if cells[0] == _SITE:
            self._take_site(cells, line)
        elif cells[0] == _BODY:
            self._take_body(cells, line)
        elif cells[0] != _PLACE and any(cells):
            self._oddities.add(Oddity.UNKNOWN_ROW, line)

    def _take_site(self, cells: list[str], line: int) -> None:
        number = self._number(cells, _NUMBER, line)
        if number is None:
            return
        if len(cells) < _CELLS - 1:
            self._oddities.add(Oddity.SHORT_ROW, line)
        elif len(cells) > _CELLS:
            self._oddities.add(Oddity.EXTRA_CELLS, line)
        site = FinessET(number)
        row = Establishment(
            site,
            self._owner(cells, line),
            _cell(cells, _LONG) or _cell(cells, _SHORT),
            self._shared(_cell(cells, _TOWN)),
            self._shared(_cell(cells, _CATEGORY)),
            self._shared(_cell(cells, _CATEGORY_NAME)),
            next(filter(None, map(_day, cells[_BEYOND:])), None),
        )
        known = self.sites.setdefault(site, row)
        if known is not row:
            same = known.legal_body == row.legal_body
            self._oddities.add(Oddity.REPEATED if same else Oddity.CONTRADICTED, line)

    def _take_body(self, cells: list[str], line: int) -> None:
        number = self._number(cells, _NUMBER, line)
        if number is None:
            return
        body = self._owners.setdefault(number, FinessEJ(number))
        row = LegalBody(body, _cell(cells, _NAME), _cell(cells, _SIREN))
        if self.bodies.setdefault(body, row) is not row:
            self._oddities.add(Oddity.REPEATED, line)

    def _owner(self, cells: list[str], line: int) -> FinessEJ | None:
        number = self._number(cells, _EJ, line)
        return None if number is None else self._owners.setdefault(number, FinessEJ(number))

    def _number(self, cells: list[str], at: int, line: int) -> str | None:
        number, odd = read_number(cells[at] if at < len(cells) else "")
        if odd is not None:
            self._oddities.add(odd, line)
        return number

    def _shared(self, text: str) -> str:
        return self._texts.setdefault(text, text)


def _parse(lines: Lines, oddities: Oddities) -> _Rows:
    rows = _Rows(oddities)
    records = _records(lines, oddities)
    number, first = next(records, (1, [""]))
    if first[:2] == _FIRST.split(";")[:2]:
        rows.dates += filter(None, map(_day, first))
    elif first[0] in {_SITE, _BODY}:
        oddities.add(Oddity.NO_FIRST_LINE, number)
        rows.take(first, number)
    else:
        what = f"line {number}: this is not a FINESS file: {_told(';'.join(first))}"
        raise NotARegister(what, hint=AGAIN)
    for number, cells in records:
        if lines.open_end and len(cells) < _CELLS - 1:
            # What the row would have said is not known: better no row than half a one.
            oddities.add(Oddity.CUT_OFF, number)
        else:
            rows.take(cells, number)
    if not rows.sites and not rows.bodies:
        raise NotARegister("it names no establishment and no legal body", hint=AGAIN)
    return rows


def _told(first: str) -> str:
    if "adresse bal" in first.casefold():
        return "it is the MSSanté directory, which belongs behind --mssante"
    for mark, name in ((",", "commas"), ("\t", "tabs"), ("|", "bars")):
        if first.count(mark) > first.count(";"):
            return f"its cells are separated by {name}, not by semicolons"
    return "it does not begin with `finess;etalab;`"


def _records(lines: Lines, oddities: Oddities) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows' cells with their line. Quotes are rare: the quick way comes first."""
    source = iter(lines)
    for line in source:
        current: str | None = line
        while current and '"' in current:
            current = yield from _quoted(current, source, lines, oddities=oddities)
        if current:
            yield lines.number, current.split(";")


def _quoted(
    line: str, source: Iterator[str], lines: Lines, *, oddities: Oddities
) -> Generator[tuple[int, list[str]], None, str | None]:
    """Yield the row that a line with quotes begins, which may go over several lines.

    Where nothing closes a quote, the lines are taken one by one, quotes and all: a stray
    quote must not swallow the rows behind it. Returns a line that was read too much.
    """
    first, taken = lines.number, [line]
    follower = None
    while _is_open(taken) and len(taken) < _MOST_LINES:
        follower = next(source, None)
        if follower is None or _begins(follower):
            break
        taken.append(follower)
        follower = None
    cells = None if _is_open(taken) else _cells(" ".join(taken))
    if cells is not None:
        yield first, cells
    else:
        oddities.add(Oddity.UNCLOSED_QUOTE, first)
        for number, one in enumerate(taken, first):
            yield number, (None if _is_open([one]) else _cells(one)) or one.split(";")
    return follower


def _cells(text: str) -> list[str] | None:
    """Return the cells; None where two stray quotes make a pair that swallows some."""
    try:
        return next(csv.reader([text], delimiter=";", strict=True))
    except csv.Error:
        return None


def _is_open(lines: list[str]) -> bool:
    """Whether a quoted cell goes on behind the end of these lines."""
    return sum(line.count('"') for line in lines) % 2 == 1


def _cell(cells: list[str], at: int) -> str:
    return " ".join(cells[at].split()) if at < len(cells) else ""


def _day(text: str) -> date | None:
    if len(text) != len("2021-06-29") or not text.isascii():
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
