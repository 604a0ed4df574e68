"""routing.yaml: what it says, and how each mistake in it is told."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from datetime import date
from pathlib import Path
from threading import Event

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from dispatcher import rules
from dispatcher.core.certificate import Facts, Result
from dispatcher.core.finess import FinessET
from dispatcher.core.hours import Hours, Span
from dispatcher.core.routing import (
    Condition,
    Kind,
    Printing,
    PrintWhen,
    Rules,
    Site,
    Target,
    decide,
)
from dispatcher.errors import ConfigInvalid
from dispatcher.rules.hours import DAYS

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = [CONFIG / "routing.yaml", *sorted((CONFIG / "examples").glob("*.yaml"))]

HEAD = 'version: 1\nlbm: {name: LBM, finess_ej: "990000903"}\n'
ONE = HEAD + 'sites:\n  "990000010":\n    name: Mairie\n'
FOLDER = "    deliver: [{name: dossier, folder: /srv/sidep/mairie}]\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing.yaml"


def load(path: Path, text: str) -> Rules:
    path.write_text(text, encoding="utf-8")
    return rules.load(path)


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load(path, text)
    for problem in caught.value.problems:
        assert re.match(re.escape(str(path)) + r":\d+:\d+: .+; .+", problem), problem
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def places(found: Rules, number: str, **facts: object) -> list[str] | None:
    targets = decide(found, Facts(site=FinessET(number), **facts))  # type: ignore[arg-type]
    return None if targets is None else [target.place for target in targets]


def mairie(found: Rules) -> Site:
    return found.sites[FinessET("990000010")]


# --- what is read ------------------------------------------------------------------------


def test_a_site_without_a_name_is_called_by_its_number(path: Path) -> None:
    found = load(path, ONE.replace("    name: Mairie\n", "") + FOLDER)
    (site,) = found.sites.values()
    assert site.name == str(site.finess)


def test_a_profile_is_filled_in_with_each_sites_own_number(path: Path) -> None:
    found = load(
        path,
        HEAD
        + """
profiles:
  comptoir: [{name: dossier, folder: "/srv/{finess}/in"}, {name: b, folder: "/mnt/{finess}"}]
sites:
  "990000010": {name: Mairie, profile: comptoir}
  "2A0000014": {name: Ajaccio, profile: comptoir, aliases: ["990000036"]}
