"""What is strange in a register's file: counted by kind, with the first lines of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

# How many lines of each kind are told.
_TOLD: Final = 5


class Oddity(Enum):
    """Kinds, with what each one means for people."""

    CUT_OFF = "cut-off"
    DAMAGED = "damaged"
    NOT_UTF8 = "not-utf-8"
    UNDECODABLE = "undecodable"
    NO_FIRST_LINE = "no-first-line"
    UNKNOWN_ROW = "unknown-row"
    SHORT_ROW = "short-row"
    EXTRA_CELLS = "extra-cells"
    UNCLOSED_QUOTE = "unclosed-quote"
    PADDED_NUMBER = "padded-number"
    UNTIDY_NUMBER = "untidy-number"
    UNREADABLE_NUMBER = "unreadable-number"
    NUMBER_WITHOUT_TYPE = "number-without-type"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    UNKNOWN_KIND = "unknown-kind"
    UNREADABLE_ADDRESS = "unreadable-address"

    @property
    def sentence(self) -> str:
        """What was found, and what was made of it."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Oddity.CUT_OFF: "the file ends in the middle of a row: download it again",
    Oddity.DAMAGED: "a row with NUL bytes in it: left out; download the file again",
    Oddity.NOT_UTF8: "not UTF-8: read as Windows-1252",
    Oddity.UNDECODABLE: "a byte that is no character: shown as \N{REPLACEMENT CHARACTER}",
    Oddity.NO_FIRST_LINE: "the line `finess;etalab;…` is missing: is the file whole?",
    Oddity.UNKNOWN_ROW: "a row of a kind that is not known: left out",
    Oddity.SHORT_ROW: "a row with missing cells: taken as far as it goes",
    Oddity.EXTRA_CELLS: "a row with more cells than usual: the further ones are left out",
    Oddity.UNCLOSED_QUOTE: "a quotation mark that nothing closes: taken as it stands",
    Oddity.PADDED_NUMBER: "a number that lost its leading zero: the zero was put back",
    Oddity.UNTIDY_NUMBER: "a number with spaces, quotes or small letters: tidied",
    Oddity.UNREADABLE_NUMBER: "not a FINESS number: the row counts for no site",
    Oddity.NUMBER_WITHOUT_TYPE: "a FINESS number whose type is empty: not counted",
    Oddity.REPEATED: "a row that stands there twice",
    Oddity.CONTRADICTED: "a second row gives a site another legal body: the first one counts",
    Oddity.UNKNOWN_KIND: "a type of BAL that is not known: it does not count",
    Oddity.UNREADABLE_ADDRESS: "not an address: left out",
}


@dataclass(frozen=True, slots=True)
class Noted:
    """One kind of oddity in one file: how often, and on which lines first (from 1)."""

    file: Path
    oddity: Oddity
    count: int
    lines: tuple[int, ...]

    def __str__(self) -> str:
        first = ", ".join(str(line) for line in self.lines)
        more = ", …" if self.count > len(self.lines) else ""
        lines = "line" if self.count == 1 else f"{self.count} lines:"
        return f"{self.file.name}: {self.oddity.sentence} ({lines} {first}{more})"


class Oddities:
    """Collects what is strange in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: dict[Oddity, int] = {}
        self._lines: dict[Oddity, list[int]] = {}
        self._newest: dict[Oddity, int] = {}

    def add(self, oddity: Oddity, line: int) -> None:
        """Count one more line; one that bears the same oddity twice counts once."""
        if self._newest.get(oddity) == line:
            return
        self._newest[oddity] = line
        count = self._counts.get(oddity, 0)
        self._counts[oddity] = count + 1
        if count < _TOLD:
            self._lines.setdefault(oddity, []).append(line)

    def noted(self) -> tuple[Noted, ...]:
        """Return what was collected, in the order of `Oddity`."""
        return tuple(
            Noted(self._file, oddity, self._counts[oddity], tuple(self._lines[oddity]))
            for oddity in Oddity
            if oddity in self._counts
        )


_NOT_WHOLE: Final = frozenset({Oddity.CUT_OFF, Oddity.DAMAGED})


def not_whole(noted: Iterable[Noted]) -> bool:
    """Whether a file was read of which a part is missing: no answer from it is a good one."""
    return any(one.oddity in _NOT_WHOLE for one in noted)
