"""How large a BAL must be for what the guide's section 5 lets it keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dispatcher.core.retention import Months, Span

# The largest mail that SI-DEP sends, certificate included (guide, section 5).
LARGEST: Final = 1_000_000
# The longest that six calendar months can be is 184 days: a month counts as 31.
_MONTH: Final = 31


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a laboratory expects: shares are of 1, `without_contact` as in the guide 10 %."""

    patients_per_day: float
    without_contact: float = 0.10
    positives: float = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """How many mails come a day and lie there at most, and the bytes that they take."""

    mails_per_day: float
    mails: int
    negatives: int
    positives: int
    bytes_at_most: int
    bytes_as_measured: int | None = None


def size(
    traffic: Traffic, *, negative: Span, positive: Span, mean_bytes: float | None = None
) -> Size:
    """Return the size that is needed when everything goes at its term.

    Terms count from the sampling, so this is the upper bound: results come later.
    """
    daily = traffic.patients_per_day * traffic.without_contact
    found = daily * traffic.positives * _days(positive)
    clear = daily * (1 - traffic.positives) * _days(negative)
    positives, negatives = math.ceil(found), math.ceil(clear)
    mails = positives + negatives
    measured = None if mean_bytes is None else math.ceil(mails * mean_bytes)
    return Size(daily, mails, negatives, positives, mails * LARGEST, measured)


def _days(span: Span) -> float:
    if isinstance(span, Months):
        return span.count * _MONTH
    return span / timedelta(days=1)
