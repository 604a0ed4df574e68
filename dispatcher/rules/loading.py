"""Reads routing.yaml from top to bottom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.core.hours import Hours
from dispatcher.core.routing import Expectation, Rules, Site, shortfall
from dispatcher.core.routing import Kind as TargetKind
from dispatcher.rules import folders, queues, values
from dispatcher.rules.hours import hours
from dispatcher.rules.sharing import Use
from dispatcher.rules.targets import Pattern, targets
from dispatcher.yaml_text import (
    Items,
    Kind,
    Mark,
    Node,
    Problems,
    Scalar,
    read_content,
    shown,
    suggestion,
    table_of,
)

# 5,000 sites with two folders and hours each are 1.2 MB. Reading costs 5 s of CPU a MB.
LIMIT: Final = 4_000_000

_TOP: Final = ("version", "lbm", "profiles", "sites", "tests")
_SITE: Final = ("name", "profile", "deliver", "aliases", "hours")
_TEST: Final = ("finess", "result", "analysis", "expect")


@dataclass(frozen=True, slots=True)
class _Draft:
    """One site as read. `sound` is False when some part of it was refused."""

    number: FinessET
    mark: Mark
    name: str
    patterns: tuple[Pattern, ...]
    aliases: tuple[tuple[FinessET, Mark], ...]
    hours: Hours | None
    sound: bool

    def site(self) -> Site:
        return Site(
            self.number,
            self.name,
            tuple(pattern.at(self.number) for pattern in self.patterns),
            frozenset(alias for alias, _ in self.aliases),
            self.hours,
        )


def load(path: Path) -> Rules:
    """Return the rules of a routing.yaml, checked, with their own tests passed.

    Raises ConfigInvalid with every problem as `file:line:column: what; what instead`.
    """
    return parse(read_content(path, Problems(path), limit=LIMIT), path)


def parse(content: bytes, path: Path) -> Rules:
    """Return the rules that these bytes of a routing.yaml hold; as `load`."""
    problems = Problems(path)
    tree = table_of(content, problems)
    given = {key.text: value for key, value in values.keys(tree, problems, _TOP)}
    _check_version(given.get("version"), problems)
    name, legal_body = _lbm(given.get("lbm"), problems)
    profiles = _profiles(given.get("profiles"), problems)
    drafts = _sites(given.get("sites"), problems, profiles=profiles)
    _check_numbers(drafts, legal_body, problems)
    folders.refuse_common(_uses(drafts, TargetKind.FOLDER), problems)
    queues.refuse_common(_uses(drafts, TargetKind.PRINT), problems)
    expected = _tests(given.get("tests"), problems)
    rules = Rules(
        lbm=name,
        legal_body=legal_body,
        sites=MappingProxyType({draft.number: draft.site() for draft in drafts if draft.sound}),
        tests=tuple(expectation for expectation, _ in expected),
        digest=hashlib.sha256(content).hexdigest(),
    )
    _run_tests(rules, expected, problems, drafts=drafts)
    problems.raise_if_any()
    return rules


def _check_version(node: Node | None, problems: Problems) -> None:
    if node is None:
        problems.add(Mark(), "`version` is missing", "add `version: 1` as the first line")
    elif not isinstance(node, Scalar) or node.kind is not Kind.INTEGER or node.text != "1":
        problems.add(node.mark, "this version of the format is not known", "write `version: 1`")


def _lbm(node: Node | None, problems: Problems) -> tuple[str, FinessEJ | None]:
    table = None if node is None else values.table(node, problems, "`lbm`")
    if table is None:
        return "", None
    given = {
        key.text: value for key, value in values.keys(table, problems, ("name", "finess_ej"))
    }
    name = values.name(given["name"], problems, "`lbm.name`") if "name" in given else None
    number = values.finess(given["finess_ej"], problems) if "finess_ej" in given else None
    return name or "", None if number is None else FinessEJ(number)


def _profiles(node: Node | None, problems: Problems) -> Mapping[str, tuple[Pattern, ...]]:
    table = None if node is None else values.table(node, problems, "`profiles`")
    if table is None:
        return {}
    for key, _ in table.entries:
        values.name(key, problems, "the profile's name")
    return {key.text: targets(value, problems) for key, value in table.entries}


def _sites(
    node: Node | None, problems: Problems, *, profiles: Mapping[str, tuple[Pattern, ...]]
) -> tuple[_Draft, ...]:
    if node is None:
        problems.add(Mark(), "`sites` is missing", "add a table of sites by their FINESS ET")
        return ()
    table = values.table(node, problems, "`sites`")
    entries = table.entries if table else ()
    found = (_site(key, value, problems, profiles=profiles) for key, value in entries)
    return tuple(draft for draft in found if draft is not None)


def _site(
    key: Scalar, node: Node, problems: Problems, *, profiles: Mapping[str, tuple[Pattern, ...]]
) -> _Draft | None:
    before = len(problems)
    number = values.finess(key, problems)
    table = values.table(node, problems, f"the site `{shown(key.text)}`")
    if table is None:
        return None
    given = {name.text: value for name, value in values.keys(table, problems, _SITE)}
    # Without a name people see the number.
    name = values.name(given["name"], problems, "the site's name") if "name" in given else None
    patterns = _patterns(key, given, problems, profiles=profiles)
    aliases = _aliases(given["aliases"], problems) if "aliases" in given else ()
    opening = hours(given["hours"], problems) if "hours" in given else None
    if "hours" not in given:
        _refuse_waiting(key, patterns, problems)
    if number is None:
        return None
    return _Draft(
        FinessET(number),
        key.mark,
        name or number,
        patterns,
        aliases,
        opening,
        sound=len(problems) == before,
    )


def _patterns(
    key: Scalar,
    given: Mapping[str, Node],
    problems: Problems,
    *,
    profiles: Mapping[str, tuple[Pattern, ...]],
) -> tuple[Pattern, ...]:
    if "profile" in given and "deliver" in given:
        problems.add(key.mark, "a site has both `profile` and `deliver`", "keep one of the two")
    if "deliver" in given:
        return targets(given["deliver"], problems)
    if "profile" not in given:
        problems.add(
            key.mark, "a site has neither `profile` nor `deliver`", "add one of the two"
        )
        return ()
    node = given["profile"]
    name = values.name(node, problems, "`profile`")
    if name is None or name in profiles:
        return profiles.get(name or "", ())
    instead = suggestion(name, tuple(profiles)) if profiles else "write `deliver` instead"
    problems.add(node.mark, f"no profile is named `{shown(name)}`", instead)
    return ()


def _refuse_waiting(key: Scalar, patterns: Iterable[Pattern], problems: Problems) -> None:
    """A printer that waits for its site to open needs to know when that is."""
    waiting = next((pattern for pattern in patterns if pattern.needs_hours), None)
    if waiting is not None:
        problems.add(
            key.mark,
            f"the target `{shown(waiting.name)}` prints when the site is open, and the site "
            "has no `hours`",
            'add `hours: {mon-fri: "08:00-18:00"}`, or print with `when: always`',
        )


def _aliases(node: Node, problems: Problems) -> tuple[tuple[FinessET, Mark], ...]:
    listed = values.items(node, problems, "`aliases`")
    if listed is None:
        return ()
    found = ((values.finess(item, problems), item.mark) for item in listed.items)
    return tuple((FinessET(number), mark) for number, mark in found if number is not None)


def _check_numbers(
    drafts: Sequence[_Draft], legal_body: FinessEJ | None, problems: Problems
) -> None:
    """Each number names one site, and the legal body's number names none."""
    owners = {draft.number: draft for draft in drafts}
    claimed: dict[FinessET, Mark] = {}
    for draft in drafts:
        _refuse_legal_body(draft.number, legal_body, draft.mark, problems)
        for alias, mark in draft.aliases:
            _refuse_legal_body(alias, legal_body, mark, problems)
            if alias == draft.number:
                problems.add(mark, f"the alias {alias} is the site's own number", "delete it")
            elif alias in owners:
                line = owners[alias].mark.line
                problems.add(
                    mark,
                    f"the alias {alias} is itself a site, on line {line}",
                    "delete the alias, or that site",
                )
            elif alias in claimed:
                problems.add(
                    mark,
                    f"the alias {alias} is claimed twice, first on line {claimed[alias].line}",
                    "leave it with the site that took over the place",
                )
            claimed.setdefault(alias, mark)


