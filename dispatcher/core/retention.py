"""How long a certificate may be kept: the guide's clock, counted from the sampling."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.paris import PARIS

# A sampling time later than the reception is a mistake; this much may be clock skew.
_SKEW: Final = timedelta(hours=1)

# SI-DEP opened in May 2020 (decree 2020-551): a sampling before that year is a mistake, and
# to believe it would delete at once what somebody still waits for.
_FIRST: Final = datetime(2020, 1, 1, tzinfo=PARIS)


@dataclass(frozen=True, slots=True)
class Months:
    """A span in calendar months: from 31 August, 6 months end on the last of February."""

    count: int


Span = timedelta | Months


@dataclass(frozen=True, slots=True)
class Terms:
    """Settings `retention`. What it says of negative and positive is the guide's, section 5."""

    negative: Span = timedelta(hours=72)
    positive: Span = Months(6)
    other: Span = timedelta(hours=72)
    unreadable: Span = Months(6)
    site_copy_grace: timedelta = timedelta(hours=24)

    def of(self, result: Result | None) -> Span:
        """Return the span for a result; only a sure `negatif` is negative."""
        match result:
            case None:
                return self.unreadable
            case Result.NEGATIVE:
                return self.negative
            case Result.POSITIVE:
                return self.positive
            case _:
                return self.other


def due_at(facts: Facts, received_at: datetime, terms: Terms) -> datetime:
    """Return when mail and certificate must be gone, aware, in UTC-comparable time.

    72 hours count from the sampling time, months from the sampling date in Europe/Paris
    and end as that day begins (guide, section 5). A result or a sampling time that could
    not be read, or that lies in the future or before SI-DEP, counts from reception.
    """
    sampled_at = facts.sampled_at
    if facts.result is None or sampled_at is None:
        return _after(received_at, terms.unreadable)
    if not _FIRST <= sampled_at <= received_at + _SKEW:
        return _after(received_at, terms.of(facts.result))
    return _after(sampled_at, terms.of(facts.result))


def _after(start: datetime, span: Span) -> datetime:
    if isinstance(span, timedelta):
        # In UTC: 72 hours stay 72 hours across a change of clock.
        return start.astimezone(ZoneInfo("UTC")) + span
    day = start.astimezone(PARIS).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    months = day.year * 12 + day.month - 1 + span.count
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last))
