"""The chain of the audit trail: what it finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.core.audit import START, Deed, Mark, Trace, What, flaw, linked

SECRET = b"of one ledger"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def trail(*places: str, secret: bytes = SECRET) -> list[Trace]:
    found: list[Trace] = []
    end = START
    for number, place in enumerate(places):
        deed = Deed("removed", What.MAIL, NOW + timedelta(minutes=number), where=place)
        trace = linked(secret, end, f"id{number}", deed)
        end = Mark(trace.seq, trace.digest)
        found.append(trace)
    return found


def end_of(traces: list[Trace]) -> Mark:
    return Mark(traces[-1].seq, traces[-1].digest)


def test_a_trail_as_it_was_written_is_whole() -> None:
    traces = trail("a", "b", "c")
    assert flaw(SECRET, traces, start=START, end=end_of(traces)) is None


def test_an_empty_trail_is_whole_until_something_was_written() -> None:
    assert flaw(SECRET, [], start=START, end=START) is None
    assert flaw(SECRET, [], start=START, end=Mark(2, "x")) is not None


def test_a_true_line_of_another_history_does_not_fit() -> None:
    traces, other = trail("a", "b", "c"), trail("x", "b", "c")
    mixed = [traces[0], other[1], other[2]]
    assert flaw(SECRET, mixed, start=START, end=end_of(other)) == (
        "line 2 was changed, or put in, without the program"
    )


def test_a_line_of_another_ledger_does_not_fit() -> None:
    other = trail("a", "b", secret=b"of another")
    assert flaw(SECRET, other, start=START, end=end_of(other)) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"verb": "gone"},
        {"what": What.COPY},
        {"at": NOW - timedelta(days=1)},
        {"entry": "e"},
        {"where": "z"},
        {"rule": "r"},
        {"answer": "a"},
        {"by": "b"},
        {"reason": "r"},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_every_field_is_bound(change: dict[str, object]) -> None:
    traces = trail("a", "b", "c")
    changed = replace(traces[1], deed=replace(traces[1].deed, **change))  # type: ignore[arg-type]
    found = flaw(SECRET, [traces[0], changed, traces[2]], start=START, end=end_of(traces))
    assert found == "line 2 was changed, or put in, without the program"


def test_the_same_moment_in_another_zone_is_the_same_line() -> None:
    traces = trail("a")
    paris = NOW.astimezone(tz=None)
    same = replace(traces[0], deed=replace(traces[0].deed, at=paris))
    assert flaw(SECRET, [same], start=START, end=end_of(traces)) is None


def test_a_trimmed_trail_begins_where_its_mark_says() -> None:
    traces = trail("a", "b", "c")
    start = Mark(traces[0].seq, traces[0].digest)
    assert flaw(SECRET, traces[1:], start=start, end=end_of(traces)) is None
    assert flaw(SECRET, traces[1:], start=START, end=end_of(traces)) is not None
