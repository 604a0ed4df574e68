"""Turns what pydantic found into sentences with a place in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from dispatcher.settings.outline import Keys, field_at, fields, section_at
from dispatcher.settings.values import Wrong
from dispatcher.yaml_text import Items, Mark, Node, Problems, Table, shown, suggestion


class Teller:
    """Knows where each value came from."""

    def __init__(self, tree: Table, origins: Mapping[Keys, str], problems: Problems) -> None:
        self._tree = tree
        self._origins = origins
        self._problems = problems

    def tell(self, keys: Sequence[str], what: str, instead: str) -> None:
        """Record a problem of the value at these keys, or of the nearest one above it."""
        key, value = self._marks(tuple(keys))
        whole = section_at(keys) is not None
        self._record(tuple(keys), key if whole else value or key, what, instead)

    def tell_all(self, error: ValidationError) -> None:
        """Record every problem that pydantic found. None repeats a value it was given."""
        for detail in error.errors(include_url=False, include_input=False):
            self._tell(dict(detail))

    def _tell(self, detail: Mapping[str, Any]) -> None:
        keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
        key, value = self._marks(keys)
        match detail["type"]:
            case "extra_forbidden":
                self._record(keys, key, f"unknown key `{shown(keys[-1])}`", _instead_of(keys))
            case "missing":
                self._record(keys, key, f"`{'.'.join(keys)}` is missing", _addition(keys))
            case "value_error" if isinstance(wrong := detail["ctx"]["error"], Wrong):
                named = f"{_name(keys)}: {wrong.what}"
                self._record(keys, value or key, named, wrong.instead)
            case "enum" | "literal_error":
                expected = detail.get("ctx", {}).get("expected", "")
                words = str(expected).replace("'", "").replace(" or ", ", ")
                what = f"{_name(keys)}: this word is not known"
                self._record(keys, value or key, what, f"write one of: {words}")
            case "string_pattern_mismatch" | "string_too_long":
                self._record(
                    keys,
                    key,
                    f"{_name(keys)}: this name does not fit",
                    "write letters and digits, at most 40, with single `-`, `.` or `_` between",
                )
            case _:
                self._record(keys, value or key, *_section(keys, detail["msg"]))

    def _record(self, keys: Keys, mark: Mark, what: str, instead: str) -> None:
        origin = self._origins.get(keys)
        if origin is None:
            self._problems.add(mark, what, instead)
        else:
            self._problems.add_elsewhere(origin, what, instead)

    def _marks(self, keys: Keys) -> tuple[Mark, Mark | None]:
        """Return the mark of the last key that stands in the file, and of its value."""
        node: Node | None = self._tree
        key_mark, value_mark = Mark(), None
        for key in keys:
            value_mark = None
            if isinstance(node, Items) and key.isdecimal() and int(key) < len(node.items):
                node = node.items[int(key)]
                key_mark = value_mark = node.mark
                continue
            scalar = node.key(key) if isinstance(node, Table) else None
            if scalar is None or not isinstance(node, Table):
                return key_mark, None
            key_mark, node = scalar.mark, node.get(key)
            value_mark = node.mark if node else None
        return key_mark, value_mark


def _name(keys: Keys) -> str:
    return ".".join(key for key in keys if not key.isdecimal())


def _instead_of(keys: Keys) -> str:
    section = section_at(keys[:-1])
    known = tuple(fields(section)) if section else ()
    if keys[-1].casefold() in {"password", "passwort", "mot_de_passe"}:
        return (
            "a password does not stand in this file: write `password_file`, or use the "
            "environment or a systemd credential"
        )
    return suggestion(keys[-1], known) if known else "delete it"


def _addition(keys: Keys) -> str:
    field = field_at(keys)
    example = f" {field.examples[0]}" if field and field.examples else ""
    return f"add `{keys[-1]}:{example}`"


def _section(keys: Keys, message: str) -> tuple[str, str]:
    section = section_at(keys)
    if section is not None:
        known = ", ".join(fields(section))
        return f"{_name(keys)}: a table of keys belongs here", f"delete it, or write: {known}"
    field = field_at(keys)
    example = f"write, for example, {field.examples[0]}" if field and field.examples else ""
    if keys == ("mailboxes",):
        return "mailboxes: a table with at least one mailbox belongs here", example
    message = message[:1].lower() + message[1:]
    return f"{_name(keys)}: {message}", example or "see the commented example"
