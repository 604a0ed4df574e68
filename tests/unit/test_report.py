"""The report counts what happened in its time, by site."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

import pytest

from dispatcher.core import report
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState, State
from dispatcher.core.report import Counts, Turnover, compose, read_week
from dispatcher.core.routing import Kind, Rules, Site

A, B, OLD = FinessET("990000010"), FinessET("990000028"), FinessET("990000036")
RULES = Rules(
    "LBM", None, {A: Site(A, "Site A", ()), B: Site(B, "=B()", (), aliases=frozenset({OLD}))}
)
DAY = report.day(date(2026, 11, 27))


def test_every_site_has_a_line_and_unknown_ones_come_last() -> None:
    made = compose(
        DAY,
        [
            Turnover(A, None, State.PENDING, True, 3),
            Turnover(A, None, State.DELIVERED, False, 2),
            Turnover(A, Kind.PRINT, DeliveryState.DELIVERED, False, 2),
            Turnover(A, Kind.FOLDER, DeliveryState.DELIVERED, False, 2),
            Turnover(A, Kind.PRINT, DeliveryState.DECIDED, True, 3),
            Turnover(None, None, State.HELD, True, 1),
            Turnover(OLD, None, State.PURGED, False, 4),
            Turnover(B, None, State.EXPIRED, False, 5),
        ],
        RULES,
    )
    assert [(line.number, line.counts) for line in made.lines] == [
        (str(A), Counts(received=3, delivered=2, printed=2)),
        (str(B), Counts(expired=5, purged=4)),
        ("", Counts(received=1, held=1)),
    ]
    assert made.total == Counts(4, 2, 2, 1, 5, 4)


def test_a_day_without_anything_has_its_sites_at_zero() -> None:
    assert [line.counts for line in compose(DAY, [], RULES).lines] == [Counts(), Counts()]


def test_a_spreadsheet_reads_it_and_runs_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(report.as_csv(compose(DAY, [], RULES))), delimiter=";"))
    assert rows[0] == ["period", "site", "name", *report.COLUMNS]
    assert [row[2] for row in rows[1:]] == ["Site A", "'=B()"]


def test_the_mail_says_the_same_in_french() -> None:
    text = "\n".join(report.as_lines(compose(DAY, [], RULES)))
    assert "Rapport du 27/11/2026" in text
    assert "imprimés" in text


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("2026-W48", date(2026, 11, 23)),
        ("2026w48", date(2026, 11, 23)),
        ("2026-W53", date(2026, 12, 28)),
        ("2027-W53", None),
        ("2026-W00", None),
        ("48", None),
        ("２０２６-W48", None),
    ],
)
def test_a_week_is_written_as_iso_8601_has_it(text: str, first: date | None) -> None:
    found = read_week(text)
    assert (found.first if found else None) == first
    if found is not None:
        assert found.last - found.first == timedelta(days=6)


def test_a_day_of_23_hours_ends_when_the_next_one_begins() -> None:
    spring = report.day(date(2026, 3, 29))
    assert spring.ends_at == report.day(date(2026, 3, 30)).begins_at
    assert spring.ends_at.timestamp() - spring.begins_at.timestamp() == 23 * 3600
