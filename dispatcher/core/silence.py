"""Finds the sites that are silent for longer than their own weeks allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Final

from dispatcher.core.finess import FinessET
from dispatcher.core.hours import public_holidays
from dispatcher.core.paris import PARIS
from dispatcher.core.vitals import Silence

WEEKS: Final = 8
"""How far back a site's own history is looked at."""

# Fewer of the same weekday say nothing about it.
_ENOUGH: Final = 4
# So many certificates must be missing by the site's own weekdays: a small site is silent
# for days without a fault.
_MISSING: Final = 10.0
# From this time on the day that runs counts as well.
_EVENING: Final = time(18)
_DAY: Final = timedelta(days=1)

Days = Mapping[date, int]
"""How many certificates came on each day in Paris; days without any are left out."""


def silent_sites(arrivals: Mapping[FinessET, Days], now: datetime) -> tuple[Silence, ...]:
    """Return the sites of which nothing came for longer than their history allows.

    A site is silent when its weekdays (the median of the same weekday in the last weeks,
    public holidays left out) would have brought 10 certificates since the last one, and
    when it was never silent for as many working days before. It takes at least 4 of a
    weekday to expect anything of it, so that a new or a small site is never silent.
    """
    found = (_silence(site, days, now) for site, days in sorted(arrivals.items(), key=_name))
    return tuple(one for one in found if one is not None)


def _name(item: tuple[FinessET, object]) -> str:
    return str(item[0])


def _silence(site: FinessET, days: Days, now: datetime) -> Silence | None:
    wall = now.astimezone(PARIS)
    last = wall.date() if wall.time() >= _EVENING else wall.date() - _DAY
    came = sorted(day for day, count in days.items() if count > 0)
    if not came or came[-1] > last:
        return None
    usual = _usual(days, came[0], came[-1])
    run = [day for day in _working(came[-1] + _DAY, last) if usual[day.weekday()]]
    expected = sum(usual[day.weekday()] for day in run)
    if expected < _MISSING or len(run) <= _longest(came, usual):
        return None
    return Silence(site, came[-1] + _DAY, expected)


def _working(first: date, last: date) -> tuple[date, ...]:
    """Return the days from first to last, public holidays left out."""
    return tuple(day for day in _days(first, last) if day not in public_holidays(day.year))


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + number * _DAY


def _usual(days: Days, first: date, last: date) -> Mapping[int, float]:
    """Return what each weekday usually brought in the weeks up to the last certificate."""
    counts: dict[int, list[int]] = {weekday: [] for weekday in range(7)}
    for day in _working(max(first, last - WEEKS * 7 * _DAY), last):
        counts[day.weekday()].append(days.get(day, 0))
    return {
        weekday: float(median(some)) if len(some) >= _ENOUGH else 0.0
        for weekday, some in counts.items()
    }


def _longest(came: list[date], usual: Mapping[int, float]) -> int:
    """Return the most days in a row without a certificate so far, where one was usual."""
    longest = 0
    for before, after in pairwise(came):
        between = _working(before + _DAY, after - _DAY)
        longest = max(longest, sum(1 for day in between if usual[day.weekday()]))
    return longest
