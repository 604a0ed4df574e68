"""Writes the beginning of a routing.yaml: every site of a legal body, for people to finish."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString as Quoted

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.matching import Choice
from dispatcher.registry.values import Establishment

# As routing.yaml takes it.
_LONGEST_NAME: Final = 120

_HEAD: Final = """\
sidep-dispatcher: where each site's certificates go. Made from the FINESS register.

To do before it counts:
 - delete the sites where no tests are made, and add those of other legal bodies;
 - correct the names: reception reads them;
 - make the folders, or write others: one that is missing is taken for a share that is
   not mounted;
 - check: sidep-dispatcher check --offline
"""


def beginning(
    legal_body: FinessEJ,
    name: str,
    sites: Iterable[Establishment],
    *,
    choices: Mapping[FinessET, Choice],
) -> str:
    """Return the text of a routing.yaml that loads as it is, with comments for people.

    Sites that the register calls closed are told in a comment only. `choices` may hold
    which BAL each site's mail goes to. At least one site must be open.
    """
    rows = sorted(sites, key=lambda row: row.site)
    opened = [row for row in rows if row.closed_on is None]
    top = CommentedMap()
    top["version"] = 1
    top["lbm"] = _inline(
        name=Quoted(_shown(name) or f"LBM {legal_body}"), finess_ej=Quoted(legal_body.number)
    )
    folder = _inline(name="dossier", folder=Quoted("/srv/sidep/{finess}"))
    top["profiles"] = CommentedMap({"comptoir": CommentedSeq([folder])})
    top["sites"] = _table(opened, choices)
    top["tests"] = CommentedSeq(
        _inline(finess=Quoted(row.site.number), result="négatif", expect=_flow(["dossier"]))
        for row in opened[:1]
    )
    top.yaml_set_start_comment(_HEAD + _closed(rows))
    top.yaml_set_comment_before_after_key("lbm", before="\nthe laboratory's own name")
    top.yaml_set_comment_before_after_key("profiles", before="\n{finess} is the site's number")
    top.yaml_set_comment_before_after_key("sites", before="\nby FINESS ET, always in quotes")
    top.yaml_set_comment_before_after_key("tests", before="\nchecked before every change")
    return _dumped(top)


def _table(rows: Iterable[Establishment], choices: Mapping[FinessET, Choice]) -> CommentedMap:
    table = CommentedMap()
    for row in rows:
        number = Quoted(row.site.number)
        table[number] = _inline(
            name=Quoted(_shown(row.name) or row.site.number), profile="comptoir"
        )
        table.yaml_set_comment_before_after_key(
            number, before=_comment(row, choices.get(row.site)), indent=2
        )
    return table


def _comment(row: Establishment, choice: Choice | None) -> str:
    about = ", ".join(filter(None, (_shown(row.category_name), _shown(row.town))))
    told = [f"\n{about or 'no category'}"]
    if choice is not None and choice.address is not None and choice.route is not None:
        told.append(f"SI-DEP sends to {_shown(choice.address)} ({choice.route.value})")
    elif choice is not None:
        told.append(f"SI-DEP sends no mail: {choice.why.value}")
    return "\n".join(told)


def _closed(rows: Iterable[Establishment]) -> str:
    closed = [row for row in rows if row.closed_on is not None]
    if not closed:
        return ""
    lines = [f" {row.site} {_shown(row.name)}: {row.closed_on}" for row in closed]
    return "\n".join(["\nLeft out, closed in the register:", *lines]) + "\n"


def _shown(text: str) -> str:
    """Return a text on one line, of characters that can be seen, and of bearable length."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_LONGEST_NAME].strip()


def _inline(**values: object) -> CommentedMap:
    found = CommentedMap(values)
    found.fa.set_flow_style()
    return found


def _flow(values: list[str]) -> CommentedSeq:
    found = CommentedSeq(values)
    found.fa.set_flow_style()
    return found


def _dumped(top: CommentedMap) -> str:
    yaml = YAML()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(top, out)
    return out.getvalue()
