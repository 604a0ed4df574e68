"""Reads a YAML 1.2 file into values that know their line, and collects what is wrong in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from dispatcher.errors import ConfigInvalid

# No file of ours nests deeper than 8; a file that does was not written for us.
_DEPTH: Final = 20

# How much of a wrong value a message repeats.
_SHOWN: Final = 60

_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9_]+|0o[0-7]+", re.ASCII)
_INTEGER: Final = re.compile(r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    re.ASCII,
)
# Booleans in YAML 1.1, text in YAML 1.2: programs disagree about them.
_YES_NO: Final = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file; both count from 1, as editors show them."""

    line: int = 1
    column: int = 1


class Kind(Enum):
    """What a scalar is in YAML 1.2, and what some programs would take it for."""

    TEXT = "text"
    NULL = "nothing"
    BOOLEAN = "true or false"
    INTEGER = "a number"
    FLOAT = "a decimal number"
    LEADING_ZERO = "a number that begins with 0"
    YES_NO = "a word that some programs read as true or false"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it is written, before anything is made of it."""

    text: str
    quoted: bool
    mark: Mark

    @property
    def kind(self) -> Kind:
        """What the value is, by YAML 1.2.2, section 10.3.2; quoted is always text."""
        if self.quoted:
            return Kind.TEXT
        if self.text in {"", "~", "null", "Null", "NULL"}:
            return Kind.NULL
        if self.text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
            return Kind.BOOLEAN
        for pattern, kind in _PLAIN:
            if pattern.fullmatch(self.text):
                return kind
        return Kind.TEXT


_PLAIN: Final = (
    (_LEADING_ZERO, Kind.LEADING_ZERO),
    (_INTEGER, Kind.INTEGER),
    (_FLOAT, Kind.FLOAT),
    (_YES_NO, Kind.YES_NO),
)


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the file's order; its keys differ."""

    entries: tuple[tuple[Scalar, Node], ...]
    mark: Mark

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None."""
        return next((value for name, value in self.entries if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """Return the key itself, for its place in the file, or None."""
        return next((name for name, _ in self.entries if name.text == key), None)


Node = Scalar | Items | Table


class Problems:
    """Collects everything that is wrong with one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: list[tuple[Mark, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mark: Mark, what: str, instead: str) -> None:
        """Record a problem at a place: what is wrong; what to write instead."""
        where = f"{self._file}:{mark.line}:{mark.column}"
        self._found.append((mark, f"{where}: {what}; {instead}"))

    def add_elsewhere(self, where: str, what: str, instead: str) -> None:
        """Record a problem that is not in the file; it comes after those that are."""
        self._found.append((Mark(10**9), f"{where}: {what}; {instead}"))

    def at(self, mark: Mark) -> bool:
        """Whether a problem at exactly this place is recorded already."""
        return any(mark == place for place, _ in self._found)

    def unknown_key(self, key: Scalar, known: Collection[str]) -> None:
        """Record a key that means nothing here, with the one that was probably meant."""
        self.add(key.mark, f"unknown key `{shown(key.text)}`", suggestion(key.text, known))

    def error(self) -> ConfigInvalid:
        """Return the error that bears every problem, in the file's order."""
        ordered = sorted(self._found, key=lambda found: found[0])
        return ConfigInvalid(tuple(dict.fromkeys(text for _, text in ordered)))

    def raise_if_any(self) -> None:
        """Raise ConfigInvalid if anything was recorded."""
        if self._found:
            raise self.error()


def shown(text: str) -> str:
    """Return a text fit for one line of a message: printable and short."""
    printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:_SHOWN])
    return printable + ("…" if len(text) > _SHOWN else "")


def suggestion(word: str, known: Collection[str]) -> str:
    """Return "did you mean …?", or the list of words that are known."""
    near = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    return "write one of: " + ", ".join(known)


def read_table(path: Path, problems: Problems, *, limit: int) -> tuple[Table, bytes]:
    """Return the file's table and its bytes; `limit` is the most bytes it may have.

    Duplicate keys, anchors, aliases and tags are recorded, and reading goes on. Raises
    ConfigInvalid at once when nothing can be read: no file, not UTF-8, broken YAML.
    """
    content = read_content(path, problems, limit=limit)
    return table_of(content, problems), content


def table_of(content: bytes, problems: Problems) -> Table:
    """Return the table that a file's bytes hold; as `read_table`."""
    text = _text(content, problems)
    tree = _tree(text, problems)
    if isinstance(tree, Table):
        return tree
    mark = tree.mark if tree else Mark()
    said = "the file is empty" if tree is None else "the file is not a table of keys"
    problems.add(mark, said, "begin with a key, as in `version: 1` or `mailboxes:`")
    raise problems.error()


