"""Each attempt at a delivery is counted once, by what it came to, when that is on disk."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Kind
from dispatcher.errors import InDoubt, Refused, Unavailable
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates
from tests.unit.test_printing import office_with, printing


class Counted:
    """See `dispatcher.ports.Meter`."""

    def __init__(self) -> None:
        self.said: Counter[tuple[str, str]] = Counter()
        self.seconds: list[float] = []
        self.sites: set[FinessET] = set()

    def ended(
        self, site: FinessET, target: str, kind: Kind, *, outcome: str, seconds: float
    ) -> None:
        assert (kind is Kind.PRINT) is (target == "printer")
        self.sites.add(site)
        self.said[target, outcome] += 1
        self.seconds.append(seconds)


def counted(office: Office) -> Counted:
    """Let somebody count, and one certificate come."""
    found = Counted()
    office.meter = found
    office.mailbox.append(certificates(1, 1)[0].raw)
    return found


def first_site() -> FinessET:
    site = certificates(1, 1)[0].truth.site
    assert site is not None
    return FinessET(site)


def test_a_delivery_is_counted_once_with_its_site_and_its_time() -> None:
    office = Office()
    meter = counted(office)
    work = office.round()
    work.turn()
    work.turn()
    assert meter.said == {("folder", "delivered"): 1}
    assert meter.sites == {first_site()}
    (entry,) = office.ledger.entries()
    assert meter.seconds == [(office.clock.now() - entry.received_at).total_seconds()]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(Unavailable("no share"), {"postponed": 1}, id="postponed"),
        pytest.param(Refused("no"), {"held": 1}, id="held"),
        # In doubt, then looked for and found within the same turn.
        pytest.param(InDoubt("?"), {"in_doubt": 1, "delivered": 1}, id="in doubt"),
    ],
)
def test_what_a_folder_answers_is_what_is_counted(
    error: Unavailable | Refused | InDoubt, expected: dict[str, int]
) -> None:
    office = Office()
    when = "after" if isinstance(error, InDoubt) else "before"
    meter = counted(office)
    office.at(str(first_site())).fail_next(when, error)  # type: ignore[arg-type]  # one of both
    office.round().turn()
    assert meter.said == {("folder", word): count for word, count in expected.items()}


def test_a_doubt_that_lasts_is_counted_once() -> None:
    class Unseen(MemoryDestination):
        hidden = True

        def find(self, order: Order) -> Receipt | None:
            if self.hidden:
                raise Unavailable("it cannot be asked now")
            return super().find(order)

    destination = Unseen()
    office = Office(destinations={(first_site(), "folder"): destination})
    destination.fail_next("after", InDoubt("the answer was lost"))
    meter = counted(office)
    work = office.round()
    for _ in range(4):
        work.turn()
        office.clock.go(timedelta(hours=1))
    assert meter.said == {("folder", "in_doubt"): 1}
    destination.hidden = False
    work.turn()
    assert meter.said == {("folder", "in_doubt"): 1, ("folder", "delivered"): 1}


def test_a_print_is_counted_at_its_end_and_not_when_cups_took_it() -> None:
    queue = MemoryQueue()
    office = office_with(queue, printing())
    meter = counted(office)
    work = office.round()
    work.turn()
    assert meter.said == {("folder", "delivered"): 1}
    queue.finish()
    work.turn()
    assert meter.said == {("folder", "delivered"): 1, ("printer", "delivered"): 1}


def test_a_fallback_that_takes_over_is_counted_as_diverted() -> None:
    office = Office(rules=printing(fallback="folder"))
    office.at(str(first_site()), "printer").fail_next("before", Refused("no such queue"))
    meter = counted(office)
    office.round().turn()
    assert meter.said == {("folder", "delivered"): 1, ("printer", "diverted"): 1}


def test_without_a_meter_nothing_is_missed() -> None:
    office = Office()
    office.mailbox.append(certificates(1, 1)[0].raw)
    office.round().turn()
    assert office.effects() == 1
