"""Decides where a certificate goes: a table of sites, never a list of rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.finess import FinessEJ, FinessET


class Kind(Enum):
    """What a target is. Stored in the ledger as these words."""

    FOLDER = "folder"
    PRINT = "print"
    FORWARD = "forward"
    LIS = "lis"


@dataclass(frozen=True, slots=True)
class Condition:
    """When a target takes part. An empty set asks nothing."""

    results: frozenset[Result] = frozenset()
    analyses: frozenset[str] = frozenset()

    def holds(self, facts: Facts) -> bool:
        """Whether these facts meet it; an unread fact never meets a condition on it."""
        return (not self.results or facts.result in self.results) and (
            not self.analyses or facts.analysis in self.analyses
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One place a site's certificates go. `place` is the folder, absolute, filled in."""

    name: str
    kind: Kind
    place: str
    when: Condition = Condition()
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Open from `opens` to `closes`, minutes since midnight; `weekday` 0 is Monday."""

    weekday: int
    opens: int
    closes: int


@dataclass(frozen=True, slots=True)
class Site:
    """One line of the table of sites."""

    finess: FinessET
    name: str
    targets: tuple[Target, ...]
    aliases: frozenset[FinessET] = frozenset()
    hours: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of `tests`: the names of the targets such a certificate must reach."""

    finess: FinessET
    result: Result | None
    analysis: str | None
    expect: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything routing.yaml says, checked. `digest` is the SHA-256 of the file."""

    lbm: str
    legal_body: FinessEJ | None
    sites: Mapping[FinessET, Site]
    tests: tuple[Expectation, ...] = ()
    digest: str = ""

    def site_of(self, number: FinessET) -> Site | None:
        """Return the site that bears this number, today's or a former one, or None."""
        raise NotImplementedError


def decide(rules: Rules, facts: Facts) -> tuple[Target, ...] | None:
    """Return the targets for a certificate, in the file's order; None: unknown site.

    An empty tuple means that the site is known and no target of it takes this one.
    """
    raise NotImplementedError


def failing(rules: Rules) -> tuple[str, ...]:
    """Run the rules' own tests; return one sentence for each that fails."""
    raise NotImplementedError
