"""`rebuild`: a new ledger from mailboxes and folders, in place of one that is no good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.run import print_outcome, status_of, with_keywords
from dispatcher.cli.screen import notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, balance_shape
from dispatcher.service.decisions import NotAsked
from dispatcher.service.once import Outcome, run_once
from dispatcher.service.rebuild import Finding, Survey, survey
from dispatcher.service.watch import check_balance

_KEEP = (
    "The new one knows neither its audit trail nor what `hold` keeps: export the trail, set "
    "each hold again (docs/sauvegarde.md). It holds file numbers: delete it when the new one "
    "is right, at the latest in 72 hours."
)
_HEADS = ("site", "target", "there already", "in doubt", "to deliver", "no answer")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


def rebuild(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be found; change nothing.")
    ] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Make the new ledger without asking.")
    ] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Move the ledger aside and make a new one from the mailboxes and the folders.

    What lies in its folder counts as delivered. What may have been printed before is held
    (in-doubt) until a person prints or releases it.
    """
    if dry_run and confirm:
        raise NotAsked("give either --dry-run or --confirm")
    chosen = wiring.configuration(config)
    if dry_run:
        found = _look(chosen)
        _show(found, as_json=as_json, tell=not as_json)
        raise typer.Exit(Exit.DONE)
    with wiring.daemon_lock(chosen):
        found = _look(chosen)
        _show(found, as_json=False, tell=not as_json)
        if not confirm and not _agreed():
            if as_json:
                print_json(_shape(found))
            notes().print("Nothing was changed. `rebuild --confirm` makes the new ledger.")
            raise typer.Exit(Exit.ATTENTION)
        aside = wiring.move_ledger_aside(chosen)
        _tell_where(aside)
        outcome, attention = _run(chosen)
    if as_json:
        made = {"rebuilt": True, "aside": None if aside is None else str(aside)}
        print_json(_shape(found) | made | {"run": balance_shape(outcome.numbers)})
    else:
        print_outcome(outcome, as_json=False)
    raise typer.Exit(status_of(outcome, attention=attention))


def _look(chosen: wiring.Configuration) -> Survey:
    with (
        wiring.open_inspector() as inspector,
        wiring.open_for_check(chosen, None) as look_at,
        notes().status("comparing…"),
    ):
        mailboxes = with_keywords(chosen)
        try:
            return survey(mailboxes, wiring.reader(chosen, inspector), look_at, wiring.CLOCK)
        finally:
            for mailbox, _ in mailboxes:
                mailbox.close()


def _run(chosen: wiring.Configuration) -> tuple[Outcome, bool]:
    rules = wiring.rulebook(chosen)
    with wiring.open_desk(chosen, rules, serving=True) as desk:
        rules.begin(desk.ledger)
        outcome = run_once(with_keywords(chosen), desk)
        balance = check_balance(desk.ledger)
    return outcome, balance is None or bool(balance.held or balance.pending)


def _agreed() -> bool:
    """Ask who sits at the terminal; without one nobody agreed."""
    if not sys.stdin.isatty():
        return False
    return typer.confirm("Move the ledger aside, make a new one, and deliver?", err=True)


def _tell_where(aside: Path | None) -> None:
    if aside is None:
        notes().print("There was no ledger; a new one is made.")
    else:
        notes().print(f"The ledger lies in {plain(aside)} now. {_KEEP}", soft_wrap=True)


def _show(found: Survey, *, as_json: bool, tell: bool) -> None:
    if as_json:
        print_json(_shape(found))
    if not tell:
        return
    rows = [
        (site, target.name, *(counts.get(one, 0) for one in Finding))
        for site, target, counts in found.lanes()
    ]
    print_table("What a new ledger would find", _HEADS, rows, empty="no certificate")
    screen().print(
        f"Besides: {found.held} to be held, {found.duplicates} duplicate(s),"
        f" {found.foreign} other mail(s)."
    )
    if found.total(Finding.IN_DOUBT):
        screen().print(
            "What is in doubt is held: `print` prints it, `release` closes it as done."
        )


def _shape(found: Survey) -> Json:
    return {
        "deliveries": [
            {"site": str(site), "target": target.name, "kind": target.kind.value}
            | {one.value: counts.get(one, 0) for one in Finding}
            for site, target, counts in found.lanes()
        ],
        "held": found.held,
        "duplicates": found.duplicates,
        "foreign": found.foreign,
        "rebuilt": False,
        "aside": None,
        "run": None,
    }
