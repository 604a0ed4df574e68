"""A CUPS queue when things break: one order stays one job of ours, or it is in doubt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dispatcher.core.delivery import MAYBE_TWICE, Accepted, Order, Receipt
from dispatcher.core.routing import Printing
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import CupsQueue, CupsServer, Limits
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Outcome
from tests.contract.test_cups import because, ended, followed, now, order, provable, reference
from tests.servers.cups_link import CREATE_JOB, GET_JOBS, SEND_DOCUMENT, Link, Moment
from tests.servers.cupsd import BlackHole, Cupsd, Setup

# A busy machine may keep a healthy cupsd silent for seconds.
PATIENT = Limits(silence=60.0, line=120.0, rest=0.0, start=60.0)
# For what never answers: each test waits for this.
QUICK = replace(PATIENT, silence=4.0)
# Too large to pass in one piece.
DOCUMENT = b"%PDF " + bytes(100_000)


@pytest.fixture(scope="module")
def own() -> Iterator[Cupsd]:
    """Yield a cupsd that tests may stop and kill; each leaves it running."""
    with Cupsd() as cupsd:
        yield cupsd


@pytest.fixture(scope="module")
def direct(own: Cupsd) -> Iterator[CupsServer]:
    """Yield a server object that reaches the cupsd on the straight way."""
    server = CupsServer(str(own.socket), clock=SystemClock(), limits=PATIENT)
    yield server
    server.close()


class Desk:
    """One queue reached over a link that breaks, and straight, with what was ordered."""

    def __init__(self, own: Cupsd, link: Link, direct: CupsServer, name: str) -> None:
        self.cupsd = own
        self.link = link
        self.name = own.add_queue(name)
        self.server = CupsServer(link.address, clock=SystemClock(), limits=PATIENT)
        self.over_link = CupsQueue(self.server, self.name, Printing())
        self.direct = direct
        self.straight = CupsQueue(direct, self.name, Printing())

    def hurry(self) -> None:
        """Wait only briefly for answers over the link, because one will never come."""
        self.server = CupsServer(self.link.address, clock=SystemClock(), limits=QUICK)
        self.over_link = CupsQueue(self.server, self.name, Printing())

    def deliver_until_broken(self, one: Order) -> Outcome:
        """Deliver over the link; return the outcome of the attempt that the link broke in."""
        while True:
            outcome = self.over_link.deliver([one])[0]
            if self.link.broken:
                return outcome
            # So busy that what came in time for others came too late for us.
            assert isinstance(outcome, Unavailable), repr(outcome)

    def worker(self) -> int:
        assert self.server.pid is not None
        return self.server.pid

    def jobs_with_document(self, one: Order) -> set[int]:
        """Return the numbers of every job of ours that had a document, printed or not."""
        papers = {paper.job for paper in self.cupsd.papers(self.name) if paper.title == one.id}
        return papers | set(self.cupsd.begun(self.name))

    def settle(self, one: Order, outcome: Outcome | None) -> bool:
        """Do as the service does until the order has an end; return whether it is in doubt."""
        deadline = time.monotonic() + 60
        while not isinstance(outcome, Receipt | Accepted):
            assert time.monotonic() < deadline, repr(outcome)
            if not isinstance(outcome, InDoubt):
                (outcome,) = self.straight.deliver([replace(one, intended_at=now())])
                continue
            try:
                outcome = self.straight.find(one)
            except InDoubt:
                return True
            except Unavailable:
                # A busy cupsd: still in doubt, asked again, as the service does.
                continue
        end = ended(self.straight, one, reference(outcome))
        assert isinstance(end, Receipt), repr(end)
        return False


@pytest.fixture
def desk(own: Cupsd, direct: CupsServer, request: pytest.FixtureRequest) -> Iterator[Desk]:
    with Link(own.port) as link:
        desk = Desk(own, link, direct, f"desk{abs(hash(request.node.name))}")
        yield desk
        desk.server.close()


# --- the server is away ------------------------------------------------------------------


def test_a_server_that_is_down_is_waited_for_and_nothing_is_lost(
    own: Cupsd, direct: CupsServer
) -> None:
    queue = CupsQueue(direct, own.add_queue("down"), Printing())
    one = order()
    own.stop()
    try:
        assert all(isinstance(o, Unavailable) for o in queue.deliver([one, order()]))
        with pytest.raises(Unavailable):
            queue.find(one)
        assert isinstance(followed(queue, one, "1:1:" + "0" * 32 + "@x"), Unavailable)
        assert [finding.level for finding in queue.check()] == ["problem"]
    finally:
        own.start()
    assert isinstance(ended(queue, one, reference(queue.deliver([one])[0])), Receipt)
    assert len(own.printed("down")) == 1


def test_a_silent_server_costs_its_deadline_once_for_a_group() -> None:
    with BlackHole() as hole:
        server = CupsServer(hole.address, limits=Limits(silence=0.5, rest=30))
        queue = CupsQueue(server, "any", Printing())
        began = time.monotonic()
        assert all(isinstance(o, Unavailable) for o in queue.deliver([order(), order()]))
        for _ in range(20):  # it is let alone for a while
            assert isinstance(queue.deliver([order()])[0], Unavailable)
        assert time.monotonic() - began < 10
        server.close()


def test_a_silent_server_does_not_delay_another(own: Cupsd, direct: CupsServer) -> None:
    queue = CupsQueue(direct, own.add_queue("lively"), Printing())
    with BlackHole() as hole, ThreadPoolExecutor(1) as pool:
        silent = CupsServer(hole.address, limits=Limits(silence=4, rest=0))
        stuck = pool.submit(CupsQueue(silent, "any", Printing()).deliver, [order()])
        one = order()
        assert isinstance(ended(queue, one, reference(queue.deliver([one])[0])), Receipt)
        assert not stuck.done()
        silent.close()
    assert isinstance(stuck.result()[0], Unavailable)


def test_many_threads_on_one_server_make_each_job_once(own: Cupsd, direct: CupsServer) -> None:
    name = own.add_queue("threads")
    orders = [order() for _ in range(24)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda one: CupsQueue(direct, name, Printing()).deliver([one])[0], orders)
        )
    queue = CupsQueue(direct, name, Printing())
    for one, outcome in zip(orders, outcomes, strict=True):
        assert isinstance(ended(queue, one, reference(outcome)), Receipt)
    assert Counter(paper.title for paper in own.papers(name)) == {o.id: 1 for o in orders}


def test_a_frozen_server_is_waited_for(own: Cupsd, direct: CupsServer) -> None:
    name = own.add_queue("frozen")
    hasty = CupsServer(str(own.socket), clock=SystemClock(), limits=QUICK)
    one = order()
    own.freeze()
    try:
        assert isinstance(CupsQueue(hasty, name, Printing()).deliver([one])[0], Unavailable)
    finally:
        own.thaw()
        hasty.close()
    queue = CupsQueue(direct, name, Printing())
    assert isinstance(ended(queue, one, reference(queue.deliver([one])[0])), Receipt)
    assert len(own.printed("frozen")) == 1


# --- an answer is lost -------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after", "silent"])
@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(GET_JOBS, id="get-jobs"),
        pytest.param(CREATE_JOB, id="create-job"),
        pytest.param(SEND_DOCUMENT, id="send-document"),
    ],
)
def test_a_lost_answer_is_settled_to_one_paper(
    desk: Desk, request_: int, moment: Moment
) -> None:
    if moment == "silent":
        desk.hurry()
    provable(desk.straight)
    one = order(DOCUMENT, at=now())
    desk.link.break_at(request=request_, moment=moment)
    outcome = desk.deliver_until_broken(one)
    expected = Unavailable if request_ == GET_JOBS else InDoubt
    assert isinstance(outcome, expected), repr(outcome)
    assert desk.settle(one, outcome) is False
    assert len(desk.cupsd.printed(desk.name)) == 1
    assert len(desk.jobs_with_document(one)) == 1
    assert len(desk.cupsd.jobs(desk.name)) == 1, "an empty job was left"


def test_an_empty_job_is_removed_and_counts_as_not_there(desk: Desk) -> None:
    provable(desk.straight)
    one = order(DOCUMENT, at=now())
    desk.link.break_at(request=SEND_DOCUMENT)
    desk.over_link.deliver([one])
    assert len(desk.cupsd.jobs(desk.name)) == 1
    assert desk.straight.find(one) is None
    assert desk.cupsd.jobs(desk.name) == []


def test_an_empty_job_of_a_restarted_cupsd_is_in_doubt(desk: Desk) -> None:
    provable(desk.straight)
    one = order(DOCUMENT, at=now())
    desk.link.break_at(request=SEND_DOCUMENT)
    desk.over_link.deliver([one])
    desk.cupsd.restart()
    with pytest.raises(InDoubt, match="without its document"):
        desk.straight.find(one)


# --- the worker dies ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(GET_JOBS, id="get-jobs"),
        pytest.param(CREATE_JOB, id="create-job"),
        pytest.param(SEND_DOCUMENT, id="send-document"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_replaced_and_what_it_did_is_found(
    desk: Desk, *, request_: int, moment: Moment, number: int
) -> None:
    if number == signal.SIGSTOP:
        desk.hurry()
    provable(desk.straight)
    one = order(DOCUMENT, at=now())
    desk.link.break_at(
        request=request_, moment=moment, act=lambda: os.kill(desk.worker(), number)
    )
    outcome = desk.deliver_until_broken(one)
    # A question does no harm when a new worker asks it again, as it does at once.
    asked_again = request_ == GET_JOBS and number == signal.SIGKILL
    expected = (Accepted, Receipt) if asked_again else (Unavailable, InDoubt)
    assert isinstance(outcome, expected), repr(outcome)
    assert request_ == GET_JOBS or isinstance(outcome, InDoubt)
    assert desk.settle(one, outcome) is False
    assert len(desk.cupsd.printed(desk.name)) == 1
    assert isinstance(desk.over_link.find(one), Receipt), "a new worker answers"


def test_a_worker_ends_with_its_parent_even_in_the_midst_of_a_request(own: Cupsd) -> None:
    name = own.add_queue("orphan")
    code = (
        "import sys\n"
        "from dispatcher.core.routing import Printing\n"
        "from dispatcher.edges.cups import CupsQueue, CupsServer\n"
        "server = CupsServer(sys.argv[1])\n"
        "server.watch()\n"
        "print(server.pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "CupsQueue(server, sys.argv[2], Printing()).follow({'x': '1:1:' + '0' * 32 + '@'})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(own.socket), name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdin is not None
        worker = int(parent.stdout.readline())
        own.freeze()
        try:
            parent.stdin.write("\n")
            parent.stdin.flush()
            _until(lambda: _waits_for_answer(worker))
            parent.kill()
            _until(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker))
        finally:
            own.thaw()


def _waits_for_answer(pid: int) -> bool:
    """Whether the worker has a connection beside the socket to its parent."""
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    return sum(link.startswith("socket:") for link in links) > 2


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.02)


# --- cupsd dies --------------------------------------------------------------------------


def revive(desk: Desk) -> None:
    desk.cupsd.kill()
    desk.cupsd.start()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["cupsd", "worker", "link"])
def test_whatever_dies_at_whatever_step_no_order_is_made_twice_or_forgotten(
    desk: Desk, victim: str
) -> None:
    """Break at every piece that passes, in turn; at every other one where cupsd dies."""
    acts: dict[str, Callable[[], object]] = {
        "cupsd": desk.cupsd.kill,
        "worker": lambda: os.kill(desk.worker(), signal.SIGKILL),
        "link": lambda: None,
    }
    doubts, piece, broken = 0, 0, True
    while broken:
        piece += 2 if victim == "cupsd" else 1  # each costs seconds until it can prove again
        provable(desk.straight)
        one = order(DOCUMENT, at=now())
        before = set(desk.cupsd.begun(desk.name))
        desk.link.break_at(piece=piece, act=acts[victim])
        (outcome,) = desk.over_link.deliver([one])
        broken = desk.link.broken
        assert not isinstance(outcome, Refused), repr(outcome)
        if victim == "cupsd" and broken:
            desk.cupsd.start()
        doubts += desk.settle(one, outcome)
        made = set(desk.cupsd.begun(desk.name)) - before
        assert len(made) <= 1, f"two jobs, broken at piece {piece}"
        desk.cupsd.delete(desk.name)
        desk.name = desk.cupsd.add_queue(f"{desk.name}n")
        desk.over_link = CupsQueue(desk.server, desk.name, Printing())
        desk.straight = CupsQueue(desk.straight._server, desk.name, Printing())
    assert piece > 15
    # Only a cupsd that restarted leaves doubt.
    assert doubts == 0 or victim == "cupsd"


def test_a_job_that_cupsd_forgot_and_whose_number_it_gave_away_is_in_doubt() -> None:
    with Cupsd(Setup(dirty=3600)) as cupsd:
        name = cupsd.add_queue("q")
        cupsd.restart()  # the queue is written down; what comes now is not
        server = CupsServer(str(cupsd.socket), clock=SystemClock())
        queue = CupsQueue(server, name, Printing())
        provable(queue)
        one = order(at=now())
        text = reference(queue.deliver([one])[0])
        cupsd.wait_printed(name, 1)
        cupsd.kill()
        cupsd.start()
        other = order()
        another = reference(queue.deliver([other])[0])
        assert another.split(":")[0] == text.split(":")[0], "the number was given away"
        assert isinstance(followed(queue, one, text), InDoubt)
        with pytest.raises(InDoubt, match="restarted"):
            queue.find(one)
        server.close()


def test_a_job_accepted_by_a_cupsd_that_is_killed_is_adopted_after_the_restart(
    desk: Desk,
) -> None:
    desk.cupsd.pause(desk.name)
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    revive(desk)
    assert desk.straight.find(one) == Accepted(text)
    desk.cupsd.resume(desk.name)
    assert ended(desk.straight, one, text) == Receipt(text)
    assert len(desk.cupsd.printed(desk.name)) == 1


def test_a_cupsd_killed_in_mid_print_prints_again_by_itself_and_that_is_told(
    desk: Desk,
) -> None:
    desk.cupsd.set_mode(desk.name, "busy")
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    desk.cupsd.wait_begun(desk.name)
    revive(desk)
    because(desk.straight, one, text, MAYBE_TWICE)
    desk.cupsd.set_mode(desk.name, "ok")
    assert ended(desk.straight, one, text) == Receipt(text, remark=MAYBE_TWICE)
    assert len(set(desk.cupsd.begun(desk.name))) == 1, "one job of ours"


def test_a_second_death_of_cupsd_within_the_same_second_is_told_too(desk: Desk) -> None:
    """CUPS tells of its starts in whole seconds: two of them can bear the same number."""
    desk.cupsd.set_mode(desk.name, "busy")
    for _ in range(60):
        revive(desk)
        one = order(at=now())
        text = reference(desk.straight.deliver([one])[0])
        desk.cupsd.wait_begun(desk.name)
        before = {one.at for one in desk.direct.look(desk.name).restarts()}
        revive(desk)
        because(desk.straight, one, text, MAYBE_TWICE)
        if before & {one.at for one in desk.direct.look(desk.name).restarts()}:
            return
        desk.cupsd.purge(desk.name)
    raise AssertionError("never two starts in one second")


def test_a_restart_while_a_job_waits_in_line_is_nothing_to_tell(desk: Desk) -> None:
    desk.cupsd.pause(desk.name)
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    followed(desk.straight, one, text)
    revive(desk)
    assert because(desk.straight, one, text, "paused") == Accepted(text, "the queue is paused")
    desk.cupsd.resume(desk.name)
    assert ended(desk.straight, one, text) == Receipt(text)


def test_a_service_that_was_restarted_too_tells_of_a_job_that_may_be_printed_twice(
    desk: Desk, direct: CupsServer
) -> None:
    desk.cupsd.set_mode(desk.name, "busy")
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    desk.cupsd.wait_begun(desk.name)
    revive(desk)
    desk.cupsd.wait_begun(desk.name, 2)
    desk.cupsd.set_mode(desk.name, "ok")
    forgetful = CupsQueue(direct, desk.name, Printing())
    assert ended(forgetful, one, text) == Receipt(text, remark=MAYBE_TWICE)
    found = CupsQueue(direct, desk.name, Printing()).find(one)
    assert found == Receipt(text, already_there=True, remark=MAYBE_TWICE)


# --- CUPS forgets, or hides --------------------------------------------------------------


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param(Setup(history="No"), id="no history"),
        pytest.param(Setup(max_jobs=2), id="full"),
    ],
)
def test_a_job_that_left_the_history_is_in_doubt_and_not_printed_again(setup: Setup) -> None:
    with Cupsd(setup) as cupsd:
        name = cupsd.add_queue("q")
        server = CupsServer(str(cupsd.socket), clock=SystemClock())
        queue = CupsQueue(server, name, Printing())
        one = order(at=now())
        # Not printed before its delivery has seen it: without a history it would be gone.
        cupsd.set_mode(name, "busy")
        text = reference(queue.deliver([one])[0])
        cupsd.set_mode(name, "ok")
        cupsd.wait_printed(name, 1)
        for _ in range(3):
            queue.deliver([order()])
        cupsd.wait_printed(name, 4)
        _until(lambda: isinstance(followed(queue, one, text), InDoubt))
        with pytest.raises(InDoubt):
            queue.find(one)
        server.close()


def test_a_cups_that_hides_jobs_from_us_proves_nothing() -> None:
    with Cupsd() as cupsd:
        name = cupsd.add_queue("q")
        server = CupsServer(str(cupsd.socket), clock=SystemClock())
        queue = CupsQueue(server, name, Printing())
        provable(queue)
        one = order(at=now())
        text = reference(queue.deliver([one])[0])
        cupsd.wait_printed(name, 1)
        cupsd.reconfigure(Setup(hidden=True))
        outcome = followed(queue, one, text)
        assert isinstance(outcome, Unavailable)
        assert "JobPrivateValues" in outcome.hint
        with pytest.raises(InDoubt):
            queue.find(one)
        assert isinstance(queue.deliver([order()])[0], InDoubt)
        server.close()


def test_a_queue_deleted_with_its_jobs_is_in_doubt_and_no_other_queue_is_used(
    desk: Desk,
) -> None:
    other = desk.cupsd.add_queue(f"{desk.name}other")
    desk.cupsd.set_mode(desk.name, "out-of-paper")
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    desk.cupsd.wait_begun(desk.name)
    desk.cupsd.delete(desk.name)
    outcome = ended(desk.straight, one, text)
    assert isinstance(outcome, InDoubt | Refused)
    assert isinstance(desk.straight.deliver([order()])[0], Unavailable)
    assert desk.cupsd.jobs(other) == []


def test_a_job_that_cupsd_died_over_is_in_doubt_and_a_person_may_print_it_again(
    desk: Desk,
) -> None:
    provable(desk.straight)
    one = order(DOCUMENT, at=now())
    # The document lies in the spool, and the record says that there is none.
    desk.link.break_at(request=SEND_DOCUMENT)
    desk.over_link.deliver([one])
    number = desk.cupsd.jobs(desk.name)[0]
    desk.cupsd.stop()
    spooled = desk.cupsd.base / "spool" / f"d{number:05}-001"
    spooled.write_bytes(DOCUMENT)
    spooled.chmod(0o644)
    desk.cupsd.start()
    with pytest.raises(InDoubt, match="killed"):
        desk.straight.find(one)
    assert isinstance(desk.straight.deliver([one])[0], InDoubt)
    assert desk.cupsd.printed(desk.name) == []
    provable(desk.straight)
    again = replace(one, intended_at=now())
    text = reference(desk.straight.deliver([again])[0])
    assert ended(desk.straight, again, text) == Receipt(text)
    assert desk.cupsd.jobs(desk.name) == [int(text.split(":")[0])]
    assert len(desk.cupsd.printed(desk.name)) == 1


@pytest.mark.slow
def test_jobs_beyond_what_cups_shows_at_a_time_are_seen() -> None:
    with Cupsd(Setup(max_jobs=0)) as cupsd:
        name = cupsd.add_queue("q")
        cupsd.pause(name)
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, name, Printing())
        orders = [order() for _ in range(510)]
        outcomes = queue.deliver(orders)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert queue.find(orders[-1]) == outcomes[-1]
        assert queue.deliver(orders[-1:]) == outcomes[-1:]
        texts = {o.id: reference(out) for o, out in zip(orders, outcomes, strict=True)}
        assert all(isinstance(outcome, Accepted) for outcome in queue.follow(texts).values())
        server.close()


def test_a_job_that_somebody_removed_with_every_trace_is_in_doubt(desk: Desk) -> None:
    one = order(at=now())
    text = reference(desk.straight.deliver([one])[0])
    ended(desk.straight, one, text)
    desk.cupsd.purge(desk.name)
    assert isinstance(followed(desk.straight, one, text), InDoubt)
