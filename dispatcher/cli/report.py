"""`report`: what each site's certificates did in one day or one week."""

from __future__ import annotations

from dataclasses import astuple
from datetime import timedelta
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.bordereau import day_of
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import print_json, print_table
from dispatcher.core import report as core
from dispatcher.core.paris import PARIS
from dispatcher.core.report import COLUMNS, Period
from dispatcher.service.decisions import NotAsked
from dispatcher.service.reports import make


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    *,
    on: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="One day; else yesterday."),
    ] = None,
    week: Annotated[
        str | None,
        typer.Option("--week", metavar="YYYY-Www", help="One week, such as 2026-W48."),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print it for a spreadsheet.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Count each site's certificates of a day or a week, and what became of them."""
    period = _period(on, week)
    if as_json and as_csv:
        raise NotAsked("--json and --csv exclude each other")
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger:
        made = make(ledger, chosen.rules, period)
    if as_json:
        print_json(dict(core.as_mapping(made)))
    elif as_csv:
        typer.echo(core.as_csv(made), nl=False)
    else:
        rows = [(line.number, line.name, *astuple(line.counts)) for line in made.lines]
        rows.append(("total", "", *astuple(made.total)))
        print_table(f"Report {period.name}", ("site", "name", *COLUMNS), rows, empty="none")


def _period(on: str | None, week: str | None) -> Period:
    if on is not None and week is not None:
        raise NotAsked("--date and --week exclude each other")
    if week is not None:
        found = core.read_week(week)
        if found is None:
            raise NotAsked("that is not a week", hint="Write it such as 2026-W48 (ISO 8601).")
        return found
    if on is not None:
        return core.day(day_of(on))
    today = wiring.CLOCK.now().astimezone(PARIS).date()
    return core.day(today - timedelta(days=1))
