"""What keeps a print from its end is told, with since when, and warned of once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.delivery import MAYBE_TWICE
from dispatcher.core.ledger import DeliveryState, Entry, State
from dispatcher.core.routing import PrintWhen
from dispatcher.core.vitals import Hindrance
from dispatcher.errors import Unavailable
from dispatcher.service.hindrance import LONG, hindrances
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates
from tests.unit.test_printing import office_with, only, printing


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def office(queue: MemoryQueue) -> Office:
    found = office_with(queue, printing())
    found.mailbox.append(certificates(1, 1)[0].raw)
    return found


def told(office: Office) -> Hindrance | None:
    entry = only(office)
    assert entry.site is not None
    return hindrances(office.ledger, [entry]).get((entry.site, "printer"))


def test_a_job_that_goes_on_says_why_and_since_when(office: Office, queue: MemoryQueue) -> None:
    work = office.round()
    began_at = office.clock.now()
    work.turn()
    queue.hinder("out of paper")
    office.clock.go(timedelta(minutes=7))
    work.turn()
    assert told(office) == Hindrance("out of paper", began_at)


def test_a_queue_that_takes_no_job_says_why_since_the_message_came(
    office: Office, queue: MemoryQueue
) -> None:
    queue.down = Unavailable("the queue rejects jobs")
    work = office.round()
    began_at = office.clock.now()
    for _ in range(3):
        work.turn()
        office.clock.go(timedelta(minutes=9))
    assert told(office) == Hindrance("the queue rejects jobs", began_at)


def test_a_server_that_is_lost_over_a_job_is_told_of_and_forgotten_when_it_is_back(
    office: Office, queue: MemoryQueue
) -> None:
    work = office.round()
    work.turn()
    queue.down = Unavailable("the CUPS server does not answer")
    work.turn()
    found = told(office)
    assert found is not None
    assert found.because == "the CUPS server does not answer"
    queue.down = None
    work.turn()
    assert told(office) is None
    queue.finish()
    work.turn()
    assert (only(office).state, len(queue.jobs)) == (State.DELIVERED, 1)


def test_what_moves_is_told_of_before_what_a_person_has_to_decide(
    office: Office, queue: MemoryQueue
) -> None:
    work = office.round()
    work.turn()
    queue.finish("canceled")
    work.turn()
    held = only(office)
    assert told(office) == Hindrance("cancelled at the printer", office.clock.now())
    office.mailbox.append(another_of(held).raw)
    work.turn()
    queue.hinder("paper jam")
    work.turn()
    assert held.site is not None
    found = hindrances(office.ledger, office.ledger.entries())[held.site, "printer"]
    assert found.because == "paper jam"


def test_a_printer_in_trouble_is_told_of_before_what_waits_as_it_should(
    queue: MemoryQueue,
) -> None:
    office = office_with(queue, printing(PrintWhen.HOLD))
    office.mailbox.append(certificates(1, 1)[0].raw)
    work = office.round()
    work.turn()
    (earlier,) = office.ledger.entries()
    office.rules = printing()
    office.mailbox.append(another_of(earlier).raw)
    queue.down = Unavailable("the queue does not exist")
    work.turn()
    assert earlier.site is not None
    found = hindrances(office.ledger, office.ledger.entries())[earlier.site, "printer"]
    assert found.because == "the queue does not exist"


def another_of(entry: Entry) -> Sending:
    return next(s for s in certificates(2, 30) if s.truth.site == str(entry.site))


@pytest.mark.parametrize(
    ("minutes", "warnings"),
    [pytest.param(29, 0, id="not yet"), pytest.param(31, 1, id="long")],
)
def test_a_job_that_takes_long_is_warned_of_once(
    office: Office, queue: MemoryQueue, minutes: int, warnings: int
) -> None:
    work = office.round()
    work.turn()
    queue.hinder("out of paper")
    work.turn()
    office.clock.go(timedelta(minutes=minutes))
    with capture_logs() as logs:
        for _ in range(3):
            work.turn()
    found = [log for log in logs if log["event"] == "delivery_took_long"]
    assert [log["because"] for log in found] == ["out of paper"] * warnings


def test_a_service_that_was_restarted_counts_from_when_the_job_was_made(
    office: Office,
) -> None:
    office.round().turn()
    office.clock.go(LONG)
    with capture_logs() as logs:
        office.round().turn()
    assert "delivery_took_long" in {log["event"] for log in logs}


def test_an_ordinary_job_is_no_hindrance_in_the_log(office: Office, queue: MemoryQueue) -> None:
    work = office.round()
    work.turn()
    with capture_logs() as logs:
        for words in ("waiting in line", "printing"):
            queue.hinder(words)
            work.turn()
        queue.hinder("paper jam")
        work.turn()
    hindered = [log["because"] for log in logs if log["event"] == "delivery_was_hindered"]
    assert hindered == ["paper jam"]


def test_a_job_that_may_be_on_paper_twice_says_so_after_its_end(
    office: Office, queue: MemoryQueue
) -> None:
    work = office.round()
    work.turn()
    queue.remark = MAYBE_TWICE
    queue.finish()
    work.turn()
    entry = only(office)
    assert entry.state is State.DELIVERED
    (printed,) = [d for d in entry.deliveries if d.target == "printer"]
    assert (printed.state, printed.because) == (DeliveryState.DELIVERED, MAYBE_TWICE)
    assert MAYBE_TWICE in [event.because for event in office.ledger.history(entry.id)]
