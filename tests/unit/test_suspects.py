"""Which messages are asked for together, alone or not now, after commands for them failed."""

from __future__ import annotations

from dispatcher.edges.imap.suspects import Suspects


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_without_a_failure_all_are_one_group() -> None:
    assert list(Suspects(32).groups([5, 3, 9])) == [[3, 5, 9]]
    assert list(Suspects(32).groups([])) == []


def test_what_failed_together_is_divided_and_the_rest_stays_together() -> None:
    suspects = Suspects(2)
    suspects.blame([1, 2, 3, 4])
    assert list(suspects.groups(range(8))) == [[0], [1, 2], [3, 4], [5, 6, 7]]
    suspects.blame([1, 2])
    suspects.acquit([3, 4])
    assert list(suspects.groups(range(1, 6))) == [[1], [2], [3, 4, 5]]


def test_one_of_a_thousand_is_found_after_three_failures() -> None:
    suspects, damaged, failures = Suspects(32), 617, 0
    while True:
        group = next(group for group in suspects.groups(range(1000)) if damaged in group)
        suspects.blame(group)
        failures += 1
        if len(group) == 1:
            break
    assert failures == 3


def test_what_failed_alone_comes_last_and_then_rests_for_ever_longer() -> None:
    clock = Clock()
    suspects = Suspects(32, now=clock)
    suspects.blame([2])
    assert list(suspects.groups([1, 2, 3])) == [[1, 3], [2]]
    rests = []
    for _ in range(6):
        suspects.blame([2])
        began = clock.at
        while suspects.askable([2]) == ([], []):
            clock.at += 1
        assert suspects.askable([1, 2, 3]) == ([1, 3], [2])
        rests.append(clock.at - began)
    assert rests == [60, 120, 240, 300, 300, 300]
    suspects.acquit([2])
    assert (suspects.limit(2), list(suspects.groups([1, 2]))) == (None, [[1, 2]])


def test_what_rests_is_not_asked_for_anything_else_either() -> None:
    clock = Clock()
    family: list[Suspects] = []
    sizes, bodies = Suspects(32, family, now=clock), Suspects(32, family, now=clock)
    bodies.blame([2])
    bodies.blame([2])
    assert list(sizes.groups([1, 2, 3])) == [[1, 3]]
    sizes.acquit([1, 2, 3])
    assert bodies.askable([2]) == ([], [])
    clock.at += 60
    assert list(sizes.groups([1, 2, 3])) == [[1, 2, 3]]


def test_in_another_mailbox_nothing_is_suspect() -> None:
    suspects = Suspects(1)
    suspects.blame([1, 2])
    suspects.blame([3])
    suspects.forget()
    assert list(suspects.groups([1, 2, 3])) == [[1, 2, 3]]
