"""What people see: tables, messages and JSON documents, each on its own stream."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dispatcher.cli.shapes import Json
from dispatcher.core.paris import PARIS
from dispatcher.errors import ConfigInvalid, DispatcherError
from dispatcher.ports import Finding

# Width of a table that goes into a file or a pipe, where no terminal says it.
_WIDE = 160

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def screen() -> Console:
    """Return the console for what a command answers."""
    return _console(stderr=False)


def notes() -> Console:
    """Return the console for what goes beside an answer: errors, progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(stderr=stderr, width=width, highlight=False)


def never_fail_on_a_letter() -> None:
    """Write a letter that the terminal's character set lacks as its code.

    Without this a name in a table ends the command where the locale is not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(document: Json | Sequence[Json]) -> None:
    """Print one JSON document on standard output, and nothing else; a list, a line for each."""
    # RFC 8259, 8.1: UTF-8; where the stream is something else, ASCII alone is UTF-8 too.
    utf_8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    if isinstance(document, dict) or not document:
        sys.stdout.write(json.dumps(document, ensure_ascii=not utf_8, indent=2) + "\n")
        return
    # Without an indent, which only Python itself writes: a ledger has 100,000 lines.
    encode = json.JSONEncoder(ensure_ascii=not utf_8).encode
    sys.stdout.write("[\n" + ",\n".join(map(encode, document)) + "\n]\n")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str
) -> None:
    """Print a table of plain texts; markup and control characters in cells mean nothing."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        # An id that is broken over two lines cannot be copied.
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "site"})
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    if table.row_count:
        screen().print(table)
    else:
        screen().print(f"{title}: {empty}" if title else empty)


def plain(cell: object) -> str:
    """Return a text safe to show: what a message holds must not steer a terminal."""
    text = "" if cell is None else str(cell)
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def local(at: datetime | None) -> str:
    """Return a time as people at a site read it: Europe/Paris, to the minute."""
    return "" if at is None else f"{at.astimezone(PARIS):%Y-%m-%d %H:%M}"


def local_text(text: str | None) -> str:
    """Return a time written as in JSON as people at a site read it."""
    return local(None if text is None else datetime.fromisoformat(text))


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print lines of `check` as they come; return whether one is a problem."""
    bad = False
    for finding in findings:
        bad = bad or finding.level == "problem"
        colour = _COLOURS[finding.level]
        screen().print(f"[{colour}]{finding.level:<8}[/] {plain(finding.what)}")
        if finding.hint and finding.level != "ok":
            screen().print(f"         → {plain(finding.hint)}")
    return bad


def print_error(error: DispatcherError) -> None:
    """Print what is wrong and what to do, on standard error."""
    console = notes()
    if isinstance(error, ConfigInvalid):
        for problem in error.problems:
            console.print(plain(problem), soft_wrap=True)
        console.print(f"[red]{len(error.problems)} problem(s) in the configuration[/]")
        return
    console.print(f"[red]error:[/] {plain(error)}", soft_wrap=True)
    if error.hint:
        console.print(f"→ {plain(error.hint)}", soft_wrap=True)
