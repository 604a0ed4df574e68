"""Tells whether a text names a person, whatever became of its letters and spaces."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters that Unicode does not decompose.
_LETTERS: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "ı": "i"})
_WORD: Final = re.compile(r"[^\W_]+")

# A name shorter than this is found within other words by chance.
_SHORT: Final = 4


def names(text: str, last: str, first: str) -> bool | None:
    """Return whether both names stand in the text; None when it has no letters at all.

    Case, accents, ligatures, apostrophes, hyphens and spaces do not count. A short name
    must begin and end with a word of the text.
    """
    words = _words(text)
    if not words:
        return None
    return _stands(words, _words(last)) and _stands(words, _words(first))


def _words(text: str) -> list[str]:
    """Return the words of a text without case and marks."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in plain if not unicodedata.combining(c))
    return _WORD.findall(bare.casefold().translate(_LETTERS))


def _stands(words: list[str], name: list[str]) -> bool:
    wanted = "".join(name)
    if not wanted:
        return False
    if len(wanted) >= _SHORT:
        return wanted in "".join(words)
    return any(_begins(words, at, wanted) for at in range(len(words)))


def _begins(words: list[str], at: int, wanted: str) -> bool:
    """Return whether whole words from here on make up the name."""
    while wanted and at < len(words) and wanted.startswith(words[at]):
        wanted = wanted.removeprefix(words[at])
        at += 1
    return not wanted
