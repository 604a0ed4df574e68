"""No way of writing routing.yaml, right or damaged, sends a certificate to another site."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stdnum import luhn

from dispatcher import rules
from dispatcher.core.certificate import Facts, Result
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Rules, decide
from dispatcher.errors import ConfigInvalid

ANALYSES = ("94500-6", "94558-4", None)

VALID = """\
version: 1
lbm: {name: LBM, finess_ej: "990000903"}
profiles:
  comptoir:
    - {name: dossier, folder: "/srv/sidep/{finess}"}
    - {name: positifs, folder: "/srv/sidep/{finess}-positifs", when: {result: [positif]}}
    - {name: papier, print: {queue: "accueil-{finess}", when: open}, fallback: dossier}
sites:
  "990000010":
    name: Mairie
    profile: comptoir
    hours: {mon-fri: "07:30-18:30", closed: ["2026-12-24"], holidays: true}
  "990000028":
    name: Gare
    aliases: ["990000036"]
    deliver:
      - {name: dossier, folder: /srv/sidep/gare}
      - {name: antigenes, folder: /srv/sidep/gare2, when: {analysis: ["94558-4"]}}
      - {name: papier, print: {queue: gare, copies: 2, options: {print-quality: "5"}}}
  "990000044":
    name: Port
    deliver:
      - {name: dossier, folder: /srv/sidep/port}
      - {name: papier, print: {queue: "port", when: hold}}
  "010000024":
    name: Ain
    deliver:
      - name: dossier
        folder: "/srv/sidep/ain"
        fallback: secours
      - name: secours
        folder: "/srv/sidep/ain2"
tests:
  - {finess: "990000028", result: positif, expect: [dossier, papier]}
"""


def number(i: int) -> str:
    payload = f"9900{i:04d}"
    return payload + luhn.calc_check_digit(payload)


def load(text: str) -> Rules:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "routing.yaml"
        path.write_text(text, encoding="utf-8")
        return rules.load(path)


def everywhere(found: Rules) -> dict[tuple[Any, ...], tuple[str, ...] | None]:
    """Return where a certificate of every site and kind goes: folders and queues."""
    known = [n for site in found.sites.values() for n in (site.finess, *site.aliases)]
    answers: dict[tuple[Any, ...], tuple[str, ...] | None] = {}
    for site in [*known, FinessET("750100125")]:
        for result in (*Result, None):
            for analysis in ANALYSES:
                targets = decide(found, Facts(site=site, result=result, analysis=analysis))
                places = None if targets is None else tuple(t.place for t in targets)
                answers[site.number, result, analysis] = places
    return answers


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid routing.yaml as plain values."""
    conditions = st.sampled_from(
        [{}, {"when": {"result": ["positif", "négatif"]}}, {"when": {"analysis": ["94500-6"]}}]
    )

    def place(prefix: str, name: str) -> st.SearchStrategy[dict[str, Any]]:
        queue = f"{prefix}-{name}".replace("/", "-")
        return st.one_of(
            st.just({"folder": f"/srv/{prefix}/{name}"}),
            st.fixed_dictionaries(
                {"queue": st.just(queue)},
                optional={
                    "copies": st.integers(1, 10),
                    "when": st.sampled_from(["always", "open", "hold"]),
                    "options": st.just({"print-quality": "5", "x": "true"}),
                },
            ).map(lambda table: {"print": table}),
        )

    def targets(prefix: str) -> list[dict[str, Any]]:
        names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
        found = [{"name": n, **draw(place(prefix, n)), **draw(conditions)} for n in names]
        if len(names) > 1 and draw(st.booleans()):
            found[0]["fallback"] = names[1]
        return found

    sites: dict[str, Any] = {}
    for i in range(draw(st.integers(1, 6))):
        site: dict[str, Any] = {"name": f"Site {i}"}
        site["hours"] = {"mon": "08:00-12:00", "sat": "09:00-24:00", "holidays": True}
        if draw(st.booleans()):
            site["profile"] = draw(st.sampled_from(["p", "q"]))
        else:
            site["deliver"] = targets(f"site{i}")
        if draw(st.booleans()):
            site["aliases"] = [number(100 + i), number(200 + i)]
        sites[number(i)] = site
    return {
        "version": 1,
        "lbm": {"name": "LBM", "finess_ej": number(903)},
        "profiles": {name: targets("{finess}/" + name) for name in "pq"},
        "sites": sites,
    }


