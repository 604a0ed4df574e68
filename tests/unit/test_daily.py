"""The list of the day by itself: once for each site, day and place, late rather than never."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic as time_now

import pytest
from structlog.testing import capture_logs

from dispatcher.core.bordereau import Bordereau
from dispatcher.core.delivery import Order
from dispatcher.core.finess import FinessET
from dispatcher.core.hours import Hours, Span
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Kind, Printing, PrintWhen, Target
from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.ports import Outcome
from dispatcher.service import distrust
from dispatcher.service.bordereau import bordereau
from dispatcher.service.daily import DailyLists, before, last_day
from dispatcher.service.decisions import Decisions, Person
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import NOW, Office

SITE, OTHER = FinessET("990000010"), FinessET("990000028")
FRIDAY = date(2026, 11, 20)
AT = time(18, 30)
FOLDER = Target("dossier", Kind.FOLDER, "/nowhere")
QUEUE = Target("accueil", Kind.PRINT, "accueil", printing=Printing())
WEEKDAYS = Hours(tuple(Span(day, 8 * 60, 19 * 60) for day in range(5)))


def paris(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=PARIS).astimezone(UTC)


@dataclass
class Desk:
    """An office whose one or two sites get a list each evening."""

    office: Office = field(default_factory=Office)
    drawn: list[Bordereau] = field(default_factory=list)
    woken: int = 0
    folder: MemoryDestination = field(default_factory=MemoryDestination)
    queue: MemoryQueue = field(default_factory=MemoryQueue)

    def __post_init__(self) -> None:
        self.set_targets(FOLDER)
        self.office.destinations[SITE, "dossier"] = self.folder
        self.office.destinations[SITE, "accueil"] = self.queue
        self.lists = self.started()

    def set_targets(self, *targets: Target, hours: Hours | None = None) -> None:
        site = replace(self.office.rules.sites[SITE], targets=targets, hours=hours)
        self.office.rules = replace(self.office.rules, sites={SITE: site})

    def started(self) -> DailyLists:
        """Return what makes the lists, as after a start of the program."""
        self.lists = DailyLists(
            self.office.desk(),
            lambda: [self.office.mailbox],
            draw=self._draw,
            at=AT,
            wake=self._wake,
        )
        return self.lists

    def _draw(self, page: Bordereau) -> bytes:
        self.drawn.append(page)
        return f"%PDF {page.on} {len(self.drawn)}".encode()

    def _wake(self) -> None:
        self.woken += 1

    def go_to(self, at: datetime, *, mail: bool = True) -> None:
        """Let time pass; the mailbox is looked at unless told otherwise."""
        self.office.clock.go(at - self.office.clock.now())
        if mail:
            self.office.round().turn()

    def turn_at(self, at: datetime) -> None:
        self.go_to(at)
        self.lists.turn()

    def turns(self, count: int) -> None:
        """Turn as the schedule does, a few seconds apart."""
        for _ in range(count):
            self.office.clock.go(timedelta(seconds=10))
            self.lists.turn()

    def receive(self, sending: Sending) -> None:
        self.office.mailbox.append(sending.raw, internal_at=self.office.clock.now())
        self.office.round().turn()

    @property
    def days(self) -> list[date]:
        return [page.on for page in self.drawn]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def certificates() -> Iterator[Sending]:
    """Return certificates of the one site, as many as are asked for."""
    return iter(scenario.certificates(5, 8, [str(SITE)], NOW))


# --- when --------------------------------------------------------------------------------


def test_the_list_is_made_once_at_its_time_and_not_again_after_a_restart(desk: Desk) -> None:
    desk.turn_at(paris(20, 18, 29))
    assert desk.drawn == []
    for _ in range(3):
        desk.turn_at(paris(20, 18, 30))
        desk.started().turn()
    assert (desk.days, len(desk.folder.effects)) == ([FRIDAY], 1)
    assert desk.folder.effects[0].document.name == "bordereau-990000010-2026-11-20.pdf"
    desk.turn_at(paris(21, 18, 31))
    assert desk.days == [FRIDAY, date(2026, 11, 21)]


def test_days_that_were_missed_come_one_at_a_time_the_oldest_first(desk: Desk) -> None:
    desk.turn_at(paris(20, 19))
    desk.go_to(paris(24, 7))
    for _ in range(6):
        desk.started().turn()
    assert [day.day for day in desk.days] == [20, 21, 22, 23]


def test_an_older_ledger_makes_no_list_again_and_goes_on_with_the_next(desk: Desk) -> None:
    desk.turn_at(paris(20, 19))
    desk.go_to(paris(24, 19))
    distrust.begin(desk.office.ledger, desk.office.clock.now(), "an older copy", [])
    for _ in range(3):
        desk.started().turn()
    assert desk.days == [FRIDAY]
    desk.turn_at(paris(25, 18, 31))
    assert [day.day for day in desk.days] == [20, 25]


def test_a_new_ledger_after_a_loss_begins_with_the_next_list(desk: Desk) -> None:
    desk.go_to(paris(20, 19))
    distrust.begin(desk.office.ledger, desk.office.clock.now(), "lost", [])
    for _ in range(3):
        desk.started().turn()
    assert desk.days == []
    desk.turn_at(paris(21, 18, 31))
    assert [day.day for day in desk.days] == [21]


def test_after_a_kill_before_it_was_recorded_the_same_job_is_asked_for_again(
    desk: Desk,
) -> None:
    desk.set_targets(QUEUE)
    desk.turn_at(paris(20, 18, 30))
    desk.started().turn()
    first, second = (job.title for job in desk.queue.jobs)
    assert first == second, "a queue prints what bears one title once"
    assert set(first) <= set("0123456789abcdef")


def test_mail_that_lies_there_by_then_is_read_before_the_list_is_made(desk: Desk) -> None:
    desk.go_to(paris(20, 19), mail=False)
    for _ in range(3):
        desk.lists.turn()
    assert (desk.drawn, desk.woken) == ([], 1)
    desk.office.round().turn()
    desk.lists.turn()
    assert desk.days == [FRIDAY]


def test_a_mailbox_that_stays_away_does_not_keep_the_list_back_for_ever(desk: Desk) -> None:
    desk.go_to(paris(20, 18, 30), mail=False)
    desk.lists.turn()
    desk.go_to(paris(20, 18, 59), mail=False)
    desk.lists.turn()
    assert desk.drawn == []
    desk.go_to(paris(20, 19, 0), mail=False)
    desk.lists.turn()
    assert desk.days == [FRIDAY]


# --- which certificates ------------------------------------------------------------------


def late_and_own(page: Bordereau) -> tuple[set[str | None], set[str | None]]:
    late = {line.file_number for line in page.lines if line.late}
    return late, {line.file_number for line in page.lines} - late


def test_what_comes_after_the_list_is_on_the_next_one_and_told_as_late(
    desk: Desk, certificates: Iterator[Sending]
) -> None:
    early, evening, next_day = (next(certificates) for _ in range(3))
    desk.go_to(paris(20, 12))
    desk.receive(early)
    desk.turn_at(paris(20, 18, 30))
    desk.go_to(paris(20, 21))
    desk.receive(evening)
    desk.go_to(paris(21, 9))
    desk.receive(next_day)
    desk.turn_at(paris(21, 18, 30))
    desk.turn_at(paris(22, 18, 30))
    numbers = [sending.truth.file_number for sending in (early, evening, next_day)]
    assert [late_and_own(page) for page in desk.drawn] == [
        (set(), {numbers[0]}),
        ({numbers[1]}, {numbers[2]}),
        (set(), set()),
    ]
    assert desk.drawn[1].unread == 0


def test_mail_of_the_day_that_is_read_after_the_list_is_late_too(
    desk: Desk, certificates: Iterator[Sending]
) -> None:
    desk.turn_at(paris(20, 18, 30))
    slow = next(certificates)
    desk.office.mailbox.append(slow.raw, internal_at=paris(20, 10))
    desk.turn_at(paris(20, 18, 31))
    desk.turn_at(paris(21, 18, 30))
    assert late_and_own(desk.drawn[1]) == ({slow.truth.file_number}, set())


def test_what_a_person_releases_days_later_is_on_the_next_list(desk: Desk) -> None:
    demo = scenario.demo(7, 6, [str(SITE), str(OTHER)], NOW)
    held = next(s for s in demo if s.truth.reason == "finess-mismatch")
    desk.receive(held)
    desk.turn_at(paris(20, 18, 30))
    assert desk.drawn[0].lines == ()
    desk.go_to(paris(23, 9))
    (entry,) = desk.office.ledger.entries()
    decisions = Decisions(desk.office.ledger, desk.office.clock, desk.office.rules)
    decisions.release(entry.id, Person("it", "seen"), SITE)
    desk.turns(4)
    desk.turn_at(paris(23, 18, 30))
    found = {page.on.day: late_and_own(page)[0] for page in desk.drawn}
    (number,) = {entry.file_number}
    assert found == {20: set(), 21: {number}, 22: set(), 23: set()}


def test_after_a_long_stop_no_certificate_is_on_no_list(
    desk: Desk, certificates: Iterator[Sending]
) -> None:
    desk.turn_at(paris(1, 18, 30))
    for day in (3, 10, 20):
        desk.office.mailbox.append(next(certificates).raw, internal_at=paris(day, 12))
    desk.go_to(paris(20, 19))
    desk.turns(10)
    listed = [line.file_number for page in desk.drawn for line in page.lines]
    every = [entry.file_number for entry in desk.office.ledger.entries()]
    assert sorted(map(str, listed)) == sorted(map(str, every))
    assert len(every) == 3


def test_a_list_made_by_hand_bears_what_was_late_as_well(
    desk: Desk, certificates: Iterator[Sending]
) -> None:
    desk.turn_at(paris(20, 18, 30))
    desk.go_to(paris(20, 21))
    desk.receive(next(certificates))
    desk.go_to(paris(21, 9))
    ports = desk.office.desk()
    today = date(2026, 11, 21)
    since = before(SITE, today, ports, AT)
    page = bordereau(SITE, today, ports, [desk.office.mailbox], since=since)
    assert page.late == 1
    desk.turn_at(paris(21, 18, 30))
    since = before(SITE, today, ports, AT)
    again = bordereau(SITE, today, ports, [desk.office.mailbox], since=since)
    assert again.late == 1, "also when that list was made already"
    assert before(SITE, today, ports, None) is None


# --- where, and what fails ---------------------------------------------------------------


def test_a_queue_is_done_when_the_page_is_out_and_not_when_it_was_accepted(
    desk: Desk,
) -> None:
    desk.set_targets(FOLDER, QUEUE)
    desk.turn_at(paris(20, 18, 30))
    lane = (SITE, "accueil")
    assert last_day(desk.office.ledger, lane) == date(2026, 11, 19), "begun, none made"
    desk.queue.hinder("out of paper")
    with capture_logs() as logs:
        desk.lists.turn()
        desk.lists.turn()
    assert [log["because"] for log in logs] == ["out of paper"], "told once"
    desk.queue.finish()
    desk.lists.turn()
    assert last_day(desk.office.ledger, lane) == FRIDAY
    assert (len(desk.queue.jobs), len(desk.folder.effects)) == (1, 1)


def test_a_job_that_cups_gives_up_is_made_again_after_a_pause(desk: Desk) -> None:
    desk.set_targets(FOLDER, QUEUE)
    desk.turn_at(paris(20, 18, 30))
    desk.queue.finish("aborted")
    desk.lists.turn()
    desk.lists.turn()
    assert len(desk.queue.jobs) == 1
    desk.turn_at(paris(20, 18, 32))
    desk.queue.finish()
    desk.lists.turn()
    desk.turn_at(paris(20, 23))
    assert (len(desk.queue.jobs), len(desk.folder.effects)) == (2, 1)


@pytest.mark.parametrize("end", ["canceled", "vanished"])
def test_a_page_that_may_be_out_or_was_cancelled_is_left_to_a_person(
    desk: Desk, end: str
) -> None:
    desk.set_targets(QUEUE)
    desk.turn_at(paris(20, 18, 30))
    desk.queue.finish(end)  # type: ignore[arg-type]  # one of its words
    with capture_logs() as logs:
        desk.lists.turn()
    assert [log["event"] for log in logs] == ["bordereau_was_given_up"]
    desk.turn_at(paris(20, 23))
    assert len(desk.queue.jobs) == 1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("the share is away"), id="away"),
        pytest.param(Refused("a symlink in its place"), id="refused"),
    ],
)
def test_a_place_that_fails_is_tried_again_later_told_once_and_delays_no_other(
    desk: Desk, error: Unavailable | Refused
) -> None:
    desk.set_targets(FOLDER, QUEUE)
    desk.folder.go_down(error)
    with capture_logs() as logs:
        desk.turn_at(paris(20, 18, 30))
        desk.queue.finish()
        for minute in range(31, 60):
            desk.turn_at(paris(20, 18, minute))
    assert [log["event"] for log in logs if log["event"] == "bordereau_was_put_off"] == [
        "bordereau_was_put_off"
    ]
    assert len(desk.drawn) < 8, "each time after a longer pause"
    desk.folder.mend()
    desk.turn_at(paris(20, 20))
    desk.turn_at(paris(20, 21))
    assert (len(desk.folder.effects), len(desk.queue.jobs)) == (1, 1)


def test_a_list_with_names_does_not_lie_on_a_tray_overnight(desk: Desk) -> None:
    open_only = replace(QUEUE, printing=Printing(when=PrintWhen.OPEN))
    closes_early = Hours(tuple(Span(day, 8 * 60, 18 * 60) for day in range(5)))
    desk.set_targets(FOLDER, open_only, hours=closes_early)
    desk.turn_at(paris(20, 18, 30))
    desk.turn_at(paris(22, 20))
    assert (desk.queue.jobs, len(desk.folder.effects) >= 1) == ([], True)
    for _ in range(4):
        desk.turn_at(paris(23, 8))
        desk.queue.finish()
        desk.lists.turn()
    printed = last_day(desk.office.ledger, (SITE, "accueil"))
    assert printed == date(2026, 11, 22), "on Monday morning the lists of the days before"


def test_a_printer_for_what_people_ask_for_gets_no_list(desk: Desk) -> None:
    hold = replace(QUEUE, printing=Printing(when=PrintWhen.HOLD))
    desk.set_targets(FOLDER, hold)
    desk.turn_at(paris(20, 18, 30))
    assert (desk.queue.jobs, len(desk.folder.effects)) == ([], 1)
    desk.set_targets(hold)
    with capture_logs() as logs:
        desk.turn_at(paris(21, 18, 30))
        desk.turn_at(paris(21, 18, 31))
    assert [log["event"] for log in logs] == ["bordereau_found_no_place"], "told once"


def add_other_site(desk: Desk) -> MemoryDestination:
    """Add a second site, and return its folder."""
    other = replace(desk.office.rules.sites[SITE], finess=OTHER, name="Gare")
    sites = {**desk.office.rules.sites, OTHER: other}
    desk.office.rules = replace(desk.office.rules, sites=sites)
    folder = desk.office.destinations[OTHER, "dossier"] = MemoryDestination()
    return folder


class Hanging(MemoryDestination):
    """Answers when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.free = threading.Event()

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        self.asked.set()
        assert self.free.wait(60)
        return super().deliver(orders)


