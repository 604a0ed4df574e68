"""Reads a FINESS number as the public files write it."""

from __future__ import annotations

import re
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.registry.oddities import Oddity

_EIGHT_DIGITS: Final = re.compile(r"[0-9]{8}", re.ASCII)
# The directory may write the type of the identifier before it: 1 is a FINESS (domain.md).
_TYPED: Final = re.compile(r"1([0-9][0-9A-Z][0-9]{7})", re.ASCII)
_AROUND: Final = " \t\xa0\u202f'\""


def read_number(text: str) -> tuple[str | None, Oddity | None]:
    """Return the nine characters that a cell means, and what was odd about them.

    None where it means none. Eight digits lost their zero to a spreadsheet: no department
    begins with two zeros, so nothing shorter is completed. Ten characters with a 1 in front
    are a form of the MSSanté directory.
    """
    if SHAPE.fullmatch(text):
        return text, None
    tidy = text.strip(_AROUND).replace(" ", "").replace("\xa0", "").upper()
    odd = None if tidy == text else Oddity.UNTIDY_NUMBER
    if SHAPE.fullmatch(tidy):
        return tidy, odd
    typed = _TYPED.fullmatch(tidy)
    if typed:
        return typed[1], odd
    if _EIGHT_DIGITS.fullmatch(tidy):
        return f"0{tidy}", Oddity.PADDED_NUMBER
    return None, Oddity.UNREADABLE_NUMBER