""",
    )
    assert places(found, "990000010") == ["/srv/990000010/in", "/mnt/990000010"]
    assert places(found, "2A0000014") == ["/srv/2A0000014/in", "/mnt/2A0000014"]
    # A former number leads to the folder of today's.
    assert places(found, "990000036") == ["/srv/2A0000014/in", "/mnt/2A0000014"]
    assert places(found, "990000028") is None


@pytest.mark.parametrize(
    ("word", "result"),
    [
        pytest.param("positif", Result.POSITIVE, id="plain"),
        pytest.param("Négatif", Result.NEGATIVE, id="accent and capital"),
        pytest.param("NEGATIF", Result.NEGATIVE, id="capitals without accents"),
        pytest.param("ne\u0301gatif", Result.NEGATIVE, id="a combining accent"),
        pytest.param("indetermine", Result.UNDETERMINED, id="without accents"),
        pytest.param("Prélèvement non conforme", Result.NOT_COMPLIANT, id="three words"),
        pytest.param("prelevement non-conforme", Result.NOT_COMPLIANT, id="a hyphen"),
        pytest.param("non-conforme", Result.NOT_COMPLIANT, id="the stored word"),
    ],
)
def test_results_are_written_in_french_with_or_without_accents(
    path: Path, word: str, result: Result
) -> None:
    target = f"{{name: a, folder: /srv/a, when: {{result: [{word}]}}}}"
    found = load(path, ONE + f"    deliver: [{target}]\n")
    assert found.sites[FinessET("990000010")].targets[0].when == Condition(frozenset({result}))


def test_every_result_has_a_word(path: Path) -> None:
    words = ", ".join(result.value for result in Result)
    target = f"{{name: a, folder: /srv/a, when: {{result: [{words}]}}}}"
    found = load(path, ONE + f"    deliver: [{target}]\n")
    assert found.sites[FinessET("990000010")].targets[0].when.results == set(Result)


def test_hours_become_spans_of_minutes(path: Path) -> None:
    hours = '    hours: {sat: "08:00-12:00", mon-tue: "08:00-12:00, 14:00-24:00"}\n'
    found = load(path, ONE + FOLDER + hours)
    assert mairie(found).hours == Hours(
        (
            Span(0, 480, 720),
            Span(0, 840, 1440),
            Span(1, 480, 720),
            Span(1, 840, 1440),
            Span(5, 480, 720),
        )
    )


def test_closed_days_and_public_holidays_stand_beside_the_weekdays(path: Path) -> None:
    hours = '{closed: ["2026-12-24", 2026-12-31], mon: "08:00-12:00", holidays: true}'
    found = load(path, ONE + FOLDER + f"    hours: {hours}\n")
    assert mairie(found).hours == Hours(
        (Span(0, 480, 720),), frozenset({date(2026, 12, 24), date(2026, 12, 31)}), holidays=True
    )


def test_a_list_of_closed_days_may_be_empty(path: Path) -> None:
    hours = '{mon: "08:00-12:00", closed: [], holidays: false}'
    found = load(path, ONE + FOLDER + f"    hours: {hours}\n")
    assert mairie(found).hours == Hours((Span(0, 480, 720),))


def test_a_site_without_hours_has_none(path: Path) -> None:
    assert mairie(load(path, ONE + FOLDER)).hours is None


def test_the_digest_is_that_of_the_files_bytes(path: Path) -> None:
    found = load(path, ONE + FOLDER)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(path, ONE + FOLDER + "# é\n").digest != found.digest


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "begins", "instead"),
    [
        pytest.param("010000024", "4:3: `010000024` has no", '"010000024"', id="octal-looking"),
        pytest.param("990000010", "4:3: `990000010` has no", '"990000010"', id="an integer"),
        pytest.param("20000017", "4:3: `20000017` has no", '"020000017"', id="a lost zero"),
        pytest.param("2E0000014", "4:3: `2E0000014` has no", '"2E0000014"', id="an exponent"),
        pytest.param('"20000017"', "4:3: `20000017` is not", '"020000017"', id="in quotes"),
        pytest.param('"99 000 0010"', "4:3: ", '"990000010"', id="spaces"),
        pytest.param('"９９００００010"', "4:3: ", '"990000010"', id="full-width digits"),
        pytest.param('"2a0000014"', "4:3: ", '"2A0000014"', id="a small letter"),
        pytest.param('"1990000010"', "4:3: ", '"990000010"', id="a 1 in front"),
        pytest.param('"99000001O"', "4:3: `99000001O` is", "9 characters", id="a letter O"),
        pytest.param('"gare"', "4:3: `gare` is not", "9 characters", id="a name"),
        pytest.param("~", "4:3: `~` has no", "9 characters", id="nothing"),
    ],
)
def test_a_sites_number_that_may_be_read_otherwise_is_refused(
    path: Path, key: str, begins: str, instead: str
) -> None:
    text = HEAD + f"sites:\n  {key}:\n    name: x\n" + FOLDER
    (problem,) = problems(path, text)
    assert problem.startswith(begins)
    assert instead in problem.split("; ", 1)[1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ONE + FOLDER + "    aliases: [010000024]\n", id="an alias"),
        pytest.param(
            (ONE + FOLDER).replace('"990000903"', "010000024"), id="the legal body's number"
        ),
        pytest.param(
            ONE + FOLDER + "tests: [{finess: 010000024, expect: []}]\n", id="a test's number"
        ),
    ],
)
def test_every_other_number_needs_quotes_too(path: Path, text: str) -> None:
    (problem,) = problems(path, text)
    assert 'write "010000024"' in problem


CASES = [
    pytest.param(
        ONE.replace("version: 1", "version: 2") + FOLDER,
        "1:10: this version of the format",
        id="another version",
    ),
    pytest.param(
        ONE.replace("version: 1", 'version: "1"') + FOLDER, "1:10: ", id="a quoted version"
    ),
    pytest.param(ONE.replace("version: 1\n", "") + FOLDER, "1:1: `version`", id="no version"),
    pytest.param(HEAD, "1:1: `sites` is missing", id="no sites"),
    pytest.param(HEAD + "sites:\n", "3:1: `sites` is not", id="nothing below sites"),
    pytest.param(HEAD + "sites: {}\n", "3:8: `sites` is not", id="an empty table of sites"),
    pytest.param(HEAD + 'sites: {"990000010": x}\n', "3:22: the site", id="a word for a site"),
    pytest.param(ONE + FOLDER + "site: 1\n", "7:1: unknown key `site`", id="unknown top key"),
    pytest.param(
        ONE + FOLDER + "    alias: []\n", "7:5: unknown key `alias`", id="unknown site key"
    ),
    pytest.param(
        ONE + FOLDER + '  "990000010": {}\n', "7:3: the key `990000010`", id="a site twice"
    ),
    pytest.param(ONE.replace("Mairie", "''") + FOLDER, "5:11: ", id="an empty name"),
    pytest.param(ONE.replace("Mairie", "NO") + FOLDER, "5:11: ", id="a name like false"),
    pytest.param(ONE.replace("Mairie", "12") + FOLDER, "5:11: ", id="a name like a number"),
    pytest.param(
        ONE.replace("Mairie", '"a\\u202eb"') + FOLDER, "5:11: ", id="an invisible character"
    ),
    pytest.param(ONE.replace("Mairie", '"a\\u001bb"') + FOLDER, "5:11: ", id="an escape"),
    pytest.param(ONE, "4:3: a site has neither", id="neither profile nor deliver"),
    pytest.param(
        ONE + FOLDER + "    profile: x\n", "4:3: a site has both", id="profile and deliver"
    ),
    pytest.param(
        ONE + "    profile: x\n", "6:14: no profile is named `x`", id="no such profile"
    ),
    pytest.param(ONE + "    deliver: []\n", "6:14: the list of targets", id="no target"),
    pytest.param(
        ONE + "    deliver: [{folder: /srv/x}]\n",
        "6:15: a target has no name",
        id="no target name",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a}]\n", "6:15: a target has no place", id="no folder"
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/a, print: {queue: a}}]\n",
        "6:15: a target has both `folder` and `print`",
        id="a folder and a printer",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /a}, {name: a, folder: /b}]\n",
        "6:45: two targets are named `a`",
        id="two targets of one name",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: srv/x}]\n",
        "6:33: `srv/x` is not an absolute path",
        id="a relative path",
    ),
    pytest.param(
        ONE + '    deliver: [{name: a, folder: "/srv/{site}"}]\n',
        "6:33: `{site}` is not a placeholder",
        id="an unknown placeholder",
    ),
    pytest.param(
        ONE + '    deliver: [{name: a, folder: "/srv/{finess"}]\n',
        "6:33: `{` is not a placeholder",
        id="half a placeholder",
    ),
    pytest.param(
        ONE + '    deliver: [{name: a, folder: "/srv/a\\u0000b"}]\n', "6:33: ", id="a null byte"
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, mode: 1}]\n",
        "6:41: unknown key `mode`",
        id="unknown target key",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, shared: yes}]\n",
        "6:49: `shared` is neither",
        id="yes for true",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: open}]\n",
        "6:47: a folder is always open",
        id="a folder that waits for hours",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: {}}]\n",
        "6:47: `when` is not",
        id="an empty condition",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: {result: []}}]\n",
        "6:56: `result` is not",
        id="no result at all",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: {result: [positiv]}}]\n",
        "6:57: `positiv` is not a result",
        id="an unknown result",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: {results: [positif]}}]\n",
        "6:48: unknown key `results`",
        id="unknown condition",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, when: {analysis: [PCR]}}]\n",
        "6:59: `PCR` is not a LOINC code",
        id="an analysis that is no code",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, fallback: b}]\n",
        "6:51: no target here is named `b`",
        id="a fallback to nothing",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /srv/x, fallback: a}]\n",
        "6:51: the fallback of `a` leads back",
        id="a fallback to itself",
    ),
    pytest.param(
        ONE + "    deliver: [{name: a, folder: /a}]\n    aliases: ['990000010']\n",
        "7:15: the alias 990000010 is the site's own",
        id="an alias of itself",
    ),
    pytest.param(
        ONE + FOLDER + "    aliases: ['990000028', '990000028']\n",
        "7:28: the alias 990000028 is claimed twice",
        id="an alias twice in one site",
    ),
    pytest.param(
        ONE + FOLDER + "    aliases: ['990000903']\n",
        "7:15: 990000903 is the legal body's number",
        id="the legal body as an alias",
    ),
    pytest.param(
        (ONE + FOLDER).replace('"990000010"', '"990000903"'),
        "4:3: 990000903 is the legal body's number",
        id="the legal body as a site",
    ),
    pytest.param(
        ONE + FOLDER + "tests: [{finess: '990000010', expect: [dossie]}]\n",
        "7:9: a test fails: a certificate for 990000010: expected [dossie], got [dossier]",
        id="a test that fails",
    ),
    pytest.param(
        ONE + FOLDER + "tests: [{finess: '990000010'}]\n",
        "7:9: a test has no `expect`",
        id="half",
    ),
    pytest.param(
        ONE + FOLDER + "tests: [{finess: '990000028', expect: [dossier]}]\n",
        "7:9: a test fails",
        id="a test of an unknown site",
    ),
    pytest.param(
        ONE + FOLDER + "tests: [{finess: '990000010', expect: dossier}]\n",
        "7:39: `expect` is not a list",
        id="a word for a list",
    ),
]


@pytest.mark.parametrize(("text", "begins"), CASES)
def test_a_mistake_is_told_once_with_its_place(path: Path, text: str, begins: str) -> None:
    (problem,) = problems(path, text)
    assert problem.startswith(begins)


@pytest.mark.parametrize("kind", ["forward: x", "lis: {a: 1}"])
def test_a_target_of_a_later_version_is_refused_and_not_ignored(path: Path, kind: str) -> None:
    text = ONE + f"    deliver:\n      - {{name: a, {kind}, fallback: b}}\n      - "
    (problem,) = problems(path, text + "{name: b, folder: /srv/x}\n")
    assert problem.startswith("7:19: ")
    assert "delivers to folders and printers" in problem


def test_a_circle_of_fallbacks_is_refused(path: Path) -> None:
    targets = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
    listed = ", ".join(f"{{name: {a}, folder: /srv/{a}, fallback: {b}}}" for a, b in targets)
    found = problems(path, ONE + f"    deliver: [{listed}]\n")
    assert [re.findall("fallback of `(.)`", problem) for problem in found] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_a_line_of_fallbacks_is_allowed(path: Path) -> None:
    targets = "{name: a, folder: /a, fallback: b}, {name: b, folder: /b, fallback: c}"
    found = load(path, ONE + f"    deliver: [{targets}, {{name: c, folder: /c}}]\n")
    assert [t.fallback for t in found.sites[FinessET("990000010")].targets] == ["b", "c", None]


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        pytest.param('{mon-fri: "18:00-08:00"}', "closes before it opens", id="overnight"),
        pytest.param('{mon: "08:00-08:00"}', "closes before it opens", id="no time at all"),
        pytest.param('{mon: "08:00-25:00"}', "passes 24:00", id="a 25th hour"),
        pytest.param('{mon: "08:00-12:60"}', "not a span", id="a 60th minute"),
        pytest.param('{mon: "8h-12h"}', "not a span", id="French hours"),
        pytest.param("{mon: 08:00}", "not a span", id="one time alone"),
        pytest.param("{mon: closed}", "leave a closed day out", id="closed"),
        pytest.param("{mon: }", "are not a text", id="nothing"),
        pytest.param("{lundi: '08:00-12:00'}", "not a day", id="a French day"),
        pytest.param("{fri-mon: '08:00-12:00'}", "runs backwards", id="a range backwards"),
        pytest.param("{mon-mon: '08:00-12:00'}", "runs backwards", id="a range of one"),
        pytest.param('{mon: "08:00-12:00, 11:00-14:00"}', "mon overlap", id="in one day"),
        pytest.param(
            '{mon-fri: "08:00-12:00", wed: "10:00-11:00"}', "wed overlap", id="in two lines"
        ),
        pytest.param("08:00-12:00", "not a table", id="no days"),
        pytest.param("{holidays: true}", "`hours` has no day", id="holidays alone"),
        pytest.param('{closed: ["2026-12-24"]}', "`hours` has no day", id="closed days alone"),
        pytest.param("{mon: '08:00-12:00', holidays: yes}", "`holidays` is", id="yes"),
        pytest.param("{mon: '08:00-12:00', holiday: true}", "`holidays`?", id="one holiday"),
        pytest.param("{mon: '08:00-12:00', closed: 2026-12-24}", "not a list", id="one date"),
        pytest.param(
            "{mon: '08:00-12:00', closed: [24/12/2026]}", '"2026-12-24"', id="a French date"
        ),
        pytest.param(
            "{mon: '08:00-12:00', closed: [2026-02-30]}", "no day `2026-02-30`", id="no day"
        ),
        pytest.param(
            "{mon: '08:00-12:00', closed: [20261224]}", "is not a date", id="a number"
        ),
        pytest.param(
            "{mon: '08:00-12:00', closed: [2026-W52-4]}", "is not a date", id="a week"
        ),
        pytest.param("{mon: '08:00-12:00', closed: [[]]}", "is not a date", id="a list"),
        pytest.param(
            "{mon: '08:00-12:00', closed: [2026-12-24, 2026-12-24]}", "closed twice", id="twice"
        ),
    ],
)
def test_hours_that_cannot_be_kept_are_refused(path: Path, hours: str, said: str) -> None:
    (problem,) = problems(path, ONE + FOLDER + f"    hours: {hours}\n")
    assert said in problem


# --- printers ----------------------------------------------------------------------------

HOURS = '    hours: {mon-fri: "08:00-18:00"}\n'


def printer(keys: str, beside: str = "") -> str:
    return ONE + f"    deliver:\n      - {{name: a, print: {keys}{beside}}}\n"


def test_a_printer_is_read_with_everything_that_may_be_said_of_it(path: Path) -> None:
    keys = """{queue: "accueil-{finess}", copies: 2, sides: two-sided-long-edge, media: A4,
        tray: tray-2, banner: true, separator: true, when: open,
        options: {print-quality: 5, fit-to-page: True, StapleLocation: "Off", gamma: 1.5}}"""
    condition = ", when: {result: [positif]}, fallback: b"
    text = printer(keys, condition) + "      - {name: b, folder: /srv/b}\n" + HOURS
    assert mairie(load(path, text)).targets[0] == Target(
        "a",
        Kind.PRINT,
        "accueil-990000010",
        Condition(frozenset({Result.POSITIVE})),
        "b",
        Printing(
            copies=2,
            sides="two-sided-long-edge",
            media="A4",
            tray="tray-2",
            banner=True,
            when=PrintWhen.OPEN,
            options=(
                ("print-quality", "5"),
                ("fit-to-page", "true"),
                ("StapleLocation", "Off"),
                ("gamma", "1.5"),
            ),
            separator=True,
        ),
    )


def test_a_printer_that_is_only_named_prints_one_of_each_at_any_hour(path: Path) -> None:
    (target,) = mairie(load(path, printer("{queue: gare}"))).targets
    assert (target.kind, target.place) == (Kind.PRINT, "gare")
    assert target.printing == Printing()
    assert Printing().when is PrintWhen.ALWAYS


@pytest.mark.parametrize("when", [when.value for when in PrintWhen])
def test_a_printer_prints_always_or_in_opening_hours_or_when_asked(
    path: Path, when: str
) -> None:
    (target,) = mairie(load(path, printer(f"{{queue: q, when: {when}}}") + HOURS)).targets
    assert target.printing is not None
    assert target.printing.when.value == when


@pytest.mark.parametrize("queue", ["accueil-{finess}", "Étage_2", "a" * 127, "é" * 63])
def test_a_queue_has_any_name_that_cups_takes(path: Path, queue: str) -> None:
    (target,) = mairie(load(path, printer(f"{{queue: {json.dumps(queue)}}}"))).targets
    assert target.place == queue.replace("{finess}", "990000010")


@pytest.mark.parametrize(
    ("keys", "begins"),
    [
        pytest.param("gare", "7:26: `print` is not a table", id="a word for a table"),
        pytest.param("{}", "7:26: `print` is not a table", id="an empty table"),
        pytest.param("{copies: 1}", "7:26: `print` has no queue", id="no queue"),
        pytest.param("{queue: }", "7:27: the queue is empty", id="an empty queue"),
        pytest.param("{queue: 12}", "7:34: the queue has no quotes", id="a number"),
        pytest.param("{queue: [q]}", "7:34: the queue is not a text", id="a list of queues"),
        pytest.param('{queue: "a b"}', "7:34: `a b` cannot be a queue", id="a space"),
        pytest.param('{queue: "a\u00a0b"}', "7:34: ", id="a space that does not break"),
        pytest.param('{queue: "a\\tb"}', "7:34: ", id="a tab"),
        pytest.param('{queue: "a\\u007fb"}', "7:34: ", id="a control character"),
        pytest.param("{queue: a/b}", "7:34: `a/b` cannot be a queue", id="an instance"),
        pytest.param("{queue: a#b}", "7:34: `a#b` cannot be a queue", id="a hash"),
        pytest.param(
            "{queue: ipp://h/printers/q}", "7:34: `ipp://h/printers/q` cannot", id="a URI"
        ),
        pytest.param(f"{{queue: {'a' * 128}}}", "7:34: the queue's name is", id="128 letters"),
        pytest.param(f"{{queue: {'é' * 64}}}", "7:34: the queue's name is", id="128 bytes"),
        pytest.param(
            f'{{queue: "{"a" * 119}{{finess}}"}}', "7:34: the queue's name is", id="too long"
        ),
        pytest.param('{queue: "q-{site}"}', "7:34: `{site}` is not a", id="a placeholder"),
        pytest.param("{queue: q, copies: 0}", "7:45: `copies` is not", id="no copy"),
        pytest.param("{queue: q, copies: 11}", "7:45: `copies` is not", id="eleven copies"),
        pytest.param("{queue: q, copies: -1}", "7:45: `copies` is not", id="minus one copy"),
        pytest.param("{queue: q, copies: 02}", "7:45: `copies` is not", id="a leading zero"),
        pytest.param("{queue: q, copies: '2'}", "7:45: `copies` is not", id="quotes"),
        pytest.param("{queue: q, copies: 1_0}", "7:45: `copies` is not", id="a low line"),
        pytest.param("{queue: q, copies: 1.5}", "7:45: `copies` is not", id="half a copy"),
        pytest.param("{queue: q, copies: 0xA}", "7:45: `copies` is not", id="hexadecimal"),
        pytest.param(f"{{queue: q, copies: {'9' * 5000}}}", "7:45: ", id="5,000 digits"),
        pytest.param("{queue: q, copies: [1]}", "7:45: `copies` is not", id="a list of copies"),
        pytest.param("{queue: q, sides: duplex}", "7:44: `sides` does not", id="another word"),
        pytest.param("{queue: q, sides: }", "7:37: `sides` does not", id="no sides"),
        pytest.param(
            "{queue: q, media: A4 Plus}", "7:44: the media is not one", id="two words"
        ),
        pytest.param('{queue: q, media: "A4,Tray1"}', "7:44: the media is", id="a tray in it"),
        pytest.param("{queue: q, media: 4}", "7:44: the media has no quotes", id="a size"),
        pytest.param(
            "{queue: q, tray: Bac 2}", "7:43: the tray is not one", id="a French tray"
        ),
        pytest.param("{queue: q, banner: oui}", "7:45: `banner` is neither", id="oui"),
        pytest.param("{queue: q, separator: 1}", "7:48: `separator` is neither", id="one"),
        pytest.param("{queue: q, when: closed}", "7:43: `when` does not", id="another when"),
        pytest.param(
            "{queue: q, when: {result: [positif]}}", "7:43: a condition", id="a condition"
        ),
        pytest.param("{queue: q, duplex: yes}", "7:37: unknown key `duplex`", id="unknown"),
        pytest.param("{queue: q, options: []}", "7:46: `options` is not", id="a list"),
        pytest.param("{queue: q, options: {a b: c}}", "7:47: `a b` cannot", id="no option"),
        pytest.param(
            "{queue: q, options: {a: [b]}}", "7:50: the option `a`", id="a list in it"
        ),
        pytest.param("{queue: q, options: {a: no}}", "7:50: the option `a` has", id="no"),
        pytest.param("{queue: q, options: {a: 010}}", "7:50: the option `a` has", id="010"),
        pytest.param("{queue: q, options: {a: }}", "7:47: the option `a` is", id="nothing"),
        pytest.param(
            f"{{queue: q, options: {{a: {'é' * 128}}}}}", "7:50: the option `a` is", id="long"
        ),
    ],
)
def test_a_mistake_in_a_printer_is_told_once_with_its_place(
    path: Path, keys: str, begins: str
) -> None:
    (problem,) = problems(path, printer(keys))
    assert problem.startswith(begins)


@pytest.mark.parametrize(
    ("option", "own"),
    [
        ("copies", "copies"),
        ("Duplex", "sides"),
        ("PageSize", "media"),
        ("media", "media"),
        ("InputSlot", "tray"),
        ("job-sheets", "banner"),
        ("job-hold-until", "when"),
    ],
)
def test_an_option_that_has_a_key_of_its_own_is_refused(
    path: Path, option: str, own: str
) -> None:
    (problem,) = problems(path, printer(f"{{queue: q, options: {{{option}: x}}}}"))
    assert f"write `{own}` beside `queue`" in problem


@pytest.mark.parametrize("option", ["title", "job-name", "Job-Name"])
def test_no_option_changes_the_title_that_finds_a_job_again(path: Path, option: str) -> None:
    (problem,) = problems(path, printer(f"{{queue: q, options: {{{option}: x}}}}"))
    assert "the program's own" in problem


def test_every_mistake_in_a_printer_is_told_at_once(path: Path) -> None:
    found = problems(path, printer("{queue: a b, copies: 0, sides: x, options: {media: A4}}"))
    assert [problem.split(": ")[1][:9] for problem in found] == [
        *["`a b` can", "`copies` ", "`sides` d", "the optio"]
    ]


def test_opening_hours_of_a_printer_stand_inside_print(path: Path) -> None:
    (problem,) = problems(path, printer("{queue: q}", ", when: open") + HOURS)
    assert problem.startswith("7:44: `when: open` says how a printer works")
    assert "print: {queue: …, when: open}" in problem


def test_a_printer_that_waits_for_the_opening_needs_the_sites_hours(path: Path) -> None:
    text = HEAD + "profiles: {p: [{name: papier, print: {queue: 'q-{finess}', when: open}}]}\n"
    text += 'sites:\n  "990000010": {name: A, profile: p, hours: {mon: "08:00-12:00"}}\n'
    assert len(load(path, text).sites) == 1
    (problem,) = problems(path, text + '  "990000028": {name: B, profile: p}\n')
    assert problem.startswith("6:3: the target `papier` prints when the site is open")
    assert 'add `hours: {mon-fri: "08:00-18:00"}`' in problem
    # Hours that are wrong are told as that, and not as missing.
    (problem,) = problems(path, text.replace("12:00", "07:00"))
    assert "closes before it opens" in problem


@pytest.mark.parametrize("second", ["gare", "Gare", "GARE"])
@pytest.mark.parametrize(
    ("shared", "allowed"),
    [((True, True), True), ((True, False), False), ((False, True), False)],
)
def test_a_queue_of_two_sites_says_so_on_both_sides(
    path: Path, second: str, shared: tuple[bool, bool], *, allowed: bool
) -> None:
    flags = [", shared: true" if flag else "" for flag in shared]
    text = (
        HEAD
        + f"""sites:
  "990000010": {{deliver: [{{name: d, print: {{queue: gare}}{flags[0]}}}]}}
  "990000028": {{deliver: [{{name: d, print: {{queue: {second}}}{flags[1]}}}]}}
