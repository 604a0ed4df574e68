"""`run`: the service, or one full turn of it."""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Callable
from typing import Annotated

import structlog
import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.schedule import Schedule
from dispatcher.cli.screen import notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import balance_shape
from dispatcher.cli.signals import STOP, Signals
from dispatcher.errors import DispatcherError
from dispatcher.ports import Clock, Supervisor
from dispatcher.service.daily import DailyLists
from dispatcher.service.desk import Desk
from dispatcher.service.health import Health
from dispatcher.service.keeper import Keeper
from dispatcher.service.loop import Loops, MailboxLoop
from dispatcher.service.once import Outcome, run_once
from dispatcher.service.pulse import Pulses
from dispatcher.service.rulebook import Rulebook
from dispatcher.service.rules_watch import RulesWatch
from dispatcher.service.showing import Showing
from dispatcher.service.watch import check_balance

_log = structlog.get_logger(__name__)

# Stopping drains what is under way inside this time (seconds), then goes all the same.
_DRAIN = 8.0
# What the end takes after that: helpers, the ledger's log, the last balance (seconds).
_AFTER = 20.0
# How often signals are looked at (seconds).
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
    # By hand somebody stands there and reads what is wrong; a service has to go on.
    chosen = wiring.configuration(config, last_good=not once)
    supervisor = wiring.supervisor()
    rules = wiring.rulebook(chosen)
    window = None if once else wiring.window(chosen)
    meter = None if window is None else window.meter
    with (
        wiring.daemon_lock(chosen),
        wiring.open_desk(chosen, rules, serving=True, meter=meter) as desk,
    ):
        rules.begin(desk.ledger)
        check_balance(desk.ledger)
        mailboxes = with_keywords(chosen)
        outcome = None
        if once:
            outcome = run_once(mailboxes, desk)
        else:
            threading.Thread(target=desk.reader.warm, name="warm", daemon=True).start()
            serve(desk, mailboxes, rules, chosen=chosen, supervisor=supervisor, window=window)
        balance = check_balance(desk.ledger)
    if outcome is not None:
        print_outcome(outcome, as_json=as_json)
        attention = balance is None or balance.held or balance.pending or balance.difference
        raise typer.Exit(status_of(outcome, attention=bool(attention)))


def serve(
    desk: Desk,
    mailboxes: list[wiring.WithKeyword],
    rules: Rulebook,
    *,
    chosen: wiring.Configuration,
    supervisor: Supervisor,
    window: wiring.Window | None = None,
) -> None:
    """Run the loops until SIGTERM or SIGINT; take the rules anew on change and on SIGHUP."""
    # On SIGABRT, which is how a watchdog ends us: where each thread stood, no values.
    faulthandler.enable()
    signals = Signals(*STOP, signal.SIGHUP)
    pulses = Pulses(desk.clock, desk.helpers)
    loops = _loops(desk, mailboxes, pulses)
    keeper = Keeper(desk, pulses, supervisor)
    lists = wiring.daily_lists(chosen, desk, wake=loops.wake)
    schedule = Schedule(desk, loops, lists, wiring.errands(chosen, desk, loops.endings))
    loops.start()
    keeper.start()
    watch = _watch(rules, pulses, chosen, desk=desk, supervisor=supervisor)
    shown = _shown(
        window,
        Health(
            desk,
            loops,
            rules,
            keeper=keeper,
            pulses=pulses,
            mailboxes=list(chosen.settings.mailboxes),
        ),
    )
    _log.info("service_started", mailboxes=len(mailboxes))
    supervisor.ready(f"{len(mailboxes)} mailbox(es)")
    alive = pulses.add("signals")

    def step() -> DispatcherError | None:
        alive.beat()
        schedule.mind_the_clock()
        return loops.broken or keeper.broken

    try:
        _wait(signals, watch, step)
    finally:
        supervisor.stopping(_DRAIN + _AFTER)
        keeper.stop()
        watch.stop()
        shown()
        schedule.stop()
        ended = _drained(loops, lists, desk.clock)
        _log.info("service_stopped", drained=ended)


def _wait(
    signals: Signals, watch: RulesWatch, step: Callable[[], DispatcherError | None]
) -> None:
    """Return when the service is told to stop; raise what keeps a part of it from going on."""
    while (came := signals.wait(_LOOK)) not in STOP:
        if came is signal.SIGHUP:
            watch.ask()
        error = step()
        if error is not None:
            raise error


def _watch(
    rules: Rulebook,
    pulses: Pulses,
    chosen: wiring.Configuration,
    *,
    desk: Desk,
    supervisor: Supervisor,
) -> RulesWatch:
    """Begin to look at the rules' file."""
    pulse = pulses.add("rules")
    watch = RulesWatch(rules, pulse, clock=desk.clock, supervisor=supervisor)
    watch.start(wiring.hints(chosen, watch.hint))
    return watch


def _shown(window: wiring.Window | None, health: Health) -> Callable[[], None]:
    """Show how the service is, where somebody wants to look; return what ends that."""
    if window is None:
        return lambda: None
    showing = Showing(window.door(health))
    health.start()
    showing.start()

    def end() -> None:
        health.stop()
        showing.stop()

    return end


def _drained(loops: Loops, lists: DailyLists | None, clock: Clock) -> bool:
    """Stop all work within the time for it; return whether everything ended by itself."""
    until = clock.monotonic() + _DRAIN
    if lists is not None:
        lists.stop(0)
    ended = loops.stop(_DRAIN, clock.monotonic)
    if lists is not None:
        lists.stop(until - clock.monotonic())
    return ended


def _loops(desk: Desk, mailboxes: list[wiring.WithKeyword], pulses: Pulses) -> Loops:
    return Loops(
        [
            MailboxLoop(one, desk, keyword=keyword, pulse=pulses.add(f"mailbox {one.name}"))
            for one, keyword in mailboxes
        ]
    )


def with_keywords(chosen: wiring.Configuration) -> list[wiring.WithKeyword]:
    """Return every mailbox of the settings with the keyword that marks what is settled."""
    keywords = {name: one.settled_keyword for name, one in chosen.settings.mailboxes.items()}
    return [(mailbox, keywords[mailbox.name]) for mailbox in wiring.mailboxes(chosen)]


def status_of(outcome: Outcome, *, attention: bool) -> Exit:
    """Return the exit status that a run has earned."""
    if outcome.failed:
        return Exit.UNREACHABLE
    if outcome.incomplete:
        return Exit.TRY_LATER
    return Exit.ATTENTION if attention or outcome.braked else Exit.DONE


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Print the numbers of a run, and what kept mailboxes from their end."""
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
