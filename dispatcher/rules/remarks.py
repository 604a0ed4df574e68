"""Says what is allowed in the rules and yet strange."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import PurePosixPath

from dispatcher.core.certificate import Result
from dispatcher.core.routing import Condition, Kind, Rules, Site
from dispatcher.rules.queues import same


def warnings(rules: Rules) -> tuple[str, ...]:
    """Return one sentence for each thing that a person should look at again.

    None of them is a refusal: they rest on what is likely, not on what is certain.
    """
    return (
        *_numbers(rules),
        *_missing(rules),
        *_conditions(rules.sites.values()),
        *_folders(rules.sites.values()),
        *_queues(rules.sites.values()),
    )


def _numbers(rules: Rules) -> Iterator[str]:
    sites = [number for site in rules.sites.values() for number in (site.finess, *site.aliases)]
    doubtful = sorted(number.number for number in sites if not number.luhn_valid)
    if doubtful:
        yield (
            "the check digit does not fit; is it a typing mistake? (fictional numbers fail "
            "it too): " + ", ".join(doubtful)
        )
    if rules.legal_body is not None and not rules.legal_body.luhn_valid:
        yield f"the check digit of lbm.finess_ej does not fit: {rules.legal_body}"


def _missing(rules: Rules) -> Iterator[str]:
    if not rules.lbm:
        yield "lbm.name is not given"
    if rules.legal_body is None:
        yield "lbm.finess_ej is not given, so its use in place of a site cannot be noticed"
    if not rules.tests:
        yield "there are no tests: add one for each site that has targets with conditions"


def _conditions(sites: Iterable[Site]) -> Iterator[str]:
    for site in sites:
        conditions = [target.when for target in site.targets]
        results = {
            result for when in conditions if not when.analyses for result in when.results
        }
        if any(not when.results and not when.analyses for when in conditions):
            continue
        kinds = "those whose result cannot be read"
        if results != set(Result):
            kinds = "those that meet none of them"
        yield (
            f"site {site.finess}: every target has a condition; {kinds} are held for a person"
        )


def _folders(sites: Iterable[Site]) -> Iterator[str]:
    owners: dict[PurePosixPath, Site] = {}
    for site in sites:
        own: set[PurePosixPath] = set()
        for target in site.targets:
            if target.kind is not Kind.FOLDER:
                continue
            place = PurePosixPath(target.place)
            if place in own:
                yield f"site {site.finess}: two targets have the same folder {place}"
            own.add(place)
            owners.setdefault(place, site)
    for place, site in owners.items():
        for parent in place.parents:
            other = owners.get(parent)
            if other is not None and other.finess != site.finess:
                yield (
                    f"site {site.finess}: its folder {place} lies inside the folder of site "
                    f"{other.finess}, whose people may see it"
                )


def _queues(sites: Iterable[Site]) -> Iterator[str]:
    for site in sites:
        printers = [target for target in site.targets if target.kind is Kind.PRINT]
        for one, other in combinations(printers, 2):
            if same(one.place) == same(other.place) and _meet(one.when, other.when):
                yield (
                    f"site {site.finess}: the targets {one.name} and {other.name} may print "
                    f"one certificate twice on the queue {one.place}"
                )


def _meet(one: Condition, other: Condition) -> bool:
    """Whether some certificate meets both conditions."""
    pairs = ((one.results, other.results), (one.analyses, other.analyses))
    return all(not mine or not theirs or mine & theirs for mine, theirs in pairs)
