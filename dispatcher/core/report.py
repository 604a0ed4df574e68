"""The report of a day or a week: how many certificates of each site did what."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Final

from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState, State
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Kind, Rules

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The days from `first` to `last`, both included, in Paris."""

    first: date
    last: date

    @property
    def begins_at(self) -> datetime:
        """Its first moment."""
        return datetime.combine(self.first, time(), PARIS)

    @property
    def ends_at(self) -> datetime:
        """The first moment after it."""
        return datetime.combine(self.last + _DAY, time(), PARIS)

    @property
    def name(self) -> str:
        """Its name: `2026-11-27`, or `2026-W48` for a week."""
        if self.first == self.last:
            return self.first.isoformat()
        year, week, _ = self.first.isocalendar()
        return f"{year}-W{week:02d}"


def day(on: date) -> Period:
    """Return one day."""
    return Period(on, on)


def week(of: date) -> Period:
    """Return the week (Monday to Sunday, ISO 8601) in which a day lies."""
    monday = of - of.weekday() * _DAY
    return Period(monday, monday + 6 * _DAY)


_WEEK: Final = re.compile(r"([0-9]{4})-?W([0-9]{2})", re.ASCII)


def read_week(text: str) -> Period | None:
    """Return the week that `2026-W48` names (ISO 8601), or None."""
    found = _WEEK.fullmatch(text.strip().upper())
    if found is None:
        return None
    try:
        return week(date.fromisocalendar(int(found[1]), int(found[2]), 1))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Turnover:
    """How many messages of a site, or deliveries of one `kind`, came to a state in a time.

    `kind` None: messages; `began`: they were taken in then, whatever their state.
    """

    site: FinessET | None
    kind: Kind | None
    became: State | DeliveryState
    began: bool
    count: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened in the time of the report, each counted on the day it happened."""

    received: int = 0
    delivered: int = 0
    printed: int = 0
    held: int = 0
    expired: int = 0
    purged: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


COLUMNS: Final = tuple(field.name for field in fields(Counts))

_FRENCH: Final = ("reçus", "remis", "imprimés", "à décider", "expirés", "supprimés")

_BECAME: Final = {
    State.DELIVERED: "delivered",
    State.HELD: "held",
    State.EXPIRED: "expired",
    State.PURGED: "purged",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One site; `number` is empty for messages whose site is not known."""

    number: str
    name: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Report:
    """Every site of the rules, and every other one of which something is counted."""

    period: Period
    lines: tuple[Line, ...]

    @property
    def total(self) -> Counts:
        """The sum of all sites."""
        return sum((line.counts for line in self.lines), Counts())


def compose(period: Period, turnover: Iterable[Turnover], rules: Rules) -> Report:
    """Return the report; a former number of a site counts as the site."""
    found: dict[str, Counts] = {str(site.finess): Counts() for site in rules.sites.values()}
    for one in turnover:
        number = _site(one.site, rules)
        found[number] = found.get(number, Counts()) + _counted(one)
    names = {str(site.finess): site.name for site in rules.sites.values()}
    ordered = sorted(found.items(), key=lambda item: (not item[0], item[0]))
    lines = (
        Line(number, names.get(number, "" if number else "site inconnu"), counts)
        for number, counts in ordered
    )
    return Report(period, tuple(lines))


def _site(number: FinessET | None, rules: Rules) -> str:
    if number is None:
        return ""
    known = rules.site_of(number)
    return str(number if known is None else known.finess)


def _counted(one: Turnover) -> Counts:
    columns: dict[str, int] = {}
    if one.kind is not None:
        if one.kind is Kind.PRINT and one.became is DeliveryState.DELIVERED:
            columns["printed"] = one.count
        return Counts(**columns)
    if one.began:
        columns["received"] = one.count
    column = _BECAME.get(one.became) if isinstance(one.became, State) else None
    if column is not None:
        columns[column] = one.count
    return Counts(**columns)


class _Rows:
    """Keeps what the csv module writes."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)


def as_csv(report: Report) -> str:
    """Return the report for a spreadsheet: `;` between cells, as in French ones."""
    out = _Rows()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(("period", "site", "name", *COLUMNS))
    for line in report.lines:
        row = (report.period.name, line.number, _harmless(line.name), *astuple(line.counts))
        writer.writerow(row)
    return "".join(out.written)


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def as_lines(report: Report) -> Iterator[str]:
    """Yield the report as a mail shows it."""
    period = report.period
    if period.first == period.last:
        yield f"Rapport du {period.first:%d/%m/%Y} ({period.name})"
    else:
        yield f"Rapport du {period.first:%d/%m/%Y} au {period.last:%d/%m/%Y} ({period.name})"
    yield "  Report: received, delivered, printed, held, expired, purged, by site."
    yield ""
    yield _row("site", _FRENCH) + "  nom"
    for line in report.lines:
        yield _row(line.number or "?", astuple(line.counts)) + f"  {line.name}"
    yield _row("total", astuple(report.total))
    yield ""
    yield "Chaque nombre compte ce qui s'est passé pendant cette période."


def _row(first: str, cells: Iterable[object]) -> str:
    return f"{first:<10}" + "".join(f"{cell!s:>11}" for cell in cells)


def as_mapping(report: Report) -> Mapping[str, object]:
    """Return the report as one document of plain values."""
    return {
        "period": report.period.name,
        "from": report.period.first.isoformat(),
        "to": report.period.last.isoformat(),
        "sites": [
            {"site": line.number or None, "name": line.name} | _cells(line.counts)
            for line in report.lines
        ],
        "total": _cells(report.total),
    }


def _cells(counts: Counts) -> dict[str, int]:
    return dict(zip(COLUMNS, astuple(counts), strict=True))
