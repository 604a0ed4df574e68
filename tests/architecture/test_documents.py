"""What the documents tell people to type, and what they promise, exists."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from dispatcher import rules, settings
from dispatcher.cli.exits import Exit
from dispatcher.core.alarm import AlarmKind
from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import State
from dispatcher.core.letter import TITLES
from dispatcher.edges import log
from dispatcher.registry.matching import Why
from dispatcher.registry.remarks import Flaw
from tests.architecture.generate import DOCS, ROOT, commands, settings_keys
from tests.architecture.texts import (
    blocks,
    code,
    command_lines,
    documents,
    name_of,
    section,
)

EVERY: Final = pytest.mark.parametrize("path", documents(), ids=name_of)


_COMMAND: Final = re.compile(r"(?:\S*/|sudo -u sidep-dispatcher )?sidep-dispatcher +(\S.*)")


# --- commands -----------------------------------------------------------------------------


def typed(path: Path) -> Iterator[list[str]]:
    """Yield a command's name and its other words wherever a document shows one."""
    for line in command_lines(path):
        shown = _COMMAND.match(line.strip())
        if shown:
            yield named(shown[1].split())
    for text in code(path):
        words = named(text.split())
        if len(words) > 1 and words[0] in commands():
            yield words


def named(words: list[str]) -> list[str]:
    """Return the words with those of a command of a group, `directory check`, as one."""
    pair = " ".join(words[:2])
    return [pair, *words[2:]] if len(words) > 1 and pair in commands() else words


@EVERY
def test_every_command_that_a_document_shows_exists(path: Path) -> None:
    for name, *words in typed(path):
        if name == "--version":
            continue
        assert name in commands(), f"{name}: no such command"
        known = {one for param in commands()[name].params for one in param.opts}
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        assert options <= known | {"--help"}, f"{name}: no such option"


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_is_in_the_changelog_and_explains_itself(name: str) -> None:
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert commands()[name].help


@EVERY
def test_every_make_target_that_a_document_shows_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    shown = {m for line in command_lines(path) for m in re.findall(r"^make ([a-z]+)", line)}
    assert shown <= targets


def test_the_readme_tells_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == [status.value for status in Exit]


# --- configuration ------------------------------------------------------------------------


def examples(first_line: str) -> list[Any]:
    return [
        pytest.param(block.text, id=f"{name_of(path)}-{number}")
        for path in documents()
        for number, block in enumerate(blocks(path))
        if block.language == "yaml" and block.text.startswith(first_line)
    ]


@pytest.mark.parametrize("text", examples("# dispatcher.yaml"))
def test_every_example_of_settings_loads(text: str, tmp_path: Path) -> None:
    text = text.replace("/etc/sidep-dispatcher", str(tmp_path))
    for secret in re.findall(r"(?:_file|_certificate|_key): (/\S+)", text):
        Path(secret).write_text("x", encoding="utf-8")
        Path(secret).chmod(0o400)
    file = tmp_path / "dispatcher.yaml"
    file.write_text(text, encoding="utf-8")
    assert settings.load(file, {}).mailboxes


