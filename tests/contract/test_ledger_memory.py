"""What the ledger remembers of its own last transactions, and when it forgets it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import DeliveryState, Entry, State
from dispatcher.edges.ledger import SqlLedger, memory
from dispatcher.errors import InvariantBroken
from tests.fakes.ledger_samples import (
    FOLDER,
    NOW,
    PRINTER,
    StillClock,
    duplicate,
    held,
    identity,
    pending,
    ref,
)

D = DeliveryState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@contextmanager
def opened(path: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{path}", clock=StillClock())
    try:
        yield ledger
    finally:
        assert ledger.flaws() == ()
        ledger.close()


@contextmanager
def heard(ledger: SqlLedger) -> Iterator[list[str]]:
    """Tell the statements of the transactions that are made inside."""
    statements: list[str] = []

    def hear(*call: Any) -> None:
        statements.append(call[2])

    event.listen(ledger._writers, "before_cursor_execute", hear)
    yield statements
    event.remove(ledger._writers, "before_cursor_execute", hear)


def begun(ledger: SqlLedger, uid: int = 1) -> Entry:
    with ledger.writing() as writer:
        entry = writer.receive(pending(uid, deliveries=(FOLDER,)))
        return writer.move(entry.deliveries[0].id, D.DELIVERING)


def delivered(ledger: SqlLedger, entry: Entry) -> Entry:
    with ledger.writing() as writer:
        writer.recall([entry.id])
        return writer.move(entry.deliveries[0].id, D.DELIVERED, reference="r")


def test_what_this_process_wrote_last_is_not_read_back(path: Path) -> None:
    with opened(path) as ledger:
        entry = begun(ledger)
        with heard(ledger) as statements:
            entry = delivered(ledger, entry)
            with ledger.writing() as writer:
                writer.keyword_set([entry.ref])
        assert not [one for one in statements if "FROM entry" in one]
        found = ledger.entry(entry.id)
        assert found is not None
        assert (found.state, found.keyword_set) == (State.DELIVERED, True)


def test_a_new_message_s_line_is_written_once(path: Path) -> None:
    with opened(path) as ledger, heard(ledger) as statements:
        begun(ledger)
        lines = [one for one in statements if one.startswith(("INSERT", "UPDATE"))]
        assert [one.split()[:3] for one in lines if "entry" in " ".join(one.split()[:3])] == [
            ["INSERT", "INTO", "entry"]
        ]


def _discards(path: Path, entry: Entry) -> None:
    with opened(path) as other, other.writing() as writer:
        writer.move(entry.deliveries[0].id, D.DECIDED)
        writer.discard(entry.id)


def _by_hand(path: Path, _: Entry) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE delivery SET attempts = 7")


@pytest.mark.parametrize("change", [_discards, _by_hand])
def test_what_another_process_wrote_meanwhile_is_seen(
    path: Path, change: Callable[[Path, Entry], None]
) -> None:
    ledger = SqlLedger(f"sqlite:///{path}", clock=StillClock())
    entry = begun(ledger)
    change(path, entry)
    with ledger.writing() as writer:
        writer.recall([entry.id])
        seen = writer._entries[entry.id]
    assert seen == ledger.entry(entry.id) != entry
    ledger.close()


def test_a_message_that_was_marked_by_another_process_is_not_marked_again(path: Path) -> None:
    with opened(path) as ledger:
        entry = delivered(ledger, begun(ledger))
        with opened(path) as other, other.writing() as writer:
            writer.relocate(entry.id, ref(9), identity())
        with ledger.writing() as writer:
            writer.keyword_set([entry.ref])
        found = ledger.entry(entry.id)
        assert found is not None
        assert not found.keyword_set


def test_a_place_is_looked_up_as_this_transaction_left_it(path: Path) -> None:
    with opened(path) as ledger:
        one, two = begun(ledger, 1), begun(ledger, 2)
        with ledger.writing() as writer:
            writer.absent([one.ref])
            writer.relocate(two.id, one.ref, identity())
            writer.keyword_set([one.ref])
        marked = {entry.id: entry.keyword_set for entry in ledger.entries()}
        assert marked == {one.id: False, two.id: True}


class PowerCut(BaseException):
    pass


def _fails(ledger: SqlLedger, entry: Entry, error: BaseException) -> None:
    with ledger.writing() as writer:
        writer.recall([entry.id])
        writer.move(entry.deliveries[0].id, D.DELIVERED)
        writer.flush()
        raise error


def test_what_was_undone_is_not_remembered(path: Path) -> None:
    with opened(path) as ledger:
        entry = begun(ledger)
        for error in (PowerCut(), InvariantBroken("")):
            with pytest.raises(type(error)):
                _fails(ledger, entry, error)
            with ledger.writing() as writer:
                writer.recall([entry.id])
                assert writer._entries[entry.id] == entry


def test_what_is_remembered_is_what_the_file_discards(path: Path) -> None:
    with opened(path) as ledger:
        with ledger.writing() as writer:
            first = writer.receive(pending(1, deliveries=(FOLDER, PRINTER)))
            writer.receive(held(2))
            writer.receive(duplicate(3, first.id))
            writer.move(first.deliveries[0].id, D.DELIVERING, rules="r")
        with ledger.writing() as writer:
            writer.move(first.deliveries[0].id, D.DECIDED, because="full", next_try_at=NOW)
            writer.move(first.deliveries[0].id, D.DELIVERING)
            writer.relocate(first.id, ref(9), identity())
            writer.divert(first.deliveries[0].id, FOLDER, "gone")
        remembered = list(ledger._memory._held.values())
        assert len(remembered) == 2
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            for one in remembered:
                assert one.entry == ledger.entry(one.entry.id)
                key = (one.entry.id,)
                line = connection.execute("SELECT * FROM entry WHERE id = ?", key).fetchone()
                assert {**one.lines.entry, "seq": line["seq"]} == dict(line)
                query = "SELECT * FROM delivery WHERE entry_id = ? ORDER BY position"
                deliveries = [dict(line) for line in connection.execute(query, key)]
                assert list(one.lines.deliveries) == deliveries


def test_nothing_is_remembered_of_what_is_at_rest_and_only_so_much(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MOST", 3)
    with opened(path) as ledger:
        entries = [begun(ledger, uid) for uid in range(1, 6)]
        assert list(ledger._memory._held) == [entry.id for entry in entries[2:]]
        last = delivered(ledger, entries[4])
        with ledger.writing() as writer:
            writer.keyword_set([last.ref])
            writer.hold(entries[3].id, HoldReason.IN_DOUBT, "")
        assert list(ledger._memory._held) == [entries[2].id]
