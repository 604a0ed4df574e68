"""What every ledger promises. The real one and the fake pass these same tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dispatcher.core.certificate import ContentKey, HoldReason
from dispatcher.core.ledger import (
    Act,
    Balance,
    DeliveryState,
    Entry,
    NewEntry,
    Place,
    State,
)
from dispatcher.core.paris import PARIS
from dispatcher.core.report import Turnover
from dispatcher.core.routing import Kind
from dispatcher.core.vitals import Tally
from dispatcher.edges.ledger import SqlLedger
from dispatcher.errors import InvariantBroken, NotNow, Refused, Unavailable
from tests.fakes.ledger_samples import (
    FOLDER,
    GARE,
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
    same_raw,
)
from tests.fakes.memory_ledger import MemoryLedger

D = DeliveryState
AnyLedger = SqlLedger | MemoryLedger


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def patience() -> float:
    """Seconds that a writer waits for its turn; a test may parametrize it."""
    return 60.0


@pytest.fixture(params=["memory", "sqlite"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock, patience: float
) -> Iterator[AnyLedger]:
    made: AnyLedger = (
        MemoryLedger(clock=clock, busy_timeout=patience)
        if request.param == "memory"
        else SqlLedger(f"sqlite:///{tmp_path}/l.sqlite3", clock=clock, busy_timeout=patience)
    )
    yield made
    # After every test with a ledger: it contradicts itself nowhere, and the balance closes.
    assert made.flaws() == ()
    assert made.balance().difference == 0
    made.close()


def receive(ledger: AnyLedger, *new: NewEntry) -> list[Entry]:
    with ledger.writing() as writer:
        return [writer.receive(one) for one in new]


def move(ledger: AnyLedger, entry: Entry, *turns: D, delivery: int = 0) -> Entry:
    for to in turns:
        reason = HoldReason.TARGET_REFUSED if to is D.HELD else None
        with ledger.writing() as writer:
            entry = writer.move(entry.deliveries[delivery].id, to, reason=reason)
    return entry


# --- receiving


def test_what_was_received_is_there_as_it_came(ledger: AnyLedger) -> None:
    first, second = receive(ledger, pending(1, deliveries=(FOLDER, PRINTER)), held(2))
    assert ledger.entry(first.id) == first
    assert list(ledger.entries()) == [first, second]
    assert first.sampled_at == NOW - timedelta(hours=5)
    assert [(d.target, d.kind, d.state, d.site) for d in first.deliveries] == [
        ("dossier", FOLDER.kind, D.DECIDED, REPUBLIQUE),
        ("imprimante", PRINTER.kind, D.DECIDED, REPUBLIQUE),
    ]


def test_messages_are_found_by_what_is_said_of_their_deliveries(ledger: AnyLedger) -> None:
    one, two, three = receive(ledger, *(pending(uid) for uid in (1, 2, 3)))
    words = {one.id: "100 % sure: twice", two.id: "100_% sure: Twice", three.id: "once"}
    for entry in (one, two, three):
        with ledger.writing() as writer:
            writer.move(entry.deliveries[0].id, D.DELIVERING, because=words[entry.id])
    assert ledger.remarked("0 % sure: twice") == (one.id,)
    assert ledger.remarked("% sure") == (one.id, two.id)
    assert ledger.remarked("thrice") == ()


def test_ids_are_short_and_never_the_same(ledger: AnyLedger) -> None:
    entries = receive(ledger, *(pending(uid) for uid in range(1, 100)))
    ids = {e.id for e in entries} | {e.deliveries[0].id for e in entries}
    assert len(ids) == 2 * len(entries)
    assert all(len(one) == 10 and one.isascii() and one.isalnum() for one in ids)


def test_times_come_back_in_utc_to_the_microsecond(ledger: AnyLedger) -> None:
    paris = timezone(timedelta(hours=2))
    at = datetime(2026, 3, 29, 3, 30, 0, 1, tzinfo=paris)
    entry = receive(ledger, pending(1, sampled_at=at, identity=identity(at=at)))[0]
    kept = ledger.entry(entry.id)
    assert kept is not None
    assert kept.sampled_at is not None
    assert kept.sampled_at.isoformat() == "2026-03-29T01:30:00.000001+00:00"
    assert kept.identity.internal_at.tzinfo is UTC


def test_texts_that_no_database_likes_come_back_whole(ledger: AnyLedger) -> None:
    number = "Ø'; --\x00 % ? :x \u202e 21\ud7ff"
    entry = receive(ledger, pending(1, file_number=number))[0]
    found = latest_of(ledger, REPUBLIQUE, number)
    assert found is not None
    assert (found.id, found.file_number) == (entry.id, number)


def test_a_place_holds_one_message(ledger: AnyLedger) -> None:
    entry = receive(ledger, pending(1))[0]
    with ledger.writing() as writer:
        writer.note_foreign(ref(2), identity())
    for uid in (1, 2):
        with pytest.raises(InvariantBroken), ledger.writing() as writer:
            writer.receive(pending(uid))
        with pytest.raises(InvariantBroken), ledger.writing() as writer:
            writer.relocate(receive_in(writer, 3), ref(uid), identity())
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.note_foreign(entry.ref, identity())
    assert ledger.balance() == Balance(received=1, pending=1, foreign=1)


def receive_in(writer: object, uid: int) -> str:
    return writer.receive(pending(uid)).id  # type: ignore[attr-defined,no-any-return]


def test_a_reused_uid_is_another_message(ledger: AnyLedger) -> None:
    old = receive(ledger, pending(1))[0]
    with ledger.writing() as writer:
        writer.absent([ref(1)])
        new = writer.receive(pending(1, identity=identity(99), file_number="other"))
    assert ledger.entries_at([ref(1)]) == {ref(1): new}
    gone = ledger.entry(old.id)
    assert gone is not None
    assert not gone.present


@pytest.mark.parametrize("link", ["duplicate", "replacement"])
def test_a_message_refers_only_to_one_that_is_there(ledger: AnyLedger, link: str) -> None:
    new = duplicate(2, "nobody") if link == "duplicate" else pending(2, replaces="nobody")
    with pytest.raises(InvariantBroken):
        receive(ledger, new)


def test_a_duplicate_may_follow_its_first_in_one_transaction(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        first = writer.receive(pending(1))
        writer.receive(duplicate(2, first.id, sha256=pending(1).sha256))
    assert ledger.balance() == Balance(received=2, pending=1, duplicate=1)


# --- transactions


class PowerCut(BaseException):
    """Not an Exception: no handler of ours may catch it."""


@pytest.mark.parametrize("error", [ValueError, PowerCut], ids=["an error", "a power cut"])
def test_what_was_begun_and_not_ended_never_was(
    ledger: AnyLedger, error: type[BaseException]
) -> None:
    entry = receive(ledger, pending(1))[0]

    def write() -> None:
        with ledger.writing() as writer:
            writer.receive(pending(2))
            writer.note_foreign(ref(3), identity())
            writer.move(entry.deliveries[0].id, D.DELIVERING)
            writer.opening([ref(4)])
            raise error

    with pytest.raises(error):
        write()
    assert list(ledger.entries()) == [entry]
    assert ledger.balance() == Balance(received=1, pending=1)
    assert ledger.openings("lbm", 7) == {}
    assert ledger.history(entry.id)[-1].became is State.PENDING


def test_others_see_a_transaction_when_it_has_ended(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        entry = writer.receive(pending(1))
        assert ledger.entry(entry.id) is None
    assert ledger.entry(entry.id) == entry


def test_a_transaction_inside_another_is_a_bug(ledger: AnyLedger) -> None:
    with ledger.writing(), pytest.raises(InvariantBroken), ledger.writing():
        pass


@pytest.mark.parametrize("patience", [0.1], ids=["an impatient writer"])
def test_a_writer_that_waits_too_long_is_told_to_try_later(ledger: AnyLedger) -> None:
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            receive(ledger, pending(2))
        except Unavailable as error:
            outcome.append(error)

    with ledger.writing() as writer:
        writer.receive(pending(1))
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(timeout=30)
    assert [type(error) for error in outcome] == [NotNow]
    assert ledger.balance().received == 1


def test_what_four_threads_claim_at_once_is_claimed_once(ledger: AnyLedger) -> None:
    """300 of 300; SQLite's driver default claimed 433 times (libraries, ledger)."""
    entries = receive(ledger, *map(pending, range(1, 301)))
    with ledger.writing() as writer:
        writer.remember(Place("lbm", 7, 0, NOW))
    claimed: list[int] = []

    def claim() -> None:
        for _ in range(75):
            with ledger.writing() as writer:
                place = ledger.place("lbm")
                assert place is not None
                writer.move(entries[place.uidnext].deliveries[0].id, D.DELIVERING)
                writer.remember(replace(place, uidnext=place.uidnext + 1))
            claimed.append(place.uidnext)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=200)
    assert sorted(claimed) == list(range(300))
    assert ledger.due("lbm", NOW) == ()


