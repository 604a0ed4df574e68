"""Which keys may stand where, read off the shape of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dispatcher.settings.shape import Settings

Keys = tuple[str, ...]


def fields(section: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Return a section's keys as they are written in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def section_at(keys: Sequence[str]) -> type[BaseModel] | None:
    """Return the section that a path of keys leads to, or None if it is none."""
    section: type[BaseModel] | None = Settings
    named = False
    for key in keys:
        if named:
            named = False  # this key is a name of the operator's own
            continue
        field = fields(section).get(key) if section else None
        section, named = (None, False) if field is None else _inside(field.annotation)
    return None if named else section


def field_at(keys: Sequence[str]) -> FieldInfo | None:
    """Return the field that a path of keys names, or None."""
    section = section_at(keys[:-1]) if keys else None
    return fields(section).get(keys[-1]) if section else None


def _inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section that a field holds, and whether it holds several by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    named = get_origin(annotation) is not None and issubclass_of(annotation, Mapping)
    for argument in get_args(annotation):
        section, _ = _inside(argument)
        if section is not None:
            return section, named
    return None, False


def issubclass_of(annotation: Any, kind: type) -> bool:
    """Whether a generic annotation is of this kind."""
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, kind)
