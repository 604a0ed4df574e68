"""Wedged parts of the real process, by real means, under a real watchdog: it starts anew."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import PROGRAM, Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal
from tests.servers.frozen import frozen
from tests.servers.supervisor import Supervised, environment

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
# So many seconds may a step take here; the unit file gives minutes.
STEP = 10.0

Supervise = Callable[..., Supervised]


@pytest.fixture
def three(secrets: Secrets) -> list[Sending]:
    sendings = scenario.certificates(31, 3, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


@pytest.fixture
def two(secrets: Secrets) -> list[Sending]:
    """Return two certificates for the same site."""
    sendings = scenario.certificates(32, 2, [next(iter(SITES))], NOW)
    secrets.add(sendings)
    return sendings


@pytest.fixture
def supervise(laboratory: Laboratory, logs: IO[bytes]) -> Supervise:
    def start(watchdog: float | None = STEP, *, abstract: bool = False) -> Supervised:
        return Supervised(
            [*PROGRAM, "run", "--config", str(laboratory.config)],
            environ=environment(),
            log=logs,
            watchdog=watchdog,
            abstract=abstract,
        )

    return start


def delivered(laboratory: Laboratory) -> int:
    return sum(len(laboratory.files(site)) for site in SITES)


def fed(service: Supervised, more: int = 2) -> Callable[[], bool]:
    """Return the condition that the watchdog was fed so many times more."""
    before = service.times("WATCHDOG=1")
    return lambda: service.times("WATCHDOG=1") >= before + more


@pytest.mark.slow
def test_a_mailbox_thread_that_hangs_is_noticed_and_the_service_restarted(
    laboratory: Laboratory, supervise: Supervise, bal: Bal, three: list[Sending]
) -> None:
    password = laboratory.top / "lbm.password"
    with supervise() as service:
        service.until(fed(service), "signs of life")
        before = service.pid
        # A secret on a share that hangs: opening it never returns, and no deadline helps.
        password.rename(laboratory.top / "password")
        os.mkfifo(password, 0o600)
        bal.server.kick(bal)
        service.until(
            lambda: "mailbox lbm" in service.last("STATUS") and service.bitten > 0, "the bite"
        )
        (laboratory.top / "password").rename(password)
        bal.deliver(three[0].raw)
        service.until(lambda: delivered(laboratory) == 1, "a delivery after the restart")
        assert service.pid != before
        assert service.end() == 0


@pytest.mark.slow
def test_a_ledger_that_somebody_locks_for_ever_is_noticed_and_the_service_restarted(
    laboratory: Laboratory, supervise: Supervise, bal: Bal, three: list[Sending]
) -> None:
    # More than the ledger's own patience with a lock, 10 s: so it is named, too.
    with supervise(20.0) as service:
        service.until(fed(service), "signs of life")
        with closing(sqlite3.connect(laboratory.ledger, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            service.until(lambda: service.bitten > 0, "the bite")
            assert "ledger" in service.last("STATUS")
            other.execute("ROLLBACK")
        bal.deliver(three[0].raw)
        service.until(lambda: delivered(laboratory) == 1, "a delivery after the restart")
        assert service.end() == 0


@pytest.mark.slow
def test_a_print_worker_that_cannot_even_be_killed_is_noticed_and_the_service_restarted(
    laboratory: Laboratory, supervise: Supervise, cupsd: Cupsd, two: list[Sending]
) -> None:
    (bal,) = laboratory.bals.values()
    queue = cupsd.add_queue("wedged")
    first, second = two
    site = str(first.truth.site)
    laboratory.write_routing(
        "version: 1\nlbm: {name: LBM Exemple}\nsites:\n"
        f'  "{site}": {{deliver: [{{name: papier, print: {{queue: {queue}}}}}]}}\n'
    )
    laboratory.write_settings(f"cups: {{server: {cupsd.socket}}}\n")
    # A worker that is merely silent is replaced after 15 s: that is no reason to bite.
    with supervise(30.0) as service:
        bal.deliver(first.raw)
        cupsd.wait_printed(queue, 1)
        with frozen(worker(service)):
            bal.deliver(second.raw)
            service.until(lambda: service.bitten > 0, "the bite")
            assert "print worker" in service.last("STATUS")
        cupsd.wait_printed(queue, 2)
        assert service.end() == 0


def worker(service: Supervised) -> int:
    """Return the process id of the service's print worker."""
    for path in Path(f"/proc/{service.pid}/task").glob("*/children"):
        for child in path.read_text().split():
            if b"dispatcher.edges.cups.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError("no print worker runs")


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_the_manager_hears_of_start_reload_and_end(
    supervise: Supervise, abstract: bool
) -> None:
    with supervise(None, abstract=abstract) as service:
        service.until(lambda: service.times("READY=1") == 1, "ready")
        os.kill(service.pid, signal.SIGHUP)
        service.until(lambda: service.times("READY=1") == 2, "ready again")
        assert service.times("RELOADING=1") == 1
        assert int(service.last("MONOTONIC_USEC")) > 0
        assert service.end() == 0
        assert service.times("STOPPING=1") == 1
        assert int(service.last("EXTEND_TIMEOUT_USEC")) >= 8_000_000


def test_helpers_cannot_speak_for_the_service(
    laboratory: Laboratory, supervise: Supervise
) -> None:
    seen = laboratory.top / "environment"
    laboratory.write_settings(
        mailbox=f"    token_command: [/bin/sh, -c, 'env > {seen}; echo token']\n"
    )
    text = laboratory.config.read_text(encoding="utf-8")
    kept = (line for line in text.splitlines() if "password_file" not in line)
    laboratory.config.write_text("\n".join(kept) + "\n", encoding="utf-8")
    with supervise(None) as service:
        service.until(lambda: seen.exists() and "PATH=" in seen.read_text(), "the helper ran")
        assert "NOTIFY_SOCKET" not in seen.read_text()
        assert "WATCHDOG" not in seen.read_text()
        assert service.end() == 0


def test_a_ledger_that_is_removed_ends_the_service_for_good(
    laboratory: Laboratory, supervise: Supervise
) -> None:
    with supervise(40.0) as service:
        service.until(fed(service, 1), "signs of life")
        laboratory.ledger.rename(laboratory.top / "elsewhere")
        assert service.process is not None
        assert service.process.wait(60) == 78
        (laboratory.top / "elsewhere").rename(laboratory.ledger)