@pytest.mark.parametrize("text", examples("# routing.yaml"))
def test_every_example_of_routing_loads_and_passes_its_tests(text: str, tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text(text, encoding="utf-8")
    assert rules.load(file).tests


def test_no_example_of_configuration_escapes_these_tests() -> None:
    for path in documents():
        for block in blocks(path):
            if block.language == "yaml":
                assert re.match(r"# (dispatcher|routing)\.yaml\n", block.text), name_of(path)


@EVERY
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    keys = set(settings_keys())
    tops = {key.split(".")[0] for key in keys if "." in key}
    for text in code(path):
        dotted = re.match(r"([a-z_]+(?:\.[a-zA-Z_]+)+)\b", text)
        if dotted is None or dotted[1].split(".")[0] not in tops:
            continue
        if dotted[1] == "alerts.smtp.password":
            continue  # a credential's name; passwords are no keys of the file
        key = re.sub(r"^mailboxes\.[a-zA-Z]+", "mailboxes.NAME", dotted[1])
        assert key in keys, f"{text}: no such setting"


@pytest.mark.parametrize(
    ("example", "schema"),
    [
        pytest.param("dispatcher.yaml", settings.json_schema(), id="settings"),
        pytest.param("routing.yaml", rules.json_schema(), id="routing"),
    ],
)
def test_the_committed_schema_is_the_one_that_the_program_prints(
    example: str, schema: dict[str, Any]
) -> None:
    Draft202012Validator.check_schema(schema)
    kept = (ROOT / "config" / example).with_suffix(".schema.json")
    assert json.loads(kept.read_text(encoding="utf-8")) == schema, "print it with `schema`"


# --- words of the contract ----------------------------------------------------------------


def entries(title: str) -> list[str]:
    """Return the headings below one of the two halves of docs/reasons.md."""
    found = section(DOCS / "reasons.md", f"# {title}")
    return re.findall(r"^## (\S+)$", found, flags=re.MULTILINE)


def test_every_reason_for_holding_has_an_entry() -> None:
    assert entries("Motifs · Reasons for holding") == [reason.value for reason in HoldReason]


def test_troubleshooting_leads_to_every_alert_and_every_reason() -> None:
    linked = re.findall(r"\]\((alerts|reasons)\.md#([a-z-]+)\)", page("depannage.md"))
    alerts = [word for file, word in linked if file == "alerts" and word != "in-english"]
    assert alerts == [kind.value for kind in AlarmKind]
    assert [word for file, word in linked if file == "reasons"] == [
        reason.value for reason in HoldReason
    ]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_state_has_an_entry() -> None:
    assert entries("États · States") == [state.value for state in State]


@pytest.mark.parametrize("kind", [kind.value for kind in AlarmKind])
def test_every_alarm_has_an_entry_that_says_what_to_do_and_a_row_in_english(kind: str) -> None:
    entry = " ".join(section(DOCS / "alerts.md", f"### `{kind}`").split())
    title, _, do = entry.partition("Que faire")
    assert TITLES[AlarmKind(kind)][0].casefold() in title.casefold()
    assert len(do) > 20
    text = (DOCS / "alerts.md").read_text("utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{kind}` |")]
    assert all(len(cell) > 10 for cell in row.split("|")[2:4])


def test_no_alarm_is_told_that_there_is_not() -> None:
    text = (DOCS / "alerts.md").read_text("utf-8")
    told = re.findall(r"^### `([a-z-]+)`$", text, flags=re.MULTILINE)
    assert told == [kind.value for kind in AlarmKind]


@pytest.mark.parametrize("reason", [reason.value for reason in HoldReason])
def test_an_entry_says_what_to_look_at_and_what_to_do(reason: str) -> None:
    entry = section(DOCS / "reasons.md", f"## {reason}")
    rows = [row.split(" | ") for row in entry.splitlines() if row.startswith("| ")]
    assert [row[0] for row in rows[2:]] == [
        "| ce que c'est · meaning",
        "| regarder · look at",
        "| faire · do",
    ]
    assert all(len(cell) > 20 for row in rows[2:] for cell in row[1:])
    assert re.search(r"`(release|discard|retry)", rows[-1][2])


@pytest.mark.parametrize(
    ("title", "words"),
    [
        pytest.param("## Why · Pourquoi", [one.value for one in Why], id="reasons"),
        pytest.param(
            "## What `directory check` looks at · Ce que la commande regarde",
            [one.value for one in Flaw],
            id="flaws",
        ),
    ],
)
def test_every_word_of_the_directory_commands_is_told(title: str, words: list[str]) -> None:
    rows = section(DOCS / "directory.md", title)
    assert re.findall(r"^\| `([a-z-]+)` \|", rows, flags=re.MULTILINE) == words


# --- log events ---------------------------------------------------------------------------

_LOGGERS: Final = {"_log", "structlog.get_logger(__name__)"}
_LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
# Calls that hand an event's name on to a logger, by the argument that bears it.
_HANDED_ON: Final = {"_mark_absent": 1, "report": 0}


def log_calls() -> Iterator[tuple[str, str | None]]:
    """Yield each event with its level; a level of None where a variable decides it."""
    for one in modules():
        for node in one.calls:
            at, level = _where(node.func)
            if at is None:
                continue
            name = node.args[at]
            if isinstance(name, ast.Constant):
                yield str(name.value), level
            else:
                # A new way to hand names on belongs into _HANDED_ON.
                assert ast.unparse(name) == "event", f"{one.path.name}: {ast.unparse(node)}"


@dataclass(frozen=True, slots=True)
class Module:
    """A file of the program, with every call in it that writes a log event, or hands one on."""

    path: Path
    tree: ast.Module
    calls: Sequence[ast.Call]