def test_a_share_that_hangs_delays_neither_other_sites_nor_the_stop(desk: Desk) -> None:
    quick = add_other_site(desk)
    hanging = desk.office.destinations[SITE, "dossier"] = Hanging()
    try:
        desk.turn_at(paris(20, 18, 30))
        assert hanging.asked.is_set()
        assert len(quick.effects) == 1
        desk.turn_at(paris(21, 18, 30))
        assert len(quick.effects) == 2
        assert len(desk.drawn) == 3, "nothing new for a place that still hangs"
        desk.lists.stop(60)
        desk.turn_at(paris(22, 18, 30))
    finally:
        hanging.free.set()
    assert len(desk.drawn) == 3, "nothing new after the stop"


def test_names_that_cannot_be_read_now_are_waited_for_and_not_for_ever(
    desk: Desk, certificates: Iterator[Sending]
) -> None:
    desk.receive(next(certificates))
    desk.go_to(paris(20, 18, 30))
    down = Unavailable("no answer")
    desk.office.mailbox.fail_next("select", down)
    desk.lists.turn()
    assert (desk.drawn, desk.folder.effects[1:]) == ([], [])
    desk.turn_at(paris(20, 18, 32))
    assert [page.unread for page in desk.drawn] == [0]
    desk.go_to(paris(21, 12))
    desk.receive(next(certificates))
    desk.go_to(paris(21, 18, 30))
    desk.office.mailbox.fail_next("select", down, times=99)
    for minutes in (0, 1, 3, 8, 16, 35):
        desk.go_to(paris(21, 18, 30) + timedelta(minutes=minutes), mail=False)
        desk.lists.turn()
    assert [page.unread for page in desk.drawn] == [0, 1]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("no answer"), id="silent"),
        pytest.param(LoginRefused("wrong"), id="refused"),
    ],
)
def test_a_mailbox_that_does_not_answer_is_not_asked_for_every_site(
    desk: Desk, error: Unavailable | LoginRefused
) -> None:
    add_other_site(desk)
    for sending in scenario.certificates(5, 4, [str(SITE), str(OTHER)], NOW):
        desk.receive(sending)
    desk.go_to(paris(20, 18, 30))
    desk.office.mailbox.fail_next("select", error, times=99)
    desk.office.mailbox.calls.clear()
    desk.lists.turn()
    assert desk.office.mailbox.calls.count("select") == 1
    assert desk.drawn == []


