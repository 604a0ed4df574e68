"""After a loss of the ledger nothing is printed by itself that may be on paper already."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import DeliveryState, Entry, State
from dispatcher.core.routing import Kind, PrintWhen
from dispatcher.errors import Unavailable
from dispatcher.service import distrust
from dispatcher.service.decisions import Decisions, NotPossible, Person
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_ledger import MemoryLedger
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates
from tests.unit.test_printing import office_with, printing

WHY = "the ledger was lost"
ME = Person("accueil", "vu au bac")


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def office(queue: MemoryQueue) -> Office:
    found = office_with(queue, printing())
    found.mailbox.keeps_keyword = False
    found.ledger.born_at -= timedelta(days=365)
    return found


@pytest.fixture
def four() -> tuple[Sending, ...]:
    return certificates(7, 4)


def fill(office: Office, *sendings: Sending, later: timedelta = timedelta()) -> None:
    """Put messages into the mailbox; `later`: with a date that is so much after now."""
    for sending in sendings:
        office.mailbox.append(sending.raw, internal_at=office.clock.now() + later)


def lose(office: Office) -> None:
    """Begin with a new ledger, as after a loss."""
    office.ledger = MemoryLedger(clock=office.clock)
    distrust.begin(office.ledger, office.clock.now(), WHY, ["lbm"])


def prints(entry: Entry) -> list[DeliveryState]:
    return [d.state for d in entry.deliveries if d.kind is Kind.PRINT]


def decisions(office: Office) -> Decisions:
    return Decisions(office.ledger, office.clock, office.rules)


def printed(office: Office, queue: MemoryQueue) -> int:
    work = office.round()
    work.turn()
    queue.finish()
    work.turn()
    return len(queue.jobs)


def test_a_first_start_prints_everything(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, *four)
    assert printed(office, queue) == 4


def test_after_a_loss_folders_are_compared_and_paper_waits_for_a_person(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, *four)
    assert printed(office, queue) == 4
    effects = {site: office.at(str(site), "folder").effects for site in office.rules.sites}
    lose(office)
    assert printed(office, queue) == 4
    for entry in office.ledger.entries():
        assert (entry.state, entry.reason) == (State.HELD, HoldReason.IN_DOUBT)
        assert [d.state for d in entry.deliveries if d.kind is Kind.FOLDER] == [
            DeliveryState.DELIVERED
        ]
        (held,) = (d for d in entry.deliveries if d.state is DeliveryState.HELD)
        assert held.because == f"perhaps printed before: {WHY}"
    assert effects == {
        site: office.at(str(site), "folder").effects for site in office.rules.sites
    }


def test_what_comes_after_the_first_look_is_printed(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, *four[:2])
    lose(office)
    assert printed(office, queue) == 0
    fill(office, *four[2:])
    assert printed(office, queue) == 2


def test_mail_with_a_later_date_is_doubted_in_the_first_look_all_the_same(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, *four, later=timedelta(hours=1))
    lose(office)
    assert printed(office, queue) == 0


def test_an_old_mail_that_comes_back_later_is_doubted(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    lose(office)
    assert printed(office, queue) == 0
    fill(office, *four, later=-timedelta(days=2))
    assert printed(office, queue) == 0


def test_a_first_look_that_is_cut_short_goes_on_after_the_next_start(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, *four, later=timedelta(hours=1))
    lose(office)
    office.mailbox.ghost(4)
    assert printed(office, queue) == 0
    office.mailbox.unghost(4)
    assert printed(office, queue) == 0
    assert {entry.state for entry in office.ledger.entries()} == {State.HELD}
    assert len(list(office.ledger.entries())) == 4


@pytest.mark.parametrize(
    "when",
    [pytest.param(PrintWhen.ALWAYS, id="decided"), pytest.param(PrintWhen.HOLD, id="waiting")],
)
def test_what_an_older_ledger_would_still_print_is_held(
    queue: MemoryQueue, four: tuple[Sending, ...], when: PrintWhen
) -> None:
    office = office_with(queue, printing(when))
    queue.down = Unavailable("away")
    fill(office, *four)
    office.round().turn()
    assert not queue.jobs
    queue.down = None
    assert distrust.begin(office.ledger, office.clock.now(), WHY, ["lbm"]) == 4
    assert distrust.begin(office.ledger, office.clock.now(), WHY, ["lbm"]) == 0
    office.clock.at += timedelta(hours=1)
    assert printed(office, queue) == 0
    assert {entry.state for entry in office.ledger.entries()} == {State.HELD}


def test_a_person_prints_it(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, four[0])
    lose(office)
    assert printed(office, queue) == 0
    (entry,) = office.ledger.entries()
    assert entry.site is not None
    site = entry.site
    assert [one.id for one in decisions(office).waiting_at(site)] == [entry.id]
    decisions(office).print_now(entry.id, ME)
    assert printed(office, queue) == 1
    (entry,) = office.ledger.entries()
    assert entry.state is State.DELIVERED
    assert decisions(office).waiting_at(site) == []


def test_a_person_tries_it_again(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, four[0])
    lose(office)
    printed(office, queue)
    (entry,) = office.ledger.entries()
    decisions(office).retry(entry.id, ME)
    assert printed(office, queue) == 1


def test_a_person_who_saw_it_closes_it(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, four[0])
    lose(office)
    printed(office, queue)
    (entry,) = office.ledger.entries()
    decisions(office).release(entry.id, ME)
    assert printed(office, queue) == 0
    (entry,) = office.ledger.entries()
    assert entry.state is State.DELIVERED


def test_another_doubt_is_not_printed_unseen(
    office: Office, queue: MemoryQueue, four: tuple[Sending, ...]
) -> None:
    fill(office, four[0])
    office.round().turn()
    queue.finish("vanished")
    office.round().turn()
    (entry,) = office.ledger.entries()
    assert prints(entry) == [DeliveryState.HELD]
    assert entry.site is not None
    assert decisions(office).waiting_at(entry.site) == []
    with pytest.raises(NotPossible):
        decisions(office).print_now(entry.id, ME)