# --- the life of a delivery


def test_a_delivery_goes_from_intent_to_receipt(ledger: AnyLedger) -> None:
    entry = receive(ledger, pending(1))[0]
    entry = move(ledger, entry, D.DELIVERING)
    assert ledger.unsettled("lbm") == (entry,)
    with ledger.writing() as writer:
        entry = writer.move(entry.deliveries[0].id, D.DELIVERED, reference="a receipt")
    assert (entry.state, entry.deliveries[0].reference) == (State.DELIVERED, "a receipt")
    assert ledger.entry(entry.id) == entry
    assert ledger.unsettled("lbm") == ledger.due("lbm", NOW) == ()


def test_every_turn_in_one_transaction_is_a_line_of_the_history(ledger: AnyLedger) -> None:
    with ledger.writing() as writer:
        entry = writer.receive(pending(1))
        for to in (D.DELIVERING, D.IN_DOUBT, D.DECIDED, D.DELIVERING, D.DELIVERED):
            entry = writer.move(entry.deliveries[0].id, to)
    turns = [e.became for e in ledger.history(entry.id) if e.delivery is not None]
    assert turns == [
        D.DECIDED,
        D.DELIVERING,
        D.IN_DOUBT,
        D.DECIDED,
        D.DELIVERING,
        D.DELIVERED,
    ]


