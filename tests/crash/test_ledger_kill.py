"""`kill -9` in the middle of writing: what was acknowledged is there, the rest never was."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dispatcher.edges.ledger import SqlLedger
from tests.fakes.ledger_samples import StillClock

pytestmark = pytest.mark.slow

ROUNDS = 10
PROGRAM = Path(__file__).with_name("ledger_writer.py")


def acknowledged(url: str, first: int, lines: int) -> list[tuple[str, str]]:
    """Run the writer, kill it after so many lines, return all that it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, str(PROGRAM), url, str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROGRAM.parents[2],
    )
    with child:
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        assert child.stdout is not None
        said = list(itertools.islice(child.stdout, lines))
        child.kill()
        said.extend(child.stdout)
        watchdog.cancel()
    assert child.returncode == -9
    whole = [line.split() for line in said if line.endswith("\n")]
    assert len(whole) >= lines, "the writer ended by itself"
    return [(entry, state) for entry, state in whole]


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/l.sqlite3"
    chance = random.Random(20260329)
    last_known: dict[str, str] = {}
    order = ["pending", "delivering", "delivered"]
    for number in range(ROUNDS):
        lines = chance.randrange(1, 60)
        last_known.update(acknowledged(url, 1 + number * 100_000, lines))
        ledger = SqlLedger(url, clock=StillClock())
        try:
            assert ledger.flaws() == ()
            assert ledger.balance().difference == 0
            there = {entry.id: entry.deliveries[0].state.value for entry in ledger.entries()}
        finally:
            ledger.close()
        for entry, state in last_known.items():
            reached = {"decided": "pending"}.get(there[entry], there[entry])
            assert order.index(reached) >= order.index(state), (entry, state, reached)
    assert len(last_known) > ROUNDS
