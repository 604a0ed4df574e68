"""An A4 sheet: texts at places, measured, wrapped and shrunk so that each stays in its room."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import accumulate
from typing import Final

from fpdf import FPDF
from fpdf.fonts import TTFFont

from dispatcher import fonts

_FAMILY: Final = "dejavu"
# Millimetres in a point, and the height of a line in sizes of its letters.
_POINT: Final = 25.4 / 72
_LEADING: Final = 1.22
# From the middle of a line down to its baseline, in sizes of its letters.
_BASE: Final = 0.36

# After a space or a hyphen a line may end.
_PIECES: Final = re.compile(r"[^ \-]*[ \-]+|[^ \-]+")
# A header field may be a megabyte long; nobody reads more of a name than this.
_LONGEST: Final = 240
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_CUT: Final = "…"

# The libraries log which letters they draw; letters of names do not belong into a log.
for _name in ("fpdf", "fontTools"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Weight(Enum):
    """How heavy letters are; the values are fpdf2's styles."""

    PLAIN = ""
    BOLD = "B"


@dataclass(frozen=True, slots=True)
class Text:
    """A text of one size and weight that takes one line or several; nothing is cut twice."""

    lines: tuple[str, ...]
    size: float
    weight: Weight = Weight.PLAIN

    @property
    def height(self) -> float:
        """How high it is, in millimetres."""
        return len(self.lines) * line_height(self.size)


def line_height(size: float) -> float:
    """Return the height of a line of letters of that size (points), in millimetres."""
    return size * _POINT * _LEADING


class Sheet:
    """A document being drawn. Lengths are millimetres from the top left, sizes are points.

    To be closed. Used by one thread.
    """

    def __init__(self, title: str, *, made_at: datetime) -> None:
        self._pdf = FPDF(format="A4")
        # Time is the one thing that would make each drawing of the same page different.
        self._pdf.set_creation_date(made_at)
        self._pdf.set_title(title)
        self._pdf.set_lang("fr-FR")
        self._pdf.set_auto_page_break(auto=False)
        self._pdf.add_font(_FAMILY, "", fonts.EUROPEAN)
        self._pdf.add_font(_FAMILY, "B", fonts.EUROPEAN_BOLD)
        self._advances: dict[tuple[str, Weight], float] = {}
        self._fonts = [font for font in self._pdf.fonts.values() if isinstance(font, TTFFont)]
        # A letter counts as known when every weight has it.
        self._known = frozenset.intersection(*(frozenset(font.cmap) for font in self._fonts))

    def add_page(self) -> None:
        """Begin a page; what is drawn next is drawn there."""
        self._pdf.add_page()

    def line(self, left: float, top: float, *, right: float, width: float = 0.2) -> None:
        """Draw a level line."""
        self._pdf.set_line_width(width)
        self._pdf.line(left, top, right, top)

    def upright(self, left: float, top: float, *, bottom: float) -> None:
        """Draw a thin upright line."""
        self._pdf.set_line_width(0.1)
        self._pdf.line(left, top, left, bottom)

    def shade(self, left: float, top: float, *, right: float, bottom: float) -> None:
        """Fill a rectangle with a light grey."""
        self._pdf.set_fill_color(235)
        self._pdf.rect(left, top, right - left, bottom - top, style="F")

    def width(self, text: str, size: float, weight: Weight = Weight.PLAIN) -> float:
        """Return how wide a text is."""
        return sum(self._advance(letter, weight) for letter in text) * size

    def _advance(self, letter: str, weight: Weight) -> float:
        """Return how wide a letter of one point is; nothing is kerned, so widths add up."""
        known = self._advances.get((letter, weight))
        if known is None:
            self._pdf.set_font(_FAMILY, weight.value, 1)
            known = float(self._pdf.get_string_width(letter))
            self._advances[letter, weight] = known
        return known

    def write(
        self, left: float, middle: float, text: str, *, size: float, weight: Weight
    ) -> None:
        """Write one line whose letters stand about this middle."""
        self._pdf.set_font(_FAMILY, weight.value, size)
        self._pdf.text(left, middle + size * _POINT * _BASE, text)

    def draw(self, text: Text, left: float, top: float, *, right: float | None = None) -> None:
        """Write a text below `top`; with `right`, in the middle between the two sides."""
        step = line_height(text.size)
        for number, line in enumerate(text.lines):
            indent = 0.0
            if right is not None:
                indent = (right - left - self.width(line, text.size, text.weight)) / 2
            middle = top + step * (number + 0.5)
            self.write(left + indent, middle, line, size=text.size, weight=text.weight)

    def shown(self, text: str) -> str:
        """Return a text in letters that the font has: one sign for each that it lacks.

        Composed letters for an accent that follows its letter, nothing invisible.
        """
        composed = unicodedata.normalize("NFC", " ".join(text.split())[:_LONGEST])
        return "".join(letter if self._has(letter) else _UNKNOWN for letter in composed)

    def _has(self, letter: str) -> bool:
        return letter.isprintable() and ord(letter) in self._known

    def fitted(
        self,
        text: str,
        room: float,
        *,
        sizes: Sequence[float],
        lines: int,
        weight: Weight = Weight.PLAIN,
        whole: bool = False,
    ) -> Text:
        """Return a text in the largest size that takes no more lines; the last one is cut.

        `whole`: rather in smaller letters than over one more line.
        """
        plain = self.shown(text)
        by_size = [
            (self._wrapped(plain, room, size=size, weight=weight), size) for size in sizes
        ]
        for most in range(1, lines + 1) if whole else (lines,):
            for wrapped, size in by_size:
                if len(wrapped) <= most:
                    return Text(tuple(wrapped), size, weight)
        wrapped, _ = by_size[-1]
        kept = wrapped[:lines]
        while kept[-1] and self.width(kept[-1] + _CUT, sizes[-1], weight) > room:
            kept[-1] = kept[-1][:-1]
        return Text((*kept[:-1], kept[-1] + _CUT), sizes[-1], weight)

    def _wrapped(self, text: str, room: float, *, size: float, weight: Weight) -> list[str]:
        lines = [""]
        for piece in _PIECES.findall(text):
            rest = piece
            if lines[-1] and self.width((lines[-1] + rest).rstrip(), size, weight) > room:
                lines.append("")
            while self.width(rest.rstrip(), size, weight) > room and len(rest) > 1:
                fits = self._fitting(rest, room, size=size, weight=weight)
                lines[-1:] = [rest[:fits], ""]
                rest = rest[fits:]
            lines[-1] += rest
        return [line.rstrip() for line in lines]

    def _fitting(self, word: str, room: float, *, size: float, weight: Weight) -> int:
        """Return how many letters of a word too wide for a line go into one."""
        widths = accumulate(self._advance(letter, weight) * size for letter in word)
        return max(1, sum(1 for width in widths if width <= room))

    def output(self) -> bytes:
        """Return the finished document."""
        return bytes(self._pdf.output())

    def close(self) -> None:
        """Close the files of the fonts."""
        for font in self._fonts:
            font.close()
