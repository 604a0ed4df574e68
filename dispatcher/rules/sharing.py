"""Tells of a folder or a queue that several sites use without having said so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.core.finess import FinessET
from dispatcher.yaml_text import Mark, Problems, shown

_NAMED_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Use:
    """One target's folder or queue at one site."""

    site: FinessET
    place: str
    shared: bool
    mark: Mark


def refuse_groups(groups: Iterable[Sequence[Use]], thing: str, problems: Problems) -> None:
    """Record each group of several sites that lacks `shared: true` on one of its targets.

    `thing` is what the uses of a group have in common: a folder, a queue.
    """
    for group in groups:
        sites = sorted({use.site.number for use in group})
        if len(sites) == 1 or all(use.shared for use in group):
            continue
        lines = sorted({use.mark for use in group})
        named = ", ".join(sites[:_NAMED_AT_MOST])
        more = f" and {len(sites) - _NAMED_AT_MOST} more" if len(sites) > _NAMED_AT_MOST else ""
        where = f" (first on line {lines[0].line})" if len(lines) > 1 else ""
        # The first use is innocent when there are several: show the one that came later.
        problems.add(
            lines[min(1, len(lines) - 1)],
            f"the sites {named}{more} share the {thing} `{shown(group[0].place)}`{where}",
            f"give each site a {thing} of its own, as with {{finess}}, or write "
            "`shared: true` on every one of these targets",
        )
