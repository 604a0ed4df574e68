"""The bordereau as a table over pages: a line to sign for each certificate, and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from dispatcher.core.bordereau import Bordereau, Line, Name, Standing
from dispatcher.core.paris import PARIS
from dispatcher.edges.paper.sheet import Sheet, Text, Weight, line_height
from dispatcher.edges.paper.words import COPY, PAPER, clock, counted, day, short_day

_LEFT: Final = 12.0
_RIGHT: Final = 198.0
_TOP: Final = 14.0
# Rows end here; below stand the page's number and whose list it is.
_BOTTOM: Final = 278.0
_FOOT: Final = 284.0
_PAD: Final = 1.5
# High enough to sign in.
_ROW: Final = 9.5
_HEADING: Final = 7.0
_SIZE: Final = 9.5
_SMALL: Final = 8.0
_SMALLER: Final = (_SIZE, 8.5, 7.5)
_SPACE: Final = 1.2  # between last and first name

_UNREAD: Final = "nom non lu"
_REPLACES: Final = "nouvelle version"
_LATE: Final = "reçu après la liste"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    left: float
    right: float

    @property
    def room(self) -> float:
        return self.right - self.left - 2 * _PAD


@dataclass(frozen=True, slots=True)
class _Row:
    """A line laid out: by column, the texts one below the other; two beside each other."""

    cells: Mapping[str, tuple[Text, ...]]
    beside: bool
    height: float


def draw(page: Bordereau) -> bytes:
    """Return the list as a PDF file."""
    with closing(Sheet("Bordereau", made_at=page.made_at)) as sheet:
        _Listing(page, sheet).draw()
        return sheet.output()


def _columns(page: Bordereau) -> dict[str, _Column]:
    widths = {"number": 8.0, "file": 32.0, "name": 50.0, "time": 14.0}
    titles = {"number": "N°", "file": "N° de dossier", "name": "Nom, prénom", "time": "Reçu à"}
    if page.printed:
        widths["paper"], titles["paper"] = 23.0, "Papier"
    else:
        widths["name"] += 15
    widths["copy"], titles["copy"] = 22.0, "Fichier"
    rest = _RIGHT - _LEFT - sum(widths.values())
    widths["sign"], titles["sign"] = rest, "Remis le, signature"
    columns, left = {}, _LEFT
    for key, width in widths.items():
        columns[key] = _Column(titles[key], left, left + width)
        left += width
    return columns


class _Listing:
    """One bordereau being drawn."""

    def __init__(self, page: Bordereau, sheet: Sheet) -> None:
        self._page = page
        self._sheet = sheet
        self._columns = _columns(page)
        room = _RIGHT - _LEFT
        self._site = self._sheet.fitted(
            page.site_name, room, sizes=(14, 12, 10), lines=2, weight=Weight.BOLD
        )
        short = f"{day(page.on)} – {page.site} – {page.site_name}"
        self._whose = self._sheet.fitted(short, room - 40, sizes=(_SMALL, 7, 6), lines=1)

    def draw(self) -> None:
        rows = [self._row(number, line) for number, line in enumerate(self._page.lines, 1)]
        totals = self._totals()
        pages = self._paginated(rows, sum(text.height for text in totals) + 6)
        for number, some in enumerate(pages, 1):
            self._sheet.add_page()
            top = self._head() if number == 1 else self._head_again()
            top = self._table(some, top) if some else top
            if number == len(pages):
                self._below(totals, top + 5)
            self._foot(number, len(pages))

    def _paginated(self, rows: Iterable[_Row], last: float) -> list[list[_Row]]:
        """Share rows out over pages, with room for the totals at the end of the last."""
        pages: list[list[_Row]] = [[]]
        left = _BOTTOM - self._first_top() - _HEADING
        anew = _BOTTOM - _TOP - line_height(_SMALL) - 3 - _HEADING
        for row in rows:
            if row.height > left:
                pages.append([])
                left = anew
            pages[-1].append(row)
            left -= row.height
        if last > left:
            # A page with totals alone would look like another list's: one row goes along.
            pages.append(pages[-1][-1:])
            del pages[-2][-1:]
        return pages

    # --- around the table

    def _first_top(self) -> float:
        lines = line_height(18) + 2 + self._site.height + 1.5 + line_height(11) + 1
        return _TOP + lines + line_height(_SMALL) + 5

    def _head(self) -> float:
        page, sheet = self._page, self._sheet
        top = _TOP
        texts = (
            (Text(("Bordereau des certificats",), 18, Weight.BOLD), 2.0),
            (self._site, 1.5),
            (Text((f"FINESS {page.site} – {day(page.on)}",), 11), 1.0),
            (Text((self._made(),), _SMALL), 5.0),
        )
        for text, after in texts:
            sheet.draw(text, _LEFT, top)
            top += text.height + after
        return top

    def _made(self) -> str:
        made_at = self._page.made_at.astimezone(PARIS)
        made = f"Établi le {made_at:%d/%m/%Y} à {clock(made_at)}."
        if self._page.early:
            return f"{made} Les certificats reçus plus tard ce jour n’y figurent pas."
        return made

    def _head_again(self) -> float:
        text = Text((f"Bordereau des certificats – {day(self._page.on)} (suite)",), _SMALL)
        self._sheet.draw(text, _LEFT, _TOP)
        return _TOP + text.height + 3

    def _foot(self, number: int, pages: int) -> None:
        sheet = self._sheet
        sheet.line(_LEFT, _FOOT - 2.5, right=_RIGHT)
        sheet.draw(self._whose, _LEFT, _FOOT - 1.5)
        secret = Text(("Confidentiel : identités de patients",), 7)
        sheet.draw(secret, _LEFT, _FOOT + 2.5)
        told = f"Page {number} / {pages}"
        left = _RIGHT - sheet.width(told, _SMALL)
        sheet.draw(Text((told,), _SMALL), left, _FOOT - 1.5)

    def _below(self, texts: Iterable[Text], top: float) -> None:
        for text in texts:
            self._sheet.draw(text, _LEFT, top)
            top += text.height

    def _totals(self) -> tuple[Text, ...]:
        page = self._page
        if not page.lines:
            return (Text(("Aucun certificat reçu ce jour pour ce site.",), 13),)
        total = "Total : " + counted(len(page.lines), "certificat", "certificats")
        if page.late:
            what = counted(page.late, "reçu", "reçus")
            total += f", dont {what} après la liste précédente"
        told = [Text((total,), 11, Weight.BOLD)]
        if page.printed:
            told.append(self._sum("Papier", PAPER, lambda line: line.paper))
        told.append(self._sum("Fichier", COPY, lambda line: line.copy))
        if page.unread:
            why = "le message n’a pas pu être relu dans la boîte aux lettres"
            told.append(Text((f"{counted(page.unread, _UNREAD, 'noms non lus')} : {why}",), 9))
        return tuple(told)

    def _sum(
        self,
        title: str,
        words: Mapping[Standing | None, str],
        standing: Callable[[Line], Standing | None],
    ) -> Text:
        counts = Counter(standing(line) for line in self._page.lines)
        order = (Standing.MADE, Standing.WAITING, Standing.HELD, Standing.NOT_MADE)
        parts = [f"{words[one]} {counts[one]}" for one in order if counts[one]]
        return Text((f"{title} : " + (", ".join(parts) or "0"),), 9)

    # --- the table

    def _row(self, number: int, line: Line) -> _Row:
        name, beside = self._name(line.name)
        cells = {
            "number": (Text((str(number),), _SMALL),),
            "file": self._file(line),
            "name": name,
            "time": _time(line),
            "paper": (_standing(PAPER, line.paper),),
            "copy": (_standing(COPY, line.copy),),
        }
        known = {key: texts for key, texts in cells.items() if key in self._columns}
        height = max(
            _high(texts, beside=beside and key == "name") for key, texts in known.items()
        )
        return _Row(known, beside, max(_ROW, height + 2 * _PAD))

    def _file(self, line: Line) -> tuple[Text, ...]:
        room = self._columns["file"].room
        number = self._sheet.fitted(
            line.file_number or "non lu", room, sizes=_SMALLER, lines=6, whole=True
        )
        told = {_LATE: line.late, _REPLACES: line.replaces}
        return (number, *(Text((words,), 7) for words, is_so in told.items() if is_so))

    def _name(self, name: Name | None) -> tuple[tuple[Text, ...], bool]:
        """Return last and first name, and whether they stand beside each other."""
        if name is None:
            return (Text((_UNREAD,), _SIZE),), False
        room = self._columns["name"].room
        last = Text((self._sheet.shown(name.last),), _SIZE, Weight.BOLD)
        first = Text((self._sheet.shown(name.first),), _SIZE)
        if sum(self._sheet.width(t.lines[0], t.size, t.weight) for t in (last, first)) <= (
            room - _SPACE
        ):
            return (last, first), True
        return (
            self._sheet.fitted(name.last, room, sizes=_SMALLER, lines=3, weight=Weight.BOLD),
            self._sheet.fitted(name.first, room, sizes=_SMALLER, lines=2),
        ), False

    def _table(self, rows: Iterable[_Row], top: float) -> float:
        sheet, begun = self._sheet, top
        sheet.shade(_LEFT, top, right=_RIGHT, bottom=top + _HEADING)
        for column in self._columns.values():
            title = Text((column.title,), _SMALL, Weight.BOLD)
            sheet.draw(title, column.left + _PAD, top + (_HEADING - title.height) / 2)
        sheet.line(_LEFT, top, right=_RIGHT, width=0.4)
        top += _HEADING
        sheet.line(_LEFT, top, right=_RIGHT, width=0.4)
        for row in rows:
            for key, texts in row.cells.items():
                self._cell(row, texts, self._columns[key], top)
            top += row.height
            sheet.line(_LEFT, top, right=_RIGHT)
        for column in self._columns.values():
            sheet.upright(column.left, begun, bottom=top)
        sheet.upright(_RIGHT, begun, bottom=top)
        return top

    def _cell(self, row: _Row, texts: tuple[Text, ...], column: _Column, top: float) -> None:
        beside = row.beside and column is self._columns["name"]
        left = column.left + _PAD
        at = top + (row.height - _high(texts, beside=beside)) / 2
        for text in texts:
            self._sheet.draw(text, left, at)
            if beside:
                left += self._sheet.width(text.lines[0], text.size, text.weight) + _SPACE
            else:
                at += text.height


def _time(line: Line) -> tuple[Text, ...]:
    """Return the time of day, after its day where that is an earlier one."""
    time = Text((clock(line.received_at),), _SIZE)
    return (Text((short_day(line.received_at),), _SMALL), time) if line.late else (time,)


def _standing(words: Mapping[Standing | None, str], standing: Standing | None) -> Text:
    """Return the word; what still asks for somebody stands out, also in black and white."""
    plain = standing in {Standing.MADE, None}
    return Text((words[standing],), _SMALL, Weight.PLAIN if plain else Weight.BOLD)


def _high(texts: Iterable[Text], *, beside: bool) -> float:
    heights = [text.height for text in texts]
    return max(heights) if beside else sum(heights)
