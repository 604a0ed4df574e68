"""Printers and CUPS servers that do not print: what waits, what it says, and that it ends."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.printers import DEADLINE, Printers, delivered, documents, lay_out
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
PAUSED, JAMMED, UNREACHABLE, SLOW, ASKED, GOOD = SITES


def told(laboratory: Laboratory) -> dict[str, tuple[str | None, bool]]:
    """Return what `status` says of each printer, and whether it says since when."""
    return {
        target["site"]: (target["because"], target["since"] is not None)
        for target in laboratory.status()["targets"]
        if target["target"] == "papier"
    }


def states(laboratory: Laboratory) -> dict[str, Counter[tuple[str, str | None, str]]]:
    """Return by site how many are in which state, for which reason, with the print's state."""
    found: dict[str, Counter[tuple[str, str | None, str]]] = {site: Counter() for site in SITES}
    for entry in laboratory.listed():
        (printed,) = [d["state"] for d in entry["deliveries"] if d["target"] == "papier"]
        found[entry["site"]][entry["state"], entry["reason"], printed] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_200_certificates_end_printed_waiting_or_held_as_the_rules_say(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(42, 200, list(SITES), NOW)
    secrets.add(sendings)
    meant = documents(sendings)
    count = {site: meant[site].total() for site in SITES}
    lay_out(printing, printers, str(printers.cupsd.socket), held=ASKED)
    hinder(printers)
    bal.append_all([s.raw for s in sendings])
    process = printing.start()
    try:
        delivered(printing, count[GOOD] + count[SLOW])
        somebody_cancels_one(printing, printers)
        reasons_told(printing)
        everything_stands_as_it_should(states(printing), count)
        mend(printers)
        assert printing.command("print", "--site", ASKED).status == 0
        delivered(printing, 199)
        (held,) = printing.listed("--state", "held")
        assert printing.command("retry", held["id"]).status == 0
        delivered(printing, 200)
    finally:
        stop(process)
    assert printers.papers() == meant, "each once, at its own site"
    assert all(len(jobs) == 1 for jobs in printers.jobs().values()), "and by one job"
    assert set(told(printing).values()) == {(None, False)}


def hinder(printers: Printers) -> None:
    cupsd = printers.cupsd
    cupsd.pause(printers.queue(PAUSED))
    cupsd.set_mode(printers.queue(JAMMED), "jammed")
    cupsd.set_mode(printers.queue(UNREACHABLE), "unreachable")
    cupsd.set_mode(printers.queue(SLOW), "slow")


def mend(printers: Printers) -> None:
    printers.cupsd.resume(printers.queue(PAUSED))
    for site in (JAMMED, UNREACHABLE):
        printers.cupsd.set_mode(printers.queue(site), "ok")


def somebody_cancels_one(laboratory: Laboratory, printers: Printers) -> None:
    waiting = printers.cupsd.jobs(printers.queue(PAUSED))
    printers.cupsd.cancel(waiting[0])
    until(
        lambda: laboratory.status()["held"] == {"target-refused": 1},
        "the cancelled one is held",
        deadline=DEADLINE,
    )


def everything_stands_as_it_should(
    found: dict[str, Counter[tuple[str, str | None, str]]], count: dict[str, int]
) -> None:
    for site in (GOOD, SLOW):
        assert found[site] == {("delivered", None, "delivered"): count[site]}
    assert found[ASKED] == {("pending", None, "waiting"): count[ASKED]}
    assert found[PAUSED].pop(("held", "target-refused", "held")) == 1
    for site in (PAUSED, JAMMED, UNREACHABLE):
        assert found[site]["pending", None, "delivering"] > 0
        assert {key[:2] for key in found[site]} == {("pending", None)}


def reasons_told(laboratory: Laboratory) -> None:
    """Return once `status` says what keeps each printer from printing."""
    expected = {
        PAUSED: ("the queue is paused", True),
        JAMMED: ("paper jam", True),
        UNREACHABLE: ("the printer cannot be reached yet", True),
        SLOW: (None, False),
        ASKED: ("printed when somebody asks for it", True),
        GOOD: (None, False),
    }
    last: dict[str, tuple[str | None, bool]] = {}

    def all_told() -> bool:
        last.update(told(laboratory))
        return last == expected

    try:
        until(all_told, "a reason for each", deadline=DEADLINE)
    except AssertionError:
        assert last == expected


def test_a_rejecting_queue_and_a_cups_that_is_down_say_so_and_go_on(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    cupsd = printers.cupsd
    sendings = scenario.certificates(45, 2, list(SITES), NOW)
    secrets.add(sendings)
    rejecting, dry = (str(s.truth.site) for s in sendings)
    cupsd.reject(printers.queue(rejecting))
    cupsd.set_mode(printers.queue(dry), "out-of-paper")
    bal.append_all([s.raw for s in sendings])
    process = printing.start()

    def says(site: str, words: str) -> None:
        until(
            lambda: words in (told(printing)[site][0] or ""),
            f"{site}: {words}",
            deadline=DEADLINE,
        )

    try:
        says(rejecting, "rejects jobs")
        says(dry, "out of paper")
        cupsd.stop()
        try:
            for site in (rejecting, dry):
                says(site, "the CUPS server does not answer")
        finally:
            cupsd.start()
        cupsd.accept(printers.queue(rejecting))
        cupsd.set_mode(printers.queue(dry), "ok")
        delivered(printing, 2)
    finally:
        stop(process)
    assert {site: set(found) for site, found in printers.papers().items()} == {
        site: set(found) for site, found in documents(sendings).items()
    }
    assert all(len(jobs) == 1 for jobs in printers.jobs().values())
