"""Reads the `print` table of a target: a CUPS queue, and how it prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.core.routing import Printing, PrintWhen
from dispatcher.rules import values
from dispatcher.yaml_text import Kind, Node, Problems, Scalar, Table, shown, suggestion

KEYS: Final = (
    "queue", "copies", "sides", "media", "tray", "banner", "separator", "when", "options",
)  # fmt: skip
SIDES: Final = ("one-sided", "two-sided-long-edge", "two-sided-short-edge")
WHEN: Final = tuple(when.value for when in PrintWhen)
MOST_COPIES: Final = 10

# What cupsd takes for the name of a printer (lpadmin(8)): 127 bytes without space, /, #.
LONGEST_QUEUE: Final = 127
_NOT_IN_QUEUE: Final = re.compile(r"[\s/#]")
_SITE_LENGTH: Final = 9

# Keywords of IPP (RFC 8011, 5.1.4) and choices of PPD files: no comma, which separates
# several of them, and nothing that quotes.
WORD: Final = "[0-9A-Za-z_.+-]{1,255}"
OPTION: Final = "[A-Za-z][0-9A-Za-z_.-]{0,126}"
_LONGEST_VALUE: Final = 255

# Options with a key of their own here: given twice, nobody could say which one counts.
_OWN_KEY: Final[Mapping[str, str]] = {
    "copies": "copies",
    "sides": "sides",
    "duplex": "sides",
    "media": "media",
    "media-col": "media",
    "pagesize": "media",
    "inputslot": "tray",
    "media-source": "tray",
    "job-sheets": "banner",
    # A job that cupsd holds is a health document in the spool.
    "job-hold-until": "when",
}
# The title of a job finds a delivery again, and must not name anybody.
_OURS: Final = frozenset({"title", "job-name"})


@dataclass(frozen=True, slots=True)
class PrintPattern:
    """A `print` table as it is written, before a site's number is filled in."""

    queue: str
    printing: Printing


def print_pattern(node: Node, problems: Problems) -> PrintPattern | None:
    """Return what a `print` table says, or None after recording what is wrong with it."""
    if not isinstance(node, Table) or not node.entries:
        problems.add(node.mark, "`print` is not a table of keys", "write {queue: NAME}")
        return None
    before = len(problems)
    given = {key.text: value for key, value in values.keys(node, problems, KEYS)}
    if "queue" not in given:
        problems.add(node.mark, "`print` has no queue", 'add `queue: "accueil-{finess}"`')
    read = {name: _READ[name](value, problems) for name, value in given.items()}
    if len(problems) > before:
        return None
    queue = read.pop("queue")
    return PrintPattern(str(queue), Printing(**read))  # type: ignore[arg-type]  # one reader each


def _queue(node: Node, problems: Problems) -> str | None:
    queue = values.text(node, problems, "the queue")
    if queue is None:
        return None
    before = len(problems)
    values.refuse_placeholders(queue, node.mark, problems)
    if _NOT_IN_QUEUE.search(queue):
        problems.add(
            node.mark,
            f"`{shown(queue)}` cannot be a queue: CUPS takes no space, `/` or `#` in a name",
            "write the queue as `lpstat -e` shows it",
        )
    if len(queue.replace("{finess}", "0" * _SITE_LENGTH).encode()) > LONGEST_QUEUE:
        problems.add(
            node.mark,
            "the queue's name is too long",
            f"at most {LONGEST_QUEUE} bytes, the site's number included",
        )
    return queue if len(problems) == before else None


def _copies(node: Node, problems: Problems) -> int | None:
    if isinstance(node, Scalar) and node.kind is Kind.INTEGER and len(node.text) <= len("10"):
        number = int(node.text)
        if 1 <= number <= MOST_COPIES:
            return number
    problems.add(
        node.mark,
        "`copies` is not a number that can be printed",
        f"write 1 to {MOST_COPIES}, without quotes",
    )
    return None


def _sides(node: Node, problems: Problems) -> str | None:
    return _one_of(node, problems, "`sides`", SIDES)


def _when(node: Node, problems: Problems) -> PrintWhen | None:
    if isinstance(node, Table):
        problems.add(
            node.mark,
            "a condition on the certificate does not stand inside `print`",
            "write `when` beside `print`; inside it: " + ", ".join(WHEN),
        )
        return None
    word = _one_of(node, problems, "`when`", WHEN)
    return None if word is None else PrintWhen(word)


def _one_of(node: Node, problems: Problems, what: str, words: tuple[str, ...]) -> str | None:
    if isinstance(node, Scalar) and node.text in words:
        return node.text
    word = shown(node.text) if isinstance(node, Scalar) else ""
    problems.add(node.mark, f"{what} does not know `{word}`", suggestion(word, words))
    return None


def _media(node: Node, problems: Problems) -> str | None:
    return _word(node, problems, "the media", example="iso_a4_210x297mm")


def _tray(node: Node, problems: Problems) -> str | None:
    return _word(node, problems, "the tray", example="tray-1")


def _word(node: Node, problems: Problems, what: str, *, example: str) -> str | None:
    found = values.text(node, problems, what)
    if found is None or re.fullmatch(WORD, found, re.ASCII):
        return found
    problems.add(
        node.mark,
        f"{what} is not one word of CUPS",
        f"write it as `lpoptions -p QUEUE -l` shows it, as in {example}",
    )
    return None


def _banner(node: Node, problems: Problems) -> bool:
    return values.flag(node, problems, "`banner`")


def _separator(node: Node, problems: Problems) -> bool:
    return values.flag(node, problems, "`separator`")


def _options(node: Node, problems: Problems) -> tuple[tuple[str, str], ...]:
    table = values.table(node, problems, "`options`")
    found: dict[str, str] = {}
    for key, value in table.entries if table else ():
        _refuse_option(key, problems)
        text = _option_value(value, problems, f"the option `{shown(key.text)}`")
        found[key.text] = text or ""
    return tuple(found.items())


def _refuse_option(key: Scalar, problems: Problems) -> None:
    own = _OWN_KEY.get(key.text.casefold())
    if own is not None:
        problems.add(
            key.mark,
            f"the option `{shown(key.text)}` has a key of its own",
            f"write `{own}` beside `queue`, and delete this",
        )
    elif key.text.casefold() in _OURS:
        problems.add(
            key.mark,
            "the title of a print job is the program's own: it names nobody",
            "delete this option",
        )
    elif not re.fullmatch(OPTION, key.text, re.ASCII):
        problems.add(
            key.mark,
            f"`{shown(key.text)}` cannot be an option of CUPS",
            "write it as `lpoptions -p QUEUE -l` shows it, up to the slash or colon",
        )


def _option_value(node: Node, problems: Problems, what: str) -> str | None:
    plain = {Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN}
    if isinstance(node, Scalar) and node.kind in plain:
        # CUPS writes true and false in small letters.
        return node.text.casefold() if node.kind is Kind.BOOLEAN else node.text
    found = values.text(node, problems, what)
    if found is not None and len(found.encode()) > _LONGEST_VALUE:
        problems.add(node.mark, f"{what} is too long", f"at most {_LONGEST_VALUE} bytes")
    return found


_READ: Final[Mapping[str, Callable[[Node, Problems], object]]] = {
    "queue": _queue,
    "copies": _copies,
    "sides": _sides,
    "media": _media,
    "tray": _tray,
    "banner": _banner,
    "separator": _separator,
    "when": _when,
    "options": _options,
}
