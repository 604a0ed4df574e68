"""Decides where a certificate goes: a table of sites, never a list of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.core.hours import Hours


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


class PrintWhen(Enum):
    """When a print target prints."""

    ALWAYS = "always"
    OPEN = "open"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Printing:
    """How a print target prints. `options` are further CUPS options, name and value.

    `banner` is CUPS's own page before each certificate, `separator` ours before a batch.
    """

    copies: int = 1
    sides: str | None = None
    media: str | None = None
    tray: str | None = None
    banner: bool = False
    when: PrintWhen = PrintWhen.ALWAYS
    options: tuple[tuple[str, str], ...] = ()
    separator: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One place a site's certificates go.

    `place` is the folder, absolute, or the queue's name; both filled in. `printing` is
    there for kind `print` alone.
    """

    name: str
    kind: Kind
    place: str
    when: Condition = Condition()
    fallback: str | None = None
    printing: Printing | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """One line of the table of sites."""

    finess: FinessET
    name: str
    targets: tuple[Target, ...]
    aliases: frozenset[FinessET] = frozenset()
    hours: Hours | None = None


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
        site = self.sites.get(number)
        if site is not None:
            return site
        former = [site for site in self.sites.values() if number in site.aliases]
        # A number that two sites claim names neither: refuse rather than pick.
        return former[0] if len(former) == 1 else None


def decide(rules: Rules, facts: Facts) -> tuple[Target, ...] | None:
    """Return the targets for a certificate, in the file's order; None: unknown site.

    An empty tuple means that the site is known and no target of it takes this one.
    """
    site = rules.site_of(facts.site) if facts.site is not None else None
    if site is None:
        return None
    return tuple(target for target in site.targets if target.when.holds(facts))


def failing(rules: Rules) -> tuple[str, ...]:
    """Run the rules' own tests; return one sentence for each that fails."""
    found = (shortfall(rules, expectation) for expectation in rules.tests)
    return tuple(sentence for sentence in found if sentence is not None)


def shortfall(rules: Rules, expectation: Expectation) -> str | None:
    """Return how the rules fall short of one of their tests, or None.

    A site that is not in the table reaches nothing, which a test may well expect.
    """
    facts = Facts(
        site=expectation.finess, result=expectation.result, analysis=expectation.analysis
    )
    targets = decide(rules, facts)
    got = [target.name for target in targets or ()]
    if expectation.expect == set(got):
        return None
    seen = "no such site" if targets is None else _names(got)
    wanted = _names(sorted(expectation.expect))
    return f"a certificate for {expectation.finess}: expected {wanted}, got {seen}"


def _names(names: Iterable[str]) -> str:
    return "[" + ", ".join(names) + "]"
