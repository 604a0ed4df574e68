"""How long a certificate may be kept: the guide's clock, counted from the sampling."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.ledger import UNDER_WAY, Delivery, Entry, State
from dispatcher.core.paris import PARIS

# A sampling time later than the reception is a mistake; this much may be clock skew.
_SKEW: Final = timedelta(hours=1)

# A result comes late by hours or days. One of which even the guide's longest term (6 months)
# was over when it came bears a mistaken year, and to believe it would delete at once what
# somebody still waits for.
_LATEST: Final = 6

# Hours before the term of an undelivered certificate at which somebody is warned.
WARNINGS: Final = (24, 4)

# Nothing expires undelivered sooner after the first warning of it.
_WARNED: Final = timedelta(hours=min(WARNINGS))

# A purged certificate that comes again is known by a keyed digest for so long: SI-DEP sends
# nothing of a test after the longest term of the guide.
_KNOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Months:
    """A span in calendar months: from 31 August, 6 months end on the last of February."""

    count: int


Span = timedelta | Months


class Undelivered(Enum):
    """What becomes of a certificate whose term comes before its delivery."""

    HOLD = "hold"
    EXPIRE = "expire"


class Doubt(Enum):
    """Why a term does not count from the sampling, as the guide has it."""

    UNREAD = "result or sampling time unread"
    FUTURE = "sampling time after the reception"
    ANCIENT = "sampling time long before the reception"


class Why(Enum):
    """Why a copy is not to go at the term of its certificate."""

    LATE = "late"  # it came after its term: the site keeps it a while
    LEGAL_HOLD = "legal-hold"  # a person keeps it
    UNDELIVERED = "undelivered"  # kept for a person, or until somebody was warned
    UNDER_WAY = "under-way"  # nobody knows yet how a delivery of it ended


_NAMES: Final = {
    None: "unreadable",
    Result.NEGATIVE: "negative",
    Result.POSITIVE: "positive",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """Settings `retention`. What it says of negative and positive is the guide's, section 5."""

    negative: Span = timedelta(hours=72)
    positive: Span = Months(6)
    other: Span = timedelta(hours=72)
    unreadable: Span = Months(6)
    site_copy_grace: timedelta = timedelta(hours=24)
    undelivered: Undelivered = Undelivered.HOLD

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

    def named(self, result: Result | None) -> str:
        """Return the rule for a result as people write it: `negative 72h`."""
        return f"{_NAMES.get(result, 'other')} {told(self.of(result))}"


@dataclass(frozen=True, slots=True)
class Term:
    """When a certificate must be gone, by which rule; `doubt`: not counted from sampling."""

    at: datetime
    rule: str
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """When one copy is to go. `at` None: not before something else happens, see `why`.

    `why` None: at the plain term of its certificate.
    """

    at: datetime | None
    rule: str
    why: Why | None = None

    def by(self, now: datetime) -> bool:
        """Whether it is to go by now."""
        return self.at is not None and self.at <= now


@lru_cache(maxsize=32)
def told(span: Span) -> str:
    """Return a span as settings write it: `72h`, `6 months`."""
    if isinstance(span, Months):
        return f"{span.count} month{'s' * (span.count != 1)}"
    hours = span / timedelta(hours=1)
    return f"{hours:g}h"


def due_at(facts: Facts, received_at: datetime, terms: Terms) -> datetime:
    """Return when mail and certificate must be gone, aware, in UTC-comparable time."""
    return term_of(facts, received_at, terms).at


