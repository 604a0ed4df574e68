"""The next batch is read while this one is delivered; what goes wrong with it waits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import pytest

from dispatcher.core.certificate import Inspection
from dispatcher.core.delivery import Order
from dispatcher.core.ledger import State
from dispatcher.errors import Unavailable
from dispatcher.ports import Fetched, Outcome, Question
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_inspector import MemoryInspector
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.office import Office, certificates

BATCH = 16


class Watched(MemoryInspector):
    """Notes how much was delivered when a batch was asked about, and can go wrong then."""

    def __init__(self) -> None:
        super().__init__()
        self.office: Office | None = None
        self.delivered_before: list[int] = []
        self.was_asked = threading.Event()
        self.wrong: dict[int, BaseException] = {}

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        asked = list(questions)
        assert self.office is not None
        number = len(self.delivered_before)
        self.delivered_before.append(self.office.effects())
        if number == 1:
            self.was_asked.set()
        if number in self.wrong:
            raise self.wrong.pop(number)
        return super().inspect(asked)


class Patient(MemoryDestination):
    """Takes nothing before a second batch was asked about."""

    def __init__(self, was_asked: threading.Event) -> None:
        super().__init__()
        self._was_asked = was_asked

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        assert self._was_asked.wait(60)
        return super().deliver(orders)


@pytest.fixture
def inspector() -> Watched:
    return Watched()


@pytest.fixture
def office(inspector: Watched) -> Office:
    office = Office(inspector=inspector)
    inspector.office = office
    for sending in certificates(1, 2 * BATCH):
        office.mailbox.append(sending.raw)
    return office


def delivered(office: Office) -> int:
    return sum(entry.state is State.DELIVERED for entry in office.ledger.entries())


def test_a_batch_is_read_before_the_one_before_it_is_delivered(
    office: Office, inspector: Watched
) -> None:
    for lane in office.destinations:
        office.destinations[lane] = Patient(inspector.was_asked)
    office.round().turn()
    assert delivered(office) == office.effects() == 2 * BATCH
    assert inspector.delivered_before == [0, 0]


@pytest.mark.parametrize("wrong", [Unavailable("the PDF reader is away"), ValueError("a bug")])
def test_what_goes_wrong_with_the_next_batch_does_not_keep_this_one(
    wrong: Exception, office: Office, inspector: Watched
) -> None:
    inspector.wrong[1] = wrong
    with pytest.raises(type(wrong)):
        office.round().turn()
    assert delivered(office) == office.effects() == BATCH
    office.round().turn()
    assert delivered(office) == office.effects() == 2 * BATCH


def test_the_batch_after_the_next_is_fetched_while_one_is_delivered(office: Office) -> None:
    """A line that is slow keeps nobody waiting who has work."""
    for sending in certificates(2, BATCH):
        office.mailbox.append(sending.raw)
    was_fetched = threading.Event()

    class Line(MemoryMailbox):
        def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
            for one in super().fetch(uids):
                if one.uid == 3 * BATCH:
                    was_fetched.set()
                yield one

    office.mailbox.__class__ = Line
    for at in office.destinations:
        office.destinations[at] = Patient(was_fetched)
    office.round().turn()
    assert delivered(office) == office.effects() == 3 * BATCH


def test_a_line_that_breaks_while_a_batch_is_delivered_loses_none_that_came(
    office: Office,
) -> None:
    for sending in certificates(2, 2 * BATCH):
        office.mailbox.append(sending.raw)
    office.mailbox.tear_fetch_after(3 * BATCH + 5)
    with pytest.raises(Unavailable):
        office.round().turn()
    assert delivered(office) == office.effects() == 3 * BATCH + 5
    office.round().turn()
    assert delivered(office) == office.effects() == 4 * BATCH


def test_messages_that_were_fetched_and_never_read_are_no_suspects(office: Office) -> None:
    """Those lie here when what came before them ends the turn."""
    for sending in certificates(2, 2 * BATCH):
        office.mailbox.append(sending.raw)
    work = office.round()
    office.messages.wrong[1] = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        work.turn()
    office.messages.batches.clear()
    work.turn()
    # Those that were read once and did not come to an end are read alone.
    assert office.messages.batches == [BATCH, BATCH] + [1] * BATCH
    assert delivered(office) == office.effects() == 4 * BATCH
