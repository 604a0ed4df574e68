"""A CUPS server that takes every connection and never says a word delays nobody else."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.printers import Printers, documents, lay_out
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import BlackHole
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SILENT = "the CUPS server does not answer"
ROUNDS = 10
# A service that waited for CUPS, whose silence it bears for 15 s, would need 150 s.
ENOUGH = 100.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cups_that_never_answers_delays_no_folder_and_no_stop(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(46, ROUNDS, list(SITES), NOW)
    secrets.add(sendings)
    with BlackHole() as hole:
        lay_out(printing, printers, hole.address)
        process = printing.start()
        try:
            ends_at = time.monotonic() + ENOUGH
            for number, sending in enumerate(sendings, start=1):
                bal.deliver(sending.raw)
                left = ends_at - time.monotonic()
                until(partial(in_folders, printing, number), f"file {number}", deadline=left)
            until(lambda: told(printing) == {SILENT}, "why nothing is printed", deadline=60)
            assert printing.status()["balance"]["pending"] == ROUNDS
        finally:
            status, _ = stop(process)
        assert status == 0
    # The right server from now on: everything is printed, once.
    lay_out(printing, printers, str(printers.cupsd.socket))
    until(lambda: printing.once()[1]["pending"] == 0, "the prints", deadline=120)
    assert printers.papers() == documents(sendings)


def in_folders(laboratory: Laboratory, count: int) -> bool:
    return sum(len(laboratory.files(site)) for site in SITES) == count


def told(laboratory: Laboratory) -> set[str | None]:
    """Return what `status` says of the printers."""
    targets = laboratory.status()["targets"]
    return {target["because"] for target in targets if target["target"] == "papier"}
