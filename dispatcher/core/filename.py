"""The attachment's name, `{ET}_{file number}_{NOM}_{Prénom}.pdf`, read with a key.

A file number or a name may hold `_` itself, so the name is never split blindly: the
subject says what to look for (guide, section 4).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.core.subject import Fields
from dispatcher.core.text import same_name, squeeze, without_marks

_SITE: Final = re.compile(rf"({SHAPE.pattern})_", re.ASCII)
_EXTENSION: Final = ".pdf"
# No file system takes longer ones; it bounds the number of places tried for a split.
_NAMES_LIMIT: Final = 512
# What mailers without accents leave of a name: everything else becomes `?`, `_` or nothing.
_NOT_KEPT: Final = re.compile(r"[^A-Za-z0-9.-]+")


class Verdict(IntEnum):
    """How far a name agrees with the subject; the greater, the more it says."""

    UNREADABLE = 0
    OTHER_SITE = 1
    OTHER_FILE = 2
    OTHER_PATIENT = 3
    AGREES = 4


@dataclass(frozen=True, slots=True)
class NameReading:
    """What one name says. Without agreement on the names, all of them is `last_name`."""

    verdict: Verdict
    name: str = field(default="", repr=False)
    site: str | None = field(default=None, repr=False)
    file_number: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)

    @property
    def contradicts_file_number(self) -> bool:
        """Whether a readable name does not bear the subject's file number."""
        return self.verdict is not Verdict.UNREADABLE and self.file_number is None


def site_of(name: str) -> str | None:
    """Return the ET number a name begins with, or None."""
    found = _SITE.match(squeeze(name))
    return found[1] if found else None


def read_all(names: Sequence[str], key: Fields) -> NameReading:
    """Return what an attachment's names say together; unreadable when they differ.

    Beside a name that agrees with the subject another one may be its poor form, with `?`
    or `_` where the mailer had no letter. Anything else is not guessed at.
    """
    readings = [read(name, key) for name in names]
    if not readings:
        return NameReading(Verdict.UNREADABLE)
    best = max(readings, key=lambda reading: reading.verdict)
    if all(_says_the_same(best, other) for other in readings):
        return best
    return NameReading(Verdict.UNREADABLE, best.name)


def _says_the_same(best: NameReading, other: NameReading) -> bool:
    if best.verdict is Verdict.AGREES and other.verdict is Verdict.AGREES:
        return True
    poor = _skeleton(other.name)
    return poor in {_skeleton(best.name), _skeleton(without_marks(best.name))}


def _skeleton(name: str) -> str:
    return _NOT_KEPT.sub("?", unicodedata.normalize("NFC", name))


def read(name: str, key: Fields) -> NameReading:
    """Return how far one name agrees with the subject's fields."""
    whole = squeeze(name)
    site = site_of(whole)
    if site is None or not whole.lower().endswith(_EXTENSION):
        return NameReading(Verdict.UNREADABLE, name)
    rest = whole[len(site) + 1 : -len(_EXTENSION)]
    if not rest.startswith(f"{key.file_number}_"):
        verdict = Verdict.OTHER_FILE if site == key.site else Verdict.OTHER_SITE
        return NameReading(verdict, name, site)
    file_number = key.file_number
    last_name, first_name, agree = _names(rest[len(file_number) + 1 :], key)
    verdict = Verdict.AGREES if agree else Verdict.OTHER_PATIENT
    if site != key.site:
        verdict = Verdict.OTHER_SITE
    return NameReading(verdict, name, site, file_number, last_name, first_name)


def _names(text: str, key: Fields) -> tuple[str, str | None, bool]:
    """Split at the one `_` that gives the subject's names, if there is one."""
    if len(text) > _NAMES_LIMIT:
        return text, None, False
    for at in (found.start() for found in re.finditer("_", text)):
        last_name, first_name = text[:at], text[at + 1 :]
        if same_name(last_name, key.last_name) and same_name(first_name, key.first_name):
            return last_name, first_name, True
    return text, None, False
