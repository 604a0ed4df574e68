"""What every ledger promises of deletion at the term, and of the trail that proves it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from dispatcher.core.audit import Deed, What
from dispatcher.core.certificate import ContentKey, HoldReason
from dispatcher.core.delivery import Removal
from dispatcher.core.ledger import Act, DeliveryState, Entry, NewEntry, State
from dispatcher.edges.ledger import SqlLedger
from dispatcher.edges.ledger import birth as birth_module
from dispatcher.errors import InvariantBroken, NotNow
from dispatcher.ports import Writer
from tests.fakes.ledger_samples import (
    FOLDER,
    NOW,
    PRINTER,
    REPUBLIQUE,
    StillClock,
    duplicate,
    held,
    identity,
    latest_of,
    pending,
    ref,
    same_content,
)
from tests.fakes.memory_ledger import MemoryLedger

D = DeliveryState
AnyLedger = SqlLedger | MemoryLedger
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock
) -> Iterator[AnyLedger]:
    made: AnyLedger = (
        MemoryLedger(clock=clock)
        if request.param == "memory"
        else SqlLedger(f"sqlite:///{tmp_path}/l.sqlite3", clock=clock)
    )
    yield made
    assert made.flaws() == ()
    assert made.balance().difference == 0
    made.close()


def receive(ledger: AnyLedger, *new: NewEntry) -> list[Entry]:
    with ledger.writing() as writer:
        return [writer.receive(one) for one in new]


def delivered(ledger: AnyLedger, new: NewEntry) -> Entry:
    (entry,) = receive(ledger, new)
    for delivery in entry.deliveries:
        with ledger.writing() as writer:
            writer.move(delivery.id, D.DELIVERING)
            entry = writer.move(delivery.id, D.DELIVERED, reference=f"r-{delivery.id}")
    return entry


def purged(ledger: AnyLedger, entry: Entry) -> Entry:
    with ledger.writing() as writer:
        writer.begin_purge([entry.id])
        for delivery in entry.deliveries:
            writer.copy_gone(delivery.id, Removal.REMOVED)
        writer.mail_gone(entry.id, Removal.REMOVED)
        return writer.empty(entry.id)


def test_a_delivery_remembers_when_it_was_made(ledger: AnyLedger, clock: StillClock) -> None:
    at = clock.pass_by(HOUR)
    entry = delivered(ledger, pending(1))
    assert entry.deliveries[0].made_at == at
    assert ledger.entry(entry.id) == entry


def test_an_emptied_line_tells_nothing_and_still_counts(
    ledger: AnyLedger, clock: StillClock
) -> None:
    entry = delivered(ledger, pending(1, message_id="ab" * 32))
    assert entry.file_number is not None
    assert entry.message_id == "ab" * 32
    at = clock.pass_by(HOUR)
    before = ledger.balance()
    now = purged(ledger, entry)
    assert ledger.entry(entry.id) == now
    assert (now.state, now.emptied_at, now.present) == (State.PURGED, at, False)
    assert (now.removal, now.removed_at) == (Removal.REMOVED, at)
    assert {
        now.file_number, now.result, now.analysis, now.sampled_at, now.purge_at, now.sha256,
        now.raw_sha256, now.message_id,
    } == {None}  # fmt: skip
    assert now.deliveries[0].reference is None
    assert now.deliveries[0].removal is Removal.REMOVED
    assert ledger.balance() == before
    assert ledger.history(entry.id)[-1].became is State.PURGED


def test_a_purged_content_that_comes_again_finds_its_first(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1))
    assert entry.file_number is not None
    assert entry.sha256 is not None
    key = ContentKey(REPUBLIQUE, entry.file_number, entry.sha256)
    purged(ledger, entry)
    assert [found.id for found in same_content(ledger, key)] == [entry.id]
    assert same_content(ledger, replace(key, sha256="0" * 64)) == ()
    assert latest_of(ledger, key.site, key.file_number) is None


def test_what_found_a_duplicate_goes_in_the_end(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1))
    assert entry.file_number is not None
    assert entry.sha256 is not None
    key = ContentKey(REPUBLIQUE, entry.file_number, entry.sha256)
    purged(ledger, entry)
    with ledger.writing() as writer:
        assert writer.forget_keys(entry.received_at - HOUR) == 0
    with ledger.writing() as writer:
        assert writer.forget_keys(entry.received_at) == 1
    assert same_content(ledger, key) == ()


def test_a_purged_duplicate_counts_as_a_duplicate(ledger: AnyLedger) -> None:
    first = delivered(ledger, pending(1))
    (copy,) = receive(ledger, duplicate(2, first.id))
    before = ledger.balance()
    purged(ledger, copy)
    purged(ledger, first)
    assert ledger.balance() == before
    assert (before.delivered, before.duplicate) == (1, 1)


@pytest.mark.parametrize("state", [State.PENDING, State.HELD])
def test_an_undelivered_message_is_never_begun(ledger: AnyLedger, state: State) -> None:
    (entry,) = receive(ledger, pending(1) if state is State.PENDING else held(1))
    for step in ("begin", "gone", "empty"):
        with pytest.raises(InvariantBroken), ledger.writing() as writer:
            _step(writer, step, entry)
    assert ledger.entry(entry.id) == entry


def _step(writer: Writer, step: str, entry: Entry) -> None:
    match step:
        case "begin":
            writer.begin_purge([entry.id])
        case "gone":
            writer.mail_gone(entry.id, Removal.REMOVED)
        case _:
            writer.empty(entry.id)


def test_a_line_is_not_emptied_while_a_copy_lies_on_its_site(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1, deliveries=(FOLDER, PRINTER)))
    with ledger.writing() as writer:
        writer.mail_gone(entry.id, Removal.GONE)
        writer.copy_gone(entry.deliveries[0].id, Removal.GONE)
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.empty(entry.id)


def test_a_copy_without_a_reference_gets_the_one_it_is_found_by(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, pending(1))
    with ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, D.DELIVERING)
        writer.move(entry.deliveries[0].id, D.DELIVERED)
        now = writer.located(entry.deliveries[0].id, "r")
    assert now.deliveries[0].reference == "r"
    assert ledger.entry(entry.id) == now


def test_a_changed_copy_keeps_its_reference_until_it_is_gone(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1))
    (delivery,) = entry.deliveries
    with ledger.writing() as writer:
        writer.copy_gone(delivery.id, Removal.CHANGED)
        writer.mail_gone(entry.id, Removal.REMOVED)
        now = writer.empty(entry.id)
    assert now.deliveries[0].reference == delivery.reference
    assert [one.id for one in ledger.changed_copies()] == [entry.id]
    with ledger.writing() as writer:
        now = writer.copy_gone(delivery.id, Removal.GONE)
    assert now.deliveries[0].reference is None
    assert ledger.changed_copies() == ()


def test_an_undelivered_message_expires_and_is_emptied_as_expired(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, held(1))
    with ledger.writing() as writer:
        assert writer.expire(entry.id).state is State.EXPIRED
        writer.mail_gone(entry.id, Removal.REMOVED)
        now = writer.empty(entry.id)
    assert (now.state, now.key_digest, now.file_number) == (State.EXPIRED, None, None)
    assert ledger.balance().expired == 1


def test_nothing_expires_while_a_delivery_is_under_way(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, pending(1))
    with ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, D.DELIVERING)
    with pytest.raises(NotNow), ledger.writing() as writer:
        writer.expire(entry.id)


def test_a_message_that_is_being_deleted_is_not_printed_again(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1, deliveries=(PRINTER,)))
    with ledger.writing() as writer:
        writer.begin_purge([entry.id])
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.reprint(entry.id, PRINTER.target)


def test_a_message_thought_gone_that_lies_elsewhere_is_to_be_deleted_anew(
    ledger: AnyLedger,
) -> None:
    entry = delivered(ledger, pending(1))
    with ledger.writing() as writer:
        writer.begin_purge([entry.id])
        writer.mail_gone(entry.id, Removal.GONE)
        writer.relocate(entry.id, ref(9), identity())
    now = ledger.entry(entry.id)
    assert now is not None
    assert (now.removal, now.purge_begun_at, now.present) == (None, None, True)


def test_what_is_past_its_term_is_found_until_its_line_is_empty(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1, purge_at=NOW))
    receive(ledger, pending(2, purge_at=NOW + HOUR), held(3, purge_at=NOW))
    assert [e.ref.uid for e in ledger.past_term("lbm", NOW)] == [1, 3]
    assert [e.ref.uid for e in ledger.past_term("lbm", NOW + HOUR)] == [1, 2, 3]
    assert ledger.past_term("other", NOW + HOUR) == ()
    assert ledger.backlog("lbm", NOW + HOUR) == (3, NOW)
    assert ledger.backlog("lbm", NOW - HOUR) == ledger.backlog("other", NOW) == (0, None)
    assert [e.ref.uid for e in ledger.undelivered("lbm", NOW + HOUR)] == [2, 3]
    purged(ledger, entry)
    assert [e.ref.uid for e in ledger.past_term("lbm", NOW)] == [3]
    assert ledger.backlog("lbm", NOW) == (1, NOW)


def test_a_term_is_set_anew(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, pending(1))
    with ledger.writing() as writer:
        writer.set_term(entry.id, NOW + HOUR)
    now = ledger.entry(entry.id)
    assert now is not None
    assert now.purge_at == NOW + HOUR


def test_what_others_removed_is_counted_until_it_is_recorded(ledger: AnyLedger) -> None:
    entry = delivered(ledger, pending(1))
    assert (ledger.vanished("lbm"), ledger.lying("lbm")) == (0, 1)
    with ledger.writing() as writer:
        writer.absent([entry.ref])
    assert (ledger.vanished("lbm"), ledger.lying("lbm")) == (1, 0)
    with ledger.writing() as writer:
        writer.mail_gone(entry.id, Removal.GONE)
    assert ledger.vanished("lbm") == 0


def test_a_person_keeps_a_message_and_lets_it_go(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, pending(1))
    with ledger.writing() as writer:
        assert writer.keep(entry.id, NOW + HOUR).kept_until == NOW + HOUR
    with ledger.writing() as writer:
        assert writer.keep(entry.id, None).kept_until is None


def test_the_first_warning_and_the_last_one_are_remembered(
    ledger: AnyLedger, clock: StillClock
) -> None:
    (entry,) = receive(ledger, pending(1))
    first = clock.pass_by(HOUR)
    with ledger.writing() as writer:
        writer.warned(entry.id, 24)
    clock.pass_by(HOUR)
    with ledger.writing() as writer:
        writer.warned(entry.id, 4)
    now = ledger.entry(entry.id)
    assert now is not None
    assert (now.warned_at, now.warned) == (first, 4)


def test_a_note_is_remembered_changed_and_forgotten(ledger: AnyLedger) -> None:
    for value in ("one", "two", None):
        with ledger.writing() as writer:
            writer.note("brake lbm", value)
        assert ledger.memo("brake lbm") == value
    with ledger.writing() as writer:
        for name in ("page b", "page a", "Page c", "pages"):
            writer.note(name, name)
    assert list(ledger.memos("page ")) == ["page a", "page b"]


# --- the trail


def deed(number: int, entry: Entry | None = None, **changes: str) -> Deed:
    return Deed(
        "removed",
        What.MAIL,
        NOW + number * HOUR,
        entry=None if entry is None else entry.id,
        where=f"lbm 7/{number}",
        rule="negative 72h",
        answer="expunged",
        **changes,
    )


def test_the_trail_tells_deletions_and_decisions_in_their_order(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, pending(1))
    act = Act("retry", entry.id, "claire", "la photo est là", NOW + HOUR)
    with ledger.writing() as writer:
        writer.trace(deed(0, entry))
        writer.record(act)
        writer.trace(deed(2))
    traces = list(ledger.trail())
    assert [t.seq for t in traces] == [1, 2, 3]
    assert [t.deed.verb for t in traces] == ["removed", "retry", "removed"]
    assert traces[0].deed == deed(0, entry)
    assert ledger.acts(entry.id) == (act,)
    assert [t.seq for t in ledger.trail(since=NOW + HOUR)] == [2, 3]
    assert len({t.id for t in traces}) == 3
    assert ledger.trail_flaw() is None


def _trace_and_fail(writer: Writer) -> None:
    writer.trace(deed(1))
    writer.begin_purge(["nobody"])


def test_an_undone_transaction_leaves_no_line_in_the_trail(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        writer.trace(deed(0))
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        _trace_and_fail(writer)
    with ledger.writing() as writer:
        writer.trace(deed(2))
    assert [t.deed for t in ledger.trail()] == [deed(0), deed(2)]
    assert ledger.trail_flaw() is None


def test_the_oldest_lines_go_and_the_trail_stays_whole(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        for number in range(6):
            writer.trace(deed(number))
    with ledger.writing() as writer:
        assert writer.trim_trail(NOW) == 0
        assert writer.trim_trail(NOW + 4 * HOUR) == 4
    assert [t.seq for t in ledger.trail()] == [5, 6]
    assert ledger.trail_flaw() is None
    with ledger.writing() as writer:
        assert writer.trim_trail(NOW + 99 * HOUR) == 2
        writer.trace(deed(7))
    assert [t.seq for t in ledger.trail()] == [7]
    assert ledger.trail_flaw() is None


# --- the file itself


def damaged(path: Path, statement: str) -> str | None:
    """Return what the trail says after somebody changed the file by hand."""
    clock = StillClock()
    ledger = SqlLedger(f"sqlite:///{path}", clock=clock)
    with ledger.writing() as writer:
        for number in range(5):
            writer.trace(deed(number))
    ledger.close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        checks = connection.exec_driver_sql(query).all()
        for name, _ in checks:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql(statement)
        for _, sql in checks:
            connection.exec_driver_sql(sql)
    engine.dispose()
    ledger = SqlLedger(f"sqlite:///{path}", clock=clock)
    try:
        found = ledger.trail_flaw()
        assert (found is None) == (ledger.flaws() == ())
        return found
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        pytest.param("UPDATE audit SET place = 'lbm 7/9' WHERE seq = 3", "line 3", id="place"),
        pytest.param(
            "UPDATE audit SET at = '2026-03-29T00:30:00.123457+00:00' WHERE seq = 1",
            "line 1",
            id="time",
        ),
        pytest.param("UPDATE audit SET by = 'x' WHERE seq = 5", "line 5", id="the last one"),
        pytest.param(
            "DELETE FROM audit WHERE seq = 3", "lines 3 to 3 are missing", id="middle"
        ),
        pytest.param("DELETE FROM audit WHERE seq = 1", "lines 1 to 1 are missing", id="head"),
        pytest.param(
            "DELETE FROM audit WHERE seq > 3", "lines 4 to 5 are missing at the end", id="tail"
        ),
        pytest.param("DELETE FROM audit", "lines 1 to 5 are missing at the end", id="all"),
        pytest.param(
            "UPDATE trail SET seq = 3, digest = (SELECT digest FROM audit WHERE seq = 3) "
            "WHERE name = 'end'",
            "line 5 is not the one that was written last",
            id="the end moved back",
        ),
        pytest.param("UPDATE audit SET digest = 'aa' WHERE seq = 2", "line 2", id="digest"),
    ],
)
def test_a_trail_that_was_changed_by_hand_says_where(
    tmp_path: Path, statement: str, told: str
) -> None:
    assert told in str(damaged(tmp_path / "l.sqlite3", statement))


def test_a_trail_that_nobody_changed_is_whole(tmp_path: Path) -> None:
    assert damaged(tmp_path / "l.sqlite3", "SELECT 1") is None


def test_nothing_of_a_purged_message_is_left_in_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite3"
    ledger = SqlLedger(f"sqlite:///{path}", clock=StillClock())
    # Enough of them that pages of tables and indexes are split, in no order.
    new = [
        pending(
            uid,
            file_number=f"NR{uid * 7919 % 1009:05d}XY",
            sha256=hashlib.sha256(bytes([uid % 256, uid // 256])).hexdigest(),
        )
        for uid in range(1, 601)
    ]
    entries = receive(ledger, *new)
    for entry in entries:
        with ledger.writing() as writer:
            writer.move(entry.deliveries[0].id, D.DELIVERING)
            writer.move(entry.deliveries[0].id, D.DELIVERED, reference="r")
    gone = entries[::2]
    for entry in gone:
        purged(ledger, entry)
    assert ledger.scour()
    content = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    kept = {str(e.file_number) for e in entries[1::2]}
    assert all(number.encode() in content for number in kept)
    for entry in gone:
        assert str(entry.file_number).encode() not in content
        assert str(entry.sha256).encode() not in content
    assert ledger.flaws() == ()
    ledger.close()


_OF_REVISION_3 = (
    """INSERT INTO entry (id, mailbox, uidvalidity, uid, size, internal_at, received_at, state,
        detail, site, file_number, result, purge_at, sha256, raw_sha256, present, keyword_set,
        rules, seal)
    VALUES ('aaaaaaaaaa', 'lbm', 7, 1, 120000, '2026-03-29T00:30:00.000000+00:00',
        '2026-03-29T00:30:00.000000+00:00', 'delivered', '', '990000010', '21048BC000001',
        'negatif', '2026-04-01T00:30:00.000000+00:00', 'aa', 'bb', 1, 1, 'd', 'old')""",
    """INSERT INTO delivery (id, entry_id, position, site, target, kind, state, attempts,
        because, reference)
    VALUES ('bbbbbbbbbb', 'aaaaaaaaaa', 0, '990000010', 'dossier', 'folder', 'delivered', 1,
        '', 'r')""",
    *(
        "INSERT INTO event (at, entry_id, delivery_id, was, became, because) VALUES "  # noqa: S608 - ours
        f"('2026-03-29T00:3{minute}:00.000000+00:00', 'aaaaaaaaaa', {of}, {was}, '{to}', '')"
        for minute, of, was, to in (
            (1, "'bbbbbbbbbb'", "NULL", "decided"),
            (2, "NULL", "NULL", "pending"),
            (3, "'bbbbbbbbbb'", "'decided'", "delivering"),
            (4, "'bbbbbbbbbb'", "'delivering'", "delivered"),
            (5, "NULL", "'pending'", "delivered"),
        )
    ),
    """INSERT INTO act (at, verb, entry_id, by, reason) VALUES
        ('2026-03-29T00:33:00.000000+00:00', 'retry', 'aaaaaaaaaa', 'claire', 'vu')""",
    "UPDATE counter SET value = 1 WHERE name = 'received'",
)


def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(birth_module._MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for statement in _OF_REVISION_3:
            connection.exec_driver_sql(statement)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    engine.dispose()
    ledger = SqlLedger(f"sqlite:///{path}", clock=StillClock())
    assert ledger.flaws() == ()
    entry = ledger.entry("aaaaaaaaaa")
    assert entry is not None
    assert entry.message_id is None
    made_at = entry.deliveries[0].made_at
    assert made_at is not None
    assert made_at.isoformat() == "2026-03-29T00:34:00+00:00"
    (act,) = ledger.acts("aaaaaaaaaa")
    assert (act.verb, act.by, act.reason) == ("retry", "claire", "vu")
    assert purged(ledger, entry).state is State.PURGED
    assert ledger.balance().delivered == 1
    assert ledger.flaws() == ()
    ledger.close()


def test_a_reason_for_holding_is_gone_when_it_expires(ledger: AnyLedger) -> None:
    (entry,) = receive(ledger, held(1, reason=HoldReason.TOO_LARGE))
    with ledger.writing() as writer:
        assert writer.expire(entry.id).reason is None
