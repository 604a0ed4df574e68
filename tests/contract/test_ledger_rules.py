"""What every ledger promises of the rules in force. The real one and the fake pass these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.core.ledger import DeliveryState, Entry
from dispatcher.core.paris import PARIS
from dispatcher.core.rulebook import (
    CHANGES_KEPT,
    VERSIONS_KEPT,
    Change,
    Origin,
    Refusal,
    RulesState,
)
from dispatcher.edges.ledger import SqlLedger
from dispatcher.errors import InvariantBroken
from tests.fakes.ledger_samples import NOW, StillClock, pending
from tests.fakes.memory_ledger import MemoryLedger

D = DeliveryState
AnyLedger = SqlLedger | MemoryLedger
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyLedger]:
    made: AnyLedger = (
        MemoryLedger(clock=StillClock())
        if request.param == "memory"
        else SqlLedger(f"sqlite:///{tmp_path}/l.sqlite3", clock=StillClock())
    )
    yield made
    assert made.flaws() == ()
    made.close()


def take(ledger: AnyLedger, *digests: str, origin: Origin = Origin.RELOAD) -> None:
    for digest in digests:
        with ledger.writing() as writer:
            writer.take_rules(Change(NOW, digest, origin), digest.encode())


def refusal(digest: str = B) -> Refusal:
    return Refusal(NOW, digest, ("routing.yaml:1:1: wrong; write it right",))


def test_the_newest_rules_that_came_into_force_are_in_force(ledger: AnyLedger) -> None:
    assert (ledger.rules_state(), ledger.rules_history()) == (None, ())
    later = NOW + timedelta(hours=1)
    with ledger.writing() as writer:
        writer.take_rules(Change(NOW, A, Origin.START), b"first")
        writer.take_rules(Change(later, B, Origin.ROLLBACK, "claire", "a typo"), b"second")
        writer.take_rules(Change(later, C, Origin.SET_ASIDE, "claire", "a typo"), b"broken")
    assert ledger.rules_state() == RulesState(B, later)
    assert [change.digest for change in ledger.rules_history()] == [A, B, C]
    assert ledger.rules_history()[1] == Change(later, B, Origin.ROLLBACK, "claire", "a typo")
    assert [ledger.rules_content(one) for one in (A, B, C, "d")] == [
        b"first", b"second", b"broken", None,
    ]  # fmt: skip


def test_a_refusal_lasts_until_rules_come_into_force_or_it_is_taken_back(
    ledger: AnyLedger,
) -> None:
    take(ledger, A)
    for end in ("rules", "nothing", "set aside"):
        with ledger.writing() as writer:
            writer.refuse_rules(refusal(C))
            writer.refuse_rules(refusal(B))
        state = ledger.rules_state()
        assert state is not None
        assert state.refusal == refusal(B)
        if end == "rules":
            take(ledger, C)
        elif end == "nothing":
            with ledger.writing() as writer:
                writer.refuse_rules(None)
        else:
            take(ledger, B, origin=Origin.SET_ASIDE)
        state = ledger.rules_state()
        assert state is not None
        assert (state.refusal is None) is (end != "set aside")


def test_old_versions_are_forgotten_but_not_what_a_delivery_went_by(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        entry = writer.receive(replace(pending(1), rules=A))
    assert [delivery.rules for delivery in entry.deliveries] == [A]
    take(ledger, A, B, *(f"{number:064}" for number in range(VERSIONS_KEPT)))
    kept = [ledger.rules_content(one) is not None for one in (A, B, f"{0:064}")]
    assert kept == [True, False, True]
    assert len(ledger.rules_history()) == VERSIONS_KEPT + 2
    with ledger.writing() as writer:
        writer.discard(entry.id)
    take(ledger, C)
    assert ledger.rules_content(A) is None


def test_the_history_is_bounded(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        for number in range(CHANGES_KEPT + 3):
            writer.take_rules(Change(NOW, f"{number % 7:064}", Origin.RELOAD), b"x")
    found = ledger.rules_history()
    assert len(found) == CHANGES_KEPT
    assert found[0].digest == f"{3 % 7:064}"


def test_a_delivery_records_by_which_rules_it_goes(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        entry = writer.receive(replace(pending(1), rules=A))
        writer.move(entry.deliveries[0].id, D.DELIVERING, rules=B)
        entry = writer.move(entry.deliveries[0].id, D.DELIVERED, reference="there")
    found = ledger.entry(entry.id)
    assert found is not None
    assert (found.rules, rules_of(found)) == (A, [B])


def rules_of(entry: Entry) -> list[str]:
    return [delivery.rules for delivery in entry.deliveries]


def test_a_time_without_a_zone_is_refused(ledger: AnyLedger) -> None:
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.take_rules(Change(datetime(2026, 1, 1), A, Origin.START), b"")  # noqa: DTZ001
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.refuse_rules(Refusal(datetime(2026, 1, 1), A, ()))  # noqa: DTZ001
    with ledger.writing() as writer:
        writer.take_rules(Change(NOW.astimezone(PARIS), A, Origin.START), b"")
    assert ledger.rules_state() == RulesState(A, NOW)
