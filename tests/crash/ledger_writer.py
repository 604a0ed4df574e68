"""Writes into a ledger for ever and says what is done; test_ledger_kill ends it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from dispatcher.core.ledger import DeliveryState, Entry
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.ledger import SqlLedger
from tests.fakes.ledger_samples import identity, pending, ref


def say(entries: list[Entry], state: str) -> None:
    for entry in entries:
        sys.stdout.write(f"{entry.id} {state}\n")
        sys.stdout.flush()


def main(url: str, first: int) -> None:
    ledger = SqlLedger(url, clock=SystemClock())
    for batch in itertools.count():
        uids = [first + batch * 10 + n for n in range(8)]
        with ledger.writing() as writer:
            entries = [writer.receive(pending(uid)) for uid in uids]
            writer.note_foreign(ref(first + batch * 10 + 9), identity())
        say(entries, "pending")
        for to in (DeliveryState.DELIVERING, DeliveryState.DELIVERED):
            with ledger.writing() as writer:
                for entry in entries:
                    writer.move(entry.deliveries[0].id, to)
            say(entries, to.value)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