def term_of(facts: Facts, received_at: datetime, terms: Terms) -> Term:
    """Return the legal term of a certificate.

    72 hours count from the sampling time, months from the sampling date in Europe/Paris
    and end as that day begins (guide, section 5). A result or a sampling time that could
    not be read, or that lies in the future or more than 6 months before, counts from
    reception.
    """
    sampled_at = facts.sampled_at
    if facts.result is None or sampled_at is None:
        return _from_reception(None, received_at, terms, Doubt.UNREAD)
    if sampled_at > received_at + _SKEW:
        return _from_reception(facts.result, received_at, terms, Doubt.FUTURE)
    if _may_be_ancient(received_at - sampled_at) and (
        after(sampled_at, Months(_LATEST)) <= received_at
    ):
        return _from_reception(facts.result, received_at, terms, Doubt.ANCIENT)
    return Term(after(sampled_at, terms.of(facts.result)), terms.named(facts.result))


def _may_be_ancient(age: timedelta) -> bool:
    """Whether so much may be `_LATEST` months: no six are shorter than 181 days, less one."""
    return age >= timedelta(days=29 * _LATEST)


def _from_reception(
    result: Result | None, received_at: datetime, terms: Terms, doubt: Doubt
) -> Term:
    rule = f"{terms.named(result)} from reception"
    return Term(after(received_at, terms.of(result)), rule, doubt)


def term(entry: Entry, terms: Terms) -> Term:
    """Return the legal term of a message in the ledger, by the settings of today."""
    facts = Facts(result=entry.result, sampled_at=entry.sampled_at)
    return term_of(facts, entry.received_at, terms)


def mail_due(entry: Entry, terms: Terms, *, found: Term | None = None) -> Due:
    """Return when the mail of a message is to go; `found` is its term, where it is known.

    At the term; a late one as soon as it is delivered (issue of the law: the mail is the
    copy that nobody reads). Undelivered ones by the setting, never before somebody was
    warned. Never while a delivery is under way.
    """
    found = found or term(entry, terms)
    if any(delivery.state in UNDER_WAY for delivery in entry.deliveries):
        return Due(None, found.rule, Why.UNDER_WAY)
    if entry.state in {State.PENDING, State.HELD}:
        return _undelivered(entry, found, terms)
    return _kept(entry, Due(found.at, found.rule))


def _undelivered(entry: Entry, found: Term, terms: Terms) -> Due:
    if terms.undelivered is Undelivered.HOLD or entry.warned_at is None:
        return Due(None, found.rule, Why.UNDELIVERED)
    warned = entry.warned_at + _WARNED
    if warned > found.at:
        return _kept(entry, Due(warned, found.rule, Why.UNDELIVERED))
    return _kept(entry, Due(found.at, found.rule))


def copy_due(
    entry: Entry, delivery: Delivery, terms: Terms, *, found: Term | None = None
) -> Due:
    """Return when a copy that was delivered is to go; `found` as for `mail_due`.

    At the term, or `site_copy_grace` after a delivery that was made when it had passed.
    """
    found = found or term(entry, terms)
    made_at = delivery.made_at or entry.received_at
    if made_at < found.at:
        return _kept(entry, Due(found.at, found.rule))
    late = made_at.astimezone(UTC) + terms.site_copy_grace
    return _kept(entry, Due(late, found.rule, Why.LATE))


def _kept(entry: Entry, due: Due) -> Due:
    if entry.kept_until is None or (due.at is not None and due.at >= entry.kept_until):
        return due
    return Due(entry.kept_until, due.rule, Why.LEGAL_HOLD)


def forgotten_before(now: datetime) -> datetime:
    """Return the reception before which nothing finds a purged certificate any more."""
    return after(now, Months(-_KNOWN))


def warning_of(left: timedelta) -> int | None:
    """Return the hours of the warning that is due so long before a term; None: none yet."""
    reached = [hours for hours in WARNINGS if left <= timedelta(hours=hours)]
    return min(reached, default=None)


def after(start: datetime, span: Span) -> datetime:
    """Return the end of a span; months end as their day begins in Europe/Paris."""
    if isinstance(span, timedelta):
        # In UTC: 72 hours stay 72 hours across a change of clock.
        return start.astimezone(UTC) + span
    day = start.astimezone(PARIS).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    months = day.year * 12 + day.month - 1 + span.count
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last))