def shuffled(draw: st.DrawFn, value: Any) -> Any:
    """Return the same values with every mapping in another order; lists stay."""
    if isinstance(value, list):
        return [shuffled(draw, item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: shuffled(draw, value[key]) for key in draw(st.permutations(list(value)))}


def block(value: Any, indent: int = 0) -> str:
    """Write values as YAML in block style."""
    pad = "\n" + "  " * indent
    if isinstance(value, dict):
        return "".join(
            f"{pad}{json.dumps(k)}: {block(v, indent + 1)}" for k, v in value.items()
        )
    if isinstance(value, list):
        return "".join(f"{pad}- {json.dumps(item, ensure_ascii=False)}" for item in value)
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=60, deadline=None)
@given(contents(), st.data())
def test_no_order_of_the_keys_changes_where_a_certificate_goes(
    content: dict[str, Any], data: st.DataObject
) -> None:
    other = shuffled(data.draw, content)  # type: ignore[arg-type]
    expected = everywhere(load(block(content)))
    assert everywhere(load(block(other))) == expected
    assert everywhere(load(json.dumps(other))) == expected


OWN = {
    key: set(places or ())
    for key, places in everywhere(load(VALID)).items()
    if places is not None
}
PLACES = {
    site: {place for key in OWN if key[0] == site for place in OWN[key]}
    for site in {str(key[0]) for key in OWN}
}

# Anywhere, and as often where it hurts: in the sites' numbers, folders and queues.
_TENDER = [
    at
    for m in re.finditer(r'"[0-9]{9}"|/srv[^,}"]*|queue: [^,}]*', VALID)
    for at in range(*m.span())
]
places = st.integers(0, len(VALID) - 1) | st.sampled_from(_TENDER)
lines = st.integers(0, VALID.count("\n") - 1)
characters = st.sampled_from(
    [*"0123456789 \n\t\"':-{}[],#&*!|>%@/.aZ~é", "\u00a0", "\u2028", "\x00"]
)
damage = st.one_of(
    st.tuples(st.just("delete"), places, st.integers(1, 3)),
    st.tuples(st.just("cut"), places),
    st.tuples(st.just("write"), places, characters, st.booleans()),
    st.tuples(st.just("write"), places, st.sampled_from("0123456789AB"), st.just(value=True)),
    st.tuples(st.just("drop line"), lines),
    st.tuples(st.just("double line"), lines),
)


def damaged(how: tuple[Any, ...]) -> str:
    match how:
        case ("delete", at, length):
            return VALID[:at] + VALID[at + length :]
        case ("cut", at):
            return VALID[:at]
        case ("write", at, char, over):
            return VALID[:at] + str(char) + VALID[at + over :]
        case ("drop line", at):
            lines = VALID.splitlines(keepends=True)
            return "".join(lines[:at] + lines[at + 1 :])
        case ("double line", at):
            lines = VALID.splitlines(keepends=True)
            return "".join([*lines[: at + 1], *lines[at:]])
        case _:
            raise AssertionError(how)


@settings(max_examples=400, deadline=None)
@given(damage)
@example(how=("write", VALID.index('"010000024"') + 2, "A", True))
def test_a_damaged_file_never_gives_one_site_the_folder_or_the_printer_of_another(
    how: tuple[Any, ...],
) -> None:
    try:
        found = load(damaged(how))
    except ConfigInvalid:
        return
    warned = " ".join(rules.warnings(found))
    for (site, *_), reached in everywhere(found).items():
        if site in PLACES:
            foreign = {p for other in PLACES for p in PLACES[other]} - PLACES[site]
            assert not foreign & set(reached or ())
        elif reached is not None:
            # A number that nobody had: its check digit gives the slip of the pen away.
            assert site in warned


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_the_reading_fail_otherwise_than_it_should(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "routing.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigInvalid) as caught:
            rules.load(path)
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)
