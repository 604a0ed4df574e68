"""What a person should look at, as values: a word, a sentence and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dispatcher.core.finess import FinessET


class Flaw(Enum):
    """What a person should look at; these words are in the JSON and the CSV."""

    NOT_ROUTED = "not-routed"
    NOT_DECLARED = "not-declared"
    CLOSED = "closed"
    SWAPPED = "swapped"
    SILENT = "silent"
    ELSEWHERE = "goes-elsewhere"
    OTHER_LEGAL_BODY = "other-legal-body"
    UNUSUAL_MENTION = "unusual-mention"
    BAL_NOT_LISTED = "bal-not-listed"
    BAL_WITHOUT_NUMBER = "bal-without-number"
    BAL_NOT_ORGANISATIONAL = "bal-not-organisational"
    BAL_NOT_STAMPED = "bal-not-stamped"
    LEGAL_BODY_UNKNOWN = "legal-body-unknown"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to look at. `wrong`: certificates do not arrive, or need not; else a hint.

    `site` or `bal` say what it is about; both are None for the legal body.
    """

    flaw: Flaw
    what: str
    hint: str
    wrong: bool = True
    site: FinessET | None = None
    bal: str | None = None