"""
    )
    if allowed:
        assert places(load(path, text), "990000028") == [second]
        return
    (problem,) = problems(path, text)
    assert problem.startswith("5:44: the sites 990000010, 990000028 share the queue `gare`")
    assert "give each site a queue of its own" in problem


def test_a_queue_is_no_folder_of_the_same_name(path: Path) -> None:
    text = (
        HEAD
        + """sites:
  "990000010": {deliver: [{name: d, folder: /gare}]}
  "990000028": {deliver: [{name: d, print: {queue: gare}}]}
"""
    )
    assert len(load(path, text).sites) == 2


def test_every_target_that_prints_is_listed_with_its_site(path: Path) -> None:
    found = load(
        path,
        HEAD
        + """profiles:
  p: [{name: d, folder: "/srv/{finess}"}, {name: papier, print: {queue: "q-{finess}"}}]
sites:
  "990000028": {profile: p}
  "990000010": {profile: p}
  "990000044": {deliver: [{name: d, folder: /srv/x}]}
""",
    )
    listed = [(str(site), target.place) for site, target in rules.print_targets(found)]
    assert listed == [("990000028", "q-990000028"), ("990000010", "q-990000010")]


@pytest.mark.parametrize(
    ("first", "second", "warned"),
    [
        pytest.param("", "", True, id="both always"),
        pytest.param(", when: {result: [positif]}", "", True, id="one with a condition"),
        pytest.param(
            ", when: {result: [positif]}",
            ", when: {result: [négatif]}",
            False,
            id="conditions that exclude each other",
        ),
        pytest.param(
            ", when: {result: [positif]}",
            ", when: {analysis: ['94500-6']}",
            True,
            id="conditions on different things",
        ),
    ],
)
def test_one_certificate_twice_on_one_printer_is_a_warning(
    path: Path, first: str, second: str, *, warned: bool
) -> None:
    text = printer("{queue: gare}", first)
    text += f"      - {{name: b, print: {{queue: Gare}}{second}}}\n"
    said = [one for one in rules.warnings(load(path, text)) if "twice" in one]
    sentence = "the targets a and b may print one certificate twice on the queue gare"
    assert said == ([f"site 990000010: {sentence}"] if warned else [])


def test_a_queue_is_not_taken_for_a_folder_that_stands_twice(path: Path) -> None:
    text = printer("{queue: q, tray: a4}", ", when: {result: [positif]}")
    text += "      - {name: b, print: {queue: q}, when: {result: [négatif]}}\n"
    text += "      - {name: c, folder: /c}\n"
    text += "tests: [{finess: '990000010', result: positif, expect: [a, c]}]\n"
    assert rules.warnings(load(path, text)) == ()


# --- two sites, one folder ---------------------------------------------------------------


def two(first: str, second: str, *, shared: tuple[bool, bool] = (False, False)) -> str:
    flags = [", shared: true" if flag else "" for flag in shared]
    return (
        HEAD
        + f"""sites:
  "990000010": {{name: A, deliver: [{{name: d, folder: {json.dumps(first)}{flags[0]}}}]}}
  "990000028": {{name: B, deliver: [{{name: d, folder: {json.dumps(second)}{flags[1]}}}]}}
