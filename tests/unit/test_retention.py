"""How long a certificate is kept, to the minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import Months, Terms, due_at

RECEIVED = datetime(2021, 6, 29, 10, 0, tzinfo=UTC)
SAMPLED = datetime(2021, 6, 28, 9, 15, tzinfo=PARIS)


def due(
    result: Result | None,
    sampled_at: datetime | None = SAMPLED,
    *,
    received_at: datetime = RECEIVED,
    terms: Terms | None = None,
) -> datetime:
    return due_at(Facts(result=result, sampled_at=sampled_at), received_at, terms or Terms())


def test_a_negative_certificate_is_due_72_hours_after_its_sampling_to_the_minute() -> None:
    assert due(Result.NEGATIVE) == datetime(2021, 7, 1, 9, 15, tzinfo=PARIS)


def test_a_positive_certificate_is_due_when_the_day_6_months_after_its_sampling_begins() -> (
    None
):
    assert due(Result.POSITIVE) == datetime(2021, 12, 28, 0, 0, tzinfo=PARIS)


@pytest.mark.parametrize("result", [Result.UNDETERMINED, Result.NOT_COMPLIANT])
def test_only_a_sure_negative_counts_as_negative(result: Result) -> None:
    terms = Terms(negative=timedelta(hours=1), other=timedelta(hours=5))
    assert due(result, terms=terms) == SAMPLED + timedelta(hours=5)


@pytest.mark.parametrize(
    ("sampled_on", "due_on"),
    [
        pytest.param((2021, 8, 31), (2022, 2, 28), id="31 August to the end of February"),
        pytest.param((2023, 8, 31), (2024, 2, 29), id="31 August to a leap day"),
        pytest.param((2021, 8, 28), (2022, 2, 28), id="28 August to 28 February"),
        pytest.param((2021, 12, 31), (2022, 6, 30), id="over the new year to a short month"),
        pytest.param((2021, 7, 1), (2022, 1, 1), id="to the first day of a year"),
        pytest.param((2021, 6, 30), (2021, 12, 30), id="to December, not to the next year"),
    ],
)
def test_months_end_on_the_day_of_the_same_number_or_the_last_one(
    sampled_on: tuple[int, int, int], due_on: tuple[int, int, int]
) -> None:
    sampled_at = datetime(*sampled_on, 23, 59, tzinfo=PARIS)
    received_at = sampled_at + timedelta(hours=3)
    assert due(Result.POSITIVE, sampled_at, received_at=received_at) == datetime(
        *due_on, tzinfo=PARIS
    )


def test_months_count_from_the_date_in_paris_not_in_utc() -> None:
    # 00:30 in Paris is still the day before in UTC.
    sampled_at = datetime(2021, 6, 28, 0, 30, tzinfo=PARIS).astimezone(UTC)
    assert sampled_at.day == 27
    assert due(Result.POSITIVE, sampled_at) == datetime(2021, 12, 28, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("sampled_at", "expected"),
    [
        pytest.param(
            datetime(2021, 3, 27, 12, 0, tzinfo=PARIS),
            datetime(2021, 3, 30, 13, 0, tzinfo=PARIS),
            id="over the night that lacks an hour",
        ),
        pytest.param(
            datetime(2021, 10, 30, 12, 0, tzinfo=PARIS),
            datetime(2021, 11, 2, 11, 0, tzinfo=PARIS),
            id="over the night that has one more",
        ),
        pytest.param(
            datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=PARIS),
            datetime(2021, 11, 3, 1, 30, tzinfo=UTC),
            id="at 02:30 for the second time",
        ),
        pytest.param(
            datetime(2021, 10, 31, 2, 30, fold=0, tzinfo=PARIS),
            datetime(2021, 11, 3, 0, 30, tzinfo=UTC),
            id="at 02:30 for the first time",
        ),
    ],
)
def test_72_hours_stay_72_hours_when_the_clocks_change(
    sampled_at: datetime, expected: datetime
) -> None:
    received_at = sampled_at.astimezone(UTC) + timedelta(hours=2)
    found = due(Result.NEGATIVE, sampled_at, received_at=received_at)
    assert found == expected
    assert found - sampled_at.astimezone(UTC) == timedelta(hours=72)


def test_months_from_the_night_with_25_hours_end_at_an_unambiguous_midnight() -> None:
    sampled_at = datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=PARIS)
    found = due(
        Result.POSITIVE, sampled_at, received_at=sampled_at.astimezone(UTC) + timedelta(hours=1)
    )
    assert (found, found.fold) == (datetime(2022, 4, 30, tzinfo=PARIS), 0)


@pytest.mark.parametrize(
    ("result", "sampled_at"),
    [
        pytest.param(None, SAMPLED, id="the result"),
        pytest.param(Result.NEGATIVE, None, id="the sampling time"),
        pytest.param(None, None, id="either"),
    ],
)
def test_what_could_not_be_read_counts_from_the_reception(
    result: Result | None, sampled_at: datetime | None
) -> None:
    assert due(result, sampled_at) == datetime(2021, 12, 29, tzinfo=PARIS)


@pytest.mark.parametrize(
    "sampled_at",
    [
        pytest.param(
            RECEIVED + timedelta(hours=1, seconds=1), id="an hour after the reception"
        ),
        pytest.param(datetime(2031, 6, 28, 9, 15, tzinfo=PARIS), id="ten years ahead"),
        pytest.param(datetime(9999, 12, 31, 23, 59, tzinfo=PARIS), id="at the end of time"),
        pytest.param(datetime(1921, 6, 28, 9, 15, tzinfo=PARIS), id="a century ago"),
        pytest.param(datetime(1, 1, 1, tzinfo=PARIS), id="at the beginning of time"),
        pytest.param(
            datetime(2019, 12, 31, 23, 59, tzinfo=PARIS), id="before SI-DEP was there"
        ),
    ],
)
def test_a_sampling_time_that_cannot_be_true_counts_from_the_reception(
    sampled_at: datetime,
) -> None:
    assert due(Result.NEGATIVE, sampled_at) == RECEIVED + timedelta(hours=72)


def test_a_clock_that_is_an_hour_fast_is_believed() -> None:
    sampled_at = RECEIVED + timedelta(minutes=59)
    assert due(Result.NEGATIVE, sampled_at) == sampled_at + timedelta(hours=72)


def test_a_certificate_that_comes_after_its_term_is_due_already() -> None:
    received_at = SAMPLED + timedelta(hours=73)
    assert due(Result.NEGATIVE, received_at=received_at) < received_at


def test_terms_may_be_longer_months_than_a_year() -> None:
    terms = Terms(positive=Months(18))
    assert due(Result.POSITIVE, terms=terms) == datetime(2022, 12, 28, tzinfo=PARIS)
