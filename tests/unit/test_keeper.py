"""Who is taken for stuck, and who is not: the keeper, on fakes and a real notify socket."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from dispatcher.edges.ledger import SqlLedger
from dispatcher.edges.systemd import SystemdNotifier
from dispatcher.errors import ConfigInvalid, InvariantBroken
from dispatcher.ports import Fetched, Ledger
from dispatcher.service.keeper import Keeper
from dispatcher.service.loop import Loops, MailboxLoop
from dispatcher.service.pulse import AttendedMailbox, Pulse, Pulses
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.office import KEYWORD, Office, certificates
from tests.fakes.standing_clock import StandingClock

STEP = 60.0


@pytest.fixture
def office() -> Office:
    return Office()


class Watched:
    """A keeper under a manager that waits for STEP seconds, and what the manager hears."""

    def __init__(self, office: Office, manager: socket.socket, ledger: Ledger | None) -> None:
        self._manager = manager
        desk = office.desk(ledger)
        self.clock = office.clock
        self.helper = 0.0
        self.pulses = Pulses(office.clock, {"print worker": lambda: self.helper})
        self.mailbox = self.pulses.add("mailbox lbm")
        environ = {
            "NOTIFY_SOCKET": str(manager.getsockname()),
            "WATCHDOG_USEC": str(int(STEP * 1e6)),
        }
        self.keeper = Keeper(desk, self.pulses, SystemdNotifier(environ))

    def look(self) -> str:
        """Let the keeper look; return what the manager heard of it, "" when nothing."""
        self.keeper.look()
        heard = ""
        while True:
            try:
                heard += self._manager.recv(4096, socket.MSG_DONTWAIT).decode() + "\n"
            except BlockingIOError:
                return heard

    def after(self, seconds: float) -> str:
        """Let time pass in the steps of the keeper, nobody else moving; return the last."""
        heard = ""
        for _ in range(int(seconds / 10)):
            self.clock.go(timedelta(seconds=10))
            heard = self.look()
        return heard


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        yield sock


@pytest.fixture
def watched(office: Office, manager: socket.socket) -> Watched:
    return Watched(office, manager, None)


def test_parts_that_get_on_keep_the_service_alive(watched: Watched) -> None:
    for _ in range(20):
        watched.mailbox.beat()
        assert "WATCHDOG=1\n" in watched.after(50)


def test_a_mailbox_that_makes_no_step_is_told_and_no_longer_vouched_for(
    watched: Watched,
) -> None:
    watched.mailbox.beat()
    heard = watched.after(STEP + 20)
    assert heard == "WATCHDOG=trigger\nSTATUS=no progress: mailbox lbm\n"


def test_a_mailbox_that_rests_as_it_said_is_not_stuck(watched: Watched) -> None:
    watched.mailbox.beat(rest=540)
    assert "WATCHDOG=1\n" in watched.after(540 + STEP - 20)
    assert "trigger" in watched.after(40)


def test_a_print_worker_at_one_job_for_too_long_is_stuck(watched: Watched) -> None:
    watched.helper = STEP - 1
    assert "WATCHDOG=1" in watched.look()
    watched.helper = STEP + 1
    assert watched.look() == "WATCHDOG=trigger\nSTATUS=no progress: print worker\n"


def test_a_ledger_that_no_transaction_can_be_begun_on_is_stuck(
    office: Office, manager: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite3"
    with (
        closing(SqlLedger(f"sqlite:///{path}", clock=office.clock, busy_timeout=0)) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        watched = Watched(office, manager, ledger)
        watched.mailbox.beat(rest=10_000)
        assert "WATCHDOG=1" in watched.after(300)
        other.execute("BEGIN EXCLUSIVE")
        assert watched.after(STEP + 20) == "WATCHDOG=trigger\nSTATUS=no progress: ledger\n"
        other.execute("ROLLBACK")
        assert "WATCHDOG=1" in watched.look()


def test_a_ledger_that_is_gone_ends_the_service_and_is_not_waited_for(
    office: Office, manager: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite3"
    with closing(SqlLedger(f"sqlite:///{path}", clock=office.clock)) as ledger:
        watched = Watched(office, manager, ledger)
        path.rename(tmp_path / "elsewhere")
        watched.look()
        assert isinstance(watched.keeper.broken, ConfigInvalid)


def test_a_look_that_takes_long_itself_accuses_all_the_same(watched: Watched) -> None:
    # Two looks, and between them hardly any time: it went by in the asking of the ledger.
    watched.mailbox.beat()
    watched.after(10)
    ask = watched.keeper._ask_ledger

    def asked() -> None:
        watched.clock.go(timedelta(seconds=2 * STEP))
        ask()

    watched.keeper._ask_ledger = asked  # type: ignore[method-assign]  # a slow disk
    assert "trigger" in watched.look()


def test_a_machine_that_stood_still_as_a_whole_accuses_nobody(watched: Watched) -> None:
    watched.mailbox.beat()
    watched.clock.go(timedelta(hours=3))
    assert "trigger" not in watched.look()
    watched.mailbox.beat()
    assert "WATCHDOG=1" in watched.after(10)


class SlowMailbox(MemoryMailbox):
    """Each message takes ten seconds to come."""

    clock: StandingClock

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
        for fetched in super().fetch(uids):
            self.clock.go(timedelta(seconds=10))
            yield fetched


@pytest.mark.parametrize("attended", [True, False], ids=["attended", "on its own"])
def test_a_long_backlog_is_progress_at_each_message(office: Office, attended: bool) -> None:
    slow = SlowMailbox()
    slow.clock = office.clock
    for sending in certificates(3, 40):
        slow.append(sending.raw)
    pulse = Pulse(office.clock)
    silences = []

    class Asking(AttendedMailbox):
        def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
            for fetched in super().fetch(uids):
                yield fetched
                silences.append(pulse.silence())

    mailbox = Asking(slow, pulse) if attended else Asking(slow, Pulse(office.clock))
    began = office.clock.monotonic()
    office.round(mailbox).turn()
    assert office.clock.monotonic() - began > 390, "the turn is far longer than a step"
    assert len(silences) == 40
    assert (max(silences) < STEP) is attended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mailbox_whose_thread_has_died_ends_the_service(office: Office) -> None:
    class Dying(MemoryMailbox):
        def wait(self, seconds: float) -> None:
            raise RuntimeError(seconds)

    loops = Loops([MailboxLoop(Dying(), office.desk(), keyword=KEYWORD)])
    assert loops.broken is None
    loops.start()
    for thread in loops.threads:
        thread.join(60)
    assert isinstance(loops.broken, InvariantBroken)
