"""Characters: bytes to text whatever their label says, and when two texts are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable
from typing import Final, TypeVar

_T = TypeVar("_T", bound=Hashable)

# What mail of ours may be labelled with and is not a superset of ASCII, or has its own
# upper half. Every other label (iso-8859-1 as well, WHATWG Encoding 4.2) means cp1252.
# A table instead of codecs.lookup(): Python has codecs that are slow, warn or raise.
_CODECS: Final = {
    "iso-8859-15": "iso8859-15",
    "latin-9": "iso8859-15",
    "latin9": "iso8859-15",
    "iso-8859-2": "iso8859-2",
    "windows-1250": "cp1250",
    "macintosh": "mac-roman",
    "x-mac-roman": "mac-roman",
    "cp850": "cp850",
    "ibm850": "cp850",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}

# White space that separates or pads: no line end, no U+2028, nothing invisible.
_BLANK: Final = re.compile(
    "[ \\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+"  # the category Zs
)
# Invisible, and `str.isprintable` does not know: the rest of Default_Ignorable_Code_Point.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Where every mark lies that combines, and a body of ours has nothing.
_FAR: Final = re.compile("[\u0300-\u1fff\u20d0-\u20ff\u2c00-\U0010ffff]")
# More in a row than any writing has (Unicode Standard Annex 15, section 13).
_MARKS_IN_A_ROW: Final = 30
_APOSTROPHES: Final = "'`´‘’‛ʹʻʼʽˈ′"
_HYPHENS: Final = "-‐‑‒–—―−⁃"
_DROPPED: Final = dict.fromkeys(map(ord, _APOSTROPHES + _HYPHENS + "_"))
_DROPPED_ASCII: Final = {ord(one): None for one in " \t" + _APOSTROPHES + _HYPHENS + "_"}
_LATIN_1: Final = re.compile("[\\0-\u00ff]*")
_LATIN_MARKS: Final = re.compile("[\u0300-\u034e\u0350-\u036f]")
# Latin letters without a canonical decomposition. Dotless i: its capital is a plain I.
_LETTERS: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})


def can_be_composed(text: str) -> bool:
    """Whether no row of combining marks is longer than any writing has.

    To put marks into their order takes the square of their number: 15 seconds for 125,000.
    """
    if not _FAR.search(text):
        return True
    marks = "".join(filter(_is_mark, set(text)))
    row = rf"[{re.escape(marks)}]{{{_MARKS_IN_A_ROW + 1}}}"
    return not marks or re.search(row, text) is None


def _is_mark(character: str) -> bool:
    # Some are composed of marks and none themselves (U+0F73).
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0]) > 0


def decode(content: bytes, label: str = "") -> str:
    """Return the text of `content`; never raises, whatever charset the label names.

    Labels lie. Bytes that are strict UTF-8 are UTF-8: real text in another charset is not
    by accident. Else the label's charset when it is one of a few, else cp1252.
    """
    codec = _CODECS.get(label.strip().lower().replace("_", "-"), "cp1252")
    for attempt in (codec,) if codec.startswith("utf-16") else ("utf-8", codec):
        try:
            return content.decode(attempt)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def squeeze(text: str) -> str:
    """Return `text` trimmed, in NFC, each run of white space made one space."""
    if text.isascii() and "  " not in text and "\t" not in text:
        return text.strip(" ")
    trimmed = text.strip(" ")
    # Every blank is white space to `split`: were there any but single spaces, it would tell.
    if " ".join(trimmed.split()) != trimmed:
        trimmed = _BLANK.sub(" ", text).strip(" ")
    return unicodedata.normalize("NFC", trimmed)


def is_visible(text: str) -> bool:
    """Whether nothing in `text` is invisible: no control, zero-width or bidi character."""
    return text.isprintable() and (text.isascii() or not _IGNORABLE.search(text))


def without_marks(text: str) -> str:
    """Return `text` in NFD without its accents."""
    if text.isascii():
        return text
    if _LATIN_1.fullmatch(text):
        # All that its letters come apart into.
        return _LATIN_MARKS.sub("", unicodedata.normalize("NFD", text))
    # By combining class, not by category: invisible marks (U+034F, U+FE0F) have class 0.
    return "".join(
        letter
        for letter in unicodedata.normalize("NFD", text)
        if not unicodedata.combining(letter)
    )


def fold(text: str) -> str:
    """Return what two spellings of one name have in common.

    Case, accents, apostrophes, hyphens, white space and underscores are dropped. No
    compatibility mapping (NFKD): full-width digits, letters of other scripts that look
    alike and invisible characters stay, so they never make two texts equal.
    """
    if text.isascii():
        return text.translate(_DROPPED_ASCII).lower()
    return text.translate(_FOLDED)


class _Folded(dict[int, str]):
    """What each letter is folded to; what is not in it is worked out and not kept.

    One letter at a time says the same as all at once: casefold() and decomposition look at
    no neighbour, and the order of marks does not matter where all are dropped.
    """

    def __missing__(self, code: int) -> str:
        bare = _BLANK.sub("", chr(code)).translate(_DROPPED).casefold()
        return without_marks(bare).translate(_LETTERS)


_FOLDED: Final = _Folded()
_FOLDED.update({code: _FOLDED[code] for code in (*range(0x180), *map(ord, "’–—…€"))})


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two sources give one name. A name with an invisible character equals none."""
    if not one or not other or not is_visible(squeeze(one) + squeeze(other)):
        return False
    if one == other:
        return True
    folded = fold(one)
    # A placeholder such as "-" folds to nothing, and nothing would equal nothing.
    return folded == fold(other) if folded else squeeze(one) == squeeze(other)


def same(values: Iterable[_T | None]) -> _T | None:
    """Return the value that all are; None when there is none, or one is None or another."""
    found = set(values)
    return found.pop() if len(found) == 1 else None
