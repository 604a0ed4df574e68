"""What every destination promises. Each one, real or fake, passes these same tests."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Printing
from dispatcher.edges.cups import CupsQueue, CupsServer
from dispatcher.edges.cups.jobs import Job
from dispatcher.edges.folder import MountTables, SiteFolder
from dispatcher.errors import DispatcherError, InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Destination, Outcome, Removal
from tests.fakes.memory_destination import MemoryDestination, Moment
from tests.fakes.memory_queue import MemoryQueue
from tests.servers.cupsd import Cupsd, Setup

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


def test_every_destination_in_order_is_without_trouble(any_destination: Destination) -> None:
    assert any_destination.health().trouble == ""


def copy_of(one: Order, receipt: Receipt | Accepted) -> Copy:
    return Copy(one.id, receipt.reference, one.document.sha256)


def unknown(one: Order) -> Copy:
    """Return what an order may have left of which no receipt was recorded."""
    return Copy(one.id, "", one.document.sha256, one.document.name)


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


# --- removal -----------------------------------------------------------------------------


def test_a_removed_copy_is_gone_and_may_be_delivered_again(destination: Destination) -> None:
    copy = copy_of(order("a1"), delivered(destination.deliver([order("a1")])[0]))
    assert destination.remove(copy) is Removal.REMOVED
    assert destination.find(order("a1")) is None
    assert destination.remove(copy) is Removal.GONE
    assert not delivered(destination.deliver([order("a1")])[0]).already_there


def test_what_was_never_delivered_is_not_there_to_be_removed(destination: Destination) -> None:
    destination.deliver([order("a1")])
    copy = Copy("a2", "0" * 32, order("a1").document.sha256)
    assert destination.remove(copy) is Removal.GONE
    assert destination.find(order("a1")) is not None


def test_other_content_than_was_written_is_left_alone(destination: Destination) -> None:
    receipt = delivered(destination.deliver([order("a1")])[0])
    copy = Copy("a1", receipt.reference, order("a1", b"%PDF two").document.sha256)
    assert destination.remove(copy) is Removal.CHANGED
    assert destination.find(order("a1")) is not None


def test_of_two_documents_of_one_name_the_right_one_goes(destination: Destination) -> None:
    orders = [order("a1"), order("a2", b"%PDF two")]
    first, second = map(delivered, destination.deliver(orders))
    assert destination.remove(copy_of(orders[1], second)) is Removal.REMOVED
    assert destination.find(orders[0]) is not None
    assert destination.find(orders[1]) is None
    assert destination.remove(copy_of(orders[0], first)) is Removal.REMOVED


def test_one_document_delivered_by_two_orders_goes_once(destination: Destination) -> None:
    before = copy_of(order("a1"), delivered(destination.deliver([order("a1")])[0]))
    after = copy_of(order("a2"), delivered(destination.deliver([order("a2")])[0]))
    assert [destination.remove(copy) for copy in (before, after)] == [
        Removal.REMOVED,
        Removal.GONE,
    ]


def test_what_an_order_may_have_left_is_found_by_its_name(destination: Destination) -> None:
    """Its receipt was never recorded: the program was killed, or a share hung."""
    orders = [order("a1"), order("a2", b"%PDF two"), order("a3", name="other.pdf")]
    destination.deliver(orders)
    left = [unknown(one) for one in orders[:2]]
    assert [destination.remove(copy) for copy in left] == [Removal.REMOVED] * 2
    assert [destination.remove(copy) for copy in left] == [Removal.GONE] * 2
    assert destination.find(orders[2]) is not None


def test_what_others_put_under_that_name_is_not_what_the_order_left(
    destination: Destination,
) -> None:
    destination.deliver([order("a1")])
    assert destination.remove(unknown(order("a2", b"%PDF two"))) is Removal.GONE
    assert destination.find(order("a1")) is not None


# --- paper -------------------------------------------------------------------------------


class Desk(Protocol):
    """A queue that keeps its documents, and the hand that lets its jobs end."""

    @property
    def queue(self) -> Destination: ...
    def finish(self) -> None: ...


class MemoryDesk:
    def __init__(self) -> None:
        self.queue = MemoryQueue()
        self.queue.keeps_files = True

    def finish(self) -> None:
        self.queue.finish()


class CupsDesk:
    """A queue on a real cupsd, paused until its jobs are to end."""

    def __init__(self, cupsd: Cupsd, server: CupsServer, name: str) -> None:
        self._cupsd = cupsd
        self._name = cupsd.add_queue(name)
        cupsd.pause(name)
        self._server = server
        self.queue = CupsQueue(server, name, Printing())

    def finish(self) -> None:
        self._cupsd.resume(self._name)
        deadline = time.monotonic() + 60
        while not all(job.ended for job in self._jobs()):
            assert time.monotonic() < deadline, self._jobs()
            threading.Event().wait(0.02)

    def _jobs(self) -> list[Job]:
        jobs = self._server.look(self._name, watch=False).jobs
        return [job for job in jobs if str(job.title).startswith(f"{self._name}-")]


@pytest.fixture(scope="module")
def keeping() -> Iterator[tuple[Cupsd, CupsServer]]:
    """Yield a cupsd that keeps documents after printing, as CUPS does by default."""
    with Cupsd(Setup(files="Yes")) as cupsd:
        server = CupsServer(str(cupsd.socket))
        yield cupsd, server
        server.close()


_desks = itertools.count(1)


@pytest.fixture(params=["memory", "cups"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "memory":
        return MemoryDesk()
    cupsd, server = request.getfixturevalue("keeping")
    return CupsDesk(cupsd, server, f"desk{next(_desks)}")


def printed(desk: Desk, key: str) -> Copy:
    """Return the copy of an order given to this queue. Its title has the queue's name."""
    name = getattr(desk, "_name", "memory")
    one = order(f"{name}-{key}")
    (outcome,) = desk.queue.deliver([one])
    assert isinstance(outcome, Accepted)
    return copy_of(one, outcome)


