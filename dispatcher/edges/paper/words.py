"""The French words on paper: days, counts, and how far a certificate is on its way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from dispatcher.core.bordereau import Standing
from dispatcher.core.paris import PARIS

_DAYS: Final = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
_MONTHS: Final = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre",
    "octobre", "novembre", "décembre",
)  # fmt: skip

PAPER: Final[Mapping[Standing | None, str]] = {
    Standing.MADE: "imprimé",
    Standing.NOT_MADE: "non imprimé",
    Standing.WAITING: "en attente",
    Standing.HELD: "retenu",
    None: "–",
}
COPY: Final[Mapping[Standing | None, str]] = {
    **PAPER,
    Standing.MADE: "déposé",
    Standing.NOT_MADE: "non déposé",
}


def day(on: date) -> str:
    """Return a date as it is said: `jeudi 1er janvier 2026`."""
    number = "1er" if on.day == 1 else str(on.day)
    return f"{_DAYS[on.weekday()]} {number} {_MONTHS[on.month - 1]} {on.year}"


def clock(at: datetime) -> str:
    """Return the time of day in Paris."""
    return f"{at.astimezone(PARIS):%H:%M}"


def short_day(at: datetime) -> str:
    """Return day and month in Paris."""
    return f"{at.astimezone(PARIS):%d/%m}"


def counted(count: int, one: str, several: str) -> str:
    """Return a count with its words; French says none and one in the singular."""
    return f"{count} {one if count <= 1 else several}"
