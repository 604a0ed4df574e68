"""What the public registers say, as values: establishments, legal bodies, BALs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Final

from dispatcher.core.finess import FinessEJ, FinessET

# --- FINESS ------------------------------------------------------------------------------

# 611: laboratoire de biologie médicale; 610: its name of before the reform of 2010.
_LABORATORIES: Final = frozenset({"610", "611"})


@dataclass(frozen=True, slots=True)
class Establishment:
    """One row of the establishments file. `legal_body` is None where its cell is no number.

    `closed_on` rests on a cell that only some layouts seem to have: a warning, no proof.
    """

    site: FinessET
    legal_body: FinessEJ | None
    name: str = ""
    town: str = ""
    category: str = ""
    category_name: str = ""
    closed_on: date | None = None

    @property
    def is_laboratory(self) -> bool:
        """Whether its category is a laboratory's; those of hospitals have the hospital's."""
        return self.category in _LABORATORIES


@dataclass(frozen=True, slots=True)
class LegalBody:
    """One row of the legal bodies file."""

    number: FinessEJ
    name: str = ""
    siren: str = ""


class Register:
    """The FINESS register, or the part of it that was read. `made_on` is the file's date."""

    def __init__(
        self,
        establishments: Mapping[FinessET, Establishment],
        legal_bodies: Mapping[FinessEJ, LegalBody],
        made_on: date | None = None,
    ) -> None:
        self.establishments: Final = MappingProxyType(establishments)
        self.legal_bodies: Final = MappingProxyType(legal_bodies)
        self.made_on: Final = made_on
        self._sites: dict[FinessEJ, list[FinessET]] = {}
        for one in establishments.values():
            if one.legal_body is not None:
                self._sites.setdefault(one.legal_body, []).append(one.site)

    @classmethod
    def of(cls, *rows: Establishment | LegalBody, made_on: date | None = None) -> Register:
        """Return the register of these rows."""
        return cls(
            {row.site: row for row in rows if isinstance(row, Establishment)},
            {row.number: row for row in rows if isinstance(row, LegalBody)},
            made_on,
        )

    def sites_of(self, legal_body: FinessEJ) -> tuple[Establishment, ...]:
        """Return the establishments that name this legal body, by their numbers."""
        return tuple(
            self.establishments[site] for site in sorted(self._sites.get(legal_body, ()))
        )

    def is_legal_body(self, number: FinessEJ) -> bool:
        """Whether this is a legal body's: listed as one, or named by an establishment."""
        return number in self.legal_bodies or number in self._sites


# --- the MSSanté directory ---------------------------------------------------------------


class BalKind(Enum):
    """What a BAL is, in the directory's own words."""

    PERSONAL = "PER"
    ORGANISATIONAL = "ORG"
    APPLICATIVE = "APP"
    CABINET = "CAB"
    OTHER = "?"


class Stamp(Enum):
    """How "Service de rattachement" bears the mention that SI-DEP looks for.

    The guide prints `@SIDEP` and `@SIDEp`; other cases count as well, which nobody has
    verified. NEAR is a mention without its sign or with one too many: it does not count.
    """

    NONE = "none"
    AS_PRINTED = "as-printed"
    OTHER_CASE = "other-case"
    NEAR = "near"

    @property
    def counts(self) -> bool:
        """Whether SI-DEP takes a BAL that bears it."""
        return self in {Stamp.AS_PRINTED, Stamp.OTHER_CASE}


_MENTION: Final = re.compile(r"SI[-_ .]?DEP", re.ASCII | re.IGNORECASE)
has_mention: Final = _MENTION.search
"""Whether a "Service de rattachement" speaks of SI-DEP at all, in a way that counts or not."""
_STAMP: Final = re.compile(r"@SIDEP", re.ASCII | re.IGNORECASE)
_PRINTED: Final = ("@SIDEP", "@SIDEp")


def stamp_of(service: str) -> Stamp:
    """Return the stamp of a "Service de rattachement" (guide, section 4: *includes*)."""
    if not has_mention(service):
        return Stamp.NONE
    if any(printed in service for printed in _PRINTED):
        return Stamp.AS_PRINTED
    return Stamp.OTHER_CASE if _STAMP.search(service) else Stamp.NEAR


@dataclass(frozen=True, slots=True)
class Bal:
    """One line of the directory. `address` is in small letters.

    `structure` is the FINESS number that the line carries, of a site or of a legal body
    alike; empty where it carries none.
    """

    address: str
    kind: BalKind
    stamp: Stamp
    structure: str = ""

    @property
    def counts(self) -> bool:
        """Whether SI-DEP counts it: organisational and stamped (guide, sections 3 and 4)."""
        return self.kind is BalKind.ORGANISATIONAL and self.stamp.counts


class Directory:
    """The MSSanté directory: which BALs carry which FINESS number.

    The national file has 540,000 lines. Each is kept as one short text, a letter for its
    kind, one for its stamp, then the address, and becomes a `Bal` only when asked for.
    """

    def __init__(self, lines: Mapping[str, Iterable[str]]) -> None:
        """Take packed lines by the number that they carry; see `packed`."""
        self._lines = {
            number: tuple(dict.fromkeys(texts)) if number else tuple(texts)
            for number, texts in lines.items()
        }

    @classmethod
    def of(cls, *bals: Bal) -> Directory:
        """Return the directory of these lines."""
        lines: dict[str, list[str]] = {}
        for bal in bals:
            text = packed(bal.kind, bal.stamp, bal.address)
            lines.setdefault(bal.structure, []).append(text)
        return cls(lines)

    def __len__(self) -> int:
        return sum(len(texts) for texts in self._lines.values())

    def carrying(self, number: FinessET | FinessEJ) -> tuple[Bal, ...]:
        """Return the differing lines that carry a number, in the file's order."""
        texts = self._lines.get(number.number, ())
        return tuple(_unpacked(text, number.number) for text in texts)

    def named(self, address: str) -> tuple[Bal, ...]:
        """Return the differing lines of an address, whatever number they carry."""
        return tuple(dict.fromkeys(self._named(address.strip().lower())))

    def _named(self, address: str) -> Iterator[Bal]:
        for number, texts in self._lines.items():
            for text in texts:
                if text.endswith(address) and text[2:] == address:
                    yield _unpacked(text, number)


_KINDS: Final = {kind: kind.value[0] for kind in BalKind}
_STAMPS: Final = {
    Stamp.NONE: "-",
    Stamp.AS_PRINTED: "@",
    Stamp.OTHER_CASE: "~",
    Stamp.NEAR: "!",
}
_KIND_OF: Final = {letter: kind for kind, letter in _KINDS.items()}
_STAMP_OF: Final = {letter: stamp for stamp, letter in _STAMPS.items()}


def packed(kind: BalKind, stamp: Stamp, address: str) -> str:
    """Return a line as `Directory` keeps it. Addresses differ by more than their case."""
    return f"{_KINDS[kind]}{_STAMPS[stamp]}{address.lower()}"


def _unpacked(text: str, number: str) -> Bal:
    return Bal(text[2:], _KIND_OF[text[0]], _STAMP_OF[text[1]], number)
