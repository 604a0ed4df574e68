"""What every destination promises. Each one, real or fake, passes these same tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Printing
from dispatcher.edges.cups import CupsQueue, CupsServer
from dispatcher.edges.folder import MountTables, SiteFolder
from dispatcher.errors import DispatcherError, InDoubt, Refused, Unavailable
from dispatcher.ports import Destination, Outcome
from tests.fakes.memory_destination import MemoryDestination, Moment
from tests.servers.cupsd import Cupsd

SITE = FinessET("990000010")
NAME = "990000010_21048BC000020_DUPONT_Zoé.pdf"


def order(key: str, content: bytes = b"%PDF one", name: str = NAME) -> Order:
    return Order(key, SITE, "dossier", Document(name, content))


def delivered(outcome: Outcome) -> Receipt:
    assert isinstance(outcome, Receipt)
    return outcome


def taken(outcome: Outcome | None) -> str:
    """Return the reference of what was delivered, or accepted and on its way."""
    assert isinstance(outcome, Receipt | Accepted)
    return outcome.reference


@pytest.fixture(params=["memory", "folder"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    makers: dict[str, Callable[[], Destination]] = {
        "memory": MemoryDestination,
        "folder": lambda: SiteFolder(
            tmp_path, secret=bytes(32), tables=MountTables(fstab=tmp_path / "no fstab")
        ),
    }
    return makers[request.param]()


@pytest.fixture(params=["memory", "folder", "queue"])
def any_destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Destination]:
    """Yield a place that keeps documents, or one that takes them and works on them."""
    if request.param == "queue":
        cupsd: Cupsd = request.getfixturevalue("cupsd")
        server = CupsServer(str(cupsd.socket))
        yield CupsQueue(server, cupsd.add_queue(f"shared-{uuid.uuid4().hex}"), Printing())
        server.close()
    elif request.param == "memory":
        yield MemoryDestination()
    else:
        tables = MountTables(fstab=tmp_path / "no fstab")
        yield SiteFolder(tmp_path, secret=bytes(32), tables=tables)


def test_what_was_taken_is_found_under_the_same_reference(
    any_destination: Destination,
) -> None:
    one = order(uuid.uuid4().hex)
    reference = taken(any_destination.deliver([one])[0])
    assert taken(any_destination.find(one)) == reference


def test_an_order_given_twice_is_taken_once(any_destination: Destination) -> None:
    one = order(uuid.uuid4().hex)
    references = {taken(any_destination.deliver([one])[0]) for _ in range(2)}
    assert len(references) == 1


def test_an_order_twice_in_a_group_is_taken_once(any_destination: Destination) -> None:
    one, other = order(uuid.uuid4().hex), order(uuid.uuid4().hex, b"%PDF two")
    first, second, third = map(taken, any_destination.deliver([one, other, one]))
    assert first == third != second


def test_no_destination_works_for_an_empty_group(any_destination: Destination) -> None:
    assert any_destination.deliver([]) == ()


def test_no_reference_bears_a_name(any_destination: Destination) -> None:
    reference = taken(any_destination.deliver([order(uuid.uuid4().hex)])[0])
    assert not [name for name in ("DUPONT", "Zo", "21048BC000020") if name in reference]


def test_every_destination_in_order_is_found_to_be(any_destination: Destination) -> None:
    assert "problem" not in {finding.level for finding in any_destination.check()}


def test_a_delivery_can_be_found_again(destination: Destination) -> None:
    receipt = delivered(destination.deliver([order("a1")])[0])
    found = destination.find(order("a1"))
    assert found is not None
    assert found.reference == receipt.reference


def test_nothing_is_found_before_any_delivery(destination: Destination) -> None:
    assert destination.find(order("a1")) is None


def test_what_was_delivered_is_no_proof_of_another_content(destination: Destination) -> None:
    destination.deliver([order("a1")])
    assert destination.find(order("a2", b"%PDF two")) is None


def test_what_was_delivered_is_no_proof_of_another_name(destination: Destination) -> None:
    destination.deliver([order("a1")])
    assert destination.find(order("a2", name="another.pdf")) is None


def test_the_same_order_twice_is_one_delivery(destination: Destination) -> None:
    first = delivered(destination.deliver([order("a1")])[0])
    second = delivered(destination.deliver([order("a1")])[0])
    assert (first.already_there, second.already_there) == (False, True)
    assert first.reference == second.reference


def test_the_same_order_twice_in_a_group_is_one_delivery(destination: Destination) -> None:
    first, second = destination.deliver([order("a1"), order("a1")])
    assert delivered(first).reference == delivered(second).reference


def test_a_document_that_came_before_under_another_order_is_not_doubled(
    destination: Destination,
) -> None:
    before = delivered(destination.deliver([order("a1")])[0])
    after = delivered(destination.deliver([order("after-a-lost-ledger")])[0])
    assert after.already_there
    assert after.reference == before.reference


def test_another_content_under_the_same_name_is_kept_beside_it(
    destination: Destination,
) -> None:
    orders = [order("a1"), order("a2", b"%PDF two")]
    references = {delivered(outcome).reference for outcome in destination.deliver(orders)}
    assert len(references) == 2
    assert all(destination.find(one) is not None for one in orders)


def test_a_group_has_one_outcome_each_in_its_order(destination: Destination) -> None:
    orders = [order(f"a{n}", b"%%PDF %d" % n, f"{n}.pdf") for n in range(20)]
    outcomes = destination.deliver(orders)
    found = [destination.find(one) for one in orders]
    assert [delivered(o).reference for o in outcomes] == [
        f.reference for f in found if f is not None
    ]


def test_what_was_delivered_is_no_leftover(destination: Destination) -> None:
    receipt = delivered(destination.deliver([order("a1")])[0])
    assert destination.spool_left([receipt.reference, "unknown"]) == ()


def test_an_empty_group_is_no_work(destination: Destination) -> None:
    assert destination.deliver([]) == ()


def test_a_reference_says_nothing_of_the_patient(destination: Destination) -> None:
    receipt = delivered(destination.deliver([order("a1")])[0])
    assert len(receipt.reference) == 32
    assert set(receipt.reference) <= set("0123456789abcdef")


def test_a_destination_in_order_has_no_problem(destination: Destination) -> None:
    assert "problem" not in {finding.level for finding in destination.check()}


@pytest.mark.parametrize(
    ("when", "error", "effects"),
    [
        pytest.param("before", Unavailable("down"), 0, id="unavailable, nothing happened"),
        pytest.param("before", Refused("no"), 0, id="refused, nothing happened"),
        pytest.param("before", InDoubt("?"), 0, id="in doubt, and it did not happen"),
        pytest.param("after", InDoubt("?"), 1, id="in doubt, and it happened"),
    ],
)
def test_the_fake_fails_as_planned_and_then_works(
    when: Moment, error: Unavailable | Refused | InDoubt, effects: int
) -> None:
    fake = MemoryDestination()
    fake.fail_next(when, error)
    assert fake.deliver([order("a1")]) == (error,)
    assert len(fake.effects) == effects
    assert (fake.find(order("a1")) is not None) == (effects == 1)
    delivered(fake.deliver([order("a1")])[0])
    assert fake.sites() == {SITE: 1}


def test_the_fake_that_is_down_answers_nothing_until_it_is_mended() -> None:
    fake = MemoryDestination()
    fake.go_down(Unavailable("unplugged"))
    assert isinstance(fake.deliver([order("a1")])[0], DispatcherError)
    with pytest.raises(Unavailable):
        fake.find(order("a1"))
    fake.mend()
    assert fake.find(order("a1")) is None
