"""The subject of a certificate's mail: the marker, then four fields (guide, section 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.core.text import fold, is_visible, squeeze

MARKER: Final = "[Projet SI-DEP] Certificat de test"

_FOLDED_MARKER: Final = fold(MARKER)
# What French, English and German mail programs put before a reply or a transfer.
_PREFIX: Final = re.compile(
    r"\s*(?:re|ré|rép|réf|ref|tr|fw|fwd|aw|wg)\s*(?:[\[(]\d{1,3}[\])])?\s*:", re.IGNORECASE
)
_FIELDS: Final = 4


@dataclass(frozen=True, slots=True)
class Fields:
    """What a readable subject says. `site` has the shape of a FINESS number."""

    site: str = field(repr=False)
    file_number: str = field(repr=False)
    last_name: str = field(repr=False)
    first_name: str = field(repr=False)


def is_ours(subject: str) -> bool:
    """Whether a subject is SI-DEP's, replies and transfers of it included."""
    rest = squeeze(subject)
    while found := _PREFIX.match(rest):
        rest = rest[found.end() :]
    return fold(rest).startswith(_FOLDED_MARKER)


def read(subject: str) -> Fields | None:
    """Return the fields of an original subject, or None when it is not exactly one.

    White space around the colon and the bars does not matter, the number of bars does: a
    field with a bar inside would shift the others.
    """
    head, colon, tail = squeeze(subject).partition(":")
    parts = [part.strip(" ") for part in tail.split("|")]
    if not colon or fold(head) != _FOLDED_MARKER or len(parts) != _FIELDS or not all(parts):
        return None
    fields = Fields(*parts)
    # An invisible character could make two numbers look like one.
    readable = SHAPE.fullmatch(fields.site) and is_visible(fields.file_number)
    return fields if readable else None