def test_history_says_when_and_why(ledger: AnyLedger, clock: StillClock) -> None:
    entry = receive(ledger, pending(1))[0]
    at = clock.pass_by(timedelta(minutes=3))
    with ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, D.WAITING, because="the site is closed")
    last = ledger.history(entry.id)[-1]
    assert (last.at, last.was, last.became, last.because) == (
        at,
        D.DECIDED,
        D.WAITING,
        "the site is closed",
    )


def test_a_forbidden_turn_is_refused_and_nothing_changes(ledger: AnyLedger) -> None:
    entry = move(ledger, receive(ledger, pending(1))[0], D.DELIVERING, D.DELIVERED)
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, D.DELIVERING)
    assert ledger.entry(entry.id) == entry


def test_a_message_or_delivery_that_nobody_knows_is_a_bug(ledger: AnyLedger) -> None:
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.move("nobody", D.DELIVERING)
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.hold("nobody", HoldReason.TOO_LARGE, "")


def test_a_held_delivery_holds_its_message_until_a_person_lets_go(ledger: AnyLedger) -> None:
    entry = receive(ledger, pending(1, deliveries=(FOLDER, PRINTER)))[0]
    entry = move(ledger, entry, D.DELIVERING, D.HELD)
    assert (entry.state, entry.reason) == (State.HELD, HoldReason.TARGET_REFUSED)
    assert [e.id for e in ledger.due("lbm", NOW)] == [entry.id], "the printer is not delayed"
    entry = move(ledger, entry, D.DECIDED)
    assert (entry.state, entry.reason) == (State.PENDING, None)
    assert ledger.entry(entry.id) == entry


def test_a_fallback_takes_over(ledger: AnyLedger) -> None:
    entry = receive(ledger, pending(1, deliveries=(PRINTER,)))[0]
    entry = move(ledger, entry, D.DELIVERING)
    with ledger.writing() as writer:
        entry = writer.divert(entry.deliveries[0].id, FOLDER, "the queue is gone")
    assert [(d.target, d.state) for d in entry.deliveries] == [
        ("imprimante", D.DISCARDED),
        ("dossier", D.DECIDED),
    ]
    assert ledger.entry(entry.id) == entry
    assert move(ledger, entry, D.DELIVERING, D.DELIVERED, delivery=1).state is State.DELIVERED


