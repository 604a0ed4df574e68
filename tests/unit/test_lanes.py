"""Lanes run apart, share threads that are free, and hand out together what ends together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from dispatcher.core.finess import FinessET
from dispatcher.edges.clock import SystemClock
from dispatcher.service.lanes import Lane, Lanes

SITE = FinessET("990000010")
# Far longer than any work here takes on a machine that is busy with other things.
PATIENT = 300.0


def lane(number: int) -> Lane:
    return SITE, f"target {number}"


@pytest.fixture
def hang() -> Iterator[Callable[[], str]]:
    """Return work that does not end before the test does."""
    over = threading.Event()

    def work() -> str:
        over.wait(PATIENT)
        return "late"

    yield work
    over.set()


def test_every_piece_of_work_ends_once_whatever_the_width() -> None:
    lanes: Lanes[int] = Lanes(SystemClock(), patience=PATIENT, width=3)
    for _ in range(5):
        work = {lane(number): (lambda number=number: number) for number in range(40)}
        ended = [one for group in lanes.run(work) for one in group]
        assert sorted(one.result or 0 for one in ended) == list(range(40))
        assert lanes.idle


def test_threads_are_used_again() -> None:
    lanes: Lanes[int] = Lanes(SystemClock(), patience=PATIENT, width=1)
    used: list[threading.Thread] = []

    def work() -> int:
        used.append(threading.current_thread())
        return 0

    for _ in range(200):
        list(lanes.run({lane(0): work}))
    # One that has just ended its work may not be waiting for more yet.
    assert len(set(used)) < 100


def test_one_that_hangs_keeps_its_lane_and_no_other(hang: Callable[[], str]) -> None:
    lanes: Lanes[str] = Lanes(SystemClock(), patience=0.2, width=2)
    work = {lane(number): (lambda: "done") for number in range(6)}
    ended = [one for group in lanes.run({lane(9): hang, **work}) for one in group]
    assert {one.lane for one in ended} == set(work)
    assert lanes.busy(lane(9))
    again = [one for group in lanes.run(work) for one in group]
    assert len(again) == len(work)


def test_what_ends_together_is_handed_out_together() -> None:
    lanes: Lanes[int] = Lanes(SystemClock(), patience=PATIENT, width=20)
    together = threading.Barrier(20)

    def work() -> int:
        return together.wait(PATIENT)

    groups = list(lanes.run({lane(number): work for number in range(20)}))
    assert sum(map(len, groups)) == 20
    # Twenty commits for twenty receipts would be one each.
    assert len(groups) < 20


def test_an_error_is_carried_to_the_caller() -> None:
    lanes: Lanes[int] = Lanes(SystemClock(), patience=PATIENT)

    def work() -> int:
        raise ZeroDivisionError

    ((ended,),) = lanes.run({lane(0): work})
    assert isinstance(ended.error, ZeroDivisionError)
    ((after,),) = lanes.run({lane(0): lambda: 1})
    assert after.result == 1
