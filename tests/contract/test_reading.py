"""What every reader of messages promises, and what the one beside does when its child dies."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dispatcher.core.certificate import Certificate, Foreign, Held, HoldReason, Inspection
from dispatcher.edges.pdf.inspector import PdfInspector
from dispatcher.edges.reading.beside import Limits, ReadBeside
from dispatcher.edges.reading.here import ReadHere
from dispatcher.errors import Unavailable
from dispatcher.ports import BroughtDown, MessageReader, ReadMessage
from tests.fakes.office import SENDERS, certificates

THREE = tuple(one.raw for one in certificates(5, 3))
FOREIGN = b"From: a@b.fr\r\nSubject: Bonjour\r\nMessage-ID: <1@b.fr>\r\n\r\nBonjour"
CUT = certificates(5, 1)[0].raw[:20_000]
# More than the child may have in memory, once it works on it.
VAST = THREE[0] + b" " * (300 << 20)


@pytest.fixture(scope="module")
def beside() -> Iterator[ReadBeside]:
    with closing(ReadBeside()) as messages:
        yield messages


@pytest.fixture(scope="module")
def here() -> Iterator[ReadHere]:
    with closing(PdfInspector()) as inspector:
        yield ReadHere(inspector)


@pytest.fixture(params=["here", "beside"])
def messages(
    request: pytest.FixtureRequest, here: ReadHere, beside: ReadBeside
) -> MessageReader:
    return here if request.param == "here" else beside


def read(messages: MessageReader, *raws: bytes, ask_names: bool = False) -> list[ReadMessage]:
    found = messages.read(raws, SENDERS, ask_names=ask_names)
    assert len(found) == len(raws)
    sound = [one for one in found if isinstance(one, ReadMessage)]
    assert len(sound) == len(raws), found
    return sound


# --- every reader ------------------------------------------------------------------------


def test_messages_are_read_in_their_order_each_with_its_inspection(
    messages: MessageReader,
) -> None:
    found = read(messages, THREE[0], FOREIGN, THREE[1], CUT, THREE[2])
    kinds = [type(one.reading) for one in found]
    assert kinds == [Certificate, Foreign, Certificate, Held, Certificate]
    inspections = [one.inspection for one in found]
    assert inspections == [Inspection(pages=1), None, Inspection(pages=1), None,
                           Inspection(pages=1)]  # fmt: skip
    assert len({one.raw_sha256 for one in found}) == 5
    assert all(one.message_id for one in found)


def test_names_are_looked_for_when_they_are_asked_for(messages: MessageReader) -> None:
    (found,) = read(messages, THREE[0], ask_names=True)
    assert found.inspection == Inspection(pages=1, names_patient=True)


def test_nothing_asked_nothing_said(messages: MessageReader) -> None:
    assert messages.read([], SENDERS, ask_names=False) == ()


def test_who_may_send_is_asked_anew_each_time(messages: MessageReader) -> None:
    (found,) = messages.read([THREE[0]], frozenset({"a@b.fr"}), ask_names=False)
    assert isinstance(found, ReadMessage)
    assert isinstance(found.reading, Held)
    assert found.reading.reason is HoldReason.SENDER_NOT_ALLOWED


def test_reading_beside_finds_all_that_reading_here_does(
    here: ReadHere, beside: ReadBeside
) -> None:
    """Down to what is only shown: documents, sources, digests."""
    raws = [*THREE, FOREIGN, CUT, b"", *(one.raw for one in certificates(6, 40))]
    assert read(beside, *raws, ask_names=True) == read(here, *raws, ask_names=True)


def test_a_batch_larger_than_every_pipe_comes_back_whole(beside: ReadBeside) -> None:
    raws = [one.raw for one in certificates(7, 32)]
    assert sum(map(len, raws)) > 2 << 20
    found = read(beside, *raws)
    assert [type(one.reading) for one in found] == [Certificate] * 32


def test_many_threads_are_answered_each_its_own(beside: ReadBeside) -> None:
    found: dict[int, list[ReadMessage]] = {}

    def ask(number: int) -> None:
        found[number] = read(beside, THREE[number % 3])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [read(beside, raw)[0] for raw in THREE]
    assert {n: one[0] for n, one in found.items()} == {n: expected[n % 3] for n in range(9)}


# --- the child ---------------------------------------------------------------------------


def test_a_message_that_brings_its_reader_down_is_found_and_the_others_are_read() -> None:
    with closing(ReadBeside()) as beside:
        first, bad, last = beside.read([THREE[0], VAST, THREE[1]], SENDERS, ask_names=False)
        assert isinstance(bad, BroughtDown)
        assert [type(one) for one in (first, last)] == [ReadMessage, ReadMessage]
        assert len(read(beside, *THREE)) == 3


def test_a_message_that_takes_too_long_is_a_finding_of_its_own() -> None:
    with closing(ReadBeside(Limits(seconds=0.0, seconds_each=0.0))) as beside:
        (found,) = beside.read([b" " * 5_000_000], SENDERS, ask_names=False)
        assert found == BroughtDown("it did not answer in time")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_killed_while_idle_is_replaced(number: int) -> None:
    with closing(ReadBeside()) as beside:
        read(beside, THREE[0])
        before = _pid(beside)
        os.kill(before, number)
        assert len(read(beside, *THREE)) == 3
        assert beside.pid != before


def test_a_child_that_is_killed_at_work_from_outside_blames_no_message() -> None:
    raws = [one.raw for one in certificates(8, 64)]
    with closing(ReadBeside()) as reader:
        read(reader, THREE[0])
        pid = _pid(reader)
        os.kill(pid, signal.SIGSTOP)  # so that it is still at work when it is killed
        killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
        killer.start()
        assert len(read(reader, *raws)) == 64
        killer.join()
        assert reader.pid != pid


def test_a_pdf_reader_that_is_killed_at_work_from_outside_blames_no_message() -> None:
    with closing(ReadBeside()) as reader:
        read(reader, THREE[0])
        pid, pdf_reader = _family(_pid(reader))
        os.kill(pdf_reader, signal.SIGSTOP)  # so that it is still at work when it is killed
        killer = threading.Timer(0.5, os.kill, (pdf_reader, signal.SIGKILL))
        killer.start()
        found = read(reader, *THREE)
        killer.join()
        assert [one.inspection for one in found] == [Inspection(pages=1)] * 3
        assert reader.pid == pid, "its own end would have been another one's"


def test_a_child_that_stands_still_is_given_up_and_nothing_is_blamed() -> None:
    with closing(ReadBeside(Limits(seconds=1.0))) as beside:
        read(beside, THREE[0])
        os.kill(_pid(beside), signal.SIGSTOP)
        assert len(read(beside, *THREE)) == 3


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str, Limits | None], ReadBeside]:
    """Return what makes a reader whose child is a shell: it says it is ready, and does this."""

    def make(script: str, limits: Limits | None) -> ReadBeside:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\nprintf ready\n{script}\n", encoding="ascii")
        program.chmod(0o755)
        return ReadBeside(limits, interpreter=str(program))

    return make


def test_children_that_never_get_to_run_are_no_doing_of_a_message(
    stand_in: Callable[[str, Limits | None], ReadBeside],
) -> None:
    limits = Limits(seconds=0.2, seconds_each=0.0)
    with (
        closing(stand_in("kill -STOP $$", limits)) as beside,
        pytest.raises(Unavailable, match="does not get to run"),
    ):
        beside.read([THREE[1]], SENDERS, ask_names=False)


@pytest.mark.parametrize(
    "answer",
    ["\\000\\000\\000\\000\\000\\000\\000\\005hello", "\\000\\000"],
    ids=["nonsense", "cut"],
)
def test_an_answer_that_nobody_can_read_is_a_death(
    answer: str, stand_in: Callable[[str, Limits | None], ReadBeside]
) -> None:
    script = f"head -c 1 >/dev/null; printf '{answer}'; exec >&-; cat >/dev/null"
    with closing(stand_in(script, None)) as beside:
        (found,) = beside.read([THREE[0]], SENDERS, ask_names=False)
        assert isinstance(found, BroughtDown)
        assert "hello" not in found.because


@pytest.mark.parametrize(
    ("program", "told"),
    [("/nowhere/python", "cannot be started"), ("/bin/true", "does not start")],
)
def test_a_reader_that_cannot_be_started_is_unavailable(program: str, told: str) -> None:
    beside = ReadBeside(interpreter=program)
    with pytest.raises(Unavailable, match=f"the message reader {told}"):
        beside.read([THREE[0]], SENDERS, ask_names=False)
    beside.close()


def test_a_signal_that_stops_the_service_does_not_end_the_child(beside: ReadBeside) -> None:
    read(beside, THREE[0])
    before = _pid(beside)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(before, number)
    assert len(read(beside, *THREE)) == 3
    assert beside.pid == before


def test_the_child_knows_nothing_and_is_bound(beside: ReadBeside) -> None:
    read(beside, THREE[0])
    pid = _pid(beside)
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert environ == b"MALLOC_MMAP_THRESHOLD_=1048576\0"
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (512 << 20, 512 << 20)
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    files = {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()}
    assert all(one.startswith("pipe:") or one == "/dev/null" for one in files), files


def test_the_child_and_its_own_end_when_it_is_closed_and_when_its_parent_dies() -> None:
    beside = ReadBeside()
    read(beside, THREE[0])
    family = _family(_pid(beside))
    assert len(family) == 2, "the child and its PDF reader"
    beside.close()
    assert beside.pid is None
    _until(lambda: not any(map(_lives, family)))
    # A parent that dies closes its pipes, and no more than that.
    read(beside, THREE[0])
    family = _family(_pid(beside))
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), beside._child.questions)
    _until(lambda: not any(map(_lives, family)))
    beside.close()


def test_closing_does_not_wait_for_ever_for_a_batch() -> None:
    """A service that is told to stop has to stop."""
    beside = ReadBeside()
    read(beside, THREE[0])
    pid = _pid(beside)
    os.kill(pid, signal.SIGSTOP)
    asked = threading.Thread(target=read, args=(beside, THREE[1]))
    asked.start()
    _until(beside._lock.locked)
    began = time.monotonic()
    beside.close()
    assert time.monotonic() - began < 10
    os.kill(pid, signal.SIGCONT)
    asked.join()
    beside.close()
    assert not _lives(pid)


def test_as_many_pdf_readers_work_as_are_wanted() -> None:
    with closing(ReadBeside(pdf_readers=2)) as beside:
        found = read(beside, *THREE, ask_names=True)
        assert [one.inspection for one in found] == [
            Inspection(pages=1, names_patient=True)
        ] * 3
        assert len(_family(_pid(beside))) == 3


def test_what_a_reader_beside_says_of_a_death_holds_nothing_of_the_message() -> None:
    with closing(ReadBeside()) as beside:
        (found,) = beside.read([VAST], SENDERS, ask_names=False)
        assert isinstance(found, BroughtDown)
        assert (
            found.because.startswith("MemoryError in dispatcher.") or "ended" in found.because
        )


def _pid(beside: ReadBeside) -> int:
    assert beside.pid is not None
    return beside.pid


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *map(int, children)]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
