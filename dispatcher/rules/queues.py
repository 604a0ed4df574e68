"""Which sites print, and whether two of them would find each other's paper on one printer."""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Kind, Rules, Target
from dispatcher.rules.sharing import Use, refuse_groups
from dispatcher.yaml_text import Problems


def print_targets(rules: Rules) -> tuple[tuple[FinessET, Target], ...]:
    """Return every target that prints, with its site, in the order of the file."""
    return tuple(
        (site.finess, target)
        for site in rules.sites.values()
        for target in site.targets
        if target.kind is Kind.PRINT
    )


def refuse_common(uses: Iterable[Use], problems: Problems) -> None:
    """Record each queue that several sites print on without `shared: true` on all of them."""
    groups: dict[str, list[Use]] = {}
    for use in uses:
        groups.setdefault(same(use.place), []).append(use)
    refuse_groups(groups.values(), "queue", problems)


def same(queue: str) -> str:
    """Return what two names of one queue have in common.

    cupsd finds a printer by its name whatever the case of the letters.
    """
    return queue.casefold()