"""
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("/srv/gare", "/srv/gare", id="the same words"),
        pytest.param("/srv/gare", "/srv/gare/", id="a slash behind"),
        pytest.param("/srv/gare", "/srv//gare", id="a slash twice"),
        pytest.param("/srv/gare", "//srv/gare", id="two slashes in front"),
        pytest.param("/srv/gare", "/srv/./gare", id="a dot"),
        pytest.param("/srv/gare", "/srv/x/../gare", id="a way round"),
        pytest.param("/srv/gare", "/srv/Gare", id="a capital"),
        pytest.param("/srv/marché", "/srv/marche\u0301", id="another form of an accent"),
        pytest.param("/srv/MARCHÉ", "/srv/marche\u0301", id="both"),
        pytest.param("/srv/stra\u00dfe", "/srv/STRASSE", id="letters without a pair"),
        pytest.param("/srv/{finess}", "/srv/990000010", id="by the number"),
    ],
)
def test_two_sites_that_share_a_folder_by_mistake_are_refused(
    path: Path, first: str, second: str
) -> None:
    (problem,) = problems(path, two(first, second))
    assert problem.startswith("5:54: the sites 990000010, 990000028 share the folder")
    assert "first on line 4" in problem


def test_two_ways_to_one_folder_are_seen_through_symbolic_links(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for first, second in [
        (f"{tmp_path}/real", f"{tmp_path}/link"),
        (f"{tmp_path}/real/not-yet-there", f"{tmp_path}/link/not-yet-there"),
    ]:
        (problem,) = problems(path, two(first, second))
        assert "share the folder" in problem


def test_a_folder_that_two_sites_share_on_purpose_says_so_on_both_sides(path: Path) -> None:
    found = load(path, two("/srv/gare", "/srv/gare", shared=(True, True)))
    assert places(found, "990000010") == places(found, "990000028") == ["/srv/gare"]
    for one_side in [(True, False), (False, True)]:
        assert len(problems(path, two("/srv/gare", "/srv/gare", shared=one_side))) == 1


def test_a_profile_without_a_number_in_it_is_told_once_for_all_its_sites(path: Path) -> None:
    sites = "".join(f'  "9900{i:05d}": {{name: s, profile: p}}\n' for i in range(40))
    text = HEAD + "profiles: {p: [{name: d, folder: /srv/sidep}]}\nsites:\n" + sites
    (problem,) = problems(path, text)
    assert problem.startswith("3:34: the sites 990000000, 990000001, 990000002 and 37 more")


@pytest.mark.parametrize("names", [("a", "b"), ("a2", "a\u00b2"), ("a", "aa")], ids=str)
def test_folders_of_different_names_are_different(
    path: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    first, second = (f"{tmp_path}/{name}" for name in names)
    assert len(load(path, two(first, second)).sites) == 2


def test_a_folder_that_never_answers_keeps_no_other_site_from_starting(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, real = Event(), os.path.realpath

    def hang(name: str) -> str:
        if name.endswith("hung"):
            released.wait(60)
        return real(name)

    monkeypatch.setattr("dispatcher.rules.folders._PATIENCE", 0.2)
    monkeypatch.setattr("os.path.realpath", hang)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    text = two(f"{tmp_path}/hung", f"{tmp_path}/a")
    text += f'  "990000036": {{name: C, deliver: [{{name: d, folder: {tmp_path}/link}}]}}\n'
    try:
        (problem,) = problems(path, text)
    finally:
        released.set()
    assert "the sites 990000028, 990000036 share the folder" in problem


# --- all at once -------------------------------------------------------------------------

MANY = """\
version: 3
lbm: {name: LBM, finess_ej: 990000903}
profils: {}
profiles:
  comptoir:
    - {name: dossier, folder: "/srv/sidep/{fines}"}
    - {name: imprimante, print: {queue: "accueil"}, fallback: dossie}