def test_holding_releasing_and_discarding(ledger: AnyLedger, clock: StillClock) -> None:
    entry = receive(ledger, pending(1, deliveries=(FOLDER, PRINTER)))[0]
    with ledger.writing() as writer:
        entry = writer.hold(entry.id, HoldReason.PDF_UNREADABLE, "three times")
    assert {d.state for d in entry.deliveries} == {D.HELD}
    with ledger.writing() as writer:
        writer.expect(entry.id, State.HELD)
        entry = writer.release(entry.id, GARE, [FOLDER])
        writer.record(Act("release", entry.id, "claire", "looked at it", clock.now()))
    assert (entry.state, entry.site, len(entry.deliveries)) == (State.PENDING, GARE, 3)
    with pytest.raises(Refused), ledger.writing() as writer:
        writer.expect(entry.id, State.HELD)
    with ledger.writing() as writer:
        entry = writer.discard(entry.id)
    assert (entry.state, ledger.entry(entry.id)) == (State.EXPIRED, entry)
    assert [(a.verb, a.by, a.at) for a in ledger.acts(entry.id)] == [("release", "claire", NOW)]


def test_an_act_is_about_a_message_that_is_there(ledger: AnyLedger) -> None:
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.record(Act("discard", "nobody", "claire", "a mistake", NOW))


# --- what is due


def test_a_delivery_is_due_when_its_time_has_come(ledger: AnyLedger, clock: StillClock) -> None:
    entry = move(ledger, receive(ledger, pending(1))[0], D.DELIVERING)
    later = clock.now() + timedelta(minutes=5)
    with ledger.writing() as writer:
        writer.move(entry.deliveries[0].id, D.DECIDED, next_try_at=later)
    assert ledger.due("lbm", later - timedelta(microseconds=1)) == ()
    assert [e.id for e in ledger.due("lbm", later)] == [entry.id]
    assert ledger.next_due("lbm") == later
    with ledger.writing() as writer:
        writer.plan(entry.deliveries[0].id, None)
    assert [e.id for e in ledger.due("lbm", clock.now())] == [entry.id]


def test_each_mailbox_has_its_own_work(ledger: AnyLedger) -> None:
    other = replace(ref(1), mailbox="autre")
    entry = receive(ledger, pending(1), pending(2, ref=other))[0]
    assert [e.ref.mailbox for e in ledger.due("autre", NOW)] == ["autre"]
    assert ledger.next_due("lbm") == entry.received_at
    assert ledger.next_due("nobody's") is None
    assert set(ledger.known("autre", 7)) == {1}


def test_a_message_with_two_deliveries_is_due_once(ledger: AnyLedger) -> None:
    entry = receive(ledger, pending(1, deliveries=(FOLDER, PRINTER)))[0]
    assert ledger.due("lbm", NOW) == (entry,)


# --- finding again


def test_the_same_content_is_found_first_received_first(ledger: AnyLedger) -> None:
    new = pending(1)
    late, early = receive(
        ledger,
        new,
        replace(new, ref=ref(2), received_at=NOW - timedelta(days=1)),
    )
    receive(ledger, replace(new, ref=ref(3), site=GARE), replace(new, ref=ref(4), sha256="a"))
    assert new.site is not None
    assert new.file_number is not None
    assert new.sha256 is not None
    key = ContentKey(new.site, new.file_number, new.sha256)
    assert same_content(ledger, key) == (early, late)
    assert new.raw_sha256 is not None
    assert same_raw(ledger, new.raw_sha256)[0] == early


def test_the_latest_of_a_test_is_no_duplicate(ledger: AnyLedger) -> None:
    first = receive(ledger, pending(1, file_number="n"))[0]
    second = receive(ledger, pending(2, file_number="n", replaces=first.id))[0]
    receive(ledger, duplicate(3, first.id, file_number="n"))
    assert latest_of(ledger, REPUBLIQUE, "n") == second
    assert latest_of(ledger, GARE, "n") is None


