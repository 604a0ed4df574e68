"""Reads the single values of routing.yaml: numbers, names, results, analyses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from dispatcher.core.certificate import Result
from dispatcher.core.finess import SHAPE
from dispatcher.yaml_text import Items, Kind, Mark, Node, Problems, Scalar, Table, shown

_DIGITS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
# LOINC: up to seven digits, a hyphen, a check digit.
_LOINC: Final = re.compile(r"[0-9]{1,7}-[0-9]", re.ASCII)
_EXAMPLE: Final = 'write the 9 characters in quotes, as in "010000024"'
_FINESS_LENGTH: Final = 9
_LONGEST_NAME: Final = 120
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}|[{}]")

_RESULTS: Final[Mapping[str, Result]] = {
    "positif": Result.POSITIVE,
    "negatif": Result.NEGATIVE,
    "indetermine": Result.UNDETERMINED,
    "non conforme": Result.NOT_COMPLIANT,
    "prelevement non conforme": Result.NOT_COMPLIANT,
}
RESULT_WORDS: Final = ("positif", "négatif", "indéterminé", "prélèvement non conforme")


def finess(node: Node, problems: Problems) -> str | None:
    """Return the number, or None after recording what is wrong with it.

    A number without quotes is refused even if it reads well today: YAML 1.1 programs take
    `010000024` for an octal number, spreadsheets drop the zero (domain.md, FINESS).
    """
    if not isinstance(node, Scalar):
        problems.add(node.mark, "a FINESS number belongs here", _EXAMPLE)
        return None
    if node.kind is not Kind.TEXT:
        padded = node.text.zfill(_FINESS_LENGTH)
        instead = f'write "{padded}"' if SHAPE.fullmatch(padded) else _EXAMPLE
        what = (
            f"`{shown(node.text)}` has no quotes: it is read as {node.kind.value}, not as text"
        )
        problems.add(node.mark, what, instead)
        return None
    if SHAPE.fullmatch(node.text):
        return node.text
    problems.add(
        node.mark, f"`{shown(node.text)}` is not a FINESS number", _instead_of(node.text)
    )
    return None


def _instead_of(text: str) -> str:
    tidy = unicodedata.normalize("NFKC", text).upper()
    tidy = "".join(c for c in tidy if c.isascii() and c.isalnum())
    if SHAPE.fullmatch(tidy):
        return f'write "{tidy}"'
    # The MSSanté directory prints some numbers with a 1 in front (domain.md).
    if len(tidy) == _FINESS_LENGTH + 1 and tidy[0] == "1" and SHAPE.fullmatch(tidy[1:]):
        return f'write "{tidy[1:]}"'
    if _DIGITS.fullmatch(tidy) and len(tidy) >= _FINESS_LENGTH - 1:
        padded = tidy.zfill(_FINESS_LENGTH)
        return f'spreadsheets drop a leading zero: write "{padded}" if that is the number'
    return _EXAMPLE


def text(node: Node, problems: Problems, what: str) -> str | None:
    """Return a name fit to be shown, or None after recording what is wrong with it."""
    if not isinstance(node, Scalar):
        problems.add(node.mark, f"{what} is not a text", "write one text in quotes")
        return None
    if node.kind is Kind.NULL or not node.text.strip():
        problems.add(node.mark, f"{what} is empty", "write a text")
        return None
    if node.kind is not Kind.TEXT:
        problems.add(
            node.mark,
            f"{what} has no quotes: it is read as {node.kind.value}",
            f'write "{shown(node.text)}"',
        )
        return None
    if not node.text.isprintable():
        problems.add(node.mark, f"{what} holds a control or invisible character", "delete it")
        return None
    return node.text


def name(node: Node, problems: Problems, what: str) -> str | None:
    """Return a name: a text without spaces around it and of bearable length."""
    found = text(node, problems, what)
    if found is None or (found == found.strip() and len(found) <= _LONGEST_NAME):
        return found
    problems.add(
        node.mark,
        f"{what} has spaces around it or more than {_LONGEST_NAME} characters",
        f'write "{shown(found.strip())}"',
    )
    return None


def refuse_placeholders(written: str, mark: Mark, problems: Problems) -> None:
    """Record every brace in a folder or a queue that is not the site's number."""
    for match in _PLACEHOLDER.finditer(written):
        if match[0] != "{finess}":
            problems.add(
                mark,
                f"`{shown(match[0])}` is not a placeholder",
                'write "{finess}", the only one there is',
            )


def flag(node: Node, problems: Problems, what: str) -> bool:
    """Return true or false; anything else is recorded and counts as false."""
    if isinstance(node, Scalar) and node.kind is Kind.BOOLEAN:
        return node.text.casefold() == "true"
    problems.add(
        node.mark, f"{what} is neither true nor false", "write true, or delete the key"
    )
    return False


def result(node: Node, problems: Problems) -> Result | None:
    """Return the result of its French word, whatever its case, accents and hyphens."""
    if isinstance(node, Scalar):
        bare = unicodedata.normalize("NFKD", node.text.casefold()).replace("-", " ")
        found = _RESULTS.get(
            " ".join("".join(c for c in bare if not unicodedata.combining(c)).split())
        )
        if found is not None:
            return found
    word = f"`{shown(node.text)}`" if isinstance(node, Scalar) else "this"
    problems.add(
        node.mark, f"{word} is not a result", "write one of: " + ", ".join(RESULT_WORDS)
    )
    return None


def analysis(node: Node, problems: Problems) -> str | None:
    """Return a LOINC code, or None after recording what is wrong with it."""
    if isinstance(node, Scalar) and _LOINC.fullmatch(node.text):
        return node.text
    word = f"`{shown(node.text)}`" if isinstance(node, Scalar) else "this"
    problems.add(node.mark, f"{word} is not a LOINC code", 'write it as in "94500-6"')
    return None


def table(node: Node, problems: Problems, what: str) -> Table | None:
    """Return a table with at least one key, or None after recording the problem."""
    if isinstance(node, Table) and node.entries:
        return node
    problems.add(
        node.mark, f"{what} is not a table of keys", "write `key: value` lines below it"
    )
    return None


def items(node: Node, problems: Problems, what: str) -> Items | None:
    """Return a list with at least one item, or None after recording the problem."""
    if isinstance(node, Items) and node.items:
        return node
    problems.add(node.mark, f"{what} is not a list, or is empty", "write [a, b] or `- a` lines")
    return None


def keys(
    found: Table, problems: Problems, known: Collection[str]
) -> Iterator[tuple[Scalar, Node]]:
    """Yield the known keys with their values; record the others."""
    for key, value in found.entries:
        if key.text in known:
            yield key, value
        else:
            problems.unknown_key(key, known)
