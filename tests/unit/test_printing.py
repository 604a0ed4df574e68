"""A certificate on paper: submitted once, followed to its end, never repeated in doubt."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.certificate import HoldReason
from dispatcher.core.hours import Hours, Span
from dispatcher.core.ledger import DeliveryState, Entry, State
from dispatcher.core.routing import Kind, Printing, PrintWhen, Rules, Site, Target
from dispatcher.errors import Unavailable
from dispatcher.service.decisions import Decisions, NotPossible, Person
from dispatcher.service.spool import SpoolWatch
from dispatcher.service.verify import verify
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_ledger import MemoryLedger
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates, rules

WEEKDAYS = Hours(tuple(Span(day, 8 * 60, 18 * 60) for day in range(5)))
ME = Person("reception", "asked at the desk")


def printing(when: PrintWhen = PrintWhen.ALWAYS, fallback: str | None = None) -> Rules:
    given = rules("folder")
    return Rules(
        given.lbm,
        None,
        {
            number: Site(
                number,
                site.name,
                (
                    Target("folder", Kind.FOLDER, "/nowhere"),
                    Target(
                        "printer",
                        Kind.PRINT,
                        "queue",
                        fallback=fallback,
                        printing=Printing(when=when),
                    ),
                ),
                hours=WEEKDAYS,
            )
            for number, site in given.sites.items()
        },
        digest=given.digest,
    )


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


def office_with(queue: MemoryQueue, given: Rules) -> Office:
    destinations = {(number, "printer"): queue for number, _ in given.sites.items()}
    return Office(rules=given, destinations=dict(destinations))


@pytest.fixture
def office(queue: MemoryQueue) -> Office:
    return office_with(queue, printing())


@pytest.fixture
def one() -> Sending:
    return certificates(1, 1)[0]


def only(office: Office) -> Entry:
    (entry,) = office.ledger.entries()
    return entry


def print_state(office: Office) -> DeliveryState:
    return next(d.state for d in only(office).deliveries if d.target == "printer")


def test_accepted_is_not_printed(office: Office, queue: MemoryQueue, one: Sending) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    assert (only(office).state, print_state(office)) == (
        State.PENDING,
        DeliveryState.DELIVERING,
    )
    queue.finish()
    work.turn()
    assert only(office).state is State.DELIVERED
    assert len(queue.jobs) == 1


def test_why_it_takes_time_is_told(office: Office, queue: MemoryQueue, one: Sending) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    queue.hinder("out of paper")
    work.turn()
    assert "out of paper" in [delivery.because for delivery in only(office).deliveries]


def test_a_program_that_was_killed_follows_the_job_that_it_submitted(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    office.round().turn()
    queue.finish()
    office.round().turn()
    assert (only(office).state, len(queue.jobs)) == (State.DELIVERED, 1)


def test_a_lost_answer_is_found_by_the_jobs_title(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    queue.lose_next_answer = True
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    queue.finish()
    work.turn()
    assert (only(office).state, len(queue.jobs)) == (State.DELIVERED, 1)


def test_a_queue_that_cannot_tell_leaves_it_to_a_person(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    queue.lose_next_answer = True
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    queue.finish("vanished")
    queue.remembers = False
    office.clock.go(timedelta(minutes=6))
    work.turn()
    office.round().turn()
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.IN_DOUBT)
    assert len(queue.jobs) == 1


def test_a_job_that_vanished_after_it_was_accepted_is_not_printed_again(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    queue.finish("vanished")
    work.turn()
    office.round().turn(impatient=True)
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.IN_DOUBT)
    assert len(queue.jobs) == 1


def test_an_aborted_job_is_tried_three_times_and_then_held(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    for _ in range(6):
        work.turn()
        queue.finish("aborted")
        work.turn()
        office.clock.go(timedelta(minutes=6))
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.TARGET_REFUSED)
    assert len(queue.jobs) == 3


def test_an_aborted_job_ends_in_its_fallback(queue: MemoryQueue, one: Sending) -> None:
    office = office_with(queue, printing(fallback="folder"))
    office.mailbox.append(one.raw)
    work = office.round()
    for _ in range(6):
        work.turn()
        queue.finish("aborted")
        work.turn()
        office.clock.go(timedelta(minutes=6))
    assert only(office).state is State.DELIVERED
    assert print_state(office) is DeliveryState.DISCARDED


def test_a_job_cancelled_at_the_printer_is_held_and_not_repeated(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    queue.finish("canceled")
    work.turn()
    office.clock.go(timedelta(minutes=6))
    work.turn()
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.TARGET_REFUSED)
    assert len(queue.jobs) == 1


def test_a_queue_that_is_down_waits_and_delays_no_folder(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    queue.down = Unavailable("cupsd does not answer")
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    states = {d.target: d.state for d in only(office).deliveries}
    assert states == {"folder": DeliveryState.DELIVERED, "printer": DeliveryState.DECIDED}
    queue.down = None
    office.clock.go(timedelta(minutes=6))
    work.turn()
    queue.finish()
    work.turn()
    assert only(office).state is State.DELIVERED


def test_a_backlog_comes_to_a_queue_in_turn_and_the_oldest_first(
    office: Office, queue: MemoryQueue
) -> None:
    for number, sending in enumerate(certificates(9, 30)):
        office.mailbox.append(
            sending.raw, internal_at=datetime(2026, 11, 20, 8, number, tzinfo=UTC)
        )
    site_count = len({s.truth.site for s in certificates(9, 30)})
    work = office.round()
    for _ in range(20):
        work.turn()
        assert sum(job.end == "going" for job in queue.jobs) <= 10 * site_count
        queue.finish()
        office.clock.go(timedelta(seconds=10))
    work.turn()
    assert {entry.state for entry in office.ledger.entries()} == {State.DELIVERED}
    assert len(queue.jobs) == 30


def test_outside_the_opening_hours_paper_waits_and_goes_at_the_opening(
    queue: MemoryQueue, one: Sending
) -> None:
    office = office_with(queue, printing(PrintWhen.OPEN))
    office.clock.at = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)  # a Friday evening
    office.mailbox.append(one.raw, internal_at=office.clock.at)
    work = office.round()
    work.turn()
    work.turn(impatient=True)
    assert (print_state(office), queue.jobs) == (DeliveryState.WAITING, [])
    opens_at = office.ledger.next_due(office.mailbox.name)
    assert opens_at == datetime(2026, 11, 23, 7, 0, tzinfo=UTC), "Monday at 8 in Paris"
    office.clock.go(opens_at - office.clock.now() - timedelta(minutes=1))
    work.turn()
    assert queue.jobs == []
    office.clock.go(timedelta(minutes=1))
    work.turn()
    assert len(queue.jobs) == 1


def test_on_a_closed_day_nothing_is_printed(queue: MemoryQueue, one: Sending) -> None:
    given = printing(PrintWhen.OPEN)
    closed = Hours(WEEKDAYS.spans, frozenset({date(2026, 11, 20)}))
    sites = {
        number: Site(number, site.name, site.targets, hours=closed)
        for number, site in given.sites.items()
    }
    office = office_with(queue, Rules(given.lbm, None, sites, digest=given.digest))
    office.mailbox.append(one.raw)
    office.round().turn()
    assert print_state(office) is DeliveryState.WAITING


@pytest.mark.parametrize("when", [PrintWhen.HOLD, PrintWhen.OPEN], ids=["hold", "closed"])
def test_what_a_person_asks_for_is_printed_at_any_hour(
    queue: MemoryQueue, one: Sending, when: PrintWhen
) -> None:
    office = office_with(queue, printing(when))
    office.clock.at = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
    office.mailbox.append(one.raw, internal_at=office.clock.at)
    work = office.round()
    work.turn()
    assert queue.jobs == []
    decisions = Decisions(office.ledger, office.clock, office.rules)
    decisions.print_now(only(office).id, ME)
    with pytest.raises(NotPossible):
        decisions.print_now(only(office).id, ME)
    work.turn()
    queue.finish()
    work.turn()
    assert (only(office).state, len(queue.jobs)) == (State.DELIVERED, 1)


def test_every_extra_copy_is_counted_and_recorded(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    decisions = Decisions(office.ledger, office.clock, office.rules)
    with pytest.raises(NotPossible):
        decisions.reprint(only(office).id, ME)
    for copies in (1, 2, 3):
        queue.finish()
        work.turn()
        assert (only(office).state, len(queue.jobs)) == (State.DELIVERED, copies)
        decisions.reprint(only(office).id, ME)
        assert only(office).state is State.PENDING
        work.turn()
    assert [act.verb for act in office.ledger.acts(only(office).id)] == ["reprint"] * 3
    assert [d.copy for d in only(office).deliveries if d.target == "printer"] == [0, 1, 2, 3]
    assert len(office.at(str(one.truth.site)).effects) == 1, "the folder got no second file"


def test_documents_that_stay_in_the_spool_are_a_difference_and_told_once(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw)
    work = office.round()
    work.turn()
    watch = SpoolWatch(office.desk())
    queue.keeps_documents = True
    assert told(watch) == [], "the job is not done with it yet"
    queue.finish()
    work.turn()
    (difference,) = verify([office.mailbox], office.desk())
    assert (difference.id, "spool" in difference.what) == (only(office).id, True)
    assert (told(watch), told(watch)) == ([1], [])
    queue.down = Unavailable("silent")
    assert told(watch) == []
    queue.down, queue.keeps_documents = None, False
    assert told(watch) == []
    assert list(verify([office.mailbox], office.desk())) == []
    queue.keeps_documents = True
    assert told(watch) == [1], "told anew when it comes back"


def told(watch: SpoolWatch) -> list[int]:
    with capture_logs() as logs:
        watch.turn()
    return [log["count"] for log in logs if log["event"] == "spool_kept_documents"]


def test_a_lost_ledger_prints_nothing_again_by_itself(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.append(one.raw, internal_at=office.clock.at)
    work = office.round()
    work.turn()
    queue.finish()
    work.turn()
    office.clock.go(timedelta(hours=1))
    office.ledger = MemoryLedger(clock=office.clock)
    office.ledger._ids = itertools.count(1000)
    work = office.round()
    work.turn()
    work.turn(impatient=True)
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.IN_DOUBT)
    assert len(queue.jobs) == 1


def test_without_keywords_on_the_server_a_new_ledger_prints_old_mail_only_when_asked(
    office: Office, queue: MemoryQueue, one: Sending
) -> None:
    office.mailbox.keeps_keyword = False
    office.mailbox.append(one.raw, internal_at=office.clock.at - timedelta(hours=1))
    work = office.round()
    work.turn()
    work.turn(impatient=True)
    assert (print_state(office), queue.jobs) == (DeliveryState.WAITING, [])
    Decisions(office.ledger, office.clock, office.rules).print_now(only(office).id, ME)
    work.turn()
    assert len(queue.jobs) == 1
