"""What stops a purge, as a table: each circumstance alone, and just not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.core.retention import Months
from dispatcher.core.sizing import Size, Traffic, size
from dispatcher.service.purge.brakes import Brake, Circumstances, ClockWatch, tripped

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

CALM = Circumstances(
    now=NOW,
    born_at=NOW - 90 * DAY,
    due=10,
    oldest_at=NOW - 4 * DAY,
    listed=100,
    ours=100,
    max_share=0.5,
    last_at=NOW - HOUR,
    shown_at=NOW - HOUR,
    elapsed_at=NOW,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, set(), id="an ordinary hour"),
        pytest.param({"oldest_at": NOW - 91 * DAY}, {Brake.FIRST_PURGE}, id="older mail"),
        pytest.param(
            {"oldest_at": NOW - 91 * DAY, "confirmed": True}, set(), id="older, confirmed once"
        ),
        pytest.param({"last_at": None, "shown_at": NOW}, set(), id="first purge, of little"),
        pytest.param({"last_at": None, "shown_at": NOW, "due": 20}, set(), id="of 20 mails"),
        pytest.param(
            {"last_at": None, "shown_at": NOW, "due": 21}, {Brake.FIRST_PURGE}, id="of much"
        ),
        pytest.param({"due": 50}, set(), id="half of the mailbox"),
        pytest.param({"due": 51}, {Brake.LARGE_SHARE}, id="more than half"),
        pytest.param({"due": 19, "listed": 19}, set(), id="all of a small mailbox"),
        pytest.param({"due": 51, "max_share": 1.0}, set(), id="the setting allows it"),
        pytest.param({"vanished": 50, "ours": 50}, set(), id="half vanished"),
        pytest.param({"vanished": 51, "ours": 50}, {Brake.MAILBOX_SHRANK}, id="more vanished"),
        pytest.param(
            {"vanished": 51, "ours": 50, "vanished_before": 2}, set(), id="two were known"
        ),
        pytest.param({"vanished": 10, "ours": 0}, set(), id="a small mailbox emptied"),
        pytest.param({"vanished": 20, "ours": 0}, {Brake.MAILBOX_SHRANK}, id="20 vanished"),
        pytest.param({"due": 20, "listed": 20}, {Brake.LARGE_SHARE}, id="all of 20 mails"),
        pytest.param({"last_at": NOW + HOUR}, set(), id="just an hour back"),
        pytest.param({"elapsed_at": NOW - 2 * HOUR}, set(), id="two hours in no time"),
        pytest.param(
            {"elapsed_at": None, "last_at": NOW - 7 * DAY, "shown_at": None},
            set(),
            id="seven days without anything",
        ),
        pytest.param({"last_at": NOW + 2 * HOUR}, {Brake.CLOCK_BEHIND}, id="clock set back"),
        pytest.param({"last_at": NOW + HOUR / 2}, set(), id="a little back"),
        pytest.param(
            {"elapsed_at": NOW - 3 * HOUR, "shown_at": NOW - 3 * HOUR},
            {Brake.CLOCK_AHEAD},
            id="three hours in no time",
        ),
        pytest.param(
            {"elapsed_at": NOW - 3 * HOUR, "shown_at": NOW - HOUR},
            set(),
            id="three hours in no time, and new mail agrees",
        ),
        pytest.param(
            {"elapsed_at": None, "last_at": NOW - 8 * DAY, "shown_at": NOW - 8 * DAY},
            {Brake.CLOCK_AHEAD},
            id="eight days without anything",
        ),
        pytest.param(
            {"elapsed_at": None, "last_at": NOW - 8 * DAY, "shown_at": NOW - 6 * DAY},
            set(),
            id="off for eight days, mail came since",
        ),
        pytest.param(
            {"elapsed_at": None, "last_at": NOW - 6 * DAY, "shown_at": None},
            set(),
            id="off for six days, no mail",
        ),
        pytest.param(
            {"elapsed_at": None, "last_at": None, "shown_at": None, "born_at": NOW - 6 * DAY},
            set(),
            id="a young ledger that never purged",
        ),
    ],
)
def test_a_purge_is_stopped_by(changes: dict[str, object], expected: set[Brake]) -> None:
    assert set(tripped(replace(CALM, **changes))) == expected  # type: ignore[arg-type]


def test_a_clock_that_another_process_purged_by_is_believed() -> None:
    """A person confirmed beside the service: it must not stop what was just confirmed."""
    watch = ClockWatch()
    watch.believe(NOW, monotonic=100.0)
    assert watch.elapsed_at(NOW, monotonic=160.0) == NOW + timedelta(minutes=1)
    assert watch.elapsed_at(NOW + 2 * HOUR, monotonic=160.0) == NOW + timedelta(minutes=1)
    confirmed_at = NOW + 30 * DAY
    assert watch.elapsed_at(confirmed_at, monotonic=160.0) is None
    assert watch.elapsed_at(confirmed_at, monotonic=220.0) == confirmed_at + timedelta(
        minutes=1
    )


# --- the size of a BAL


def test_the_size_is_the_guide_s_upper_bound() -> None:
    found = size(Traffic(1000), negative=timedelta(hours=72), positive=Months(6))
    assert found == Size(100, 285 + 930, 285, 930, 1_215_000_000)


def test_the_measured_size_counts_the_mean_of_one_s_own_mails() -> None:
    traffic = Traffic(500, without_contact=0.2, positives=0.0)
    found = size(traffic, negative=2 * DAY, positive=Months(6), mean_bytes=160_000.5)
    assert (found.mails, found.positives) == (200, 0)
    assert found.bytes_as_measured == 32_000_100
