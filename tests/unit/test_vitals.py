"""How the service stands is read from the ledger, by mailbox, site and target."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState, NewDelivery
from dispatcher.core.routing import Kind, PrintWhen
from dispatcher.core.vitals import LaneVitals, Oldest, Vitals
from dispatcher.errors import LoginRefused, Unavailable
from dispatcher.service import vitals
from dispatcher.service.pulse import Pulses
from dispatcher.service.purge import brakes
from dispatcher.service.purge.brakes import Brake, Braked
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates
from tests.unit.test_printing import office_with, printing

MINUTE = timedelta(minutes=1)


@pytest.fixture
def office() -> Office:
    return Office()


def taken(office: Office) -> Vitals:
    name = office.mailbox.name
    return vitals.take(office.ledger, office.rules, [name], now=office.clock.now())


def lane(office: Office, site: str) -> LaneVitals:
    (found,) = (one for one in taken(office).lanes if str(one.site) == site)
    return found


def first_site(office: Office) -> str:
    """Let one certificate come; return its site."""
    sent = certificates(1, 1)[0]
    office.mailbox.append(sent.raw)
    assert sent.truth.site is not None
    return sent.truth.site


def test_a_service_that_has_done_nothing_yet_has_seen_no_mailbox(office: Office) -> None:
    found = taken(office)
    assert (found.mailboxes[0].checked_at, found.oldest, found.balance.received) == (
        None,
        None,
        0,
    )
    assert len(found.lanes) == len(office.rules.sites)
    assert {one.count(DeliveryState.DELIVERED) for one in found.lanes} == {0}


def test_a_good_check_and_a_delivery_are_counted(office: Office) -> None:
    site = first_site(office)
    office.round().turn()
    found = taken(office)
    assert found.mailboxes[0].checked_at == office.clock.now()
    assert lane(office, site).counts == {DeliveryState.DELIVERED: 1}
    assert (found.oldest, found.held, found.deadlines) == (None, (), ())


def test_what_cannot_be_delivered_is_the_oldest_and_says_why(office: Office) -> None:
    site = first_site(office)
    office.at(site).go_down(Unavailable("the share is not mounted"))
    office.round().turn()
    (entry,) = office.ledger.entries()
    office.clock.go(31 * MINUTE)
    found = taken(office)
    assert found.oldest == Oldest(entry.id, entry.received_at)
    hindrance = lane(office, site).hindrance
    assert hindrance is not None
    assert hindrance.because == "the share is not mounted"
    assert [(one.id, one.at) for one in found.deadlines] == [(entry.id, entry.purge_at)]


def test_what_is_held_is_not_on_its_way(office: Office) -> None:
    site = first_site(office)
    office.without(site)
    office.round().turn()
    found = taken(office)
    assert [(str(one.site), one.reason) for one in found.held] == [
        (site, HoldReason.SITE_UNKNOWN)
    ]
    assert found.oldest is None


def test_what_was_released_is_on_its_way_since_then(office: Office) -> None:
    site = first_site(office)
    before = office.rules
    office.without(site)
    office.round().turn()
    (entry,) = office.ledger.entries()
    office.rules = before
    office.clock.go(5 * timedelta(hours=1))
    with office.ledger.writing() as writer:
        writer.release(entry.id, FinessET(site), [NewDelivery("folder", Kind.FOLDER)])
    assert taken(office).oldest == Oldest(entry.id, office.clock.now())


def test_a_refused_login_is_known_since_the_first_one(office: Office) -> None:
    office.mailbox.fail_next("select", LoginRefused("wrong password"), times=2)
    work, began_at = office.round(), office.clock.now()
    for _ in range(2):
        with pytest.raises(LoginRefused):
            work.turn()
        office.clock.go(MINUTE)
    (box,) = taken(office).mailboxes
    assert (box.refusals, box.refused_at) == (2, began_at)
    work.turn()
    (box,) = taken(office).mailboxes
    assert (box.refusals, box.refused_at) == (0, None)


def test_a_purge_that_is_stopped_says_by_what(office: Office) -> None:
    at = office.clock.now()
    with office.ledger.writing() as writer:
        brakes.write(writer, office.mailbox.name, Braked(frozenset({Brake.MAILBOX_SHRANK}), at))
    (box,) = taken(office).mailboxes
    assert box.stopped is not None
    assert (set(box.stopped.brakes), box.stopped.asks) == ({"mailbox-shrank"}, False)


def test_what_is_past_its_term_is_the_backlog(office: Office) -> None:
    first_site(office)
    office.round().turn()
    (entry,) = office.ledger.entries()
    assert entry.purge_at is not None
    office.clock.at = entry.purge_at + MINUTE
    (box,) = taken(office).mailboxes
    assert (box.past_term, box.overdue_at) == (1, entry.purge_at)


def test_the_parts_tell_how_long_they_have_been_silent(office: Office) -> None:
    pulses = Pulses(office.clock)
    pulses.add("ledger")
    office.clock.go(MINUTE)
    found = vitals.take(
        office.ledger, office.rules, [], now=office.clock.now(), pulses=pulses
    ).silences
    assert 59 < found["ledger"] < 120


def test_a_target_that_left_the_rules_is_counted_while_it_is_in_the_ledger(
    office: Office,
) -> None:
    site = first_site(office)
    office.round().turn()
    office.without(site)
    assert lane(office, site).count(DeliveryState.DELIVERED) == 1


def test_what_waits_for_an_hour_is_on_its_way_from_that_hour_on() -> None:
    queue = MemoryQueue()
    queue.down = Unavailable("the queue rejects jobs")
    office = office_with(queue, printing(PrintWhen.OPEN))
    office.clock.at = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # a Friday night
    first_site(office)
    work = office.round()
    work.turn()
    office.clock.go(timedelta(hours=2))
    assert taken(office).oldest is None
    office.clock.at = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)  # Monday, 8:00 in Paris
    work.turn()
    (entry,) = office.ledger.entries()
    assert taken(office).oldest == Oldest(entry.id, office.clock.now())
