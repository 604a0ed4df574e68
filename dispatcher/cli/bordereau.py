"""`bordereau`: a site's list of the day, on paper or in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import finess_et, user
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, Config
from dispatcher.cli.screen import notes, plain, screen
from dispatcher.core.audit import Deed, What
from dispatcher.core.bordereau import Bordereau
from dispatcher.core.delivery import Accepted, Receipt
from dispatcher.core.routing import Kind
from dispatcher.errors import InDoubt, Unavailable
from dispatcher.service import bordereau as service
from dispatcher.service.bordereau import Sent
from dispatcher.service.daily import before
from dispatcher.service.decisions import NotAsked
from dispatcher.service.desk import Desk
from dispatcher.service.gate import Wait

# A page that is not out by then is told as lying in its queue (seconds).
_UNTIL_PRINTED = 30.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bordereau)


def bordereau(
    *,
    site: Annotated[str, typer.Option("--site", help="The site's ET number.")],
    on: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="Its day.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write this new file instead.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Print it outside the site's hours too.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a site's list of the day, to sign; deliver it to the site's folder and queue."""
    number, day = finess_et(site), day_of(on)
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_desk(chosen) as desk:
        since = before(number, day, desk, chosen.settings.bordereau.at)
        mailboxes = wiring.mailboxes(chosen)
        page = service.bordereau(number, day, desk, mailboxes, since=since)
        content = wiring.paper().bordereau(page)
        _record(desk, page, "a file" if to else "its site")
        sent: Sequence[Sent] = ()
        if to is None:
            sent = service.send(page, content, desk, asked=now)
            sent = service.follow(sent, page.site, desk, _UNTIL_PRINTED)
        else:
            _write(to, content)
    late = f", {page.late} of them late" if page.late else ""
    screen().print(f"{page.site} {page.on}: {len(page.lines)} certificate(s){late}")
    if page.unread:
        text = f"{page.unread} name(s) could not be read in the mailbox now"
        notes().print(f"[yellow]{text}[/]")
    for one in sent:
        _tell(one)
    raise typer.Exit(_status(sent, unread=page.unread))


def _record(desk: Desk, page: Bordereau, goes_to: str) -> None:
    """Write into the audit trail who had a list of names made, before it leaves."""
    where, now = f"{page.site} {page.on}", desk.clock.now()
    deed = Deed("bordereau", What.LIST, now, where=where, answer=f"for {goes_to}", by=user())
    with desk.ledger.writing() as writer:
        writer.trace(deed)


def day_of(text: str) -> date:
    """Return the day a person typed. Raises NotAsked when it is none."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise NotAsked(
            "that is not a date", hint="Write the year first, such as 2026-11-19."
        ) from None


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only this user reads; what cannot be written whole is removed."""
    try:
        # Names of patients: never over another file, never through somebody's link.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise NotAsked("that file is there already", hint="Name a new one.") from None
    except OSError as error:
        raise Unavailable(f"the file cannot be made: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise Unavailable(f"the file cannot be written: {error.strerror}") from error


def _tell(sent: Sent) -> None:
    target, outcome = sent.target, sent.outcome
    match outcome:
        case Accepted(because=because):
            why = f" ({because})" if because else ""
            text = f"{target.name}: still in queue {target.place}{why}; look for the page there"
            notes().print(f"[yellow]{plain(text)}[/]", soft_wrap=True)
        case Wait(because=because):
            text = f"{target.name}: not printed: {because}; with --now it is printed"
            notes().print(f"[yellow]{plain(text)}[/]", soft_wrap=True)
        case Receipt():
            where = "printed by" if target.kind is Kind.PRINT else "in"
            screen().print(plain(f"{target.name}: {where} {target.place}"), soft_wrap=True)
        case error:
            notes().print(f"[red]{plain(target.name)}:[/] {plain(error)}", soft_wrap=True)
            if error.hint:
                notes().print(f"→ {plain(error.hint)}", soft_wrap=True)


def _status(sent: Sequence[Sent], *, unread: int) -> Exit:
    outcomes = [one.outcome for one in sent]
    if outcomes and all(isinstance(outcome, Unavailable | InDoubt) for outcome in outcomes):
        return Exit.UNREACHABLE
    done = all(isinstance(outcome, Receipt) for outcome in outcomes)
    return Exit.DONE if done and not unread else Exit.ATTENTION
