"""A site is silent by its own weeks: never a small one, never over a holiday."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from dispatcher.core.finess import FinessET
from dispatcher.core.silence import silent_sites

SITE = FinessET("990000010")
DAY = timedelta(days=1)
THURSDAY = date(2026, 11, 26)  # no holiday near it but 11 November, a Wednesday
Week = tuple[int, int, int, int, int, int, int]
WORKING: Week = (20, 20, 20, 20, 20, 0, 0)


def days(week: Week, *, last: date = THURSDAY, weeks: int = 10) -> dict[date, int]:
    """Return arrivals by weekday for some weeks, the last of them on `last`."""
    every = [last - number * DAY for number in range(7 * weeks)]
    return {day: week[day.weekday()] for day in every if week[day.weekday()]}


def at(on: date, hour: int = 12) -> datetime:
    return datetime(on.year, on.month, on.day, hour, tzinfo=UTC)


def silent(arrivals: dict[date, int], now: datetime) -> date | None:
    found = silent_sites({SITE: arrivals}, now)
    return found[0].since_on if found else None


def test_a_busy_site_is_silent_after_one_working_day_is_over() -> None:
    arrivals = days(WORKING)
    friday = THURSDAY + DAY
    assert silent(arrivals, at(friday, 12)) is None
    assert silent(arrivals, at(friday, 18)) == friday


def test_a_weekend_is_no_silence() -> None:
    arrivals = days(WORKING, last=THURSDAY + DAY)
    monday = THURSDAY + 4 * DAY
    assert silent(arrivals, at(monday, 12)) is None
    assert silent(arrivals, at(monday, 18)) == THURSDAY + 2 * DAY


@pytest.mark.parametrize(
    ("week", "after"),
    [
        pytest.param((3, 3, 3, 3, 3, 0, 0), 4, id="three a day, 12 missing on the 4th day"),
        pytest.param((1, 1, 1, 1, 1, 0, 0), 10, id="one a day, two weeks"),
    ],
)
def test_a_small_site_may_be_silent_for_longer(week: Week, after: int) -> None:
    arrivals = days(week)
    working, day = 0, THURSDAY
    while working < after:
        assert silent(arrivals, at(day, 18)) is None
        day += DAY
        working += day.weekday() < 5
    assert silent(arrivals, at(day, 18)) is not None


def test_a_site_with_a_certificate_now_and_then_is_never_silent() -> None:
    arrivals = {THURSDAY - number * 9 * DAY: 1 for number in range(10)}
    assert silent(arrivals, at(THURSDAY + 60 * DAY)) is None


@pytest.mark.parametrize("weeks", [1, 2, 3])
def test_a_new_site_has_no_history(weeks: int) -> None:
    assert silent(days(WORKING, weeks=weeks), at(THURSDAY + 5 * DAY)) is None


def test_holidays_are_left_out() -> None:
    christmas_eve = date(2026, 12, 24)  # a Thursday; Friday is Christmas
    arrivals = days(WORKING, last=christmas_eve)
    assert silent(arrivals, at(date(2026, 12, 27), 18)) is None
    assert silent(arrivals, at(date(2026, 12, 28), 18)) == date(2026, 12, 25)


def test_a_site_that_closed_before_may_close_as_long_again() -> None:
    closed = {THURSDAY - number * DAY for number in range(14, 21)}
    arrivals = {day: count for day, count in days(WORKING).items() if day not in closed}
    friday, week_after = THURSDAY + DAY, THURSDAY + 8 * DAY
    assert silent(arrivals, at(friday, 18)) is None
    assert silent(arrivals, at(week_after, 18)) is not None


@pytest.mark.parametrize(
    "arrivals", [dict, lambda: {THURSDAY + 3 * DAY: 5}], ids=["nothing ever", "the future"]
)
def test_nothing_to_go_by_is_no_silence(arrivals: Callable[[], dict[date, int]]) -> None:
    assert silent(arrivals(), at(THURSDAY)) is None