def read_content(path: Path, problems: Problems, *, limit: int) -> bytes:
    """Return the file's bytes. Raises ConfigInvalid when it cannot be read or is too large."""
    content = b""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        problems.add(Mark(), "there is no such file", "check the path, or copy the example")
    except IsADirectoryError:
        problems.add(Mark(), "this is a directory", "write the path of a file")
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        problems.add(Mark(), f"the file cannot be read: {reason}", "check owner and mode")
    if len(content) > limit:
        problems.add(
            Mark(),
            f"the file is larger than {limit:,} bytes",
            "check that it is the right file",
        )
    problems.raise_if_any()
    return content


def _text(content: bytes, problems: Problems) -> str:
    # Windows editors put a byte order mark in front of UTF-8; it means nothing.
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        start = before.rfind(b"\n") + 1
        column = len(before[start:].decode("utf-8", "replace")) + 1
        mark = Mark(before.count(b"\n") + 1, column)
        problems.add(mark, "this byte is not UTF-8", "save the file as UTF-8")
        raise problems.error() from error


def _tree(text: str, problems: Problems) -> Node | None:
    yaml = YAML(typ="safe", pure=True)
    try:
        return _Builder(problems).document(yaml.parse(text))
    except MarkedYAMLError as error:
        _record_syntax(error, text, problems)
    except ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        problems.add(mark, "a control character stands here", "delete it")
    except YAMLError:
        problems.add(Mark(), "this is not YAML", "see the commented example")
    raise problems.error()


def _record_syntax(error: MarkedYAMLError, text: str, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and mark and mark.index >= len(text.rstrip()):
        mark = error.context_mark  # something that was never closed: show where it opened
    place = Mark(mark.line + 1, mark.column + 1) if mark else Mark()
    what = str(error.problem or "it does not fit")
    if "\\t" in what:
        problems.add(place, "a tab stands here", "write spaces")
        return
    what = what.replace("<stream end>", "the end of the file").replace("'", "`")
    problems.add(
        place,
        f"this is not valid YAML: {what}",
        "check quotes, brackets, colons and indentation here and on the line before",
    )


class _TooDeep(MarkedYAMLError):
    """The nesting passes the limit; told like any other error of syntax."""


class _Builder:
    """Makes a tree of a parser's events, so that no constructor of the library ever runs."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def document(self, events: Iterator[Any]) -> Node | None:
        """Return the only document's tree; None when there is nothing in it."""
        tree: Node | None = None
        for event in events:
            if not isinstance(event, DocumentStartEvent):
                continue
            if tree is not None:
                self._add(event, "a second document begins", "delete this `---`")
                break
            tree = self._node(next(events), events, depth=0)
        if isinstance(tree, Scalar) and tree.kind is Kind.NULL:
            return None
        return tree

    def _node(self, event: NodeEvent, events: Iterator[Any], *, depth: int) -> Node:
        if depth > _DEPTH:
            raise _TooDeep(problem="nested too deeply", problem_mark=event.start_mark)
        mark = _mark(event)
        self._refuse_references(event)
        if isinstance(event, MappingStartEvent):
            return Table(tuple(self._entries(events, depth=depth)), mark)
        if isinstance(event, SequenceStartEvent):
            return Items(tuple(self._items(events, depth=depth)), mark)
        if isinstance(event, ScalarEvent):
            return Scalar(event.value, event.style is not None, mark)
        return Scalar("", quoted=True, mark=mark)

    def _items(self, events: Iterator[Any], *, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(events), SequenceEndEvent):
            yield self._node(event, events, depth=depth + 1)

    def _entries(self, events: Iterator[Any], *, depth: int) -> Iterator[tuple[Scalar, Node]]:
        seen: dict[str, Mark] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._node(event, events, depth=depth + 1)
            value = self._node(next(events), events, depth=depth + 1)
            if not isinstance(key, Scalar):
                self._problems.add(key.mark, "a key is not a word", "write `key: value`")
            elif key.text in seen:
                self._problems.add(
                    key.mark,
                    f"the key `{shown(key.text)}` stands twice, first on line "
                    f"{seen[key.text].line}",
                    "keep one of the two",
                )
            else:
                seen[key.text] = key.mark
                yield key, _beside(key, value)

    def _refuse_references(self, event: NodeEvent) -> None:
        if isinstance(event, AliasEvent):
            self._add(event, "an alias (`*`) stands here", "write the value itself")
        elif event.anchor is not None:
            self._add(event, "an anchor (`&`) stands here", "delete it")
        if getattr(event, "tag", None) not in {None, "!"}:
            self._add(event, "a tag (`!`) stands here", "delete it")

    def _add(self, event: NodeEvent | DocumentStartEvent, what: str, instead: str) -> None:
        self._problems.add(_mark(event), what, instead)


def _beside(key: Scalar, value: Node) -> Node:
    # The parser places an empty value where the next thing begins, often lines below.
    if isinstance(value, Scalar) and not value.text and not value.quoted:
        return Scalar("", quoted=False, mark=key.mark)
    return value


def _mark(event: NodeEvent | DocumentStartEvent) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