def test_a_whole_batch_is_answered_as_each_of_it_would_be(ledger: AnyLedger) -> None:
    """More than one statement's worth, with content and bytes that are known and unknown."""
    first, second, replacing, *_ = receive(
        ledger,
        pending(1),
        pending(2),
        pending(3, file_number=pending(1).file_number),
        pending(4, site=GARE, file_number=pending(2).file_number),
    )
    again = receive(
        ledger, duplicate(5, second.id, file_number=second.file_number, sha256=second.sha256)
    )[0]
    unknown = [ContentKey(REPUBLIQUE, f"unknown{n}", "0" * 64) for n in range(600)]
    keys = [ContentKey(REPUBLIQUE, str(e.file_number), str(e.sha256)) for e in (first, second)]
    raws = [str(first.raw_sha256), *(f"{n:064x}" for n in range(600)), str(second.raw_sha256)]

    found = ledger.alike(raws, [*unknown, *keys, *keys])

    assert found.same_raw == {first.raw_sha256: (first,), second.raw_sha256: (second,)}
    assert found.same_content == {keys[0]: (first,), keys[1]: (second, again)}
    assert found.latest_of == {
        (REPUBLIQUE, first.file_number): replacing,
        (REPUBLIQUE, second.file_number): second,
    }
    assert ledger.alike([], []) == ledger.alike(["0" * 64], unknown)


def test_entries_are_told_apart_by_state_and_site(ledger: AnyLedger) -> None:
    first, second, third = receive(
        ledger, pending(1), held(2, site=GARE), pending(3, site=GARE)
    )
    assert list(ledger.entries(state=State.PENDING)) == [first, third]
    assert list(ledger.entries(site=GARE)) == [second, third]
    assert list(ledger.entries(state=State.HELD, site=REPUBLIQUE)) == []


def test_entries_are_told_apart_by_the_kind_of_a_delivery(ledger: AnyLedger) -> None:
    _, printed, both = receive(
        ledger,
        pending(1, deliveries=(FOLDER,)),
        pending(2, deliveries=(PRINTER,)),
        pending(3, deliveries=(FOLDER, PRINTER)),
    )
    assert list(ledger.entries(kind=Kind.PRINT)) == [printed, both]
    assert [entry.ref.uid for entry in ledger.entries(kind=Kind.FOLDER)] == [1, 3]
    assert list(ledger.entries(kind=Kind.PRINT, state=State.HELD)) == []


def test_more_entries_than_fit_a_page_come_each_once_and_in_order(ledger: AnyLedger) -> None:
    same = NOW - timedelta(days=1)
    entries = receive(ledger, *(pending(u, received_at=same) for u in range(1, 1204)))
    assert [e.id for e in ledger.entries()] == [e.id for e in entries]
    refs = [entry.ref for entry in entries]
    assert len(ledger.entries_at(refs)) == len(ledger.due("lbm", NOW)) == 1203


# --- the mailbox


def test_pages_end_in_the_midst_of_messages_of_one_moment_and_between_two(
    ledger: AnyLedger,
) -> None:
    moments = [NOW] * 501 + [NOW + timedelta(seconds=1)] * 499 + [NOW + timedelta(seconds=2)]
    with ledger.writing() as writer:
        ids = [
            writer.receive(pending(uid, received_at=at)).id for uid, at in enumerate(moments, 1)
        ]
    assert [entry.id for entry in ledger.entries()] == ids


def test_every_uid_that_lies_there_is_known(ledger: AnyLedger) -> None:
    receive(ledger, pending(1))
    with ledger.writing() as writer:
        writer.note_foreign(ref(2), identity(5))
        writer.note_foreign(ref(3), identity(6))
        writer.note_foreign(ref(4, uidvalidity=8), identity(7))
    assert ledger.known("lbm", 7) == {1: identity(), 2: identity(5), 3: identity(6)}
    with ledger.writing() as writer:
        writer.absent([ref(1), ref(2), ref(99)])
    assert ledger.known("lbm", 7) == {3: identity(6)}
    assert ledger.balance() == Balance(received=1, pending=1, foreign=3)


def test_foreign_mail_is_counted_once_and_a_reused_uid_anew(ledger: AnyLedger) -> None:
    for size in (5, 5, 6):
        with ledger.writing() as writer:
            writer.note_foreign(ref(2), identity(size))
            writer.note_foreign(ref(2), identity(size))
    assert ledger.balance().foreign == 2
    assert ledger.known("lbm", 7) == {2: identity(6)}


def test_a_message_that_moved_is_the_same_message(ledger: AnyLedger) -> None:
    entry = move(ledger, receive(ledger, pending(1))[0], D.DELIVERING, D.DELIVERED)
    with ledger.writing() as writer:
        writer.keyword_set([ref(1)])
        writer.absent([ref(1)])
    with ledger.writing() as writer:
        writer.relocate(entry.id, ref(9, uidvalidity=8), identity(4))
    assert ledger.entries_at([ref(1)]) == {}
    found = ledger.entries_at([ref(9, uidvalidity=8)])[ref(9, uidvalidity=8)]
    assert (found.id, found.present, found.identity) == (entry.id, True, identity(4))
    assert ledger.lacking_keyword("lbm", 8) == (9,)


