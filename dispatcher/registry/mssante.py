"""Reads the public extraction of the MSSanté directory: which BAL carries which number."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.registry.numbers import read_number
from dispatcher.registry.oddities import Noted, Oddities, Oddity
from dispatcher.registry.source import AGAIN, Limits, Lines, NotARegister, read
from dispatcher.registry.values import BalKind, Directory, Stamp, has_mention, packed, stamp_of

# The columns that decide, by their names in the header without accents, spaces and
# apostrophes: those vary from one extraction to the next (domain.md).
_COLUMNS: Final = {
    "typedebal": "Type de BAL",
    "adressebal": "Adresse BAL",
    "typeidentifiantstructure": "Type identifiant structure",
    "identificationstructure": "Identification Structure",
    "servicederattachement": "Service de rattachement",
}
_KINDS: Final = {kind.value: kind for kind in BalKind if kind is not BalKind.OTHER}
_FINESS: Final = frozenset({"1", "FINESS"})
# The usual address, in small letters, and what is still one.
_USUAL: Final = re.compile(r"[0-9a-z._+'-]+@[0-9a-z.-]+", re.ASCII)
_ADDRESS: Final = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")

# The national file has 540,000 lines and 90 MB.
LIMITS: Final = Limits(size=500_000_000, lines=2_000_000)


def load(path: Path, *, limits: Limits = LIMITS) -> tuple[Directory, tuple[Noted, ...]]:
    """Return the directory of an extraction, plain, zipped or gzipped, and what was odd.

    Raises NotARegister when the file is something else or cannot be read.
    """
    directory, oddities = read(path, begins=_begins, parse=_parse, limits=limits)
    return directory, oddities.noted()


@dataclass(frozen=True, slots=True)
class _Header:
    """Where the columns stand."""

    kind: int
    address: int
    number_type: int
    number: int
    service: int
    width: int
    last: int  # the last one that is needed


def _begins(line: str) -> bool:
    return set(_COLUMNS) <= {_bare(cell) for cell in line.split("|")}


def _header(line: str) -> _Header:
    names = [_bare(cell) for cell in line.split("|")]
    missing = [shown for bare, shown in _COLUMNS.items() if bare not in names]
    if len(missing) == len(_COLUMNS):
        raise NotARegister(
            f"line 1: this is not the MSSanté directory: {_told(line)}", hint=AGAIN
        )
    if missing:
        columns = ", ".join(missing)
        raise NotARegister(f"line 1: columns are missing: {columns}", hint=AGAIN)
    places = [names.index(bare) for bare in _COLUMNS]
    kind, address, number_type, number, service = places
    return _Header(
        kind,
        address,
        number_type,
        number=number,
        service=service,
        width=len(names),
        last=max(places),
    )


def _told(line: str) -> str:
    if line.startswith(("finess;", "structure")):
        return "it is a FINESS file, which belongs behind --finess"
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if set(_COLUMNS) <= {_bare(cell) for cell in line.split(mark)}:
            return f"its cells are separated by {name}, not by bars"
    return "its first line has none of the columns that are needed"


def _bare(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isascii() and c.isalnum())


def _parse(lines: Lines, oddities: Oddities) -> Directory:
    source = iter(lines)
    rows = _Rows(_header(next(source, "")), lines, oddities)
    rows.take_all(source)
    if not rows.found:
        raise NotARegister("it names no BAL", hint=AGAIN)
    return Directory(rows.found)


class _Rows:
    """The lines so far, by the FINESS number that they carry; "" for those without one."""

    def __init__(self, header: _Header, lines: Lines, oddities: Oddities) -> None:
        self._header = header
        self._bars = header.width - 1
        self._lines = lines
        self._oddities = oddities
        self._unstamped: dict[str, str] = {}
        self.found: defaultdict[str, list[str]] = defaultdict(list)

    def take_all(self, source: Iterator[str]) -> None:
        """Take every line. There are 540,000: what is usual is done here, without a call."""
        header, bars, found, unstamped = self._header, self._bars, self.found, self._unstamped
        usual_address, usual_number = _USUAL.fullmatch, SHAPE.fullmatch
        for line in source:
            cells = line.split("|", header.last + 1)
            if line.count("|") == bars and not has_mention(cells[header.service]):
                letters = unstamped.get(cells[header.kind])
                address = cells[header.address].lower()
                number = cells[header.number]
                if (
                    letters
                    and cells[header.number_type] in _FINESS
                    and usual_number(number)
                    and usual_address(address)
                ):
                    found[number].append(letters + address)
                    continue
            if line:
                self._take(cells, line)

    def _take(self, cells: list[str], line: str) -> None:
        """Take any line, usual or not."""
        header, at = self._header, self._lines.number
        if line.count("|") != self._bars and not self._mended(cells, line, at):
            return
        address = _plain(cells[header.address]).lower()
        if not (_ADDRESS.fullmatch(address) and address.isprintable()):
            self._oddities.add(Oddity.UNREADABLE_ADDRESS, at)
            return
        letters = self._letters(cells[header.kind], cells[header.service], at)
        number = self._number(cells[header.number_type], cells[header.number], at)
        self.found[number].append(letters + address)

    def _mended(self, cells: list[str], line: str, at: int) -> bool:
        """Note a line of unusual length and fill it up; False where it cannot be taken."""
        bars, last, cut = line.count("|"), self._header.last, self._lines.open_end
        if bars > self._bars:
            self._oddities.add(Oddity.EXTRA_CELLS, at)
            return True
        self._oddities.add(Oddity.CUT_OFF if cut else Oddity.SHORT_ROW, at)
        if cut and bars <= last:
            # What the rest would have said is not known: better no line than half a one.
            return False
        cells += [""] * (last + 1 - len(cells))
        return True

    def _letters(self, kind_cell: str, service: str, at: int) -> str:
        """Return what `packed` puts before an address."""
        stamp = stamp_of(service)
        kind = _KINDS.get(_plain(kind_cell).upper(), BalKind.OTHER)
        letters = packed(kind, stamp, "")
        if kind is BalKind.OTHER:
            self._oddities.add(Oddity.UNKNOWN_KIND, at)
        elif stamp is Stamp.NONE:
            self._unstamped[kind_cell] = letters
        return letters

    def _number(self, type_cell: str, cell: str, at: int) -> str:
        """Return the number if it is a FINESS; other registers' numbers are none of ours."""
        if not _plain(cell):
            return ""
        if type_cell not in _FINESS and _plain(type_cell).upper() not in _FINESS:
            if not _plain(type_cell):
                self._oddities.add(Oddity.NUMBER_WITHOUT_TYPE, at)
            return ""
        number, odd = read_number(cell)
        if odd is not None:
            self._oddities.add(odd, at)
        return number or ""


def _plain(cell: str) -> str:
    return cell.strip(' \t\xa0"')
