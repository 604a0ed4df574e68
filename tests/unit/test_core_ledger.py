"""The life of a message: the tables, the states that follow, and each change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

import pytest

from dispatcher.core import life
from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import (
    ALLOWED,
    DELIVERY_ALLOWED,
    ENDED,
    INITIAL,
    SETTLED,
    Balance,
    Delivery,
    DeliveryState,
    Entry,
    NewEntry,
    State,
    state_of,
)
from dispatcher.errors import InvariantBroken, Refused, Unavailable
from tests.fakes.ledger_samples import (
    FOLDER,
    GARE,
    NOW,
    PRINTER,
    REPUBLIQUE,
    duplicate,
    held,
    pending,
    ref,
)

D = DeliveryState
S = TypeVar("S", bound=Enum)


def reachable(
    table: Mapping[S, frozenset[S]], start: Collection[S], *, without: Set[S] = frozenset()
) -> set[S]:
    seen, todo = set(start), list(start)
    while todo:
        new = table[todo.pop()] - seen - without
        seen |= new
        todo.extend(new)
    return seen


# --- the tables


def test_every_state_is_in_its_table_and_can_be_reached() -> None:
    assert set(ALLOWED) == set(State) == reachable(ALLOWED, INITIAL)
    assert set(DELIVERY_ALLOWED) == set(D) == reachable(DELIVERY_ALLOWED, [D.DECIDED])


def test_no_delivery_is_made_without_a_written_intent_or_a_person() -> None:
    without = {D.DELIVERING, D.HELD}
    assert D.DELIVERED not in reachable(DELIVERY_ALLOWED, [D.DECIDED], without=without)


def test_what_has_ended_never_begins_again() -> None:
    assert {state for state in D if not DELIVERY_ALLOWED[state]} == ENDED


def test_a_held_or_pending_message_is_not_purged() -> None:
    before_purge = {state for state in State if State.PURGED in ALLOWED[state]}
    assert before_purge <= SETTLED


@pytest.mark.parametrize(
    ("deliveries", "state"),
    [
        pytest.param([], State.HELD, id="nowhere to go: a person says where"),
        pytest.param([D.DECIDED], State.PENDING, id="to be made"),
        pytest.param([D.WAITING], State.PENDING, id="site closed"),
        pytest.param([D.DELIVERING, D.DELIVERED], State.PENDING, id="one of two made"),
        pytest.param([D.IN_DOUBT, D.DELIVERED], State.PENDING, id="one of two in doubt"),
        pytest.param([D.DELIVERED, D.DELIVERED], State.DELIVERED, id="all made"),
        pytest.param([D.DELIVERED, D.DISCARDED], State.DELIVERED, id="the rest discarded"),
        pytest.param([D.DISCARDED], State.EXPIRED, id="all discarded"),
        pytest.param([D.HELD, D.DELIVERED], State.HELD, id="one held"),
        pytest.param([D.HELD, D.DECIDED], State.HELD, id="one held, one to be made"),
    ],
)
def test_the_state_of_a_message_follows_from_its_deliveries(
    deliveries: list[D], state: State
) -> None:
    assert state_of(deliveries) is state


def test_the_balance_closes_when_every_received_message_has_a_state() -> None:
    counts = {"delivered": 3, "held": 2, "pending": 1, "duplicate": 4, "expired": 5}
    assert Balance(received=15, foreign=9, **counts).difference == 0
    assert Balance(received=16, foreign=9, **counts).difference == 1


# --- beginnings


def begun(new: NewEntry) -> Entry:
    return life.begin(new, ids(new), NOW).entry


def ids(new: NewEntry) -> list[str]:
    return ["e1", *(f"d{n}" for n in range(1, 1 + len(new.deliveries)))]


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(pending(1, state=State.DELIVERED), id="delivered at once"),
        pytest.param(pending(1, deliveries=()), id="pending without a delivery"),
        pytest.param(pending(1, site=None), id="pending without a site"),
        pytest.param(pending(1, deliveries=(FOLDER, FOLDER)), id="the same target twice"),
        pytest.param(pending(1, reason=HoldReason.TOO_LARGE), id="a reason, and not held"),
        pytest.param(held(1, reason=None), id="held without a reason"),
        pytest.param(held(1, deliveries=(FOLDER,)), id="held with deliveries"),
        pytest.param(duplicate(1, "e0", duplicate_of=None), id="a duplicate of nothing"),
        pytest.param(pending(1, duplicate_of="e0"), id="a first, and no duplicate"),
        pytest.param(
            pending(1, received_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the fault itself
            id="a time without a zone",
        ),
    ],
)
def test_a_message_that_contradicts_itself_cannot_begin(new: NewEntry) -> None:
    with pytest.raises(InvariantBroken):
        life.begin(new, ids(new), NOW)


def test_a_beginning_is_history_too() -> None:
    step = life.begin(pending(1, deliveries=(FOLDER, PRINTER)), ["e1", "d1", "d2"], NOW)
    assert [(e.delivery, e.was, e.became) for e in step.events] == [
        ("d1", None, D.DECIDED),
        ("d2", None, D.DECIDED),
        (None, None, State.PENDING),
    ]


# --- one delivery


def moved(entry: Entry, *turns: D, delivery: str = "d1", **asked: object) -> Entry:
    for to in turns:
        reason = HoldReason.IN_DOUBT if to is D.HELD else None
        turn = life.Turn(to, NOW, reason=reason, **asked)  # type: ignore[arg-type]
        entry = life.move(entry, delivery, turn).entry
    return entry


@pytest.mark.parametrize("before", D, ids=lambda state: state.value)
@pytest.mark.parametrize("after", D, ids=lambda state: state.value)
def test_only_what_the_table_allows_happens_to_a_delivery(before: D, after: D) -> None:
    delivery = Delivery("d1", "dossier", FOLDER.kind, before, site=REPUBLIQUE)
    entry = Entry(
        id="e1",
        ref=ref(1),
        identity=pending(1).identity,
        received_at=NOW,
        state=state_of([before]),
        deliveries=(delivery,),
        reason=HoldReason.IN_DOUBT if before is D.HELD else None,
    )
    if after in DELIVERY_ALLOWED[before]:
        assert moved(entry, after).deliveries[0].state is after
    else:
        with pytest.raises(InvariantBroken):
            moved(entry, after)


def test_each_intent_counts_one_attempt() -> None:
    entry = moved(begun(pending(1)), D.DELIVERING, D.DECIDED, D.DELIVERING, D.DELIVERED)
    assert entry.deliveries[0].attempts == 2


def test_a_later_try_is_kept_until_the_next_change() -> None:
    later = NOW + timedelta(minutes=5)
    entry = moved(moved(begun(pending(1)), D.DELIVERING), D.DECIDED, next_try_at=later)
    assert entry.deliveries[0].next_try_at == later
    assert life.planned(entry, "d1", None).deliveries[0].next_try_at is None


def test_a_reason_belongs_to_held_only() -> None:
    entry = begun(pending(1))
    for turn in (
        life.Turn(D.HELD, NOW),
        life.Turn(D.DELIVERING, NOW, reason=HoldReason.IN_DOUBT),
    ):
        with pytest.raises(InvariantBroken):
            life.move(entry, "d1", turn)


def test_a_message_is_held_by_its_delivery_and_let_go_with_it() -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    entry = moved(entry, D.DELIVERING)
    refused = life.Turn(D.HELD, NOW, "no permission", HoldReason.TARGET_REFUSED)
    entry = life.move(entry, "d1", refused).entry
    assert (entry.state, entry.reason, entry.detail) == (
        State.HELD,
        HoldReason.TARGET_REFUSED,
        "no permission",
    )
    entry = moved(entry, D.DECIDED)
    assert (entry.state, entry.reason, entry.detail) == (State.PENDING, None, "")


def test_a_message_held_twice_keeps_the_reason_that_still_holds_it() -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    first = life.Turn(D.HELD, NOW, "", HoldReason.TARGET_REFUSED)
    second = life.Turn(D.HELD, NOW, "", HoldReason.IN_DOUBT)
    entry = life.move(entry, "d1", first).entry
    entry = life.move(entry, "d2", second).entry
    assert entry.reason is HoldReason.TARGET_REFUSED
    assert moved(entry, D.DECIDED).reason is HoldReason.IN_DOUBT


# --- diverting to a fallback


def diverted(entry: Entry, delivery: str = "d1") -> Entry:
    turn = life.Turn(D.DISCARDED, NOW, "the queue is gone")
    return life.divert(entry, delivery, life.begun(FOLDER, "d9"), turn).entry


def states(entry: Entry) -> list[tuple[str, D]]:
    return [(delivery.target, delivery.state) for delivery in entry.deliveries]


def test_a_refused_delivery_goes_to_its_fallback() -> None:
    entry = moved(begun(pending(1, deliveries=(PRINTER,))), D.DELIVERING)
    entry = diverted(entry)
    assert states(entry) == [("imprimante", D.DISCARDED), ("dossier", D.DECIDED)]
    assert entry.state is State.PENDING
    assert entry.deliveries[1].site == REPUBLIQUE


def test_a_fallback_that_the_message_has_is_not_made_twice() -> None:
    entry = begun(pending(1, deliveries=(PRINTER, FOLDER)))
    entry = moved(entry, D.DELIVERING, D.DELIVERED, delivery="d2")
    entry = diverted(entry)
    assert states(entry) == [("imprimante", D.DISCARDED), ("dossier", D.DELIVERED)]
    assert entry.state is State.DELIVERED


def test_two_targets_that_refuse_end_with_a_person() -> None:
    entry = begun(pending(1, deliveries=(PRINTER, FOLDER)))
    entry = moved(entry, D.DISCARDED, delivery="d2")
    entry = diverted(entry)
    assert states(entry) == [("imprimante", D.HELD), ("dossier", D.DISCARDED)]
    assert (entry.state, entry.reason) == (State.HELD, HoldReason.TARGET_REFUSED)


# --- what a person decides


def test_holding_a_message_holds_what_is_not_made() -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    entry = moved(entry, D.DELIVERING, D.DELIVERED)
    entry = life.hold(entry, HoldReason.PDF_UNREADABLE, "its reading never ends", NOW).entry
    assert states(entry) == [("dossier", D.DELIVERED), ("imprimante", D.HELD)]
    assert (entry.state, entry.reason) == (State.HELD, HoldReason.PDF_UNREADABLE)


def test_a_delivered_message_is_not_held() -> None:
    entry = moved(begun(pending(1)), D.DELIVERING, D.DELIVERED)
    with pytest.raises(InvariantBroken):
        life.hold(entry, HoldReason.PDF_UNREADABLE, "", NOW)


def released(entry: Entry, *targets: str, site: object = REPUBLIQUE) -> Entry:
    known = {"dossier": FOLDER, "imprimante": PRINTER}
    new = [life.begun(known[target], f"r{n}") for n, target in enumerate(targets)]
    return life.release(entry, site, new, NOW).entry  # type: ignore[arg-type]


def test_a_release_gives_a_site_and_deliveries() -> None:
    entry = released(begun(held(1)), "dossier", "imprimante", site=GARE)
    assert (entry.state, entry.reason, entry.detail) == (State.PENDING, None, "")
    assert (entry.site, [d.site for d in entry.deliveries]) == (GARE, [GARE, GARE])


def test_a_release_discards_what_was_not_made_and_keeps_what_was() -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    entry = moved(entry, D.DELIVERING, D.DELIVERED)
    entry = moved(entry, D.HELD, delivery="d2")
    entry = released(entry, "dossier", site=GARE)
    assert states(entry) == [
        ("dossier", D.DELIVERED),
        ("imprimante", D.DISCARDED),
        ("dossier", D.DECIDED),
    ]


def test_what_was_made_for_a_site_is_not_made_there_again_by_a_release() -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    entry = moved(entry, D.DELIVERING, D.DELIVERED)
    entry = moved(entry, D.HELD, delivery="d2")
    entry = released(entry, "dossier", "imprimante")
    assert states(entry) == [
        ("dossier", D.DELIVERED),
        ("imprimante", D.DISCARDED),
        ("imprimante", D.DECIDED),
    ]


def test_only_a_held_message_is_released() -> None:
    with pytest.raises(InvariantBroken):
        released(begun(pending(1)), "dossier")


@pytest.mark.parametrize("under_way", [D.DELIVERING, D.IN_DOUBT], ids=lambda s: s.value)
def test_nobody_decides_over_a_delivery_that_is_under_way(under_way: D) -> None:
    entry = begun(pending(1, deliveries=(FOLDER, PRINTER)))
    entry = moved(entry, *[D.DELIVERING, D.IN_DOUBT][: 1 + (under_way is D.IN_DOUBT)])
    with pytest.raises(Unavailable):
        life.discard(entry, NOW)
    with pytest.raises(Unavailable):
        released(moved(entry, D.HELD, delivery="d2"), "dossier", site=GARE)


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        pytest.param(begun(held(1)), State.EXPIRED, id="held without deliveries"),
        pytest.param(begun(pending(1)), State.EXPIRED, id="never delivered"),
        pytest.param(moved(begun(pending(1)), D.HELD), State.EXPIRED, id="delivery held"),
        pytest.param(
            moved(
                moved(begun(pending(1, deliveries=(FOLDER, PRINTER))), D.HELD, delivery="d2"),
                D.DELIVERING,
                D.DELIVERED,
            ),
            State.DELIVERED,
            id="half of it delivered",
        ),
    ],
)
def test_a_discarded_message_ends(entry: Entry, state: State) -> None:
    ended = life.discard(entry, NOW).entry
    assert (ended.state, ended.reason) == (state, None)
    with pytest.raises(InvariantBroken):
        life.discard(ended, NOW)


def test_a_decision_on_what_has_changed_meanwhile_is_refused() -> None:
    life.expected(begun(held(1)), State.HELD)
    with pytest.raises(Refused):
        life.expected(begun(pending(1)), State.HELD)


# --- history


def test_a_gap_in_the_history_is_told_with_ids_only() -> None:
    first = life.begin(pending(1), ["e1", "d1"], NOW)
    second = life.move(first.entry, "d1", life.Turn(D.DELIVERING, NOW))
    third = life.move(second.entry, "d1", life.Turn(D.DELIVERED, NOW))
    whole = (*first.events, *second.events, *third.events)
    assert life.folded(whole) == ({"d1": "delivered", None: "delivered"}, ())
    told, breaks = life.folded((*first.events, *third.events))
    assert told["d1"] == "delivered"
    assert breaks == ("d1: its history has a gap",)
