"""`release`, `discard`, `retry`, `hold`: what a person decides, written to the audit trail."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.options import DEFAULT_CONFIG, Config, EntryId, Reason
from dispatcher.cli.screen import local, plain, screen
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry, State
from dispatcher.core.paris import PARIS
from dispatcher.service.decisions import Decisions, NotAsked, Person


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (release, discard, retry, reprint, hold):
        app.command()(command)
    app.command("print")(print_now)


def release(
    entry_id: EntryId,
    reason: Reason,
    site: Annotated[
        str | None, typer.Option("--site", help="Deliver it to this ET instead.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Let a held certificate go to its site; close one in doubt as delivered."""
    chosen = None if site is None else finess_et(site)
    _decide(config, reason, lambda d, who: d.release(entry_id, who, chosen))


def discard(entry_id: EntryId, reason: Reason, config: Config = DEFAULT_CONFIG) -> None:
    """End a held or pending certificate undelivered."""
    _decide(config, reason, lambda d, who: d.discard(entry_id, who))


def retry(
    entry_id: EntryId,
    config: Config = DEFAULT_CONFIG,
    reason: Reason = "",
) -> None:
    """Try a certificate's held or waiting deliveries again, now."""
    _decide(config, reason or "retry", lambda d, who: d.retry(entry_id, who))


def reprint(entry_id: EntryId, reason: Reason, config: Config = DEFAULT_CONFIG) -> None:
    """Print one more copy of a delivered certificate."""
    _decide(config, reason, lambda d, who: d.reprint(entry_id, who))


def print_now(
    entry_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Everything of this ET that waits.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    reason: Reason = "",
) -> None:
    """Print now what waits for opening hours or for somebody to ask."""
    if (entry_id is None) == (site is None):
        raise NotAsked("give either an id or --site ET")
    why = reason or "print"
    if entry_id is not None:
        _decide(config, why, lambda d, who: d.print_now(entry_id, who))
        return
    number = finess_et(site or "")
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger:
        decisions = Decisions(ledger, wiring.CLOCK, chosen.rules)
        waiting = decisions.waiting_at(number)
        for entry in waiting:
            decisions.print_now(entry.id, Person(user(), why))
    screen().print(f"{len(waiting)} certificate(s) to be printed now")


def hold(
    entry_id: EntryId,
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="DATE", help="Keep it to the end of this day; none: no longer."
        ),
    ],
    reason: Reason,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Keep a certificate, its mail and its copies, beyond its legal term."""
    end = _end_of(until)
    _decide(config, reason, lambda d, who: d.keep(entry_id, end, who))
    kept = "no longer than its term" if end is None else f"until {local(end)}"
    screen().print(f"kept {kept} (Europe/Paris)")


def _end_of(text: str) -> datetime | None:
    """Return when the day ends that a person typed; None for `none`."""
    if text.strip().casefold() == "none":
        return None
    try:
        following = date.fromisoformat(text.strip()) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise NotAsked(
            "that is not a date", hint="Write the year first, such as 2026-11-19, or none."
        ) from None
    return datetime.combine(following, time(), tzinfo=PARIS)


def finess_et(text: str) -> FinessET:
    """Return the ET number a person typed. Raises NotAsked when it is none."""
    try:
        return FinessET(text.strip())
    except ValueError:
        raise NotAsked(
            "that is not a FINESS number",
            hint="Nine characters, the leading zero included, such as 010000024.",
        ) from None


def _decide(config: Path, reason: str, act: Callable[[Decisions, Person], Entry]) -> None:
    if not reason.strip():
        raise NotAsked("a reason is needed", hint='Say why: --reason "…".')
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger:
        decisions = Decisions(ledger, wiring.CLOCK, chosen.rules)
        entry = act(decisions, Person(user(), reason.strip()))
    screen().print(f"{plain(entry.id)}: {entry.state.value}")
    if entry.state is State.PENDING:
        screen().print("The running service delivers it now; without one, `run --once` does.")


def user() -> str:
    """Return the person's system name for the audit trail, also behind sudo.

    The name is the process's own, by its uid; what the environment says of it anybody may
    write. Behind sudo both are told: `claire (as sidep-dispatcher)`.
    """
    own = _name_of(str(os.getuid()))
    behind = _name_of(os.environ.get("SUDO_UID", ""))
    if not behind or behind == own:
        return own
    return f"{behind} (as {own})"


def _name_of(uid: str) -> str:
    """Return the system's name of a user id; the id itself where it has none."""
    if not uid.isascii() or not uid.isdigit():
        return ""
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, OverflowError):
        return f"uid {int(uid)}"
