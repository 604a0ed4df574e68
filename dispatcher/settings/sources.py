"""The two places that settings come from, the file and the environment, as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from dispatcher.settings.outline import Keys, field_at, fields, section_at
from dispatcher.settings.secret import PREFIX, SECRETS, variable
from dispatcher.settings.values import Ambiguous
from dispatcher.yaml_text import Items, Kind, Node, Scalar, suggestion

_LONGEST: Final = 18
_LISTS: Final = frozenset({"senders", "to"})


class Source(PydanticBaseSettingsSource):
    """Values that were read already, as a source for pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], given: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._given = dict(given)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return one field's value (asked for by the base class)."""
        key = field.alias or field_name
        return self._given.get(key), key, False

    def __call__(self) -> dict[str, Any]:
        """Return all values."""
        return self._given


def plain(node: Node) -> Any:
    """Return the values of a file as Python's; only YAML 1.2's own words are converted."""
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    if not isinstance(node, Scalar):
        return {key.text: plain(value) for key, value in node.entries}
    match node.kind:
        case Kind.NULL:
            return None
        case Kind.BOOLEAN:
            return node.text.casefold() == "true"
        case Kind.INTEGER:
            # `1_000` is a number in YAML 1.1 alone, and no number of ours is a long one.
            plain_digits = "_" not in node.text and len(node.text) <= _LONGEST
            return int(node.text, 0) if plain_digits else Ambiguous(node.text)
        case Kind.FLOAT:
            return float(node.text)
        case Kind.LEADING_ZERO | Kind.YES_NO:
            return Ambiguous(node.text)
        case Kind.TEXT:
            return node.text


@dataclass(slots=True)
class Environment:
    """What the environment says: values, which name said what, and names that say nothing."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: dict[Keys, str] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def environment(environ: Mapping[str, str], mailboxes: Iterable[str]) -> Environment:
    """Read every SIDEP_DISPATCHER__ name, whatever its letter case.

    `mailboxes` are the names in the file: they keep their spelling. Secrets are looked
    at by `Secret` alone; here only their names are checked.
    """
    found = Environment()
    spelling = {variable(name): name for name in mailboxes}
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX):
            continue
        segments = name.upper().removeprefix(PREFIX).split("__")
        keys = _keys(segments, spelling)
        if _is_secret(keys):
            known = keys[0] != "mailboxes" or keys[1] in spelling.values()
            _check_secret(name, found, known=known)
        elif field_at(keys) is None:
            _unknown(name, keys, found)
        elif section_at(keys) is not None or keys == ("mailboxes",):
            _whole_section(name, found)
        else:
            _put(found.values, keys, _value(keys, environ[name]))
            found.origins[keys] = name
    return found


def _keys(segments: list[str], spelling: Mapping[str, str]) -> Keys:
    lowered = [segment.lower() for segment in segments]
    if lowered[0] == "mailboxes" and len(lowered) > 1:
        lowered[1] = spelling.get(variable(segments[1]), lowered[1])
    return tuple(lowered)


def _is_secret(keys: Keys) -> bool:
    """Whether this is one of the keys that the environment has and the file has not."""
    section = section_at(keys[:-1])
    return keys[-1] in SECRETS and section is not None and f"{keys[-1]}_file" in fields(section)


def _check_secret(name: str, found: Environment, *, known: bool) -> None:
    if not known:
        found.problems.append(
            (name, "the file has no mailbox of this name", "correct the variable's name")
        )


def _unknown(name: str, keys: Keys, found: Environment) -> None:
    instead = "delete the variable, or correct its name"
    known = list(_known(keys))
    if known:
        instead = suggestion(keys[-1], known)
    found.problems.append((name, "no setting has this name", instead))


def _known(keys: Keys) -> Iterator[str]:
    section = section_at(keys[:-1])
    if section is not None:
        yield from fields(section)


def _whole_section(name: str, found: Environment) -> None:
    found.problems.append(
        (name, "this names a whole section", f"name a key inside it, as in {name}__KEY")
    )


def _value(keys: Keys, text: str) -> Any:
    """Return what the text stands for: `null`, a list, or the text."""
    if text == "null":
        return None
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if keys[-1] in _LISTS:
        return [part.strip() for part in text.split(",")]
    return text


def _put(values: dict[str, Any], keys: Keys, value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value