@cache  # no test changes the program's files, and reading them all takes seconds
def modules() -> Sequence[Module]:
    found = []
    for path in sorted((ROOT / "dispatcher").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        logs = [node for node in calls if _where(node.func)[0] is not None]
        found.append(Module(path, tree, logs))
    return found


def _where(called: ast.expr) -> tuple[int | None, str | None]:
    if isinstance(called, ast.Attribute):
        if called.attr in _LEVELS and ast.unparse(called.value) in _LOGGERS:
            return 0, called.attr
        return _HANDED_ON.get(called.attr), None
    return (_HANDED_ON.get(called.id), None) if isinstance(called, ast.Name) else (None, None)


def events_told() -> dict[str, str]:
    rows = section(DOCS / "reference" / "events.md", "## Events")
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", rows, flags=re.MULTILINE))


def test_every_log_event_is_told_and_no_other() -> None:
    assert set(events_told()) == {event for event, _ in log_calls()}


def test_every_key_that_is_logged_passes_the_guard_and_no_other_does() -> None:
    assert set(logged_keys()) <= set(log.KEYS), "a new key belongs into edges/log/guard.py"
    assert set(log.KEYS) <= set(logged_keys()) | _IN_TABLES


# The guard's own report is written out of the table's reach.
_IN_TABLES: Final = {"keys"}


def logged_keys() -> Iterator[str]:
    for one in modules():
        for node in one.calls:
            for keyword in node.keywords:
                if keyword.arg:
                    yield keyword.arg
                elif ast.unparse(keyword.value) != "values":  # handed on to a logger
                    found = list(_keys_of_table(one.tree, keyword.value))
                    assert found, f"{one.path.name}: write a table's keys where it is made"
                    yield from found


def _keys_of_table(module: ast.Module, value: ast.expr) -> Iterator[str]:
    """Yield the keys of a table that is made in the same module, by its name or function."""
    name = ast.unparse(value.func if isinstance(value, ast.Call) else value)
    for node in ast.walk(module):
        made: ast.expr | None = None
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            made = node.value
        elif isinstance(node, ast.FunctionDef) and node.name == name:
            last = node.body[-1]
            made = last.value if isinstance(last, ast.Return) else None
        if isinstance(made, ast.Dict):
            yield from (str(key.value) for key in made.keys if isinstance(key, ast.Constant))


def test_the_level_of_every_log_event_is_right() -> None:
    told = events_told()
    for event, level in log_calls():
        assert level in {None, told[event]}, event


_PAST: Final = frozenset(
    {
        "was",
        "were",
        "did",
        "had",
        "could",
        "became",
        "came",
        "broke",
        "went",
        "made",
        "took",
        "kept",
        "found",
        "held",
    }
)


def test_every_log_event_is_told_in_the_past_tense() -> None:
    for event, _ in log_calls():
        words = event.split("_")
        assert any(word in _PAST or word.endswith("ed") for word in words), event


def test_log_events_are_told_in_the_order_of_the_alphabet() -> None:
    assert list(events_told()) == sorted(events_told())


# --- references ---------------------------------------------------------------------------


@EVERY
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bare = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in bare}


@EVERY
def test_every_symbol_that_a_document_names_exists(path: Path) -> None:
    for text in code(path):
        if re.fullmatch(r"dispatcher(\.\w+)+", text) and not text.endswith((".yaml", ".json")):
            assert resolved(text), f"{text}: no such symbol"


def resolved(dotted: str) -> bool:
    names = dotted.split(".")
    for cut in range(len(names), 0, -1):
        try:
            found: object = importlib.import_module(".".join(names[:cut]))
        except ModuleNotFoundError:
            continue
        for name in names[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@EVERY
def test_every_file_of_the_project_that_a_document_names_exists(path: Path) -> None:
    for line in command_lines(path):
        for file in re.findall(r"(?<![\w/.-])((?:config|docs|tests)/[\w./-]+)", line):
            assert (ROOT / file).exists(), file


@EVERY
def test_no_document_cites_a_line_number(path: Path) -> None:
    assert not re.search(r"\.py:\d", path.read_text(encoding="utf-8"))


def test_the_changelog_begins_with_the_current_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (\S+)", text, flags=re.MULTILINE)
    assert first is not None
    assert first[1] == version("sidep-dispatcher")


def test_decisions_are_numbered_without_a_gap_and_have_their_three_parts() -> None:
    pages = sorted((DOCS / "adr").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]} · ")
        parts = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], page.name
