"""Makes the pages of the documentation that follow from the code: `make docs` writes them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typer
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from dispatcher import rules, settings
from dispatcher.cli.main import app
from dispatcher.core.ledger import (
    ALLOWED,
    DELIVERY_ALLOWED,
    INITIAL,
    DeliveryState,
)
from dispatcher.edges import log
from dispatcher.settings.secret import variable
from tests.architecture.manual import man_page
from tests.fakes.figures_samples import NOW, exposition, full

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"

_NOTICE: Final = "<!-- Made from the code by `make docs`; changes by hand are lost. -->\n"


def pages() -> Mapping[Path, str]:
    """Return every generated page with the text that it must have."""
    architecture, events = DOCS / "architecture.md", DOCS / "reference" / "events.md"
    monitoring = DOCS / "monitoring" / "README.md"
    return {
        DOCS / "reference" / "cli.md": command_page(),
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "routing.md": routing_page(),
        DOCS / "man" / "sidep-dispatcher.1": man_page(commands()),
        architecture: with_diagrams(architecture.read_text(encoding="utf-8")),
        events: with_keys(events.read_text(encoding="utf-8")),
        monitoring: with_figures(monitoring.read_text(encoding="utf-8")),
    }


# --- figures ------------------------------------------------------------------------------

FIGURES: Final = "figures: made by `make docs`"


def with_figures(text: str) -> str:
    """Return the page on monitoring with the table of all figures in it."""
    lines = ["| figure | type | labels | means |", "| --- | --- | --- | --- |"]
    for family in families():
        labels = sorted({name for sample in family.samples for name in sample.labels} - {"le"})
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        lines.append(
            f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |"
        )
    table = "\n".join(lines)
    return re.sub(
        rf"(<!-- {re.escape(FIGURES)} -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{table}\n{match[2]}",
        text,
        flags=re.DOTALL,
    )


def families() -> list[Metric]:
    """Return every family that /metrics shows of ours, read as Prometheus reads them."""
    accept = "application/openmetrics-text; version=1.0.0"
    page = exposition().text(full(), NOW, accept)[0].decode()
    found = openmetrics_families(page)  # type: ignore[no-untyped-call]  # the library's
    return [one for one in found if one.name.startswith("sidep_dispatcher")]


# --- commands -----------------------------------------------------------------------------


@cache  # asked for each bit of code in a document
def commands() -> Mapping[str, Any]:
    """Return the commands of the program by their names, in the order of `--help`.

    Those of a group bear its name in front, as in `directory check`.
    """
    return MappingProxyType(dict(_commands(typer.main.get_command(app), ())))


def _commands(group: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in vars(group)["commands"].items():
        if "commands" in vars(command):
            yield from _commands(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


def command_page() -> str:
    """Return docs/reference/cli.md."""
    lines = [
        "# Commands",
        "",
        _NOTICE,
        "Every command answers `--help`. `sidep-dispatcher --version` prints the version.",
        "",
        "| command | does |",
        "| --- | --- |",
    ]
    for name, command in commands().items():
        lines.append(f"| [`{name}`](#{name.replace(' ', '-')}) | {_first_line(command.help)} |")
    for name, command in commands().items():
        lines += ["", f"## {name}", "", f"`{_usage(name, command)}`", ""]
        lines += [_first_line(command.help), ""]
        lines += [f"- {_parameter(one)}" for one in command.params if one.name != "help"]
    return "\n".join(lines) + "\n"


def _usage(name: str, command: Any) -> str:
    words = ["sidep-dispatcher", name]
    for one in command.params:
        if one.param_type_name == "argument":
            shown = _argument(one)
            words.append(shown if one.required else f"[{shown}]")
    return " ".join([*words, "[OPTIONS]"])


def _argument(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"`{_argument(one)}`: {one.help}{_choices(one)}"
    words = " ".join(one.opts)
    value = "" if one.is_flag else f" {one.metavar or one.name.upper()}"
    text = f"`{words}{value}`: {one.help}{_choices(one)}"
    if one.envvar:
        text += f" Environment: `{one.envvar}`."
    if one.required:
        return text + " Required."
    default = _default(one)
    return text if default is None else f"{text} Default: `{default}`."


def _choices(one: Any) -> str:
    kind = one.type_descriptor.annotation
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        return ""
    return " One of " + ", ".join(f"`{choice.value}`" for choice in kind) + "."


def _default(one: Any) -> str | None:
    if one.is_flag or one.default in {None, ""} or callable(one.default):
        return None
    return str(one.default.value if isinstance(one.default, Enum) else one.default)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", maxsplit=1)[0]


# --- settings -----------------------------------------------------------------------------

Schema = Mapping[str, Any]
_NAMED: Final = "NAME"


def settings_keys() -> Mapping[str, Schema]:
    """Return every key of dispatcher.yaml with its schema; NAME is the reader's own."""
    schema = settings.json_schema()
    return dict(_keys(schema, schema["$defs"], ()))


def _keys(
    section: Schema, known: Mapping[str, Schema], path: tuple[str, ...]
) -> Iterator[tuple[str, Schema]]:
    for key, found in section.get("properties", {}).items():
        here = (*path, key)
        yield ".".join(here), {**_pointed(found, known), **found}
        yield from _keys(_inner(found, known), known, here)
    pattern = section.get("patternProperties", {})
    named = next(iter(pattern.values()), section.get("additionalProperties"))
    if isinstance(named, dict):
        yield from _keys(_inner(named, known), known, (*path, _NAMED))