def test_an_ended_job_s_document_is_removed_from_the_spool_once(desk: Desk) -> None:
    copy = printed(desk, "a")
    desk.finish()
    assert desk.queue.remove(copy) is Removal.REMOVED
    assert desk.queue.remove(copy) is Removal.KEPT


def test_a_job_under_way_is_not_removed(desk: Desk) -> None:
    copy = printed(desk, "a")
    with pytest.raises(Unavailable):
        desk.queue.remove(copy)
    desk.finish()
    assert isinstance(
        desk.queue.follow({copy.delivery: copy.reference})[copy.delivery], Receipt
    )
    assert desk.queue.remove(copy) is Removal.REMOVED


def test_the_other_jobs_documents_stay(desk: Desk) -> None:
    first, second = printed(desk, "a"), printed(desk, "b")
    desk.finish()
    assert desk.queue.remove(first) is Removal.REMOVED
    assert desk.queue.remove(second) is Removal.REMOVED


def test_a_job_that_bears_another_title_is_not_ours_to_remove(desk: Desk) -> None:
    copy = printed(desk, "a")
    desk.finish()
    assert desk.queue.remove(replace(copy, delivery="another")) is not Removal.REMOVED
    assert desk.queue.remove(copy) is Removal.REMOVED


def test_a_job_of_which_nothing_was_recorded_is_found_by_its_title(desk: Desk) -> None:
    copies = [replace(printed(desk, key), reference="", name=NAME) for key in "ab"]
    with pytest.raises(Unavailable):
        desk.queue.remove(copies[0])
    desk.finish()
    assert desk.queue.remove(copies[0]) is Removal.REMOVED
    assert desk.queue.remove(copies[0]) is Removal.KEPT
    assert desk.queue.remove(copies[1]) is Removal.REMOVED


# --- the fake ----------------------------------------------------------------------------


def test_the_fake_is_edited_emptied_and_refuses_as_planned() -> None:
    fake = MemoryDestination()
    copies = [
        copy_of(one, delivered(fake.deliver([one])[0]))
        for one in (order("a1"), order("a2", name="two.pdf"), order("a3", name="three.pdf"))
    ]
    fake.take(copies[0].reference)
    fake.edit(copies[1].reference)
    fake.fail_next_removal(Unavailable("unplugged"))
    with pytest.raises(Unavailable):
        fake.remove(copies[2])
    assert [fake.remove(copy) for copy in copies] == [
        Removal.GONE,
        Removal.CHANGED,
        Removal.REMOVED,
    ]
    assert fake.removed == copies[2:]


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
