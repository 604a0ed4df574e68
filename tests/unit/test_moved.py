"""Which rules a delivery goes by, and where it is looked for when its target lies elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Order, Receipt, Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState
from dispatcher.core.routing import Rules
from dispatcher.errors import Unavailable
from dispatcher.ports import Copy
from dispatcher.service.moved import Moved
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.office import Office, certificates, rules

SILENT = Unavailable("it does not answer")


@pytest.fixture
def then() -> MemoryDestination:
    return MemoryDestination()


@pytest.fixture
def now() -> MemoryDestination:
    return MemoryDestination()


def order() -> Order:
    document = Document("certificate.pdf", b"%PDF-1.7 a certificate")
    return Order("abcdefghij", FinessET("990000010"), "folder", document)


def delivered(place: MemoryDestination) -> Copy:
    (receipt,) = place.deliver([order()])
    assert isinstance(receipt, Receipt)
    return Copy(order().id, receipt.reference, order().document.sha256)


def test_what_lies_at_either_place_is_found(
    then: MemoryDestination, now: MemoryDestination
) -> None:
    assert Moved(then, now).find(order()) is None
    delivered(now)
    assert Moved(then, now).find(order()) is not None
    assert Moved(now, then).find(order()) is not None


def test_a_silent_old_place_proves_nothing(
    then: MemoryDestination, now: MemoryDestination
) -> None:
    then.go_down(SILENT)
    with pytest.raises(Unavailable):
        Moved(then, now).find(order())
    delivered(now)
    assert Moved(then, now).find(order()) is not None


def test_a_copy_is_removed_from_where_it_lies(
    then: MemoryDestination, now: MemoryDestination
) -> None:
    for lies, other in ((then, now), (now, then)):
        copy = delivered(lies)
        assert Moved(lies, other).remove(copy) is Removal.REMOVED
        copy = delivered(lies)
        assert Moved(other, lies).remove(copy) is Removal.REMOVED
        assert not lies.documents


def test_a_copy_is_gone_only_when_both_places_say_so(
    then: MemoryDestination, now: MemoryDestination
) -> None:
    copy = delivered(then)
    then.take(copy.reference)
    assert Moved(then, now).remove(copy) is Removal.GONE
    then.fail_next_removal(SILENT)
    with pytest.raises(Unavailable):
        Moved(then, now).remove(copy)
    now.fail_next_removal(SILENT)
    with pytest.raises(Unavailable):
        Moved(then, now).remove(copy)


# --- what the service records and asks for ------------------------------------------------


def office_with(first: Rules) -> Office:
    office = Office(rules=first)
    for sending in certificates(7, 3):
        office.mailbox.append(sending.raw)
    return office


def test_a_delivery_records_the_rules_it_began_by_and_is_asked_for_by_them() -> None:
    first, second = rules(), replace(rules(), digest="1" * 64)
    office = office_with(first)
    for place in office.destinations.values():
        assert isinstance(place, MemoryDestination)
        place.go_down(SILENT)
    office.round().turn()
    (by,) = {d.rules for entry in office.ledger.entries() for d in entry.deliveries}
    assert by == first.digest
    office.rules = second
    for place in office.destinations.values():
        assert isinstance(place, MemoryDestination)
        place.mend()
    office.asked_by.clear()
    office.round().turn(impatient=True)
    found = list(office.ledger.entries())
    assert {entry.rules for entry in found} == {first.digest}, "decided once"
    assert {d.rules for entry in found for d in entry.deliveries} == {second.digest}
    assert office.asked_by == {second.digest}
    assert all(d.state is DeliveryState.DELIVERED for e in found for d in e.deliveries)


def test_what_is_in_doubt_is_looked_for_by_the_rules_it_began_by() -> None:
    first = rules()
    office = office_with(first)
    sent = certificates(7, 3)[0]
    office.at(str(sent.truth.site)).fail_next("after", SILENT)
    office.round().turn()
    entry = next(
        e for e in office.ledger.entries() if e.deliveries[0].state.value != "delivered"
    )
    with office.ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, DeliveryState.DELIVERING, rules=first.digest)
    office.rules = replace(first, digest="1" * 64)
    office.asked_by.clear()
    office.round().turn()
    assert office.asked_by == {first.digest}
    assert office.effects() == 3
