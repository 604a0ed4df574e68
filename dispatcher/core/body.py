"""What the body of a certificate's mail states, label by label (guide, section 4)."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from itertools import pairwise
from typing import Final

from dispatcher.core.finess import SHAPE
from dispatcher.core.paris import read_time
from dispatcher.core.text import fold, same, same_name, squeeze


class Label(Enum):
    """A label that the guide prints in the body."""

    LAST_NAME = auto()
    FIRST_NAME = auto()
    SEX = auto()
    BORN = auto()
    INS = auto()
    ANALYSIS = auto()
    SITE = auto()
    SAMPLED = auto()
    INTEGRATED = auto()
    RESULT = auto()


def _letters(text: str) -> str:
    """Return letters and digits only, folded: what a label is known by."""
    return "".join(filter(str.isalnum, fold(unicodedata.normalize("NFC", text))))


_PRINTED: Final = (
    ("Nom", Label.LAST_NAME),
    ("Prénom", Label.FIRST_NAME),
    ("Sexe", Label.SEX),
    ("Date de naissance", Label.BORN),
    ("Matricule Identifiant National de Santé (INS)", Label.INS),
    (
        "Test réalisé : Type d'analyse (voir le site de Bioloinc pour la terminologie)",
        Label.ANALYSIS,
    ),
    ("Type d'analyse (voir le site de Bioloinc pour la terminologie)", Label.ANALYSIS),
    ("Identifiant de la structure ayant réalisé le test", Label.SITE),
    ("Date de prélèvement", Label.SAMPLED),
    ("Date de", Label.SAMPLED),  # so printed on the third page of the facsimile
    ("Date d'intégration du résultat dans l'application SI-DEP", Label.INTEGRATED),
    ("Résultat du test", Label.RESULT),
)
_LABELS: Final = {_letters(text): label for text, label in _PRINTED}
# As they are printed, with either apostrophe, which is how they nearly always come: a fold
# that need not be made.
_AS_PRINTED: Final = {
    form: label for text, label in _PRINTED for form in (text, text.replace("'", "’"))
}
# With which letters a label begins, and in how much of a line they are looked for.
_FIRST: Final = 3
_HEADS: Final = frozenset(label[:_FIRST] for label in _LABELS)
# What no label begins with, folded or not.
_NO_INITIALS: Final = frozenset(string.digits + string.ascii_letters) - {
    case for label in _LABELS for case in (label[0], label[0].upper())
}
_PRINTED_HEADS: Final = frozenset(text[:_FIRST] for text in _AS_PRINTED)
_HEAD: Final = 12
_LONGEST: Final = 160  # characters of a line in which a label may end
_SPAN: Final = 4  # lines over which a label may be wrapped
_COLONS: Final = 2  # the colon that ends a label is one of the first two

# A line that begins like some other label does not continue a value; `à 13:48` does.
_OTHER_LABEL: Final = re.compile(r"[^\W\d][^:\d]*:")
# What plain text makes of bold letters, in which the guide prints its values: `*text*` or
# `**text**`; or the end of a bold label, `*Nom :* text`.
_BOLD: Final = re.compile(r"(\*{1,2}) ?([^*\s](?:[^*]*[^*\s])?) ?\1|\*{1,2} ([^*]+)")

# Lines of a value: the one after the label's colon, then those it may be wrapped over.
Value = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """Every value that the renderings of a body give, as often as they give it."""

    values: tuple[tuple[Label, Value], ...] = field(default=(), repr=False)

    def of(self, label: Label) -> tuple[Value, ...]:
        """Return the values under one label."""
        return tuple(value for key, value in self.values if key is label)

    def text(self, label: Label) -> str | None:
        """Return the one text under a label; None when there is none or they differ."""
        texts = [squeeze(" ".join(value)) for value in self.of(label)]
        agree = all(one == other or same_name(one, other) for one, other in pairwise(texts))
        return texts[0] or None if texts and agree else None

    def site(self) -> str | None:
        """Return the site when each field for it is one FINESS-shaped number and no more."""
        return same(_site(value) for value in self.of(Label.SITE))

    def time(self, label: Label) -> datetime | None:
        """Return the one time under a label, in Paris; None when unread or they differ."""
        return same(_time(value) for value in self.of(label))

    def analysis(self) -> str | None:
        """Return the one LOINC-shaped code of the analysis, or None."""
        return same(_analysis(value) for value in self.of(Label.ANALYSIS))

    def states(self, label: Label, name: str) -> bool:
        """Whether the body gives that name under the label and no other one."""
        values = self.of(label)
        return bool(values) and all(same_name(" ".join(value), name) for value in values)


def read(renderings: Iterable[str]) -> Body:
    """Return what all the renderings of a body state. Quoted lines (`>`) state nothing."""
    return Body(tuple(pair for text in renderings for pair in _read(text)))


class _Lines:
    """The squeezed lines of a body, and at each the label that begins there."""

    def __init__(self, text: str) -> None:
        self.texts = _lines(text)
        self.labels = [
            _label_at(self.texts, at) if line else None for at, line in enumerate(self.texts)
        ]


def _lines(text: str) -> list[str]:
    """Return each line squeezed. Not str.splitlines(): a control character begins none."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # The usual blanks first: to squeeze makes a space of each.
    text = text.replace("\t", " ").replace("\u00a0", " ").replace("\u202f", " ")
    lines = text.split("\n")
    spaces = len(text) - len("".join(text.split()))
    if spaces != len(lines) - 1 + text.count(" ") or not unicodedata.is_normalized("NFC", text):
        return list(map(squeeze, lines))
    # Now only a run of spaces is left to be squeezed.
    return [squeeze(line) if "  " in line else line.strip(" ") for line in lines]


