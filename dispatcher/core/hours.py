"""When a site is open: weekly spans, closed days, public holidays. Europe/Paris."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final

from dispatcher.core.paris import PARIS

_YEAR: Final = 367  # days, today and the same day of next year included

# Code du travail, art. L3133-1: month and day of those that do not move, and the days
# from Easter Sunday to Easter Monday, Ascension Day and Whit Monday.
_FIXED: Final = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))
_FROM_EASTER: Final = (1, 39, 50)

# Every country of the Union changes its clocks at this time (Directive 2000/84/EC,
# art. 2 and 3). A span may begin there without its first minute being on the clock.
_CHANGE: Final = time(1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """Open from `opens` to `closes`, minutes since midnight; `weekday` 0 is Monday.

    A span that ends at midnight closes at 1440.
    """

    weekday: int
    opens: int
    closes: int


@dataclass(frozen=True, slots=True)
class Hours:
    """The opening hours of one site. `holidays`: closed on French public holidays."""

    spans: tuple[Span, ...]
    closed: frozenset[date] = frozenset()
    holidays: bool = False


def is_open(hours: Hours, at: datetime) -> bool:
    """Whether the site is open at an aware time.

    The clock on its wall decides: what it shows twice in autumn is open twice, what it
    leaves out in spring never is. A span's last minute is the one before `closes`.
    """
    wall = _aware(at).astimezone(PARIS)
    minute = wall.hour * 60 + wall.minute
    return any(span.opens <= minute < span.closes for span in _spans(hours, wall.date()))


def next_opening(hours: Hours, after: datetime) -> datetime | None:
    """Return when the site opens next, in UTC; `after` itself while it is open.

    None when it does not open within a year.
    """
    if is_open(hours, after):
        return after
    # Times of one zone compare by the wall's clock, which goes back once a year.
    start = after.astimezone(UTC)
    for days in range(_YEAR):
        # In Paris it may be the next day already: the first one is then looked at in vain.
        day = start.date() + timedelta(days=days)
        later = (at for at in _beginnings(hours, day) if at > start and is_open(hours, at))
        first = min(later, default=None)
        if first is not None:
            return first
    return None


@cache
def public_holidays(year: int) -> frozenset[date]:
    """Return the public holidays of all of France (Code du travail, art. L3133-1).

    Those of Alsace-Moselle (L3134-13) and of overseas (L3422-2) are not among them.
    """
    fixed = (date(year, month, day) for month, day in _FIXED)
    easter = _easter(year)
    return frozenset((*fixed, *(easter + timedelta(days=days) for days in _FROM_EASTER)))


def _aware(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError("a time without its zone says nothing of when it is")
    return at


def _spans(hours: Hours, day: date) -> tuple[Span, ...]:
    if day in hours.closed or (hours.holidays and day in public_holidays(day.year)):
        return ()
    return tuple(span for span in hours.spans if span.weekday == day.weekday())


def _beginnings(hours: Hours, day: date) -> Iterator[datetime]:
    """Yield every time, in UTC, at which the site may go from closed to open that day."""
    spans = _spans(hours, day)
    if spans:
        yield datetime.combine(day, _CHANGE)
    for span in spans:
        opens = time(*divmod(span.opens, 60), tzinfo=PARIS)
        for fold in (0, 1):
            yield datetime.combine(day, opens.replace(fold=fold)).astimezone(UTC)


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar.

    The anonymous algorithm of Nature, vol. 13, p. 487 (1876), in the form of Jean Meeus,
    Astronomical Algorithms, chapter 8; the letters are those of Meeus.
    """
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (b - (b + 8) // 25 + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    ell = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * ell) // 451
    n, p = divmod(h + ell - 7 * m + 114, 31)
    return date(year, n, p + 1)