def test_two_messages_may_change_places_in_one_transaction(ledger: AnyLedger) -> None:
    one, two = receive(ledger, pending(1), pending(2))
    with ledger.writing() as writer:
        writer.absent([one.ref, two.ref])
        writer.relocate(one.id, two.ref, identity())
        writer.hold(two.id, HoldReason.TOO_LARGE, "")
        writer.relocate(two.id, one.ref, identity())
    found = ledger.entries_at([one.ref, two.ref])
    assert (found[one.ref].id, found[two.ref].id) == (two.id, one.id)


def test_settled_messages_lack_their_keyword_until_it_is_set(ledger: AnyLedger) -> None:
    one, two, _, four = receive(ledger, pending(1), pending(2), held(3), pending(4))
    receive(ledger, duplicate(5, one.id))
    move(ledger, one, D.DELIVERING, D.DELIVERED)
    move(ledger, four, D.DELIVERING, D.DELIVERED)
    with ledger.writing() as writer:
        writer.discard(two.id)
        writer.absent([ref(4)])
    assert ledger.lacking_keyword("lbm", 7) == (1, 2, 5)
    with ledger.writing() as writer:
        writer.keyword_set([ref(1), ref(5), ref(99)])
    assert ledger.lacking_keyword("lbm", 7) == (2,)


def test_readings_that_never_ended_are_counted(ledger: AnyLedger) -> None:
    for refs in ([ref(1), ref(2)], [ref(1)], [ref(1), ref(3)]):
        with ledger.writing() as writer:
            writer.opening(refs)
    with ledger.writing() as writer:
        writer.opened([ref(2), ref(99)])
        writer.absent([ref(3)])
    assert ledger.openings("lbm", 7) == {1: 3}
    assert ledger.openings("lbm", 8) == {}


def test_the_last_good_check_of_a_mailbox_is_remembered(ledger: AnyLedger) -> None:
    assert ledger.place("lbm") is None
    for place in (Place("lbm", 7, 5, NOW, NOW.date()), Place("lbm", 8, 9, NOW)):
        with ledger.writing() as writer:
            writer.remember(place)
        assert ledger.place("lbm") == place


def test_the_mount_of_a_folder_is_remembered(ledger: AnyLedger) -> None:
    assert ledger.mounts() == {}
    for mount_point in ("/srv", "/srv/sidep", "/srv/sidep"):
        ledger.remember_mounts({"/srv/sidep/gare": mount_point, "/srv/other": "/"})
    assert ledger.mounts() == {"/srv/sidep/gare": "/srv/sidep", "/srv/other": "/"}


def test_the_balance_counts_every_message_in_one_state(ledger: AnyLedger) -> None:
    one, two, _, _ = receive(ledger, pending(1), pending(2), held(3), pending(4))
    receive(ledger, duplicate(5, one.id))
    move(ledger, one, D.DELIVERING, D.DELIVERED)
    with ledger.writing() as writer:
        writer.discard(two.id)
        writer.note_foreign(ref(6), identity())
    assert ledger.balance() == Balance(
        received=5, delivered=1, held=1, pending=1, duplicate=1, expired=1, foreign=1
    )


def test_refused_logins_are_counted_until_one_is_accepted(ledger: AnyLedger) -> None:
    assert ledger.refusals("lbm") is None
    for _ in range(2):
        with ledger.writing() as writer:
            writer.login_refused("lbm")
            writer.login_refused("other")
    found = ledger.refusals("lbm")
    assert found is not None
    assert (found.count, found.last_at.tzinfo is not None) == (2, True)
    with ledger.writing() as writer:
        writer.login_accepted("lbm")
    assert ledger.refusals("lbm") is None
    assert ledger.refusals("other") is not None


