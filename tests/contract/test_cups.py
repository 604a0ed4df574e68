"""A CUPS queue as a destination, on a real cupsd with simulated printers."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Printing
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import (
    CupsQueue,
    CupsServer,
    Limits,
    Vigil,
    available,
    printer_reasons,
)
from dispatcher.edges.cups.absence import Restart, Start, View
from dispatcher.edges.cups.checks import blocking
from dispatcher.edges.cups.jobs import Job, QueueState, Reference
from dispatcher.edges.cups.server import Unreachable
from dispatcher.edges.cups.settings import CupsdConf
from dispatcher.errors import Failed, InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Outcome, Removal
from tests.servers.cupsd import BlackHole, Cupsd, Mode, Setup

SITE = FinessET("990000010")
NAME = "990000010_21048BC000020_DUPONT_Zoé.pdf"
_SECONDS = 60.0
_numbers = itertools.count(1)
T = TypeVar("T")


def order(content: bytes = b"%PDF one", *, key: str = "", at: datetime | None = None) -> Order:
    key = key or f"order{next(_numbers)}"
    return Order(key, SITE, "papier", Document(NAME, content), at)


def now() -> datetime:
    return SystemClock().now()


def until(look: Callable[[], T | None]) -> T:
    """Return what `look` returns once it is something; cupsd and printers take their time."""
    deadline = time.monotonic() + _SECONDS
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.02)
    return found


def reference(outcome: Outcome | None) -> str:
    assert isinstance(outcome, Accepted | Receipt)
    return outcome.reference


def followed(queue: CupsQueue, one: Order, text: str) -> Outcome:
    return queue.follow({one.id: text})[one.id]


def ended(queue: CupsQueue, one: Order, text: str) -> Outcome:
    """Return the outcome of a job once it goes on no more."""
    deadline = time.monotonic() + _SECONDS
    # A busy cupsd is asked again, as the service does.
    while isinstance(outcome := followed(queue, one, text), Accepted | Unreachable):
        assert time.monotonic() < deadline, repr(outcome)
        threading.Event().wait(0.02)
    return outcome


def because(queue: CupsQueue, one: Order, text: str, words: str) -> Accepted:
    """Return the outcome once it says these words."""

    def look() -> Accepted | None:
        outcome = followed(queue, one, text)
        if isinstance(outcome, Unreachable):
            return None  # a busy cupsd is asked again, as the service does
        assert isinstance(outcome, Accepted), repr(outcome)
        return outcome if words in outcome.because else None

    return until(look)


def provable(queue: CupsQueue) -> None:
    """Return once the absence of an order that is intended from now on can be proven."""

    def look() -> bool | None:
        try:
            assert queue.find(order(at=now())) is None
        except (InDoubt, Unavailable):  # too soon; cupsd has just begun
            return None
        return True

    until(look)


@pytest.fixture(scope="module")
def server(cupsd: Cupsd) -> Iterator[CupsServer]:
    server = CupsServer(str(cupsd.socket), clock=SystemClock())
    yield server
    server.close()


@pytest.fixture
def name(cupsd: Cupsd) -> str:
    return cupsd.add_queue(f"queue{next(_numbers)}")


@pytest.fixture
def queue(server: CupsServer, name: str) -> CupsQueue:
    return CupsQueue(server, name, Printing())


# --- making ------------------------------------------------------------------------------


def test_an_order_comes_out_on_paper_byte_for_byte(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    one = order(b"%PDF " + bytes(range(256)) * 4000)
    text = reference(queue.deliver([one])[0])
    assert cupsd.wait_printed(name, 1) == [one.document.content]
    assert ended(queue, one, text) == Receipt(text)


def test_the_printer_learns_the_order_and_nothing_of_the_patient(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    one = order()
    queue.deliver([one])
    cupsd.wait_printed(name, 1)
    (paper,) = cupsd.papers(name)
    assert paper.title == one.id
    assert f"document-name-supplied={one.id}" in paper.options
    shown = paper.title + paper.options + cupsd.log()
    assert not [secret for secret in ("DUPONT", "Zo", "21048BC000020") if secret in shown]


def test_a_job_is_known_again_where_cups_hides_titles_as_it_does_by_default(
    server: CupsServer, queue: CupsQueue, name: str
) -> None:
    one = order()
    number = int(reference(queue.deliver([one])[0]).split(":")[0])
    said = server._simple({"do": "look", "queue": name, "first": number, "watch": False})
    (shown,) = said["jobs"]
    assert "job-name" not in shown, "this cupsd shows titles, so that the test shows nothing"
    assert reference(queue.find(one)).startswith(f"{number}:")


def test_the_same_order_twice_is_one_job(cupsd: Cupsd, queue: CupsQueue, name: str) -> None:
    one = order()
    first, again = (reference(queue.deliver([one])[0]) for _ in range(2))
    assert first == again
    assert len(cupsd.jobs(name)) == 1


def test_the_same_order_twice_in_a_group_is_one_job(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    one, other = order(), order()
    first, second, third = map(reference, queue.deliver([one, other, one]))
    assert first == third != second
    assert len(cupsd.jobs(name)) == 2


def test_a_job_that_was_printed_is_a_receipt_when_ordered_again(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    one = order()
    text = reference(queue.deliver([one])[0])
    ended(queue, one, text)
    assert queue.deliver([one]) == (Receipt(text, already_there=True),)
    assert queue.find(one) == Receipt(text, already_there=True)
    assert len(cupsd.printed(name)) == 1


def test_an_empty_group_asks_nothing() -> None:
    nowhere = CupsServer("127.0.0.1:1")
    queue = CupsQueue(nowhere, "none", Printing())
    assert (queue.deliver([]), queue.follow({}), queue.spool_left([])) == ((), {}, ())
    assert nowhere.pid is None


def test_every_option_reaches_the_printer(cupsd: Cupsd, server: CupsServer, name: str) -> None:
    printing = Printing(
        copies=3,
        sides="two-sided-long-edge",
        media="iso_a4_210x297mm",
        tray="Tray2",
        options=(("print-color-mode", "monochrome"),),
    )
    CupsQueue(server, name, printing).deliver([order()])
    cupsd.wait_printed(name, 1)
    (paper,) = cupsd.papers(name)
    assert paper.copies == 3
    assert {
        "sides=two-sided-long-edge", "media=iso_a4_210x297mm", "InputSlot=Tray2",
        "print-color-mode=monochrome",
    } <= set(paper.options.split())  # fmt: skip


@pytest.mark.parametrize(
    "printing",
    [
        pytest.param(Printing(copies=1_000_000), id="too many copies"),
        pytest.param(Printing(options=(("job-sheets", "no-such"),)), id="an unknown banner"),
    ],
)
def test_options_that_cups_does_not_take_are_refused(
    cupsd: Cupsd, server: CupsServer, name: str, printing: Printing
) -> None:
    (outcome,) = CupsQueue(server, name, printing).deliver([order()])
    assert isinstance(outcome, Refused)
    assert outcome.hint
    assert cupsd.jobs(name) == []


def test_a_queue_that_does_not_exist_is_waited_for(server: CupsServer) -> None:
    (outcome,) = CupsQueue(server, "no-such", Printing()).deliver([order()])
    assert type(outcome) is Unavailable
    assert "no queue no-such" in str(outcome)


def test_a_rejecting_queue_is_waited_for_and_taken_again(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    cupsd.reject(name)
    one = order()
    (outcome,) = queue.deliver([one])
    assert type(outcome) is Unavailable
    assert "rejects" in str(outcome)
    cupsd.accept(name)
    assert isinstance(ended(queue, one, reference(queue.deliver([one])[0])), Receipt)


# --- following ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        pytest.param("fail", "the queue is paused", id="fail"),
        pytest.param("crash", "the queue is paused", id="crash"),
        pytest.param("hold", "held in CUPS until somebody releases it", id="hold"),
        pytest.param("stop", "paper jam, the queue is paused", id="stop"),
        pytest.param("out-of-paper", "out of paper", id="out of paper"),
        pytest.param("jammed", "paper jam", id="jammed"),
        pytest.param("unreachable", "cannot be reached", id="unreachable"),
        pytest.param("busy", "printing", id="busy"),
    ],
)
def test_a_job_that_does_not_come_out_says_why(
    cupsd: Cupsd, queue: CupsQueue, name: str, *, mode: Mode, words: str
) -> None:
    cupsd.set_mode(name, mode)
    one = order()
    text = reference(queue.deliver([one])[0])
    assert because(queue, one, text, words).reference == text
    assert cupsd.printed(name) == []


@pytest.mark.parametrize("mode", ["out-of-paper", "jammed", "unreachable"])
def test_a_printer_that_is_mended_prints_what_waited_once(
    cupsd: Cupsd, queue: CupsQueue, name: str, mode: Mode
) -> None:
    cupsd.set_mode(name, mode)
    one = order()
    text = reference(queue.deliver([one])[0])
    cupsd.wait_begun(name)
    cupsd.set_mode(name, "ok")
    assert ended(queue, one, text) == Receipt(text)
    assert len(cupsd.printed(name)) == 1


def test_a_stopped_queue_prints_when_somebody_resumes_it(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    cupsd.pause(name)
    one = order()
    text = reference(queue.deliver([one])[0])
    because(queue, one, text, "the queue is paused")
    cupsd.resume(name)
    assert ended(queue, one, text) == Receipt(text)


def test_a_job_that_cups_tries_again_is_not_said_to_wait_for_a_person() -> None:
    with Cupsd(Setup(retry=3600)) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q", "fail", policy="retry-job"), Printing())
        one = order()
        text = reference(queue.deliver([one])[0])
        said = because(queue, one, text, "the printer failed, CUPS tries again by itself")
        assert "until somebody" not in said.because
        server.close()


def test_a_second_job_waits_in_line(cupsd: Cupsd, queue: CupsQueue, name: str) -> None:
    cupsd.set_mode(name, "busy")
    first, second = order(), order()
    _, text = map(reference, queue.deliver([first, second]))
    because(queue, second, text, "waiting in line")


def test_a_job_that_cups_gives_up_failed_and_may_be_made_again(
    cupsd: Cupsd, server: CupsServer
) -> None:
    name = cupsd.add_queue(f"queue{next(_numbers)}", "fail", policy="abort-job")
    queue = CupsQueue(server, name, Printing())
    one = order()
    text = reference(queue.deliver([one])[0])
    assert isinstance(ended(queue, one, text), Failed)
    cupsd.set_mode(name, "ok")
    other = reference(queue.deliver([one])[0])
    assert other != text
    assert ended(queue, one, other) == Receipt(other)
    assert len(cupsd.printed(name)) == 1


def test_an_order_made_once_and_given_up_is_not_made_again_in_the_same_attempt(
    cupsd: Cupsd, server: CupsServer
) -> None:
    name = cupsd.add_queue(f"queue{next(_numbers)}", "fail", policy="abort-job")
    queue = CupsQueue(server, name, Printing())
    one = order(at=now())
    text = reference(queue.deliver([one])[0])
    ended(queue, one, text)
    assert queue.find(one) == Accepted(text)
    assert queue.deliver([one]) == (Accepted(text),)
    assert len(cupsd.jobs(name)) == 1


def test_a_job_that_failed_after_paper_came_out_is_in_doubt(
    cupsd: Cupsd, server: CupsServer
) -> None:
    name = cupsd.add_queue(f"queue{next(_numbers)}", "print-then-fail", policy="abort-job")
    queue = CupsQueue(server, name, Printing())
    one = order()
    outcome = ended(queue, one, reference(queue.deliver([one])[0]))
    assert isinstance(outcome, InDoubt)


@pytest.mark.parametrize("mode", ["busy", "hold", "ok"])
def test_a_job_that_a_person_cancels_is_never_printed_again_unasked(
    cupsd: Cupsd, queue: CupsQueue, name: str, mode: Mode
) -> None:
    if mode == "ok":
        cupsd.pause(name)
    cupsd.set_mode(name, mode)
    one = order()
    text = reference(queue.deliver([one])[0])
    if mode != "ok":
        cupsd.wait_begun(name)
    cupsd.cancel(cupsd.jobs(name)[0])
    outcome = ended(queue, one, text)
    assert isinstance(outcome, Refused)
    assert "cancelled" in str(outcome)


def test_a_job_cancelled_at_the_printer_is_never_printed_again_unasked(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    cupsd.set_mode(name, "cancel")
    one = order()
    assert isinstance(ended(queue, one, reference(queue.deliver([one])[0])), Refused)


def test_many_jobs_are_followed_at_once_each_by_its_own(
    cupsd: Cupsd, server: CupsServer, name: str
) -> None:
    queue = CupsQueue(server, name, Printing())
    cupsd.pause(name)
    orders = [order() for _ in range(20)]
    texts = {one.id: reference(o) for one, o in zip(orders, queue.deliver(orders), strict=True)}
    cupsd.cancel(cupsd.jobs(name)[0])
    outcomes = queue.follow(texts)
    assert isinstance(outcomes[orders[0].id], Refused)
    assert [reference(outcomes[one.id]) for one in orders[1:]] == list(texts.values())[1:]
    cupsd.resume(name)
    for one in orders[1:]:
        assert isinstance(ended(queue, one, texts[one.id]), Receipt)
    assert len(cupsd.printed(name)) == 19


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"uuid": "0" * 32}, id="its uuid"),
        pytest.param({"created": 1}, id="its time"),
        pytest.param({"job": 999_999}, id="its number"),
    ],
)
def test_a_job_that_differs_in_anything_is_not_the_one_that_was_made(
    queue: CupsQueue, other: dict[str, int | str]
) -> None:
    one = order()
    read = Reference.read(reference(queue.deliver([one])[0]))
    assert read is not None
    fields = {"job": read.job, "created": read.created, "uuid": read.uuid, "server": "x"}
    changed = Reference(**{**fields, **other})  # type: ignore[arg-type] # chosen above
    assert isinstance(followed(queue, one, str(changed)), InDoubt)
    stranger = order()
    assert isinstance(followed(queue, stranger, str(read)), InDoubt), "its title"
    assert isinstance(followed(queue, one, "garbage"), InDoubt), "no reference"


def test_a_reference_is_read_as_it_was_written() -> None:
    written = Reference(7, 1_795_000_000, "0123456789abcdef" * 2, "/run/cups/c @ 1.sock")
    assert Reference.read(str(written)) == written
    assert Reference.read("7:x:y@z") is None


# --- finding -----------------------------------------------------------------------------


def test_a_job_is_found_while_it_waits_and_when_it_is_printed(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    cupsd.pause(name)
    one = order(at=now())
    text = reference(queue.deliver([one])[0])
    assert queue.find(one) == Accepted(text)
    cupsd.resume(name)
    ended(queue, one, text)
    assert queue.find(one) == Receipt(text, already_there=True)


def test_what_was_never_made_is_proven_absent(queue: CupsQueue) -> None:
    provable(queue)
    assert queue.find(order(at=now())) is None


def test_without_the_time_of_the_intent_nothing_is_proven(queue: CupsQueue) -> None:
    provable(queue)
    with pytest.raises(InDoubt):
        queue.find(order())


def test_an_intent_older_than_what_cups_remembers_is_in_doubt(queue: CupsQueue) -> None:
    provable(queue)
    with pytest.raises(InDoubt, match="restarted"):
        queue.find(order(at=now() - timedelta(days=2)))


def test_an_intent_from_the_future_is_in_doubt(queue: CupsQueue) -> None:
    provable(queue)
    with pytest.raises(InDoubt, match="clock"):
        queue.find(order(at=now() + timedelta(hours=2)))


# --- spool and check ---------------------------------------------------------------------


def test_nothing_is_left_in_the_spool_of_a_cupsd_that_keeps_no_files(
    cupsd: Cupsd, queue: CupsQueue
) -> None:
    one = order(b"%PDF left?")
    text = reference(queue.deliver([one])[0])
    ended(queue, one, text)
    assert queue.spool_left([text, "garbage"]) == ()
    assert b"%PDF left?" not in cupsd.spooled()


def test_what_is_left_in_the_spool_is_told() -> None:
    with Cupsd(Setup(files="Yes")) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q"), Printing())
        one = order()
        text = reference(queue.deliver([one])[0])
        ended(queue, one, text)
        assert queue.spool_left([text]) == (text,)
        assert "PreserveJobFiles No" in " ".join(f.hint for f in queue.check())
        server.close()


def test_removing_takes_the_document_and_the_job_out_of_cups() -> None:
    with Cupsd(Setup(files="Yes")) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q"), Printing())
        ours, other = order(b"%PDF ours"), order(b"%PDF other")
        text, kept = (reference(outcome) for outcome in queue.deliver([ours, other]))
        for one, its in ((ours, text), (other, kept)):
            ended(queue, one, its)
        assert queue.remove(Copy(ours.id, text, "")) is Removal.REMOVED
        assert cupsd.spooled() == [b"%PDF other"]
        assert queue.spool_left([text, kept]) == (kept,)
        assert isinstance(followed(queue, ours, text), InDoubt), "it left the history too"
        server.close()


def test_without_a_document_in_the_spool_the_job_stays_in_the_history(
    queue: CupsQueue,
) -> None:
    one = order()
    text = reference(queue.deliver([one])[0])
    ended(queue, one, text)
    assert queue.remove(Copy(one.id, text, one.document.sha256)) is Removal.KEPT
    assert isinstance(followed(queue, one, text), Receipt)


@pytest.mark.parametrize(
    ("change", "removal"),
    [
        pytest.param(
            lambda ref: replace(ref, uuid="0" * 32), Removal.KEPT,
            id="another uuid: the number was given away",
        ),
        pytest.param(lambda ref: replace(ref, job=ref.job + 9), Removal.KEPT, id="no such job"),
        pytest.param(
            lambda ref: replace(ref, created=ref.created + 1), Removal.CHANGED, id="made later"
        ),
    ],
)  # fmt: skip
def test_a_job_that_differs_in_anything_is_not_removed(
    change: Callable[[Reference], Reference], removal: Removal
) -> None:
    with Cupsd(Setup(files="Yes")) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q"), Printing())
        one = order(b"%PDF stays")
        text = reference(queue.deliver([one])[0])
        ended(queue, one, text)
        read = Reference.read(text)
        assert read is not None
        copy = Copy(one.id, str(change(read)), one.document.sha256)
        assert queue.remove(copy) is removal
        (job,) = server.look("q").jobs
        for other in (replace(job, title="another"), replace(job, uuid="0" * 32)):
            server.purge(other)
        assert cupsd.spooled() == [b"%PDF stays"]
        server.close()


def test_the_worker_purges_no_job_that_goes_on_and_none_of_another_title(
    cupsd: Cupsd, server: CupsServer, name: str
) -> None:
    """Whatever the caller saw before: the worker looks for itself."""
    cupsd.pause(name)
    one = order()
    CupsQueue(server, name, Printing()).deliver([one])
    (job,) = server.look(name).titled(one.id)
    for asked in (job, replace(job, title="another"), replace(job, uuid="0" * 32)):
        server.purge(asked)
    assert server.look(name).titled(one.id) == (job,)
    cupsd.resume(name)


def test_what_cannot_be_asked_is_not_removed(tmp_path: Path) -> None:
    server = CupsServer(str(tmp_path / "nobody.sock"))
    queue = CupsQueue(server, "q", Printing())
    with pytest.raises(Unavailable):
        queue.remove(Copy("a", f"1:1600000000:{'0' * 32}@cups", ""))
    with pytest.raises(Refused):
        queue.remove(Copy("a", "garbage", ""))
    server.close()


def test_a_job_that_cups_hides_is_asked_for_later() -> None:
    with Cupsd(Setup(files="Yes")) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q"), Printing())
        one = order()
        text = reference(queue.deliver([one])[0])
        ended(queue, one, text)
        cupsd.reconfigure(Setup(files="Yes", hidden=True))
        server.close()
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, "q", Printing())
        with pytest.raises(Unavailable, match="hides"):
            until(lambda: queue.remove(Copy(one.id, text, one.document.sha256)))
        assert len(cupsd.spooled()) == 1
        server.close()


def levels(queue: CupsQueue) -> dict[str, str]:
    return {finding.what: finding.level for finding in queue.check()}


def test_a_queue_in_order_has_no_problem_and_check_leaves_no_trace(
    cupsd: Cupsd, queue: CupsQueue, name: str
) -> None:
    assert set(levels(queue).values()) == {"ok"}
    assert cupsd.jobs(name) == []


def test_check_tells_what_keeps_a_queue_from_printing(
    cupsd: Cupsd, queue: CupsQueue, server: CupsServer, name: str
) -> None:
    cupsd.pause(name)
    assert levels(queue) == {f"the queue {name} is stopped: the queue is paused": "problem"}
    assert queue.health().trouble == "the queue is paused"
    cupsd.resume(name)
    cupsd.reject(name)
    assert levels(queue) == {f"the queue {name} rejects jobs": "problem"}
    assert queue.health().trouble == f"the queue {name} rejects jobs"
    assert levels(CupsQueue(server, "no-such", Printing())) == {
        "CUPS has no queue no-such": "problem"
    }
    assert CupsQueue(server, "no-such", Printing()).health().trouble == (
        "CUPS has no queue no-such"
    )


def test_check_tells_options_that_the_queue_does_not_take(
    server: CupsServer, name: str
) -> None:
    copies = CupsQueue(server, name, Printing(copies=1_000_000))
    assert levels(copies)[f"the queue {name} does not take copies=1000000"] == "problem"
    unknown = CupsQueue(server, name, Printing(media="iso_a4_210x297mm"))
    assert "warning" in levels(unknown).values()


def test_check_tells_what_to_write_in_cupsd_conf() -> None:
    with Cupsd(Setup(history="No", files="86400", dirty=30)) as cupsd:
        server = CupsServer(str(cupsd.socket))
        queue = CupsQueue(server, cupsd.add_queue("q"), Printing())
        hints = " ".join(finding.hint for finding in queue.check())
        for line in ("PreserveJobFiles No", "PreserveJobHistory Yes", "DirtyCleanInterval 0"):
            assert line in hints
        cupsd.reconfigure(Setup(conf_readable=False))
        assert list(levels(queue).values()) == ["ok", "warning"]
        server.close()


def test_a_server_that_does_not_answer_is_one_problem(tmp_path: Path) -> None:
    server = CupsServer(str(tmp_path / "no.sock"))
    findings = list(CupsQueue(server, "q", Printing()).check())
    assert [finding.level for finding in findings] == ["problem"]
    server.close()


# --- the worker --------------------------------------------------------------------------


def test_the_edge_works_without_pycups_until_it_prints() -> None:
    code = (
        "import sys; sys.modules['cups'] = None\n"
        "from dispatcher.edges.cups import CupsQueue, CupsServer, available\n"
        "from dispatcher.core.routing import Printing\n"
        "assert not available()\n"
        "found = list(CupsQueue(CupsServer(), 'q', Printing()).check())\n"
        "print(found[0].level, found[0].hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("problem")
    assert "[cups]" in done.stdout
    assert available()


def test_the_worker_is_told_nothing_by_its_command_line(
    server: CupsServer, queue: CupsQueue
) -> None:
    one = order()
    queue.deliver([one])
    command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert command.endswith(b"-m\0dispatcher.edges.cups.worker\0")
    environment = Path(f"/proc/{server.pid}/environ").read_bytes()
    names = {line.partition(b"=")[0] for line in environment.split(b"\0") if line}
    assert names <= {b"CUPS_SERVER", b"HOME", b"LC_ALL", b"PATH", b"LC_CTYPE"}


def test_a_worker_is_replaced_after_its_share_of_calls(cupsd: Cupsd, name: str) -> None:
    server = CupsServer(str(cupsd.socket), limits=Limits(calls=2))
    queue = CupsQueue(server, name, Printing())
    pids = set()
    for _ in range(4):
        queue.follow({"x": "1:1:" + "0" * 32 + "@"})
        pids.add(server.pid)
    assert len(pids) == 2
    server.close()
    assert server.pid is None
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_died_while_idle_is_nobodys_fault(cupsd: Cupsd, name: str) -> None:
    server = CupsServer(str(cupsd.socket))
    queue = CupsQueue(server, name, Printing())
    server.watch()
    assert server.pid is not None
    os.kill(server.pid, 9)
    until(lambda: True if _gone(server.pid) else None)
    reference(queue.deliver([order()])[0])
    server.close()


def _gone(pid: int | None) -> bool:
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_vigil_lets_cups_remember_its_restarts_before_anything_is_printed() -> None:
    with Cupsd() as cupsd:
        cupsd.add_queue("q")
        server = CupsServer(str(cupsd.socket), clock=SystemClock())
        wanted = threading.Event()
        asked = threading.Event()

        def is_wanted() -> bool:
            asked.set()
            return wanted.is_set()

        vigil = Vigil(server, is_wanted, soon=0.05)
        vigil.start()
        assert asked.wait(_SECONDS)
        assert server.look("q", watch=False).starts == (), "nothing prints here"
        cupsd.stop()  # it does not answer yet, and that is waited for
        wanted.set()
        asked.clear()
        assert asked.wait(_SECONDS)
        cupsd.start()
        until(lambda: server.look("q", watch=False).starts or None)
        vigil.stop()
        server.close()


def test_closing_does_not_wait_for_a_server_that_never_answers() -> None:
    with BlackHole() as hole, ThreadPoolExecutor(1) as pool:
        server = CupsServer(hole.address, limits=Limits(silence=600.0))
        stuck = pool.submit(CupsQueue(server, "any", Printing()).deliver, [order()])
        until(lambda: server.pid)
        server.close()
        assert isinstance(stuck.result(_SECONDS)[0], Unavailable)
        assert server.pid is None
        assert isinstance(
            CupsQueue(server, "any", Printing()).deliver([order()])[0], Unavailable
        )
        assert server.pid is None, "none is started after the end"


def test_a_server_is_reached_by_host_and_port_too(cupsd: Cupsd, name: str) -> None:
    server = CupsServer(cupsd.address)
    reference(CupsQueue(server, name, Printing()).deliver([order()])[0])
    cupsd.wait_printed(name, 1)
    server.close()


# --- words and proofs, without a server --------------------------------------------------


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        pytest.param(["none"], "", id="none"),
        pytest.param(["media-empty-error"], "out of paper", id="with a severity"),
        pytest.param(["media-empty", "media-needed-report"], "out of paper", id="said once"),
        pytest.param(["vendor-odd-warning"], "vendor-odd-warning", id="unknown as it is"),
        pytest.param(["\x1b[31mé\n"], "?[31m??", id="unknown and dangerous"),
        pytest.param(["paused", "door-open"], "the queue is paused, a door is open", id="two"),
    ],
)
def test_reasons_are_told_in_words(reasons: list[str], words: str) -> None:
    assert printer_reasons(reasons) == words


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(
            "The printer may not exist or is unavailable at this time.",
            "the printer cannot be reached", id="away",
        ),
        pytest.param(
            'Unable to locate printer "imprimante".', "the printer cannot be reached",
            id="no such host",
        ),
        pytest.param("Connected to printer.", "", id="as it should be"),
        pytest.param("Impression de DUPONT.pdf", "", id="unknown, and never repeated"),
    ],
)  # fmt: skip
def test_what_a_backend_says_is_told_only_when_it_is_known(message: str, words: str) -> None:
    assert (
        QueueState(4, ("none",), accepting=True, now=None, message=message).trouble() == words
    )


@pytest.mark.parametrize(
    ("text", "conf"),
    [
        pytest.param("", CupsdConf(), id="defaults"),
        pytest.param("PreserveJobHistory No", CupsdConf(history=0), id="no history"),
        pytest.param("preservejobhistory 2d # days", CupsdConf(history=172800), id="days"),
        pytest.param("PreserveJobFiles No\n", CupsdConf(files=0), id="no files"),
        pytest.param("PreserveJobFiles 90", CupsdConf(files=90), id="files for seconds"),
        pytest.param("MaxJobs 0\nDirtyCleanInterval 0", CupsdConf(max_jobs=0, dirty=0), id="0"),
        pytest.param("MaxJobs lots\n#MaxJobs 7", CupsdConf(), id="unreadable, commented"),
        pytest.param("MaxJobs 1\n MaxJobs\t3", CupsdConf(max_jobs=3), id="the last one, a tab"),
    ],
)
def test_what_cupsd_conf_says_is_read(text: str, conf: CupsdConf) -> None:
    assert CupsdConf.read(text) == conf


AT = datetime.fromtimestamp(1_000_000, UTC)
QUEUE = QueueState(3, (), accepting=True, now=1_000_100)
KEEPS = CupsdConf()


def job(*, ended_at: int | None, title: str | None = "other", created: int = 900_000) -> Job:
    state = 9 if ended_at else 3
    return Job(1, "u", title, state, created, None, ended_at, 1, 0, 0)


@pytest.mark.parametrize(
    ("view", "conf", "doubt"),
    [
        pytest.param(View((), QUEUE, (Start(900_000),), 0), KEEPS, None, id="proven"),
        pytest.param(
            View((job(ended_at=999_000),), QUEUE, (Start(900_000),), 0), None, None,
            id="an older job is still shown",
        ),
        pytest.param(
            View((job(ended_at=1_000_000),), QUEUE, (Start(900_000),), 0), None,
            "forgotten", id="a younger one proves nothing",
        ),
        pytest.param(
            View((), QUEUE, (Start(900_000),), 0), CupsdConf(history=50), "forgotten",
            id="history too short",
        ),
        pytest.param(
            View((job(ended_at=None),) * 3, QUEUE, (Start(900_000),), 0),
            CupsdConf(max_jobs=3), "forgotten", id="history full",
        ),
        pytest.param(
            View((), QUEUE, (Start(900_000, (Restart(1_000_050),)),), 0), KEEPS, "restarted",
            id="restarted since",
        ),
        pytest.param(
            View((), QUEUE, (Start(900_000, (Restart(999_999),)),), 0), KEEPS, None,
            id="restarted before",
        ),
        pytest.param(
            View((), QUEUE, (Start(900_000, (Restart(1_000_000),)),), 0), KEEPS, "restarted",
            id="restarted in the same second",
        ),
        pytest.param(View((), QUEUE, (), 0), KEEPS, "restarted", id="restarts unknown"),
        pytest.param(
            View((), QUEUE, (Start(900_000, (Restart(999_000),)),), -2000), KEEPS, "restarted",
            id="its clock may be behind",
        ),
        pytest.param(
            View((), QUEUE, (Start(900_000),), None), KEEPS, "not known",
            id="its clock unknown",
        ),
        pytest.param(
            View((), None, (Start(900_000),), 0), KEEPS, "queue", id="queue deleted"
        ),
        pytest.param(
            View((job(ended_at=None, title=None, created=1_000_001),), QUEUE,
                 (Start(900_000),), 0), KEEPS, "hides", id="a newer job without title",
        ),
        pytest.param(
            View((job(ended_at=None, title=None),), QUEUE, (Start(900_000),), 0), KEEPS,
            None, id="an older job without title",
        ),
    ],
)  # fmt: skip
def test_absence_is_proven_or_in_doubt(
    view: View, conf: CupsdConf | None, doubt: str | None
) -> None:
    why = view.why_not_absent(AT, conf)
    assert (why is None) if doubt is None else (why is not None and doubt in why)


@pytest.mark.parametrize(
    ("reasons", "trouble"),
    [
        (("none",), ""),
        (("media-empty-error",), "out of paper"),
        (("toner-low-report", "media-empty-warning", "marker-supply-low"), ""),
        (("toner-low-warning", "media-jam"), "paper jam"),
    ],
)
def test_a_printer_that_only_warns_is_not_down(reasons: tuple[str, ...], trouble: str) -> None:
    state = QueueState(4, reasons, accepting=True, now=None)
    assert blocking(state).trouble() == trouble
