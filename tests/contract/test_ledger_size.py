"""The ledger stays quick with 100,000 settled lines, and never walks over them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from dispatcher.core.certificate import ContentKey
from dispatcher.core.ledger import DeliveryState, Place
from dispatcher.core.routing import Kind
from dispatcher.edges.ledger import SqlLedger
from tests.fakes.ledger_samples import (
    NOW,
    REPUBLIQUE,
    StillClock,
    duplicate,
    identity,
    pending,
    ref,
)

LINES = 100_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a ledger with one settled line, one at work, and copies of the settled one."""
    path = tmp_path_factory.mktemp("large") / "l.sqlite3"
    url = f"sqlite:///{path}"
    ledger = SqlLedger(url, clock=StillClock())
    with ledger.writing() as writer:
        settled = writer.receive(pending(1))
        for to in (DeliveryState.DELIVERING, DeliveryState.DELIVERED):
            writer.move(settled.deliveries[0].id, to)
        writer.receive(duplicate(2, settled.id))
        at_work = writer.receive(pending(3))
        writer.move(at_work.deliveries[0].id, DeliveryState.DELIVERING)
        writer.receive(pending(4))
        writer.note_foreign(ref(5), identity())
        writer.keyword_set([ref(1), ref(2)])
        writer.remember(Place("lbm", 7, 5, NOW))
    ledger.close()
    _copy_settled_lines(path)
    return url


def _copy_settled_lines(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table, key in (("entry", "id"), ("delivery", "entry_id")):
            names = [line[1] for line in connection.execute(f"PRAGMA table_info({table})")]
            new = {
                "seq": "NULL",
                "id": f"'{table[0]}' || n",
                "entry_id": "'e' || n",
                "uid": "n + 100",
                "file_number": "'F' || n",
                "sha256": "'S' || n",
                "raw_sha256": "'R' || n",
            }
            connection.execute(f"DROP TRIGGER {table}_begins")
            values = ", ".join(new.get(name, f"t.{name}") for name in names)
            connection.execute(
                f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"  # noqa: S608 - ours
                f" INSERT INTO {table} SELECT {values} FROM c, {table} AS t"
                f" WHERE t.{key} = (SELECT id FROM entry WHERE uid = 1)",
                (LINES,),
            )
        connection.execute(
            "UPDATE counter SET value = value + ? WHERE name = 'received'", (LINES,)
        )
        connection.commit()


@pytest.fixture
def large(url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger(url, clock=StillClock())
    yield ledger
    ledger.close()


def test_opening_counting_and_asking_what_is_due_take_less_than_three_seconds(
    url: str,
) -> None:
    begun = time.process_time()
    ledger = SqlLedger(url, clock=StillClock())
    assert ledger.balance().received >= LINES
    assert ledger.balance().difference == 0
    assert [entry.ref.uid for entry in ledger.due("lbm", NOW)] == [4]
    assert time.process_time() - begun < 3, "seconds of CPU"
    ledger.close()


QUERIES: dict[str, Callable[[SqlLedger], object]] = {
    "entry": lambda ledger: ledger.entry("e77"),
    "entries_at": lambda ledger: ledger.entries_at([ref(177), ref(178)]),
    "alike": lambda ledger: ledger.alike(
        [f"R{n}" for n in range(70, 80)],
        [ContentKey(REPUBLIQUE, f"F{n}", f"S{n}") for n in range(70, 80)],
    ),
    "unsettled": lambda ledger: ledger.unsettled("lbm"),
    "due": lambda ledger: ledger.due("lbm", NOW + timedelta(days=1)),
    "next_due": lambda ledger: ledger.next_due("lbm"),
    "place": lambda ledger: ledger.place("lbm"),
    "known": lambda ledger: len(ledger.known("lbm", 7)),
    "openings": lambda ledger: ledger.openings("lbm", 7),
    "lacking_keyword": lambda ledger: len(ledger.lacking_keyword("lbm", 8)),
    "balance": lambda ledger: ledger.balance(),
    "history": lambda ledger: ledger.history("e77"),
    "backlog": lambda ledger: ledger.backlog("lbm", NOW + timedelta(days=9000)),
    "first of entries": lambda ledger: next(ledger.entries()),
    "first of printed entries": lambda ledger: next(ledger.entries(kind=Kind.PRINT), "none"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_question_walks_over_the_settled_lines(large: SqlLedger, name: str) -> None:
    asked: list[tuple[str, Any]] = []

    def remember(*call: Any) -> None:
        asked.append((call[2], call[3]))

    event.listen(large._readers, "before_cursor_execute", remember)
    answer = QUERIES[name](large)
    event.remove(large._readers, "before_cursor_execute", remember)
    assert answer is not None
    queries = [(sql, values) for sql, values in asked if sql.startswith("SELECT")]
    assert queries
    with large._readers.connect() as connection:
        for sql, values in queries:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
            for line in plan:
                assert not _walks(line.detail, name), f"{line.detail}: {sql}"


def _walks(step: str, name: str) -> bool:
    """Return whether a step of a plan reads the lines of a large table one by one.

    Counting over an index alone is none, nor is walking one in its order, page by page.
    """
    of_large = step.startswith(("SCAN entry", "SCAN delivery", "SCAN event"))
    in_pages = name.startswith("first of") and "INDEX entry_received" in step
    return of_large and "COVERING INDEX" not in step and not in_pages


def test_a_work_step_does_not_slow_down_with_the_lines_that_are_settled(
    large: SqlLedger,
) -> None:
    begun = time.process_time()
    for uid in range(10):
        with large.writing() as writer:
            entry = writer.receive(pending(1_000_000 + uid))
            writer.move(entry.deliveries[0].id, DeliveryState.DELIVERING)
        with large.writing() as writer:
            writer.move(entry.deliveries[0].id, DeliveryState.DELIVERED)
            writer.keyword_set([entry.ref])
    assert time.process_time() - begun < 3, "seconds of CPU"
