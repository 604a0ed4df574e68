"""FINESS numbers, the national identifiers of French health establishments.

One number space holds two registers that must never be mixed up: the *entité juridique*
(EJ, the legal body) and the *établissement* (ET, one place). Routing is always by ET.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stdnum import luhn

# Shape published in the XSD of ansforge/finess. Corsica is 2A and 2B, Ain begins with 0:
# a number is text, never an int. `re.ASCII` and explicit classes keep out the digits of
# other scripts that `\d` and `int()` would take.
SHAPE: Final = re.compile(r"[0-9][0-9A-Z][0-9]{7}", re.ASCII)

_CORSICA: Final = str.maketrans({"A": "1", "B": "2"})


@dataclass(frozen=True, slots=True, order=True)
class _Finess:
    number: str

    def __post_init__(self) -> None:
        if not SHAPE.fullmatch(self.number):
            raise ValueError(f"not a FINESS number: {len(self.number)} characters given")

    def __str__(self) -> str:
        return self.number

    @property
    def luhn_valid(self) -> bool:
        """Whether the last digit checks, `A` counting as 1 and `B` as 2 in `2A` and `2B`.

        Elsewhere a letter is a slip of the pen: no department has one. Holds for every
        published ET number, not for the fictional numbers that the ANS prints: a reason to
        warn, never to refuse.
        """
        of_corsica = self.number.startswith(("2A", "2B"))
        digits = self.number.translate(_CORSICA) if of_corsica else self.number
        return bool(luhn.is_valid(digits))


@dataclass(frozen=True, slots=True, order=True)
class FinessET(_Finess):
    """An établissement: one site, the thing a certificate is delivered to."""


@dataclass(frozen=True, slots=True, order=True)
class FinessEJ(_Finess):
    """An entité juridique: owns one or more établissements; never a destination."""
