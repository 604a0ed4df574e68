"""The page before a batch: whose it is and how many, and nobody's identity."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Final

from dispatcher.edges.paper.sheet import Sheet, Text, Weight
from dispatcher.edges.paper.words import counted

_LEFT: Final = 20.0
_RIGHT: Final = 190.0
# Any fixed time: the page tells the same on every day.
_MADE_AT: Final = datetime(2020, 1, 1, tzinfo=UTC)


def draw(site_name: str, count: int) -> bytes:
    """Return the page as a PDF file."""
    with closing(Sheet("Séparateur", made_at=_MADE_AT)) as sheet:
        _draw(sheet, site_name, count)
        return sheet.output()


def _draw(sheet: Sheet, site_name: str, count: int) -> None:
    sheet.add_page()
    room = _RIGHT - _LEFT
    name = sheet.fitted(site_name, room, sizes=(48, 40, 32, 26), lines=4, weight=Weight.BOLD)
    batch = Text((counted(count, "certificat", "certificats"),), 36)
    top = 105 - name.height / 2
    sheet.line(_LEFT, top - 12, right=_RIGHT, width=2)
    sheet.draw(name, _LEFT, top, right=_RIGHT)
    sheet.draw(batch, _LEFT, top + name.height + 14, right=_RIGHT)
    sheet.line(_LEFT, top + name.height + batch.height + 26, right=_RIGHT, width=2)