def test_what_was_done_last_is_remembered_for_each_errand(ledger: AnyLedger) -> None:
    assert ledger.last_did("bordereau") is None
    for day in (21, 22):
        with ledger.writing() as writer:
            writer.did("bordereau", datetime(2026, 11, day, 18, tzinfo=PARIS))
            writer.did("other", datetime(2026, 11, 20, tzinfo=UTC))
    assert ledger.last_did("bordereau") == datetime(2026, 11, 22, 17, tzinfo=UTC)
    assert ledger.last_did("other") == datetime(2026, 11, 20, tzinfo=UTC)
    with pytest.raises(InvariantBroken), ledger.writing() as writer:
        writer.did("bordereau", datetime(2026, 11, 23))  # noqa: DTZ001 - no zone is the point
    assert ledger.last_did("bordereau") == datetime(2026, 11, 22, 17, tzinfo=UTC)


def test_deliveries_are_counted_by_site_target_and_state(ledger: AnyLedger) -> None:
    assert ledger.tallies() == ()
    first, second, third = receive(
        ledger, pending(1, deliveries=(FOLDER, PRINTER)), pending(2), pending(3, site=GARE)
    )
    move(ledger, first, D.DELIVERING, D.DELIVERED)
    move(ledger, second, D.DELIVERING, D.DELIVERED)
    move(ledger, third, D.HELD)
    assert set(ledger.tallies()) == {
        Tally(REPUBLIQUE, "dossier", Kind.FOLDER, D.DELIVERED, 2),
        Tally(REPUBLIQUE, "imprimante", Kind.PRINT, D.DECIDED, 1),
        Tally(GARE, "dossier", Kind.FOLDER, D.HELD, 1),
    }


def test_arrivals_are_counted_by_site_and_day_in_paris(ledger: AnyLedger) -> None:
    # 29 March 2026 has 23 hours in Paris; it begins at 23:00 UTC and ends at 22:00 UTC.
    moments = [
        datetime(2026, 3, 28, 22, 59, tzinfo=UTC),
        datetime(2026, 3, 28, 23, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 21, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 22, 0, tzinfo=UTC),
    ]
    receive(
        ledger,
        *(pending(uid, received_at=at) for uid, at in enumerate(moments, 1)),
        pending(9, site=GARE, received_at=moments[1]),
        held(10, received_at=moments[1]),
    )
    assert ledger.arrivals(moments[0]) == {
        REPUBLIQUE: {date(2026, 3, 28): 1, date(2026, 3, 29): 2, date(2026, 3, 30): 1},
        GARE: {date(2026, 3, 29): 1},
    }
    assert ledger.arrivals(moments[-1] + timedelta(microseconds=1)) == {}


def test_turnover_counts_what_came_to_a_state_in_a_time_and_once(
    ledger: AnyLedger, clock: StillClock
) -> None:
    began = clock.now()
    first, _ = receive(ledger, pending(1, deliveries=(PRINTER,)), held(2))
    move(ledger, first, D.DELIVERING, D.DECIDED, D.DELIVERING, D.DELIVERED)
    ended = clock.pass_by(timedelta(hours=1))
    with ledger.writing() as writer:
        again = writer.reprint(first.id, "imprimante")
    move(ledger, again, D.DELIVERING, D.DELIVERED, delivery=1)
    found = set(ledger.turnover(began, ended))
    assert {
        Turnover(REPUBLIQUE, None, State.PENDING, True, 1),
        Turnover(REPUBLIQUE, None, State.DELIVERED, False, 1),
        Turnover(None, None, State.HELD, True, 1),
        Turnover(REPUBLIQUE, Kind.PRINT, D.DELIVERED, False, 1),
        Turnover(REPUBLIQUE, Kind.PRINT, D.DELIVERING, False, 1),
    } <= found
    later = set(ledger.turnover(ended, ended + timedelta(hours=1)))
    assert Turnover(REPUBLIQUE, None, State.DELIVERED, False, 1) in later
    assert Turnover(REPUBLIQUE, Kind.PRINT, D.DELIVERED, False, 1) in later
    both = set(ledger.turnover(began, ended + timedelta(hours=1)))
    assert Turnover(REPUBLIQUE, None, State.DELIVERED, False, 1) in both, "one message"
    assert Turnover(REPUBLIQUE, Kind.PRINT, D.DELIVERED, False, 2) in both, "two prints"


def test_a_ledger_on_a_disk_tells_its_room(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/l.sqlite3", clock=StillClock())
    room = ledger.room()
    ledger.close()
    assert room is not None
    assert 0 < room.free <= room.size
    assert 0 <= room.used < 1
