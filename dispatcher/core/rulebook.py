"""Which rules are in force, since when, and what keeps the file from taking their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from dispatcher.core.routing import Rules

VERSIONS_KEPT: Final = 100
"""So many different versions are kept beside those that a delivery refers to."""
CHANGES_KEPT: Final = 1000
"""So many lines of the history are kept."""


class Origin(Enum):
    """How a version got its place in the history. Stored as these words."""

    START = "start"  # found when the program started
    RELOAD = "reload"  # taken while it ran
    ROLLBACK = "rollback"  # a person put an earlier one back
    SET_ASIDE = "set-aside"  # never in force: what a rollback found in its place


@dataclass(frozen=True, slots=True)
class Draft:
    """The file as one read found it. `rules` is None when it has problems.

    `content` is empty when it could not be read; `digest` is the SHA-256 of `content`.
    """

    digest: str
    content: bytes = field(repr=False)
    rules: Rules | None = field(default=None, repr=False)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history. `by` is a system user's name, empty: the program itself."""

    at: datetime
    digest: str
    origin: Origin
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The file on disk is not what is in force, and may not be.

    `since_at` is when the file was first refused, also if it was changed and refused again
    since; `problems` are those of its present content. They name no patient.
    """

    since_at: datetime
    digest: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RulesState:
    """The rules in force: their digest, since when, and what keeps the file out, if anything.

    A value: whoever holds one may read it from any thread.
    """

    digest: str
    since_at: datetime
    refusal: Refusal | None = None