def test_a_ledger_that_does_not_answer_loses_no_list(desk: Desk) -> None:
    desk.go_to(paris(20, 18, 30))
    desk.office.ledger.fail_next("before", Unavailable("the disk is full"))
    with pytest.raises(Unavailable):
        desk.lists.turn()
    desk.lists.turn()
    assert (desk.days, len(desk.folder.effects)) == ([FRIDAY], 1)


class FillingTheDisk(MemoryDestination):
    """Takes pages, and leaves no room for the ledger's next line after the first of them."""

    def __init__(self, office: Office) -> None:
        super().__init__()
        self._office = office
        self._lock, self._filled = threading.Lock(), False

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        with self._lock:
            if not self._filled:
                self._filled = True
                self._office.ledger.fail_next("before", Unavailable("the disk is full"))
            return super().deliver(orders)


def test_a_record_that_fails_leaves_no_site_without_its_list(desk: Desk) -> None:
    full = FillingTheDisk(desk.office)
    site = desk.office.rules.sites[SITE]
    # More than are worked on at once: some have not begun when the record fails.
    numbers = [FinessET(f"9900{number:05}") for number in range(30)]
    sites = {number: replace(site, finess=number) for number in numbers}
    desk.office.rules = replace(desk.office.rules, sites=sites)
    desk.office.destinations.update({(number, "dossier"): full for number in numbers})
    desk.turn_at(paris(20, 18, 0))  # where their lists begin is recorded
    desk.go_to(paris(20, 18, 30))
    with pytest.raises(Unavailable):
        desk.lists.turn()
    lanes = [(number, "dossier") for number in numbers]
    end = time_now() + 60
    while {last_day(desk.office.ledger, lane) for lane in lanes} != {FRIDAY}:
        assert time_now() < end, "a list was forgotten"
        desk.lists.turn()
