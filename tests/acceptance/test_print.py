"""Each certificate on paper at its site, once: the program as a process, on a real cupsd."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Printers:
    """The queues of one test: six sites, each with a printer of its own."""

    cupsd: Cupsd
    series: int

    def queue(self, site: str) -> str:
        return f"accueil{self.series}-{site}"

    def papers(self) -> dict[str, Counter[bytes]]:
        return {site: Counter(self.cupsd.printed(self.queue(site))) for site in SITES}

    def titles(self) -> Counter[str]:
        """Return how often each delivery was put on paper."""
        found = (paper.title for s in SITES for paper in self.cupsd.papers(self.queue(s)))
        return Counter(found)

    def begun(self) -> int:
        return sum(len(self.cupsd.begun(self.queue(site))) for site in SITES)


_SERIES = itertools.count(1)


@pytest.fixture
def printers(cupsd: Cupsd) -> Printers:
    found = Printers(cupsd, next(_SERIES))
    for site in SITES:
        cupsd.add_queue(found.queue(site))
    return found


@pytest.fixture
def printing(laboratory: Laboratory, printers: Printers) -> Laboratory:
    """Return a laboratory whose six sites have a folder and a printer each."""
    sites = "\n".join(f'  "{number}": {{profile: desk}}' for number in SITES)
    laboratory.write_routing(
        f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "990000903"}}
profiles:
  desk:
    - {{name: dossier, folder: "{laboratory.top}/sites/{{finess}}"}}
    - {{name: papier, print: {{queue: "accueil{printers.series}-{{finess}}"}}}}
sites:
{sites}
"""
    )
    laboratory.write_settings(f"cups: {{server: {printers.cupsd.socket}}}\n")
    return laboratory


def documents(sendings: list[Sending]) -> dict[str, Counter[bytes]]:
    found: dict[str, Counter[bytes]] = {site: Counter() for site in SITES}
    for sending in sendings:
        assert sending.truth.site is not None
        assert sending.truth.document is not None
        found[sending.truth.site][sending.truth.document] += 1
    return found


def finish(laboratory: Laboratory, expected: int, *, deadline: float = 90.0) -> None:
    """Let the service run until so many certificates are delivered."""
    process = laboratory.start()
    try:
        until(
            lambda: (
                laboratory.status()["balance"]["delivered"] >= expected
                or process.poll() is not None
            ),
            f"{expected} certificates on paper",
            deadline=deadline,
        )
    finally:
        status, _ = stop(process)
    assert status == 0


def test_every_certificate_is_printed_once_at_its_site(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(41, 24, list(SITES), NOW)
    secrets.add(sendings)
    bal.append_all([s.raw for s in sendings])
    finish(printing, 24)
    assert printers.papers() == documents(sendings)
    assert not secrets.found_in(printers.cupsd.log()), "the spooler's logs name nobody"


def good_ones_end(laboratory: Laboratory, expected: int) -> None:
    until(
        lambda: laboratory.status()["balance"]["delivered"] >= expected,
        f"{expected} certificates on paper",
        deadline=150,
    )


def reasons(laboratory: Laboratory, printers: Printers) -> dict[str, str]:
    """Return what `status` says of each queue."""
    return {
        printers.queue(target["site"]): target["because"]
        for target in laboratory.status()["targets"]
        if target["target"] == "papier"
    }


def hinder(cupsd: Cupsd, queues: Sequence[str]) -> None:
    paused, jammed, rejecting, slow = queues
    cupsd.pause(paused)
    cupsd.set_mode(jammed, "stop")
    cupsd.reject(rejecting)
    cupsd.set_mode(slow, "slow")


def mend(cupsd: Cupsd, queues: Sequence[str]) -> None:
    paused, jammed, rejecting, slow = queues
    cupsd.resume(paused)
    cupsd.set_mode(jammed, "ok")
    cupsd.resume(jammed)
    cupsd.accept(rejecting)
    cupsd.set_mode(slow, "ok")


@pytest.mark.slow
def test_bad_queues_wait_with_their_reason_and_print_once_when_they_recover(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(42, 60, list(SITES), NOW)
    secrets.add(sendings)
    paused, jammed, rejecting, slow, *good = (printers.queue(site) for site in SITES)
    hinder(printers.cupsd, (paused, jammed, rejecting, slow))
    bal.append_all([s.raw for s in sendings])
    at_good = sum(1 for s in sendings if printers.queue(str(s.truth.site)) in good)
    process = printing.start()
    try:
        good_ones_end(printing, at_good)
        assert not printers.cupsd.printed(paused)
        because = reasons(printing, printers)
        assert all(because[queue] for queue in (paused, jammed, rejecting))
        mend(printers.cupsd, (paused, jammed, rejecting, slow))
        good_ones_end(printing, 60)
    finally:
        stop(process)
    for site, meant in documents(sendings).items():
        printed = Counter(printers.cupsd.printed(printers.queue(site)))
        if printers.queue(site) == jammed:
            # CUPS itself repeats what jammed half-way; by us it was submitted once.
            assert set(printed) == set(meant)
        else:
            assert printed == meant
    assert all(count == 1 for count in printers.titles().values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_moments_no_delivery_has_two_jobs_and_none_is_forgotten(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    rng = random.Random(20261122)
    sendings = scenario.certificates(43, 60, list(SITES), NOW)
    secrets.add(sendings)
    uids = [s.raw for s in sendings]
    for kill in range(20):
        bal.append_all(uids[kill * 3 : kill * 3 + 3])
        live_and_die(printing, printers, rng)
    finish(printing, 60)
    assert printers.papers() == documents(sendings)
    assert all(count == 1 for count in printers.titles().values())


def live_and_die(printing: Laboratory, printers: Printers, rng: random.Random) -> None:
    process = printing.start()
    before = printers.begun()
    if rng.random() < 0.7:
        until(
            lambda: printers.begun() > before or process.poll() is not None,
            "a job of this life",
        )
    time.sleep(rng.uniform(0, 0.3))  # noqa: TID251 - the random moment is the test
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)


def test_what_waits_for_a_person_is_printed_when_asked_and_again_when_asked(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    text = printing.routing.read_text(encoding="utf-8")
    printing.write_routing(text.replace('{finess}"}}', '{finess}", when: hold}}'))
    (sending,) = scenario.certificates(44, 1, list(SITES), NOW)
    secrets.add([sending])
    bal.deliver(sending.raw)
    printing.once()
    assert sum(len(found) for found in printers.papers().values()) == 0
    (entry,) = printing.listed()
    assert printing.command("print", entry["id"]).status == 0
    finish(printing, 1)
    assert sum(found.total() for found in printers.papers().values()) == 1
    assert printing.command("reprint", entry["id"], "--reason", "froissé").status == 0
    finish(printing, 1)
    until(
        lambda: sum(found.total() for found in printers.papers().values()) == 2, "a second copy"
    )
    assert printing.command("verify").status == 0