sites:
  010000024: {name: Ain, profile: comptoir}
  "990000010":
    name: Mairie
    profile: comptoire
    hours: {mon-fri: "18:00-07:30"}
  "990000028":
    name: Gare
    aliases: ["990000036", "990000010"]
    deliver: [{name: dossier, folder: srv/gare}]
  "990000044":
    name: Port
    aliases: ["990000036"]
    deliver: [{name: dossier, folder: /srv/port}]
  "990000051":
    name: Pont
    deliver: [{name: dossier, folder: /srv/Port/}]
  "990000051": {name: Pont, profile: comptoir}
tests:
  - {finess: "990000044", result: positif, expect: [dossier, positifs]}
"""


def test_every_problem_of_a_file_is_told_at_once_in_its_order(path: Path) -> None:
    found = [problem.split(":")[0] for problem in problems(path, MANY)]
    assert found == [
        *["1", "2", "3", "6", "7", "9", "12", "13", "16", "17", "20", "24", "25", "27"]
    ]


def test_a_mistake_in_a_site_is_not_told_again_by_its_test(path: Path) -> None:
    text = ONE + FOLDER.replace("/srv", "srv")
    (problem,) = problems(path, text + "tests: [{finess: '990000010', expect: [dossier]}]\n")
    assert "not an absolute path" in problem


def test_rules_come_of_a_file_without_any_problem_only(path: Path) -> None:
    path.write_text(MANY, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        rules.load(path)
    assert all(str(path) in problem for problem in caught.value.problems)


# --- what is strange ---------------------------------------------------------------------


def test_a_file_with_nothing_strange_in_it_brings_no_warning(path: Path) -> None:
    text = ONE + FOLDER + "    hours: {mon: '08:00-12:00'}\n"
    text += "tests: [{finess: '990000010', expect: [dossier]}]\n"
    assert rules.warnings(load(path, text)) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            (ONE + FOLDER).replace("990000010", "990000011"), "check digit", id="a check digit"
        ),
        pytest.param(
            ONE + FOLDER + "    aliases: ['990000029']\n", "990000029", id="an alias's digit"
        ),
        pytest.param(
            (ONE + FOLDER).replace("990000903", "990000904"), "lbm.finess_ej", id="the body's"
        ),
        pytest.param(ONE + FOLDER, "there are no tests", id="no tests"),
        pytest.param(
            (ONE + FOLDER).replace(HEAD, "version: 1\n"), "lbm.finess_ej", id="no legal body"
        ),
        pytest.param(
            ONE + "    deliver: [{name: a, folder: /a, when: {result: [positif]}}]\n",
            "site 990000010: every target has a condition",
            id="conditions alone",
        ),
        pytest.param(
            ONE + "    deliver: [{name: a, folder: /a}, {name: b, folder: /a/}]\n",
            "site 990000010: two targets have the same folder /a",
            id="one folder twice",
        ),
        pytest.param(
            two("/srv/sidep", "/srv/sidep/b"),
            "site 990000028: its folder /srv/sidep/b lies inside the folder of site 990000010",
            id="a folder inside another site's",
        ),
    ],
)
def test_something_strange_is_a_warning_and_no_refusal(
    path: Path, text: str, said: str
) -> None:
    assert any(said in warning for warning in rules.warnings(load(path, text)))


# --- examples, schema, size --------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_and_fits_the_schema(example: Path) -> None:
    found = rules.load(example)
    assert found.tests
    assert not any("check digit" in warning for warning in rules.warnings(found))
    data = YAML(typ="safe", pure=True).load(example.read_text(encoding="utf-8"))
    Draft202012Validator(rules.json_schema()).validate(data)


def test_the_examples_have_the_sites_they_promise() -> None:
    counts = [len(rules.load(path).sites) for path in EXAMPLES]
    assert dict(zip([path.name for path in EXAMPLES], counts, strict=True)) == {
        "routing.yaml": 5,
        "1-site.yaml": 1,
        "5-sites.yaml": 5,
        "60-sites.yaml": 60,
    }


def test_the_schema_file_is_the_schema_that_the_program_prints() -> None:
    kept = json.loads((CONFIG / "routing.schema.json").read_text(encoding="utf-8"))
    assert kept == rules.json_schema()
    Draft202012Validator.check_schema(kept)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ONE + "    deliver: [{name: a, lis: {host: h}}]\n", id="a LIS"),
        pytest.param(ONE + "    deliver: [{name: a}]\n", id="no place"),
        pytest.param(
            ONE + "    deliver: [{name: a, folder: /a, print: {queue: q}}]\n", id="two places"
        ),
        pytest.param(printer("{copies: 1}"), id="no queue"),
        pytest.param(printer("{queue: a b}"), id="a space in a queue"),
        pytest.param(printer("{queue: q, copies: 11}"), id="eleven copies"),
        pytest.param(printer("{queue: q, sides: duplex}"), id="an unknown word"),
        pytest.param(printer("{queue: q, when: {result: [positif]}}"), id="a condition"),
        pytest.param(printer("{queue: q, options: {a b: c}}"), id="an impossible option"),
        pytest.param(ONE + FOLDER + "    hours: {closed: 2026-12-24}\n", id="one closed day"),
        pytest.param(ONE + FOLDER + "    hours: {holidays: oui}\n", id="oui"),
        pytest.param(ONE + FOLDER + "    profile: x\n", id="profile and deliver"),
        pytest.param(ONE + FOLDER + "    alias: x\n", id="an unknown key"),
        pytest.param(ONE + FOLDER + "    hours: {lundi: '08:00-09:00'}\n", id="a French day"),
        pytest.param((ONE + FOLDER).replace("990000010", "99000001"), id="a short number"),
    ],
)
def test_an_editor_sees_the_commonest_mistakes_by_the_schema(text: str) -> None:
    data = YAML(typ="safe", pure=True).load(text)
    assert not Draft202012Validator(rules.json_schema()).is_valid(data)


def test_the_schema_takes_everything_that_a_printer_may_have() -> None:
    keys = """{queue: "q-{finess}", copies: 2, sides: one-sided, media: A4, tray: t,
        banner: true, separator: false, when: hold,
        options: {print-quality: 5, fit-to-page: true, x: y, z: 1.5}}"""
    hours = "    hours: {mon: '08:00-12:00', closed: ['2026-12-24'], holidays: true}\n"
    data = YAML(typ="safe", pure=True).load(printer(keys) + hours)
    Draft202012Validator(rules.json_schema()).validate(data)


def test_the_schema_knows_the_days_of_the_loader() -> None:
    assert all(day in json.dumps(rules.json_schema()) for day in DAYS)


def test_sixty_sites_load_in_less_than_a_second() -> None:
    began = time.process_time()
    rules.load(CONFIG / "examples" / "60-sites.yaml")
    assert time.process_time() - began < 1


def test_a_file_of_ten_megabytes_is_refused_unread(path: Path) -> None:
    path.write_bytes(b"# x\n" * 2_500_000)
    with pytest.raises(ConfigInvalid, match="larger than"):
        rules.load(path)
