"""A clock that is set: what it planned is planned anew, and no job makes up for ten years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from structlog.testing import capture_logs

from dispatcher.cli.schedule import Every, begin_again
from dispatcher.core.ledger import DeliveryState
from dispatcher.errors import Unavailable
from dispatcher.service.calendar import Calendar
from tests.fakes.office import Office, certificates
from tests.fakes.standing_clock import StandingClock

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TEN_YEARS = timedelta(days=3653)


@pytest.fixture
def office() -> Office:
    return Office()


def set_clock(clock: StandingClock, span: timedelta) -> None:
    """Set the calendar, while no time passes."""
    clock.at += span


def waiting_for_its_folder(office: Office) -> None:
    """Let one certificate wait for a folder that does not answer."""
    (one,) = certificates(5, 1)
    office.mailbox.append(one.raw)
    site = str(one.truth.site)
    office.at(site).go_down(Unavailable("not mounted"))
    office.round().turn()
    office.at(site).mend()


def test_what_a_clock_ten_years_ahead_planned_is_made_soon_after_it_is_set_back(
    office: Office,
) -> None:
    calendar = Calendar(office.desk(), ["lbm"])
    set_clock(office.clock, TEN_YEARS)
    assert calendar.look()
    waiting_for_its_folder(office)
    set_clock(office.clock, -TEN_YEARS)
    office.round().turn()
    assert office.effects() == 0
    with capture_logs() as logs:
        assert calendar.look()
    assert [event["event"] for event in logs] == ["clock_was_set"]
    office.round().turn()
    assert office.effects() == 1


def test_a_clock_that_runs_sets_nothing(office: Office) -> None:
    calendar = Calendar(office.desk(), ["lbm"])
    for _ in range(3):
        office.clock.go(timedelta(days=2))
        assert not calendar.look()


def test_what_waits_for_an_opening_is_asked_anew(office: Office) -> None:
    waiting_for_its_folder(office)
    (entry,) = office.ledger.entries()
    (delivery,) = entry.deliveries
    far = office.clock.now() + TEN_YEARS
    with office.ledger.writing() as writer:
        writer.move(delivery.id, DeliveryState.WAITING, because="closed", next_try_at=far)
    calendar = Calendar(office.desk(), ["lbm"])
    set_clock(office.clock, timedelta(minutes=-2))
    assert calendar.look()
    (entry,) = office.ledger.entries()
    assert [d.state for d in entry.deliveries] == [DeliveryState.DECIDED]


def test_a_ledger_that_does_not_answer_is_asked_again_at_the_next_look(office: Office) -> None:
    waiting_for_its_folder(office)
    calendar = Calendar(office.desk(), ["lbm"])
    set_clock(office.clock, timedelta(hours=-2))
    office.ledger.fail_next("before", Unavailable("locked"))
    assert calendar.look()
    assert not calendar.look()
    office.round().turn()
    assert office.effects() == 1


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(timedelta(seconds=5), id="in time"),
        pytest.param(timedelta(seconds=7), id="late"),
        pytest.param(TEN_YEARS, id="ten years"),
    ],
)
def test_a_job_that_is_due_runs_once_however_much_was_missed(later: timedelta) -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    job = scheduler.add_job(print, Every(5), next_run_time=NOON)
    assert len(job._get_run_times(NOON + later)) in {1, 2}
    planned = Every(5).get_next_fire_time(NOON, NOON + later)
    assert NOON + later < planned <= NOON + later + timedelta(seconds=5)


def test_after_the_clock_was_set_every_job_runs_now() -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start(paused=True)
    try:
        job = scheduler.add_job(print, Every(5), next_run_time=NOON + TEN_YEARS)
        begin_again(scheduler, NOON)
        assert job.next_run_time == NOON
    finally:
        scheduler.shutdown()
