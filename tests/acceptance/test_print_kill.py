"""kill -9 of the program, of its print worker and of cupsd, at every step of a job.

Never two jobs by us for one delivery, never a delivery forgotten. What cupsd itself prints
again after its death is the same job, and told of.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from dispatcher.core.routing import Printing
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import CupsQueue, CupsServer
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.printers import DEADLINE, Printers, lay_out
from tests.acceptance.privacy import Secrets
from tests.contract.test_cups import provable
from tests.servers.cups_link import CREATE_JOB, GET_JOBS, SEND_DOCUMENT, Link, Moment
from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
REQUESTS: Final = (GET_JOBS, CREATE_JOB, SEND_DOCUMENT)
MOMENTS: Final[tuple[Moment, ...]] = ("before", "after")
# Beside one at each chosen step. A start of the program costs seconds, a worker's nothing.
AT_RANDOM: Final = {"program": 6, "worker": 14, "cupsd": 12}

Victim = Literal["program", "worker", "cupsd"]


@dataclass(frozen=True)
class Kill:
    """Who dies, and when: at a request, or at a piece of what passes. One mail comes before."""

    victim: Victim
    request: int | None = None
    moment: Moment = "before"
    piece: int | None = None


def kills(rng: random.Random, *victims: Victim) -> list[Kill]:
    """Return them in random order; the same for the same seed."""
    chosen = [
        Kill(victim, request, moment)
        for victim in victims for request in REQUESTS for moment in MOMENTS
    ]  # fmt: skip
    chance = [
        Kill(victim, moment=rng.choice(MOMENTS), piece=rng.randrange(1, 40))
        for victim in victims for _ in range(AT_RANDOM[victim])
    ]  # fmt: skip
    found = [*chosen, *chance]
    rng.shuffle(found)
    return found


class Scene:
    """The program, its worker and its cupsd, the last two reached over a link that breaks."""

    def __init__(self, laboratory: Laboratory, printers: Printers, link: Link) -> None:
        self.laboratory = laboratory
        self.cupsd = printers.cupsd
        self.link = link
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> subprocess.Popen[bytes]:
        """Start what does not run; return the program."""
        self.cupsd.revive()
        if self.process is None or self.process.poll() is not None:
            self.process = self.laboratory.start()
        return self.process

    def begin(self) -> None:
        """Return once the program runs and cupsd could prove what it was never given."""
        self.run()
        server = CupsServer(str(self.cupsd.socket), clock=SystemClock())
        until(lambda: bool(server.look("", watch=False).starts), "its vigil", deadline=DEADLINE)
        provable(CupsQueue(server, self.cupsd.add_queue("proof"), Printing()))
        server.close()

    def settle(self, count: int) -> None:
        """Return once so many certificates have come to an end."""
        self.link.mend()
        assert stop(self.run())[0] == 0

        def ended() -> bool:
            # At once, where the service would take its time to try again.
            self.laboratory.once()
            balance = self.laboratory.status()["balance"]
            return bool(balance["delivered"] + balance["held"] == count)

        until(ended, "every end", deadline=DEADLINE)

    def die(self, kill: Kill, mail: Callable[[], object]) -> None:
        """Let a mail come and somebody die over it."""
        process = self.run()
        acts: dict[Victim, Callable[[], object]] = {
            "program": partial(process.send_signal, signal.SIGKILL),
            "worker": partial(kill_worker, process.pid),
            "cupsd": self.cupsd.kill,
        }
        dead = threading.Event()

        def act() -> None:
            acts[kill.victim]()
            dead.set()

        self.link.break_at(request=kill.request, piece=kill.piece, moment=kill.moment, act=act)
        mail()
        assert dead.wait(DEADLINE), f"no chance for {kill}"
        if kill.victim == "program":
            assert process.wait(timeout=60) == -signal.SIGKILL
        else:
            assert process.poll() is None, "the service ended by itself"


def kill_worker(program: int) -> None:
    """Kill the print worker of a program; whichever answers next is another."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = path.joinpath("cmdline").read_bytes()
        except OSError:  # it ended while we looked
            continue
        if parent == program and b"dispatcher.edges.cups.worker" in command:
            os.kill(int(path.name), signal.SIGKILL)
            return
    raise AssertionError("the program has no print worker")


@pytest.fixture
def own() -> Iterator[Cupsd]:
    """Yield a cupsd to kill."""
    with Cupsd() as cupsd:
        yield cupsd


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whoever_is_killed_no_delivery_has_two_jobs_and_none_is_forgotten(
    laboratory: Laboratory, own: Cupsd, bal: Bal, secrets: Secrets
) -> None:
    rng = random.Random(20261122)
    ours, theirs = kills(rng, "program", "worker"), kills(rng, "cupsd")
    plan = [*ours, *theirs]
    assert len(plan) >= 50
    sendings = scenario.certificates(43, len(plan), list(SITES), NOW)
    secrets.add(sendings)
    printers = Printers(own)
    with Link(own.port) as link:
        lay_out(laboratory, printers, link.address)
        scene = Scene(laboratory, printers, link)
        scene.begin()
        for kill, sending in zip(plan, sendings, strict=True):
            if kill is theirs[0]:
                scene.settle(len(ours))
                # While cupsd lives, it tells what became of everything.
                assert laboratory.status()["balance"]["held"] == 0
            scene.die(kill, partial(bal.deliver, sending.raw))
        scene.settle(len(plan))
    # Each death of cupsd leaves at most what was on its way to it then in doubt.
    assert laboratory.status()["balance"]["held"] <= len(theirs)
    assert_nothing_doubled_or_lost(laboratory, printers, sendings)


def assert_nothing_doubled_or_lost(
    laboratory: Laboratory, printers: Printers, sendings: list[Sending]
) -> None:
    assert not [jobs for jobs in printers.jobs().values() if len(jobs) > 1], "two jobs by us"
    listed = {entry["file_number"]: entry for entry in laboratory.listed()}
    told = set(laboratory.status()["maybe_printed_twice"])
    papers = printers.papers()
    untold = 0
    for sending in sendings:
        entry = listed[sending.truth.file_number]
        assert sending.truth.site is not None
        assert sending.truth.document is not None
        copies = papers[sending.truth.site].pop(sending.truth.document, 0)
        untold += copies > 1 and entry["state"] == "delivered" and entry["id"] not in told
        assert_right(entry, copies)
    # CUPS tells of its last start alone (docs/impression.md): one that dies twice between two
    # looks of the service may print a second copy that nobody can tell of. Here it dies again
    # within seconds, and yet that must stay the rare case.
    assert untold <= 1, "cupsd printed them twice, and nobody is told"
    assert not any(found.total() for found in papers.values()), "paper that nobody ordered"


def assert_right(entry: dict[str, Any], copies: int) -> None:
    if entry["state"] == "held":
        assert entry["reason"] == "in-doubt"
        return
    assert entry["state"] == "delivered"
    assert copies >= 1, "delivered, and not on paper"