def _read(text: str) -> Iterator[tuple[Label, Value]]:
    lines = _Lines(text)
    texts = lines.texts
    at = 0
    while at < len(texts):
        found = lines.labels[at] or _cell_at(texts, at)
        if found is None:
            at += 1
            continue
        label, first, after = found
        value, after = _value_at(lines, after, first)
        # A label without a colon and without a value is a heading.
        if value or ":" in texts[at]:
            further = _further_sites(lines, after) if label is Label.SITE else ()
            yield label, (*_without_bold_marks(value), *further)
        at = after


def _cell_at(lines: Sequence[str], at: int) -> tuple[Label, str, int] | None:
    """Return the label that is all of a table's cell, or of a paragraph, without a colon."""
    cell = lines[at]
    if not cell or (at and lines[at - 1]) or any(lines[at + 1 : at + 2]):
        return None
    if len(cell) > _LONGEST or ":" in cell or not _may_begin_label(cell):
        return None
    label = _known(cell)
    return (label, "", at + 1) if label else None


def _label_at(lines: Sequence[str], at: int) -> tuple[Label, str, int] | None:
    """Return the label that begins at a line, the rest of its last line, the next line."""
    if (printed := _printed_in(lines[at])) is not None:
        return *printed, at + 1
    joined = ""
    for after in range(at, min(at + _SPAN, len(lines))):
        line = lines[after]
        if not line or line.startswith(">") or len(joined) > _LONGEST:
            return None
        joined = f"{joined} {line}"
        if not _may_begin_label(joined):
            return None
        if (found := _label_in(joined, len(joined) - len(line))) is not None:
            return *found, after + 1
        begun = _letters(joined)
        if not begun or not any(label.startswith(begun) for label in _LABELS):
            return None
    return None


def _printed_in(line: str) -> tuple[Label, str] | None:
    """Return what `_label_in` does for a label as it is printed; None for any other text."""
    if line[:_FIRST] not in _PRINTED_HEADS:
        return None
    colon = -1
    for _ in range(_COLONS):
        colon = line.find(":", colon + 1)
        if colon < 0:
            return None
        if label := _AS_PRINTED.get(line[:colon].strip(" ")):
            return label, line[colon + 1 :].strip(" ")
    return None


def _may_begin_label(text: str) -> bool:
    """Return False where the first letters are no label's: the rest need not be folded."""
    text = text[:_HEAD]
    first = text.lstrip(" ")[:_FIRST]
    if first[:1] in _NO_INITIALS:
        return False
    if first in _PRINTED_HEADS:
        return True
    if len(first) == _FIRST and first.isascii() and first.isalnum():
        return first.lower() in _HEADS
    head = _letters(text)
    return len(head) < _FIRST or head[:_FIRST] in _HEADS


def _known(text: str) -> Label | None:
    """Return the label that a text is, however it is written."""
    return _AS_PRINTED.get(text.strip(" ")) or _LABELS.get(_letters(text))


def _label_in(text: str, begin: int) -> tuple[Label, str] | None:
    """Return the label that ends at a colon behind `begin`, and what follows it."""
    colon = -1
    for _ in range(_COLONS):
        colon = text.find(":", colon + 1)
        if colon < 0 or colon > _LONGEST:
            return None
        if colon >= begin and (label := _known(text[:colon])):
            return label, text[colon + 1 :].strip(" ")
    return None


def _value_at(lines: _Lines, at: int, first: str) -> tuple[Value, int]:
    """Return the lines of a value: behind its label, or below it after empty lines."""
    texts = lines.texts
    if not first:
        while at < len(texts) and not texts[at]:
            at += 1
    value = [first] if first else []
    while at < len(texts) and _continues(lines, at):
        value.append(texts[at])
        at += 1
    return tuple(value), at


def _without_bold_marks(value: Value) -> Value:
    """Return a value without the asterisks that plain text makes of bold letters."""
    if not value or not value[0].startswith("*"):
        return value
    found = _BOLD.fullmatch("\n".join(value))
    return tuple((found[2] or found[3]).split("\n")) if found else value


def _continues(lines: _Lines, at: int) -> bool:
    line = lines.texts[at]
    if not line or lines.labels[at] is not None or line.startswith(">"):
        return False
    return _OTHER_LABEL.match(line) is None


# All of the field, but for a full stop.
_SITE: Final = re.compile(rf"({SHAPE.pattern})\.?", re.ASCII)
_FURTHER_SITE: Final = re.compile(rf"(?<![0-9A-Z]){SHAPE.pattern}(?![0-9])", re.ASCII)


def _site(value: Value) -> str | None:
    found = _SITE.fullmatch(" ".join(value))
    return found[1] if found else None


def _further_sites(lines: _Lines, at: int) -> Iterator[str]:
    """Yield the lines with another number of a site, behind its value up to a label."""
    texts = lines.texts
    while at < len(texts) and not (lines.labels[at] or _cell_at(texts, at)):
        if not texts[at].startswith(">") and _FURTHER_SITE.search(texts[at]):
            yield texts[at]
        at += 1


_LOINC: Final = re.compile(r"([0-9]{1,7}-[0-9])(?![\w-])")


def _analysis(value: Value) -> str | None:
    found = _LOINC.match(" ".join(value))
    return found[1] if found else None


def _time(value: Value) -> datetime | None:
    texts = (" ".join(value[:count]) for count in (1, 2))
    return next(filter(None, map(read_time, texts)), None)
