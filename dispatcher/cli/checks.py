"""`check`: everything that must be right before and while the service runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, Config
from dispatcher.cli.screen import print_findings, screen
from dispatcher.core.bordereau import places
from dispatcher.core.routing import PrintWhen, Rules, Target
from dispatcher.errors import DispatcherError
from dispatcher.ports import Destination, Finding
from dispatcher.rules import warnings
from dispatcher.service.lanes import Ended, Lanes
from dispatcher.service.spool import Jobs, ended_prints, left_at

# Before this program was written: a clock that says so was never set.
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

# A folder that takes longer lies on a share that hangs.
_FOLDER_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave out what needs the network.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Check settings, rules, database, clock, folders and mailboxes; change nothing."""
    chosen = wiring.configuration(config)
    bad = print_findings(_files(chosen))
    bad = print_findings(_ledger(chosen)) or bad
    bad = print_findings(_clock()) or bad
    window = wiring.window(chosen)
    if window is not None:
        bad = print_findings(iter([window.check()])) or bad
    bad = print_findings(_guarded(_targets(chosen))) or bad
    mailboxes = wiring.try_mailbox_files(chosen) if offline else _mailboxes(chosen)
    bad = print_findings(mailboxes) or bad
    screen().print("[red]Something must be put right.[/]" if bad else "[green]No problem.[/]")
    raise typer.Exit(Exit.ATTENTION if bad else Exit.DONE)


def _files(chosen: wiring.Configuration) -> Iterator[Finding]:
    count = len(chosen.settings.mailboxes)
    yield Finding("ok", f"settings: {count} mailbox(es)")
    for sentence in chosen.settings.warnings():
        yield Finding("warning", f"settings: {sentence}")
    rules = chosen.rules
    yield Finding("ok", f"rules: {len(rules.sites)} site(s), {len(rules.tests)} test(s) pass")
    for sentence in warnings(rules):
        yield Finding("warning", f"rules: {sentence}")
    if chosen.settings.bordereau.at is not None:
        yield from _placeless(rules)


def _placeless(rules: Rules) -> Iterator[Finding]:
    for site in rules.sites.values():
        printing = [target.printing for target in places(site)]
        if all(one is not None and one.when is PrintWhen.HOLD for one in printing):
            what = f"rules: site {site.finess} gets no list of the day"
            hint = "Give it a folder, or a printer without `when: hold`."
            yield Finding("warning", what, hint)


def _ledger(chosen: wiring.Configuration) -> Iterator[Finding]:
    path = wiring.ledger_path(chosen)
    try:
        missing = not path.exists()
    except PermissionError:
        hint = "Run this command as the service's user."
        yield Finding("problem", f"ledger: you may not look into {path.parent}", hint)
        return
    if missing:
        if os.access(path.parent, os.W_OK | os.X_OK):
            yield Finding("ok", f"ledger: none yet, made at the first run in {path.parent}")
        else:
            hint = "Make the directory, owned by the service's user, mode 0700."
            yield Finding("problem", f"ledger: {path.parent} is missing or not writable", hint)
        return
    try:
        with wiring.open_ledger(chosen) as ledger:
            flaws = ledger.flaws()
            difference = ledger.balance().difference
    except DispatcherError as error:
        yield Finding("problem", f"ledger: {error}", error.hint)
        return
    for flaw in flaws:
        yield Finding("problem", f"ledger: {flaw}", "Run `sidep-dispatcher verify`.")
    if difference:
        what = f"ledger: {difference} message(s) unaccounted for"
        yield Finding("problem", what, "Run `sidep-dispatcher verify`.")
    if not flaws and not difference:
        yield Finding("ok", "ledger: sound, and its balance closes")
    running = "running" if wiring.is_running(chosen) else "not running"
    yield Finding("ok", f"service: {running}")


def _guarded(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings; one more for an error that ends them."""
    try:
        yield from findings
    except DispatcherError as error:
        yield Finding("problem", str(error), error.hint)


def _clock() -> Iterator[Finding]:
    now = wiring.CLOCK.now()
    if now < _BEGINNING:
        hint = "Set the clock (timedatectl); terms are counted by it."
        yield Finding("problem", f"clock: it says {now:%Y-%m-%d}", hint)
    else:
        yield Finding("ok", f"clock: {now:%Y-%m-%d %H:%M} UTC")


def _targets(chosen: wiring.Configuration) -> Iterator[Finding]:
    known = os.access(wiring.ledger_path(chosen), os.R_OK | os.W_OK)
    with (
        wiring.open_ledger(chosen) if known else nullcontext() as ledger,
        wiring.open_for_check(chosen, ledger) as look_at,
    ):
        jobs = {} if ledger is None else ended_prints(ledger)
        work = {
            (site.finess, target.name): partial(
                _looked_at, look_at, target, jobs.get((site.finess, target.name), {})
            )
            for site in chosen.rules.sites.values()
            for target in site.targets
        }
        lanes: Lanes[list[Finding]] = Lanes(wiring.CLOCK, patience=_FOLDER_SECONDS)
        ended = {one.lane: one for group in lanes.run(work) for one in group}
        # In the order of the file, whoever answered first.
        for lane in work:
            for one in _answered(ended.get(lane)):
                site, name = lane
                yield Finding(one.level, f"site {site}, target {name}: {one.what}", one.hint)


def _answered(ended: Ended[list[Finding]] | None) -> Sequence[Finding]:
    if ended is None:
        hint = "Is the share it lies on reachable? Its own site waits, no other does."
        return (Finding("problem", "does not answer", hint),)
    if ended.error is not None:
        raise ended.error
    return ended.result or ()


def _looked_at(look_at: wiring.LookAt, target: Target, jobs: Jobs) -> list[Finding]:
    destination = look_at(target)
    return [*destination.check(), *_spooled(destination, jobs)]


def _spooled(destination: Destination, jobs: Jobs) -> Iterator[Finding]:
    try:
        kept = left_at(destination, jobs)
    except DispatcherError:
        return  # the findings of the destination itself say why
    if kept:
        yield Finding(
            "warning",
            f"CUPS still keeps the documents of {len(kept)} ended print(s)",
            "Write `PreserveJobFiles No` in cupsd.conf, restart CUPS, then run "
            "`lpstat -W completed`: asked for them, CUPS removes what lies there.",
        )


def _mailboxes(chosen: wiring.Configuration) -> Iterator[Finding]:
    for mailbox in wiring.mailboxes(chosen):
        try:
            yield from mailbox.check()
        except DispatcherError as error:
            yield Finding("problem", f"mailbox {mailbox.name}: {error}", error.hint)
        finally:
            mailbox.close()
