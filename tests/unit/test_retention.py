"""How long a certificate is kept, to the minute."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, Identity, State
from dispatcher.core.message import MessageRef
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import (
    Doubt,
    Due,
    Months,
    Terms,
    Undelivered,
    Why,
    copy_due,
    due_at,
    forgotten_before,
    mail_due,
    term,
    warning_of,
)
from dispatcher.core.routing import Kind

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
        pytest.param(
            datetime(2020, 6, 28, 9, 15, tzinfo=PARIS), id="the year before, mistyped"
        ),
        pytest.param(
            datetime(2020, 12, 29, 9, 15, tzinfo=PARIS), id="six months before, to the day"
        ),
    ],
)
def test_a_sampling_time_that_cannot_be_true_counts_from_the_reception(
    sampled_at: datetime,
) -> None:
    assert due(Result.NEGATIVE, sampled_at) == RECEIVED + timedelta(hours=72)


def test_a_clock_that_is_an_hour_fast_is_believed() -> None:
    sampled_at = RECEIVED + timedelta(hours=1)
    assert due(Result.NEGATIVE, sampled_at) == sampled_at + timedelta(hours=72)


def test_a_result_that_is_months_late_is_believed() -> None:
    sampled_at = datetime(2020, 12, 30, 9, 15, tzinfo=PARIS)
    assert due(Result.POSITIVE, sampled_at) == datetime(2021, 6, 30, tzinfo=PARIS)
    assert due(Result.NEGATIVE, sampled_at) < RECEIVED


def test_a_certificate_that_comes_after_its_term_is_due_already() -> None:
    received_at = SAMPLED + timedelta(hours=73)
    assert due(Result.NEGATIVE, received_at=received_at) < received_at


def test_terms_may_be_longer_months_than_a_year() -> None:
    terms = Terms(positive=Months(18))
    assert due(Result.POSITIVE, terms=terms) == datetime(2022, 12, 28, tzinfo=PARIS)


# --- each copy by itself

MADE = RECEIVED + timedelta(minutes=5)
FOLDER = Delivery(
    "d", "dossier", Kind.FOLDER, DeliveryState.DELIVERED, reference="r", made_at=MADE
)


def entry(**changes: Any) -> Entry:
    """Return a delivered negative certificate with one copy."""
    values: dict[str, Any] = {
        "id": "e",
        "ref": MessageRef("lbm", 1, 1),
        "identity": Identity(1, RECEIVED),
        "received_at": RECEIVED,
        "state": State.DELIVERED,
        "result": Result.NEGATIVE,
        "sampled_at": SAMPLED,
        "deliveries": (FOLDER,),
    }
    return Entry(**{**values, **changes})


TERM = SAMPLED + timedelta(hours=72)


def test_mail_and_copy_go_at_the_term() -> None:
    assert mail_due(entry(), Terms()) == Due(TERM, "negative 72h")
    assert copy_due(entry(), FOLDER, Terms()) == Due(TERM, "negative 72h")


@pytest.mark.parametrize(
    ("made_at", "expected"),
    [
        pytest.param(TERM - timedelta(minutes=1), TERM, id="a minute before its term"),
        pytest.param(TERM, TERM + timedelta(hours=24), id="at its term"),
        pytest.param(
            datetime(2021, 10, 30, 12, 0, tzinfo=PARIS),
            datetime(2021, 10, 31, 11, 0, tzinfo=PARIS),
            id="late, over the night that has 25 hours",
        ),
    ],
)
def test_a_copy_made_late_has_its_grace(made_at: datetime, expected: datetime) -> None:
    late = replace(FOLDER, made_at=made_at)
    found = copy_due(entry(deliveries=(late,)), late, Terms())
    assert found.at == expected
    assert (found.why is Why.LATE) is (expected != TERM)
    assert mail_due(entry(deliveries=(late,)), Terms()).at == TERM, "the mail has no grace"


def test_a_copy_of_an_unknown_hour_counts_from_the_reception() -> None:
    old = replace(FOLDER, made_at=None)
    assert copy_due(entry(deliveries=(old,)), old, Terms()).at == TERM


@pytest.mark.parametrize("state", [DeliveryState.DELIVERING, DeliveryState.IN_DOUBT])
def test_nothing_of_the_mail_goes_while_a_delivery_is_under_way(state: DeliveryState) -> None:
    going = replace(FOLDER, id="x", state=state)
    found = entry(state=State.PENDING, deliveries=(FOLDER, going))
    assert mail_due(found, Terms(undelivered=Undelivered.EXPIRE)) == Due(
        None, "negative 72h", Why.UNDER_WAY
    )
    assert copy_due(found, FOLDER, Terms()).at == TERM, "what was made goes at its term"


@pytest.mark.parametrize("state", [State.PENDING, State.HELD])
@pytest.mark.parametrize(
    ("policy", "warned_at", "expected"),
    [
        pytest.param(Undelivered.HOLD, TERM - timedelta(hours=24), None, id="hold"),
        pytest.param(Undelivered.EXPIRE, None, None, id="expire, nobody warned"),
        pytest.param(Undelivered.EXPIRE, TERM - timedelta(hours=24), TERM, id="warned in time"),
        pytest.param(Undelivered.EXPIRE, TERM - timedelta(hours=4), TERM, id="warned just so"),
        pytest.param(
            Undelivered.EXPIRE,
            TERM + timedelta(hours=1),
            TERM + timedelta(hours=5),
            id="warned late",
        ),
    ],
)
def test_the_undelivered_goes_by_the_setting_and_never_without_a_warning(
    state: State, policy: Undelivered, warned_at: datetime | None, expected: datetime | None
) -> None:
    found = entry(state=state, deliveries=(), warned_at=warned_at)
    assert mail_due(found, Terms(undelivered=policy)).at == expected


@pytest.mark.parametrize("state", [State.EXPIRED, State.DUPLICATE])
def test_what_was_discarded_or_came_before_goes_at_its_term(state: State) -> None:
    assert mail_due(entry(state=state, deliveries=()), Terms()).at == TERM


@pytest.mark.parametrize(
    ("kept_until", "expected"),
    [
        pytest.param(TERM + timedelta(days=9), TERM + timedelta(days=9), id="longer"),
        pytest.param(TERM - timedelta(days=1), TERM, id="shorter than its term"),
        pytest.param(TERM, TERM, id="to its very term"),
    ],
)
def test_a_person_keeps_mail_and_copy_longer_and_never_shorter(
    kept_until: datetime, expected: datetime
) -> None:
    found = entry(kept_until=kept_until)
    assert mail_due(found, Terms()).at == expected
    assert copy_due(found, FOLDER, Terms()).at == expected


@pytest.mark.parametrize(
    ("sampled_at", "result", "rule", "doubt"),
    [
        pytest.param(SAMPLED, Result.NEGATIVE, "negative 72h", None, id="negative"),
        pytest.param(SAMPLED, Result.POSITIVE, "positive 6 months", None, id="positive"),
        pytest.param(SAMPLED, Result.UNDETERMINED, "other 72h", None, id="other"),
        pytest.param(
            None,
            Result.NEGATIVE,
            "unreadable 6 months from reception",
            Doubt.UNREAD,
            id="time unread",
        ),
        pytest.param(
            RECEIVED + timedelta(days=1),
            Result.NEGATIVE,
            "negative 72h from reception",
            Doubt.FUTURE,
            id="future",
        ),
        pytest.param(
            datetime(1999, 1, 1, tzinfo=UTC),
            Result.POSITIVE,
            "positive 6 months from reception",
            Doubt.ANCIENT,
            id="long ago",
        ),
    ],
)
def test_a_term_names_its_rule_and_its_doubt(
    sampled_at: datetime | None, result: Result, rule: str, doubt: Doubt | None
) -> None:
    found = term(entry(sampled_at=sampled_at, result=result), Terms())
    assert (found.rule, found.doubt) == (rule, doubt)


@pytest.mark.parametrize(
    ("left", "hours"),
    [
        (timedelta(hours=24, seconds=1), None),
        (timedelta(hours=24), 24),
        (timedelta(hours=4, seconds=1), 24),
        (timedelta(hours=4), 4),
        (timedelta(hours=-9), 4),
    ],
)
def test_warnings_are_due_so_many_hours_before_a_term(
    left: timedelta, hours: int | None
) -> None:
    assert warning_of(left) == hours


@pytest.mark.parametrize(
    ("now", "before"),
    [
        pytest.param((2021, 8, 31), (2021, 2, 28), id="31 August back to 28 February"),
        pytest.param((2021, 6, 1), (2020, 12, 1), id="over the new year"),
    ],
)
def test_a_purged_certificate_is_known_for_six_months(
    now: tuple[int, int, int], before: tuple[int, int, int]
) -> None:
    at = datetime(*now, 12, tzinfo=PARIS)
    assert forgotten_before(at) == datetime(*before, tzinfo=PARIS)
