"""A morning's paper: the oldest first, a few at a time, and a page before a batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.core.bordereau import Bordereau
from dispatcher.core.delivery import Order
from dispatcher.core.finess import FinessET
from dispatcher.core.hours import Hours, Span
from dispatcher.core.ledger import DeliveryState, State
from dispatcher.core.routing import Kind, Printing, PrintWhen, Target
from dispatcher.errors import Unavailable
from dispatcher.ports import Outcome
from dispatcher.service.desk import Desk
from dispatcher.service.round import Round
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import KEYWORD, NOW, Office

SITE = FinessET("990000010")
HOURS = Hours(tuple(Span(day, 8 * 60, 18 * 60) for day in range(5)))
SUNDAY = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MONDAY_AT_8 = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
MOST = 10


class Pages:
    """Draws pages that tell what they were asked for."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int]] = []

    def bordereau(self, page: Bordereau) -> bytes:
        raise AssertionError(f"no list is made here, and not of {page.on}")

    def separator(self, site_name: str, count: int) -> bytes:
        self.drawn.append((site_name, count))
        return b"%PDF separator"


class Reception:
    """A site with one printer, its office, and what a round of work on it is made of."""

    def __init__(self, printing: Printing) -> None:
        self.office = Office()
        self.queue, self.pages = MemoryQueue(), Pages()
        self.page_queue = self.queue
        target = Target("papier", Kind.PRINT, "accueil", printing=printing)
        site = replace(self.office.rules.sites[SITE], targets=(target,), hours=HOURS)
        self.office.rules = replace(self.office.rules, sites={SITE: site})
        self.office.destinations[SITE, "papier"] = self.queue
        self.office.clock.at = SUNDAY

    def desk(self) -> Desk:
        return replace(
            self.office.desk(),
            single=lambda *_: self.page_queue,
            paper=lambda: self.pages,
        )

    def round(self) -> Round:
        return Round(self.office.mailbox, self.desk(), keyword=KEYWORD, patience=0.5)

    def receive(self, sendings: list[Sending]) -> None:
        """Let them come a second apart."""
        for sending in sendings:
            self.office.clock.go(timedelta(seconds=1))
            self.office.mailbox.append(sending.raw, internal_at=self.office.clock.now())

    def in_order(self) -> list[str]:
        """Return the ids of the prints as their certificates were received."""
        return [d.id for entry in self.office.ledger.entries() for d in entry.deliveries]

    def printed(self) -> list[str]:
        """Return the certificates' jobs in the order in which the queue got them."""
        known = set(self.in_order())
        return [job.title for job in self.queue.jobs if job.title in known]

    @property
    def separators(self) -> list[int]:
        """Where separators came, counted in jobs before them."""
        known = set(self.in_order())
        return [n for n, job in enumerate(self.queue.jobs) if job.title not in known]


def certificates(count: int) -> list[Sending]:
    return scenario.certificates(17, count, [str(SITE)], NOW)


def run_until_printed(reception: Reception, work: Round, count: int) -> int:
    """Turn until so many are on paper; return the most that were under way at once."""
    most = 0
    for _ in range(3 * count):
        work.turn()
        going = sum(job.end == "going" for job in reception.queue.jobs)
        most = max(most, going)
        reception.queue.finish()
        reception.office.clock.go(timedelta(seconds=6))
        if len(reception.printed()) >= count:
            break
    work.turn()
    return most


def test_at_the_opening_sixty_certificates_come_the_oldest_first_and_ten_at_a_time() -> None:
    reception = Reception(Printing(when=PrintWhen.OPEN))
    reception.receive(certificates(60))
    work = reception.round()
    work.turn()
    waiting = {d.state for e in reception.office.ledger.entries() for d in e.deliveries}
    assert (waiting, reception.queue.jobs) == ({DeliveryState.WAITING}, [])
    reception.office.clock.go(MONDAY_AT_8 - reception.office.clock.now())
    assert run_until_printed(reception, work, 60) == MOST
    assert reception.printed() == reception.in_order()
    assert {entry.state for entry in reception.office.ledger.entries()} == {State.DELIVERED}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted meanwhile"])
def test_what_comes_while_others_wait_in_turn_goes_behind_them(restarted: bool) -> None:
    reception = Reception(Printing(when=PrintWhen.OPEN))
    early, late = certificates(30)[:25], certificates(30)[25:]
    reception.receive(early)
    work = reception.round()
    work.turn()
    reception.office.clock.go(MONDAY_AT_8 - reception.office.clock.now())
    reception.receive(late[:2])
    work.turn()
    assert len(reception.queue.jobs) == MOST
    reception.queue.finish()
    reception.receive(late[2:])
    run_until_printed(reception, reception.round() if restarted else work, 30)
    assert reception.printed() == reception.in_order()


def test_a_failed_print_that_waits_for_its_next_try_does_not_hold_others_up() -> None:
    reception = Reception(Printing())
    reception.receive(certificates(3)[:1])
    work = reception.round()
    work.turn()
    reception.queue.finish("aborted")
    work.turn()
    reception.receive(certificates(3)[1:])
    reception.office.clock.go(timedelta(seconds=1))
    work.turn()
    reception.office.clock.go(timedelta(seconds=6))
    work.turn()
    assert len(reception.queue.jobs) == 3, "the two new ones go, the first one rests"


# --- separators --------------------------------------------------------------------------


def test_a_page_with_the_sites_name_and_count_comes_before_a_mornings_batch() -> None:
    reception = Reception(Printing(when=PrintWhen.OPEN, separator=True))
    reception.receive(certificates(24))
    work = reception.round()
    work.turn()
    reception.office.clock.go(MONDAY_AT_8 - reception.office.clock.now())
    run_until_printed(reception, work, 24)
    assert reception.separators == [0], "one for the batch, before it"
    name = reception.office.rules.sites[SITE].name
    assert reception.pages.drawn == [(name, 24)]
    assert len(reception.printed()) == 24
    assert len(reception.queue.jobs[0].title) == 32
    for entry in reception.office.ledger.entries():
        assert len(entry.deliveries) == 1, "a separator is no delivery"


def test_a_single_certificate_and_a_printer_without_the_option_get_no_separator() -> None:
    for printing, count in ((Printing(separator=True), 1), (Printing(), 5)):
        reception = Reception(printing)
        reception.receive(certificates(count))
        run_until_printed(reception, reception.round(), count)
        assert reception.pages.drawn == []


def test_a_batch_ends_when_the_queue_was_quiet_for_a_while() -> None:
    reception = Reception(Printing(separator=True))
    work = reception.round()
    six = certificates(6)
    for pause, some in ((0, six[:2]), (5, six[2:4]), (11, six[4:])):
        reception.office.clock.go(timedelta(minutes=pause))
        reception.receive(some)
        work.turn()
        reception.queue.finish()
        work.turn()
    assert reception.separators == [0, 5]


class Failing(MemoryQueue):
    """Takes no page."""

    def deliver(self, orders: list[Order]) -> tuple[Outcome, ...]:  # type: ignore[override]
        self.jobs.clear()
        return (Unavailable("no"),) * len(orders)


def test_a_separator_that_fails_keeps_no_certificate_back_and_is_tried_next_time() -> None:
    reception = Reception(Printing(separator=True))
    reception.page_queue = Failing()
    reception.receive(certificates(4)[:2])
    work = reception.round()
    work.turn()
    assert (len(reception.printed()), reception.separators) == (2, [])
    reception.page_queue = reception.queue
    reception.queue.finish()
    reception.receive(certificates(4)[2:])
    work.turn()
    assert reception.separators == [2]