def _refuse_legal_body(
    number: FinessET, legal_body: FinessEJ | None, mark: Mark, problems: Problems
) -> None:
    if legal_body is not None and number.number == legal_body.number:
        problems.add(
            mark,
            f"{number} is the legal body's number (`lbm.finess_ej`), not a site's",
            "write the FINESS ET of the place, also called geographical FINESS",
        )


def _uses(drafts: Iterable[_Draft], kind: TargetKind) -> tuple[Use, ...]:
    return tuple(
        Use(draft.number, pattern.at(draft.number).place, pattern.shared, pattern.mark)
        for draft in drafts
        for pattern in draft.patterns
        if pattern.kind is kind
    )


def _tests(node: Node | None, problems: Problems) -> tuple[tuple[Expectation, Mark], ...]:
    listed = None if node is None else values.items(node, problems, "`tests`")
    found = (_test(item, problems) for item in listed.items) if listed else ()
    return tuple(expected for expected in found if expected is not None)


def _test(node: Node, problems: Problems) -> tuple[Expectation, Mark] | None:
    table = values.table(node, problems, "a test")
    if table is None:
        return None
    before = len(problems)
    given = {key.text: value for key, value in values.keys(table, problems, _TEST)}
    for key, example in (("finess", '"990000028"'), ("expect", "[dossier]")):
        if key not in given:
            problems.add(table.mark, f"a test has no `{key}`", f"add `{key}: {example}`")
    number = values.finess(given["finess"], problems) if "finess" in given else None
    result = values.result(given["result"], problems) if "result" in given else None
    analysis = values.analysis(given["analysis"], problems) if "analysis" in given else None
    expect = _expected(given["expect"], problems) if "expect" in given else frozenset()
    if number is None or len(problems) > before:
        return None
    return Expectation(FinessET(number), result, analysis, expect), table.mark


def _expected(node: Node, problems: Problems) -> frozenset[str]:
    # An empty list is a test too: such a certificate reaches nothing and is held.
    if not isinstance(node, Items):
        problems.add(node.mark, "`expect` is not a list", "write the targets as in [dossier]")
        return frozenset()
    names = (values.name(item, problems, "a target's name") for item in node.items)
    return frozenset(name for name in names if name is not None)


def _run_tests(
    rules: Rules,
    expected: Iterable[tuple[Expectation, Mark]],
    problems: Problems,
    *,
    drafts: Iterable[_Draft],
) -> None:
    """Record each test that fails, but none of a site that was refused anyway."""
    refused = {
        number
        for draft in drafts
        if not draft.sound
        for number in (draft.number, *(alias for alias, _ in draft.aliases))
    }
    for expectation, mark in expected:
        sentence = shortfall(rules, expectation)
        if sentence is not None and expectation.finess not in refused:
            problems.add(mark, f"a test fails: {sentence}", "mend the rules, or the test")
