"""Reads lists of targets: what a profile or a site delivers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.core.certificate import Result
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Condition, Kind, Printing, PrintWhen, Target
from dispatcher.rules import values
from dispatcher.rules.printing import WHEN, print_pattern
from dispatcher.yaml_text import Mark, Node, Problems, Scalar, Table, shown, suggestion

_KEYS: Final = ("name", "folder", "print", "when", "fallback", "shared")
_LATER: Final = ("forward", "lis")
# A path names files up to 180 bytes long below it; Linux takes 4096 in all.
_LONGEST_PATH: Final = 3800


@dataclass(frozen=True, slots=True)
class Pattern:
    """A target as it is written, before a site's number is filled in."""

    name: str
    place: str
    when: Condition
    fallback: str | None
    shared: bool
    mark: Mark
    printing: Printing | None = None

    @property
    def kind(self) -> Kind:
        """What the target is."""
        return Kind.FOLDER if self.printing is None else Kind.PRINT

    @property
    def needs_hours(self) -> bool:
        """Whether the target waits for its site to open."""
        return self.printing is not None and self.printing.when is PrintWhen.OPEN

    def at(self, site: FinessET) -> Target:
        """Return the target of one site."""
        place = self.place.replace("{finess}", site.number)
        return Target(self.name, self.kind, place, self.when, self.fallback, self.printing)


def targets(node: Node, problems: Problems) -> tuple[Pattern, ...]:
    """Return the targets of a list, in its order; what is wrong with them is recorded."""
    listed = values.items(node, problems, "the list of targets")
    if listed is None:
        return ()
    named: dict[str, Mark] = {}
    fallbacks: list[tuple[str, Scalar]] = []
    found: list[Pattern] = []
    for item in listed.items:
        pattern = _target(item, problems, named=named, fallbacks=fallbacks)
        if pattern is not None:
            found.append(pattern)
    _check_fallbacks(fallbacks, tuple(named), problems)
    return tuple(found)


def _target(
    node: Node,
    problems: Problems,
    *,
    named: dict[str, Mark],
    fallbacks: list[tuple[str, Scalar]],
) -> Pattern | None:
    table = values.table(node, problems, "a target")
    if table is None:
        return None
    later = [key for key, _ in table.entries if key.text in _LATER]
    for key in later:
        problems.add(
            key.mark,
            f"`{key.text}` is not known to this version, which delivers to folders and "
            "printers",
            "write a `folder` or a `print`, or delete this target",
        )
    # The inner keys of a target of a later version are not ours to judge.
    known = _KEYS if not later else tuple(key.text for key, _ in table.entries)
    given = {key.text: value for key, value in values.keys(table, problems, known)}
    name = _name(table, given.get("name"), problems, named=named)
    fallback = given.get("fallback")
    if isinstance(fallback, Scalar) and name is not None:
        fallbacks.append((name, fallback))
    if later:
        return None
    if fallback is not None:
        values.name(fallback, problems, "`fallback`")
    place = _place(table, given, problems)
    printer = "print" in given
    when = _condition(given["when"], problems, printer=printer) if "when" in given else None
    shared = "shared" in given and values.flag(given["shared"], problems, "`shared`")
    if name is None or place is None:
        return None
    text = fallback.text if isinstance(fallback, Scalar) else None
    where, mark, printing = place
    return Pattern(name, where, when or Condition(), text, shared, mark, printing)


def _name(
    table: Table, node: Node | None, problems: Problems, *, named: dict[str, Mark]
) -> str | None:
    if node is None:
        problems.add(table.mark, "a target has no name", "add `name: dossier`")
        return None
    name = values.name(node, problems, "the target's name")
    if name is None:
        return None
    if name in named:
        problems.add(
            node.mark,
            f"two targets are named `{shown(name)}`, the first on line {named[name].line}",
            "give each target of a site a name of its own",
        )
        return None
    named[name] = node.mark
    return name


def _place(
    table: Table, given: Mapping[str, Node], problems: Problems
) -> tuple[str, Mark, Printing | None] | None:
    """Return the folder or the queue, where it is written, and how it prints."""
    folder, printer = given.get("folder"), given.get("print")
    if folder is None and printer is None:
        problems.add(
            table.mark,
            "a target has no place",
            'add `folder: "/srv/sidep/{finess}"` or `print: {queue: "accueil-{finess}"}`',
        )
        return None
    if folder is not None and printer is not None:
        problems.add(
            table.mark,
            "a target has both `folder` and `print`",
            "make two targets of it, each with a name of its own",
        )
    where = None if folder is None else _folder(folder, problems)
    pattern = None if printer is None else print_pattern(printer, problems)
    if folder is not None:
        return None if where is None else (where, folder.mark, None)
    if pattern is None or printer is None:
        return None
    return pattern.queue, printer.mark, pattern.printing


def _folder(node: Node, problems: Problems) -> str | None:
    folder = values.text(node, problems, "the folder")
    if folder is None:
        return None
    before = len(problems)
    values.refuse_placeholders(folder, node.mark, problems)
    if not folder.startswith("/"):
        problems.add(
            node.mark,
            f"`{shown(folder)}` is not an absolute path",
            "write the path from the root, as in /srv/sidep/gare",
        )
    if len(folder.encode()) > _LONGEST_PATH:
        problems.add(node.mark, "the path is too long", f"at most {_LONGEST_PATH} bytes")
    return folder if len(problems) == before else None


def _condition(node: Node, problems: Problems, *, printer: bool) -> Condition:
    if isinstance(node, Scalar) and node.text in WHEN:
        what = f"a folder is always open; `when: {node.text}` belongs to printers"
        instead = "delete `when`"
        if printer:
            what = f"`when: {node.text}` says how a printer works, not which certificates"
            instead = f"write it inside: print: {{queue: …, when: {node.text}}}"
        problems.add(node.mark, what, instead)
        return Condition()
    table = values.table(node, problems, "`when`")
    if table is None:
        return Condition()
    results: set[Result | None] = set()
    analyses: set[str | None] = set()
    for key, value in values.keys(table, problems, ("result", "analysis")):
        listed = values.items(value, problems, f"`{key.text}`")
        for item in listed.items if listed else ():
            if key.text == "result":
                results.add(values.result(item, problems))
            else:
                analyses.add(values.analysis(item, problems))
    # An unreadable word is a problem recorded, so no rules come of this file anyway.
    return Condition(
        frozenset(result for result in results if result),
        frozenset(analysis for analysis in analyses if analysis),
    )


def _check_fallbacks(
    fallbacks: Sequence[tuple[str, Scalar]], names: Sequence[str], problems: Problems
) -> None:
    follows = {name: node.text for name, node in fallbacks}
    for name, node in fallbacks:
        others = [other for other in names if other != name]
        if node.text not in names:
            instead = suggestion(node.text, others) if others else "delete `fallback`"
            problems.add(node.mark, f"no target here is named `{shown(node.text)}`", instead)
        elif name in _after(name, follows):
            problems.add(
                node.mark,
                f"the fallback of `{shown(name)}` leads back to itself",
                "let the last target of the chain have none",
            )


def _after(name: str, follows: dict[str, str]) -> Iterator[str]:
    seen: set[str] = set()
    while name in follows and name not in seen:
        seen.add(name)
        name = follows[name]
        yield name
