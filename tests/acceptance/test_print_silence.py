"""A CUPS server that takes every connection and never says a word delays nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.printers import DEADLINE, Printers, documents, lay_out
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import BlackHole
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SILENT = "the CUPS server does not answer"
# More than enough; one is, unless the machine is very busy.
CHANCES = 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cups_that_never_answers_delays_no_folder_and_no_stop(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(46, 2 * CHANCES, list(SITES), NOW)
    secrets.add(sendings)
    sent: list[Sending] = []
    with BlackHole() as hole:
        lay_out(printing, printers, hole.address)
        process = printing.start()
        try:
            patient: set[int] = set()
            while not patient:
                assert len(sent) < len(sendings), "each silence was waited for"
                until(lambda: bool(hole.waiting()), "a question to CUPS", deadline=DEADLINE)
                patient = hole.waiting()
                for sending in sendings[len(sent) : len(sent) + 2]:
                    # The second comes when the first one's print hangs.
                    bal.deliver(sending.raw)
                    sent.append(sending)
                    until(partial(in_folders, printing, len(sent)), "file", deadline=DEADLINE)
                patient &= hole.waiting()
            until(lambda: SILENT in told(printing), "why it is not printed", deadline=DEADLINE)
            assert printing.status()["balance"]["pending"] == len(sent)
        finally:
            status, _ = stop(process)
        assert status == 0
    # The right server from now on: printed once, but for what hung as the service stopped.
    lay_out(printing, printers, str(printers.cupsd.socket))
    until(lambda: printing.once()[1]["pending"] == 0, "the prints", deadline=DEADLINE)
    entries = printing.listed()
    hung = [entry["reason"] for entry in entries if entry["state"] != "delivered"]
    assert set(hung) <= {"in-doubt"}
    assert len(printers.sheets()) == len(sent) - len(hung)
    meant = documents(sent)
    assert all(found <= meant[site] for site, found in printers.papers().items())


def in_folders(laboratory: Laboratory, count: int) -> bool:
    return sum(len(laboratory.files(site)) for site in SITES) == count


def told(laboratory: Laboratory) -> set[str | None]:
    """Return what `status` says of the printers."""
    targets = laboratory.status()["targets"]
    return {target["because"] for target in targets if target["target"] == "papier"}
