"""Opening hours read by the program and by somebody who stands in front of the door."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.core.hours import Hours, Span, is_open, next_opening
from dispatcher.core.paris import PARIS

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


HOLIDAYS = {"01-01", "05-01", "05-08", "07-14", "08-15", "11-01", "11-11", "12-25"}
MOVABLE = {
    *("2026-04-06", "2026-05-14", "2026-05-25"),
    *("2027-03-29", "2027-05-06", "2027-05-17"),
}


def slowly_open(hours: Hours, at: datetime) -> bool:
    """Whether a person who reads the clock and the calendar finds the door open."""
    wall = at.astimezone(PARIS)
    shown, day = wall.isoformat()[11:16], wall.isoformat()[:10]
    if day in {closed.isoformat() for closed in hours.closed}:
        return False
    if hours.holidays and (day[5:] in HOLIDAYS or day in MOVABLE):
        return False
    today = [span for span in hours.spans if span.weekday == wall.weekday()]
    return any(read(span.opens) <= shown < read(span.closes) for span in today)


def read(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def slowly_next(hours: Hours, after: datetime, *, days: int) -> datetime | None:
    if slowly_open(hours, after):
        return after
    at = after.astimezone(UTC).replace(second=0, microsecond=0)
    end = at + timedelta(days=days)
    while at < end:
        at += MINUTE
        if slowly_open(hours, at):
            return at
    return None


# Where something can go wrong, as often as anywhere.
NIGHTS = [utc("2026-03-29T00:00"), utc("2026-10-25T00:00"), utc("2027-03-28T00:00")]
TURNS = [*NIGHTS, *map(utc, ("2026-04-05T20:00", "2026-05-14T07:00", "2026-12-24T20:00"))]
minutes = st.integers(0, 1439) | st.sampled_from([0, 60, 119, 120, 121, 150, 179, 180, 181])
times = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given a zone by the strategy
    st.builds(
        lambda turn, seconds: turn + timedelta(seconds=seconds),
        st.sampled_from(TURNS),
        st.integers(-3 * 3600, 30 * 3600),
    ),
)


@st.composite
def weeks(draw: st.DrawFn) -> Hours:
    spans = []
    for weekday in draw(st.lists(st.integers(0, 6), min_size=1, max_size=5)):
        opens = draw(minutes)
        spans.append(Span(weekday, opens, draw(st.integers(opens + 1, 1440))))
    days = st.dates(date(2026, 1, 1), date(2027, 6, 8))
    return Hours(tuple(spans), frozenset(draw(st.sets(days, max_size=5))), draw(st.booleans()))


@settings(max_examples=300, deadline=None)
@given(weeks(), times)
def test_the_door_is_open_when_a_person_finds_it_open(hours: Hours, at: datetime) -> None:
    assert is_open(hours, at) is slowly_open(hours, at)


@settings(max_examples=80, deadline=None)
@given(weeks(), times)
@example(Hours((Span(6, 150, 300),)), utc("2026-03-28T22:00"))
@example(Hours((Span(6, 60, 150),)), utc("2026-10-25T00:30:30"))
def test_the_next_opening_is_the_one_that_waiting_minute_by_minute_finds(
    hours: Hours, after: datetime
) -> None:
    found = next_opening(hours, after)
    waited = slowly_next(hours, after, days=9)
    if waited is None:
        # Nothing in nine days, as after closed days: then not earlier than that either.
        assert found is None or found > after + timedelta(days=8)
    else:
        assert found == waited


@settings(max_examples=300, deadline=None)
@given(weeks(), times)
def test_a_site_is_open_at_its_next_opening_and_was_not_a_moment_before(
    hours: Hours, after: datetime
) -> None:
    found = next_opening(hours, after)
    assert found is not None
    assert found >= after
    assert is_open(hours, found)
    if found > after:
        assert not is_open(hours, found - timedelta(microseconds=1))
        assert next_opening(hours, found) is found
