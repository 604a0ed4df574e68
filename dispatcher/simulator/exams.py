"""Invents tests: the site that made them, file number, analysis, result, times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")


class Outcome(Enum):
    """The result in French; the labels of a 2D-DOC of type B2."""

    NEGATIVE = "Négatif"
    POSITIVE = "Positif"
    UNDETERMINED = "Indéterminé"
    NOT_COMPLIANT = "Prélèvement non conforme"

    @property
    def word(self) -> str:
        """The word of the contract with operators (`routing.yaml`, `list --json`)."""
        return _WORDS[self]


_WORDS: Final = {
    Outcome.NEGATIVE: "negatif",
    Outcome.POSITIVE: "positif",
    Outcome.UNDETERMINED: "indetermine",
    Outcome.NOT_COMPLIANT: "non-conforme",
}
_WEIGHTS: Final = {
    Outcome.NEGATIVE: 80,
    Outcome.POSITIVE: 13,
    Outcome.UNDETERMINED: 4,
    Outcome.NOT_COMPLIANT: 3,
}

# LOINC codes used for SARS-CoV-2 in France, with wordings in the manner of Bioloinc.
ANALYSES: Final = {
    "94500-6": "SARS-CoV-2 (COVID-19) ARN : présence, voies respiratoires (RT-PCR)",
    "94309-2": "SARS-CoV-2 (COVID-19) ARN : présence, prélèvement non précisé (RT-PCR)",
    "94845-5": "SARS-CoV-2 (COVID-19) ARN : présence, salive (RT-PCR)",
    "94558-4": "SARS-CoV-2 (COVID-19) antigène : présence, voies respiratoires (test rapide)",
}

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Exam:
    """One test of one patient. Times are aware, in Europe/Paris, to the minute."""

    site: str
    file_number: str = field(repr=False)
    code: str
    label: str
    outcome: Outcome
    sampled_at: datetime
    integrated_at: datetime


def exam(
    rng: Random,
    site: str,
    now: datetime,
    *,
    outcome: Outcome | None = None,
    age: timedelta = timedelta(hours=48),
) -> Exam:
    """Invent a test sampled at most `age` before `now` and integrated before `now`."""
    minutes = max(60, int(age.total_seconds()) // 60)
    ago = rng.randrange(45, minutes)
    sampled_at = shifted(now, -timedelta(minutes=ago))
    integrated_at = shifted(now, -timedelta(minutes=rng.randrange(5, min(ago, 600))))
    code = rng.choice(tuple(ANALYSES))
    chosen = rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
    return Exam(
        site=site,
        file_number=file_number(rng, sampled_at),
        code=code,
        label=ANALYSES[code],
        outcome=outcome or chosen,
        sampled_at=sampled_at.replace(second=0, microsecond=0),
        integrated_at=integrated_at.replace(second=0, microsecond=0),
    )


def shifted(at: datetime, by: timedelta) -> datetime:
    """Return the instant that much later, in Europe/Paris.

    Added in UTC: Python adds to the clock on the wall, which may give an hour that does
    not exist.
    """
    return (at.astimezone(UTC) + by).astimezone(PARIS)


def file_number(rng: Random, sampled_at: datetime) -> str:
    """Invent a file number; the first shape is the guide's, no shape may be assumed."""
    return rng.choices(_SHAPES, (6, 1, 1, 1, 1, 1))[0](rng, sampled_at)


def _as_in_the_guide(rng: Random, at: datetime) -> str:
    return f"{at:%y%j}{rng.choice(_LETTERS)}{rng.choice(_LETTERS)}{rng.randrange(10**6):06}"


def _with_underscores(rng: Random, at: datetime) -> str:
    return f"LAB_{at:%y}_{rng.randrange(10**6):06}"


def _with_hyphens(rng: Random, at: datetime) -> str:
    return f"{at:%Y}-{rng.randrange(10**5):05}-{rng.randrange(1, 10)}"


def _with_spaces(rng: Random, at: datetime) -> str:
    return f"{at:%y%j} {rng.randrange(10**6):06}"


def _digits_only(rng: Random, _at: datetime) -> str:
    return f"0{rng.randrange(10**9):09}"


def _short(rng: Random, _at: datetime) -> str:
    return f"{rng.choice(_LETTERS)}{rng.randrange(10**5)}"


_SHAPES: Final[tuple[Callable[[Random, datetime], str], ...]] = (
    _as_in_the_guide,
    _with_underscores,
    _with_hyphens,
    _with_spaces,
    _digits_only,
    _short,
)
