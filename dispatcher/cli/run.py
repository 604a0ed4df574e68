"""`run`: the service, or one full turn of it."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import structlog
import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.schedule import schedule
from dispatcher.cli.screen import notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import balance_shape
from dispatcher.service.desk import Desk
from dispatcher.service.loop import Loops, MailboxLoop
from dispatcher.service.once import Outcome, run_once
from dispatcher.service.watch import check_balance

_log = structlog.get_logger(__name__)

# Stopping drains what is under way inside this time (seconds), then goes all the same.
_DRAIN = 8.0
# How often signals and the rules' file are looked at (seconds).
_LOOK = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    once: Annotated[bool, typer.Option("--once", help="One full turn, then exit.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Watch the mailboxes and deliver what arrives, until told to stop."""
    chosen = wiring.configuration(config)
    if not once:
        for sentence in chosen.settings.not_in_effect():
            _log.warning("setting_is_not_in_effect", what=sentence)
    rules = wiring.RulesInForce(chosen)
    with (
        wiring.daemon_lock(chosen),
        wiring.open_desk(chosen, rules, serving=True) as desk,
    ):
        check_balance(desk.ledger)
        mailboxes = _with_keywords(chosen)
        outcome = None
        if once:
            outcome = run_once(mailboxes, desk)
        else:
            serve(desk, mailboxes, rules, chosen)
        balance = check_balance(desk.ledger)
    if outcome is not None:
        _print_outcome(outcome, as_json=as_json)
        attention = balance is None or balance.held or balance.pending or balance.difference
        raise typer.Exit(_status(outcome, attention=bool(attention)))


def serve(
    desk: Desk,
    mailboxes: list[wiring.WithKeyword],
    rules: wiring.RulesInForce,
    chosen: wiring.Configuration,
) -> None:
    """Run the loops until SIGTERM or SIGINT; take the rules anew on change and on SIGHUP."""
    stop = threading.Event()
    loops = Loops([MailboxLoop(one, desk, keyword=keyword) for one, keyword in mailboxes])
    reload = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    lists = wiring.daily_lists(chosen, desk, wake=loops.wake)
    scheduler = schedule(desk, loops, lists)
    loops.start()
    _log.info("service_started", mailboxes=len(mailboxes))
    try:
        while not stop.wait(_LOOK) and loops.broken is None:
            if reload.is_set():
                reload.clear()
                rules.reload()
            else:
                rules.reload_if_changed()
    finally:
        until = desk.clock.monotonic() + _DRAIN
        scheduler.shutdown(wait=False)
        if lists is not None:
            lists.stop(0)
        ended = loops.stop(_DRAIN, desk.clock.monotonic)
        if lists is not None:
            lists.stop(until - desk.clock.monotonic())
        _log.info("service_stopped", drained=ended)
    if loops.broken is not None:
        raise loops.broken


def _with_keywords(chosen: wiring.Configuration) -> list[wiring.WithKeyword]:
    keywords = {name: one.settled_keyword for name, one in chosen.settings.mailboxes.items()}
    return [(mailbox, keywords[mailbox.name]) for mailbox in wiring.mailboxes(chosen)]


def _status(outcome: Outcome, *, attention: bool) -> Exit:
    if outcome.failed:
        return Exit.UNREACHABLE
    if outcome.incomplete:
        return Exit.TRY_LATER
    return Exit.ATTENTION if attention or outcome.braked else Exit.DONE


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    shape = balance_shape(outcome.numbers)
    if as_json:
        print_json(shape)
    else:
        print_table("This run", tuple(shape), [tuple(shape.values())], empty="")
        if outcome.numbers.held:
            screen().print("What is held waits for you: `sidep-dispatcher list --state held`.")
    for name, error in outcome.failed.items():
        notes().print(f"[red]mailbox {plain(name)}:[/] {plain(error)}", soft_wrap=True)
        if error.hint:
            notes().print(f"→ {plain(error.hint)}", soft_wrap=True)
    for name in outcome.braked:
        text = "deletion was stopped, see `sidep-dispatcher purge --dry-run`"
        notes().print(f"[red]mailbox {plain(name)}:[/] {plain(text)}", soft_wrap=True)
    for name in outcome.incomplete:
        notes().print(f"[yellow]mailbox {plain(name)}: not everything was read or delivered[/]")