def _inner(found: Schema, known: Mapping[str, Schema]) -> Schema:
    for one in found.get("anyOf", [found]):
        pointed = _pointed(one, known)
        if "properties" in pointed or "additionalProperties" in pointed:
            return pointed
    return {}


def _pointed(found: Schema, known: Mapping[str, Schema]) -> Schema:
    return known.get(str(found.get("$ref", "")).removeprefix("#/$defs/"), found)


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    lines = [
        "# Settings: dispatcher.yaml",
        "",
        _NOTICE,
        "`NAME` stands for a mailbox's name, which you choose. Any single value may come from",
        "the environment in place of the file; the last column says under which name. An",
        "unknown key is an error. `config/dispatcher.yaml` shows every key with its default.",
        "",
        "| key | what it is | default | environment |",
        "| --- | --- | --- | --- |",
    ]
    keys = settings_keys()
    sections = {other.rpartition(".")[0] for other in keys}
    for key, found in keys.items():
        if key in sections or f"{key}.{_NAMED}" in sections:
            continue
        name = variable(*key.split("."))
        lines.append(f"| `{key}` | {_described(found)} | {_shown(found)} | `{name}` |")
    lines += [
        "",
        "Passwords stand nowhere in this file. They come from `password_file`, from the",
        f"environment (`{variable('mailboxes', _NAMED, 'password')}`,",
        f"`{variable('alerts', 'smtp', 'password')}`) or from a systemd credential",
        "(`NAME.password`, `alerts.smtp.password`).",
    ]
    return "\n".join(lines) + "\n"


def _described(found: Schema) -> str:
    return str(found.get("description", "")).replace("|", "\\|")


def _shown(found: Schema) -> str:
    if "default" not in found:
        return "—"
    default = found["default"]
    if default is None:
        return "none"
    return f"`{', '.join(default) if isinstance(default, list) else default}`"


# --- routing ------------------------------------------------------------------------------


def routing_page() -> str:
    """Return docs/reference/routing.md."""
    schema = rules.json_schema()
    known = schema["$defs"]
    tables = {
        "The file": schema,
        "`lbm`": schema["properties"]["lbm"],
        "One site": known["site"],
        "`hours`": known["site"]["properties"]["hours"],
        "One target": known["target"],
        "`print`": known["target"]["properties"]["print"],
        "`when`": known["target"]["properties"]["when"],
        "One test": known["test"],
    }
    lines = ["# Keys of routing.yaml", "", _NOTICE, "[How to edit it](../routing.md)."]
    for title, table in tables.items():
        lines += ["", f"## {title}", "", "| key | what it is | must be there |"]
        lines += ["| --- | --- | --- |"]
        for key, found in table["properties"].items():
            needed = "yes" if key in table.get("required", ()) else ""
            lines.append(f"| `{key}` | {_said(found, known)} | {needed} |")
    return "\n".join(lines) + "\n"


def _said(found: Schema, known: Mapping[str, Schema]) -> str:
    text = found.get("description")
    if text is None:
        text = _pointed(found.get("items", found), known).get("description", "")
    return str(text).replace("|", "\\|")


# --- diagrams -----------------------------------------------------------------------------


def with_diagrams(page: str) -> str:
    """Return the page with the diagrams between its marks drawn anew."""
    for mark, lines in (("messages", message_diagram()), ("deliveries", delivery_diagram())):
        drawn = "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])
        pattern = rf"(<!-- life of {mark}: made by `make docs` -->\n).*?(\n<!-- end -->)"
        page, count = re.subn(pattern, rf"\g<1>{drawn}\g<2>", page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"docs/architecture.md has not one place for the {mark}")
    return page


def with_keys(page: str) -> str:
    """Return the page with the table of what a line in the log may hold made anew."""
    rows = [f"| `{name}` | {shape.told} |" for name, shape in sorted(log.KEYS.items())]
    table = "\n".join(["", "| key | value |", "| --- | --- |", *rows, ""])
    pattern = r"(<!-- keys: made by `make docs` -->\n).*?(<!-- end -->)"
    page, count = re.subn(pattern, rf"\g<1>{table}\n\g<2>", page, flags=re.DOTALL)
    if count != 1:
        raise ValueError("docs/reference/events.md has not one place for the keys")
    return page


def message_diagram() -> Sequence[str]:
    """Return the life of a message, drawn from the core's table."""
    return _diagram(ALLOWED, sorted(state.value for state in INITIAL))


def delivery_diagram() -> Sequence[str]:
    """Return the life of a delivery, drawn from the core's table."""
    return _diagram(DELIVERY_ALLOWED, [DeliveryState.DECIDED.value])


def _diagram(allowed: Mapping[Any, Any], begin: Sequence[str]) -> list[str]:
    lines = [f"    [*] --> {state}" for state in begin]
    for before, after in allowed.items():
        lines += [f"    {before.value} --> {state}" for state in sorted(s.value for s in after)]
        if not after:
            lines.append(f"    {before.value} --> [*]")
    return lines


def main() -> None:
    """Write every page that differs."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
