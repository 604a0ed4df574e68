"""When a site is open, and when it opens next."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from dispatcher.core.hours import Hours, Span, is_open, next_opening, public_holidays
from dispatcher.core.paris import PARIS


def span(weekday: int, opens: str, closes: str) -> Span:
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (opens, closes)]
    return Span(weekday, *minutes)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def paris(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold)


# Monday to Friday with a break at noon, and Saturday morning.
COUNTER = Hours(
    (
        *(span(day, "08:00", "12:00") for day in range(5)),
        *(span(day, "14:00", "18:30") for day in range(5)),
        span(5, "08:00", "12:00"),
    )
)
MONDAY = "2026-11-23"


# --- open or closed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param("2026-11-23T07:59:59", False, id="a second before"),
        pytest.param("2026-11-23T08:00", True, id="at the first minute"),
        pytest.param("2026-11-23T11:59:59", True, id="in the last second of the morning"),
        pytest.param("2026-11-23T12:00", False, id="when the morning has ended"),
        pytest.param("2026-11-23T13:30", False, id="at noon"),
        pytest.param("2026-11-23T18:29:59", True, id="in the last second of the day"),
        pytest.param("2026-11-28T10:00", True, id="on Saturday morning"),
        pytest.param("2026-11-28T15:00", False, id="on Saturday afternoon"),
        pytest.param("2026-11-29T10:00", False, id="on Sunday"),
    ],
)
def test_a_site_is_open_from_its_first_minute_to_the_one_before_it_closes(
    at: str, *, expected: bool
) -> None:
    assert is_open(COUNTER, paris(at)) is expected


def test_the_hours_are_those_of_paris_whatever_the_zone_of_the_question() -> None:
    # 07:30 in Greenwich is 08:30 in Paris in winter and 09:30 in summer.
    assert is_open(COUNTER, utc("2026-11-23T07:30"))
    assert not is_open(COUNTER, utc("2026-11-23T06:30"))
    assert is_open(COUNTER, utc("2026-07-20T06:30"))


def test_a_span_may_end_with_the_day_and_go_on_in_the_next() -> None:
    night = Hours((span(0, "22:00", "24:00"), span(1, "00:00", "02:00")))
    assert is_open(night, paris("2026-11-23T23:59:59"))
    assert is_open(night, paris("2026-11-24T00:00"))
    assert not is_open(night, paris("2026-11-24T02:00"))


def test_a_day_that_is_written_as_closed_is_closed() -> None:
    hours = Hours(COUNTER.spans, closed=frozenset({date(2026, 11, 23)}))
    assert not is_open(hours, paris("2026-11-23T10:00"))
    assert next_opening(hours, paris("2026-11-23T10:00")) == utc("2026-11-24T07:00")


def test_public_holidays_close_a_site_only_when_it_says_so() -> None:
    armistice = paris("2026-11-11T10:00")
    assert is_open(COUNTER, armistice)
    assert not is_open(Hours(COUNTER.spans, holidays=True), armistice)


def test_a_time_without_a_zone_is_refused_and_not_guessed() -> None:
    naive = datetime(2026, 11, 23, 10)  # noqa: DTZ001 - what is refused here
    with pytest.raises(ValueError, match="zone"):
        is_open(COUNTER, naive)
    with pytest.raises(ValueError, match="zone"):
        next_opening(COUNTER, naive)


# --- public holidays ---------------------------------------------------------------------


def test_france_has_eleven_public_holidays() -> None:
    assert sorted(public_holidays(2021)) == [
        date(2021, 1, 1),
        date(2021, 4, 5),
        date(2021, 5, 1),
        date(2021, 5, 8),
        date(2021, 5, 13),
        date(2021, 5, 24),
        date(2021, 7, 14),
        date(2021, 8, 15),
        date(2021, 11, 1),
        date(2021, 11, 11),
        date(2021, 12, 25),
    ]


@pytest.mark.parametrize(
    "easter",
    [
        pytest.param(date(1818, 3, 22), id="the earliest there is"),
        pytest.param(date(1943, 4, 25), id="the latest there is"),
        pytest.param(date(1954, 4, 18), id="1954: the first exception"),
        pytest.param(date(1981, 4, 19), id="1981: the second exception"),
        pytest.param(date(2000, 4, 23), id="2000: a leap century"),
        pytest.param(date(2020, 4, 12), id="2020"),
        pytest.param(date(2024, 3, 31), id="2024: with the change of the clocks"),
        pytest.param(date(2026, 4, 5), id="2026"),
        pytest.param(date(2038, 4, 25), id="2038"),
        pytest.param(date(2049, 4, 18), id="2049"),
        pytest.param(date(2076, 4, 19), id="2076"),
    ],
)
def test_easter_monday_ascension_and_whit_monday_follow_easter(easter: date) -> None:
    assert {easter + timedelta(days=days) for days in (1, 39, 50)} <= public_holidays(
        easter.year
    )
    assert easter not in public_holidays(easter.year)


def test_two_holidays_on_one_day_are_one() -> None:
    # In 2008 Ascension Day was the first of May.
    assert len(public_holidays(2008)) == 10


# --- the next opening --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param("2026-11-23T05:00", "2026-11-23T07:00", id="before the day's first hour"),
        pytest.param("2026-11-23T12:30", "2026-11-23T13:00", id="in the break"),
        pytest.param("2026-11-23T17:30", "2026-11-24T07:00", id="when it has just closed"),
        pytest.param("2026-11-28T11:00", "2026-11-30T07:00", id="over Sunday"),
        pytest.param("2026-03-28T11:00", "2026-03-30T06:00", id="over the night in spring"),
        pytest.param("2026-10-24T10:00", "2026-10-26T07:00", id="over the night in autumn"),
        pytest.param("2026-12-31T18:00", "2027-01-01T07:00", id="over the end of the year"),
    ],
)
def test_a_closed_site_opens_next_at_its_next_first_minute(after: str, expected: str) -> None:
    found = next_opening(COUNTER, utc(after))
    assert found == utc(expected)
    assert found is not None
    assert found.tzinfo is UTC


def test_a_site_that_is_open_opens_at_the_very_moment_of_the_question() -> None:
    at = paris("2026-11-23T08:00:00.5")
    assert next_opening(COUNTER, at) is at


def test_a_long_row_of_closed_days_and_holidays_is_passed_over() -> None:
    closed = frozenset(date(2026, 12, 23) + timedelta(days=n) for n in range(10))
    hours = Hours(COUNTER.spans, closed, holidays=True)
    # Saturday 2 January comes after ten closed days, the last of them a public holiday.
    assert next_opening(hours, paris("2026-12-22T19:00")) == utc("2027-01-02T07:00")


@pytest.mark.parametrize(
    "hours",
    [
        pytest.param(Hours(()), id="no span at all"),
        pytest.param(
            Hours(
                (span(0, "08:00", "12:00"),),
                frozenset(date(2026, 11, 23) + timedelta(weeks=n) for n in range(60)),
            ),
            id="every day closed by its date",
        ),
    ],
)
def test_a_site_that_stays_closed_for_a_year_has_no_next_opening(hours: Hours) -> None:
    assert next_opening(hours, paris(f"{MONDAY}T07:00")) is None


def test_an_opening_eleven_months_away_is_found() -> None:
    closed = frozenset(date(2026, 11, 23) + timedelta(weeks=n) for n in range(48))
    hours = Hours((span(0, "08:00", "12:00"),), closed)
    assert next_opening(hours, paris(f"{MONDAY}T07:00")) == paris("2027-10-25T08:00")


# --- the two nights ----------------------------------------------------------------------

# In 2026 the clocks go from 02:00 to 03:00 on 29 March and from 03:00 to 02:00 on 25 October.
SUNDAY = 6


@pytest.mark.parametrize(
    ("opens", "closes", "expected"),
    [
        pytest.param("02:00", "05:00", "2026-03-29T01:00", id="at the hour that is left out"),
        pytest.param("02:30", "05:00", "2026-03-29T01:00", id="inside it"),
        pytest.param("01:30", "05:00", "2026-03-29T00:30", id="before it"),
        pytest.param("03:00", "05:00", "2026-03-29T01:00", id="just after it"),
        pytest.param("03:30", "05:00", "2026-03-29T01:30", id="later"),
        pytest.param("02:15", "02:45", "2026-04-05T00:15", id="never, for it is all inside"),
        pytest.param("02:00", "03:00", "2026-04-05T00:00", id="never, for it is that hour"),
    ],
)
def test_an_opening_in_the_hour_that_spring_leaves_out_is_at_the_next_minute_there_is(
    opens: str, closes: str, expected: str
) -> None:
    hours = Hours((span(SUNDAY, opens, closes),))
    assert next_opening(hours, utc("2026-03-28T23:00")) == utc(expected)


@pytest.mark.parametrize(
    ("opens", "closes", "after", "expected"),
    [
        pytest.param("02:15", "02:45", "2026-10-24T23:00", "2026-10-25T00:15", id="first"),
        pytest.param("02:15", "02:45", "2026-10-25T00:45", "2026-10-25T01:15", id="second"),
        pytest.param("02:15", "02:45", "2026-10-25T01:45", "2026-11-01T01:15", id="no third"),
        pytest.param(
            "01:00", "02:30", "2026-10-25T00:30", "2026-10-25T01:00", id="when it goes back"
        ),
        pytest.param("01:00", "02:30", "2026-10-25T01:30", "2026-11-01T00:00", id="then over"),
        pytest.param("02:30", "04:00", "2026-10-24T23:00", "2026-10-25T00:30", id="its first"),
        pytest.param(
            "02:30", "04:00", "2026-10-25T01:00", "2026-10-25T01:30", id="closed in between"
        ),
        pytest.param("03:00", "04:00", "2026-10-25T01:30", "2026-10-25T02:00", id="after it"),
    ],
)
def test_an_opening_in_the_hour_that_autumn_gives_twice_is_there_twice(
    opens: str, closes: str, after: str, expected: str
) -> None:
    hours = Hours((span(SUNDAY, opens, closes),))
    assert next_opening(hours, utc(after)) == utc(expected)


def test_the_hour_that_autumn_gives_twice_is_open_both_times() -> None:
    hours = Hours((span(SUNDAY, "02:15", "02:45"),))
    for fold in (0, 1):
        assert is_open(hours, paris("2026-10-25T02:15", fold=fold))
        assert not is_open(hours, paris("2026-10-25T02:45", fold=fold))
