"""One full turn over every mailbox, until nothing more can be done now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from dispatcher.core.ledger import Balance
from dispatcher.errors import DispatcherError, LoginRefused, Refused, Unavailable
from dispatcher.ports import Mailbox
from dispatcher.service.desk import Desk
from dispatcher.service.round import Round

_log = structlog.get_logger(__name__)

_TRIES: Final = 3
# So many where the server lists the mailbox: it may break off at one message of thousands,
# which takes a few tries to find (see `edges.imap.suspects`).
_TRIES_TO_READ: Final = 10
_PAUSE: Final = 1.0
# A message that is listed and not sent yet gets this many seconds to appear.
_UNTIL_SENT: Final = 8.0
_UNTIL_ENDED: Final = 10.0
# Print jobs are asked for this often, and left alone when nothing moves for that long.
_ASK: Final = 0.3
_QUIET: Final = 3.0


@dataclass(slots=True)
class Outcome:
    """What a run came to. `failed` has one error for each mailbox that did not answer."""

    numbers: Balance = field(default_factory=Balance)
    failed: dict[str, DispatcherError] = field(default_factory=dict)
    bugs: list[BaseException] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    braked: list[str] = field(default_factory=list)


def run_once(mailboxes: Sequence[tuple[Mailbox, str | None]], desk: Desk) -> Outcome:
    """Work on every mailbox, each in a thread of its own; return this run's numbers.

    `mailboxes` are pairs of a mailbox and its settled keyword. Raises Unavailable when
    the ledger does not answer.
    """
    outcome = Outcome()
    before = desk.ledger.balance()
    threads = [
        threading.Thread(target=_work, args=(mailbox, keyword, desk, outcome), daemon=True)
        for mailbox, keyword in mailboxes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if outcome.bugs:
        raise outcome.bugs[0]
    outcome.numbers = numbers(before, desk.ledger.balance())
    return outcome


def numbers(before: Balance, after: Balance) -> Balance:
    """Return what happened between two balances; `pending` is what still waits at the end.

    A message received by an earlier run and delivered by this one counts as delivered.
    """
    return Balance(
        received=after.received - before.received,
        delivered=after.delivered - before.delivered,
        held=max(0, after.held - before.held),
        pending=after.pending,
        duplicate=after.duplicate - before.duplicate,
        expired=after.expired - before.expired,
        foreign=max(0, after.foreign - before.foreign),
    )


def _work(mailbox: Mailbox, keyword: str | None, desk: Desk, outcome: Outcome) -> None:
    try:
        _turns(mailbox, keyword, desk, outcome)
    except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
        outcome.bugs.append(error)
    finally:
        mailbox.close()


def _follow(work: Round, desk: Desk, pause: threading.Event) -> bool:
    """Follow print jobs to their end as long as they move; return whether any did."""
    until = desk.clock.monotonic() + _UNTIL_ENDED
    quiet = desk.clock.monotonic() + _QUIET
    moved = False
    while work.following and desk.clock.monotonic() < min(until, quiet):
        if work.follow():
            moved = True
            quiet = desk.clock.monotonic() + _QUIET
        pause.wait(_ASK)
    return moved


def _see_through(work: Round, desk: Desk, pause: threading.Event) -> None:
    """Follow what was begun, and begin what waited behind it, while anything moves."""
    while _follow(work, desk, pause) and work.go_on():
        work.drain(_UNTIL_ENDED)


def _purge(work: Round, mailbox: Mailbox, outcome: Outcome) -> bool:
    """Delete what is past its term, when that is due; return whether the server broke off."""
    try:
        if work.purge_is_due:
            report = work.purge()
            work.finish_purge(_UNTIL_ENDED)
            if report.braked is not None and not report.braked.only_asks:
                outcome.braked.append(mailbox.name)
    except (Unavailable, Refused) as error:
        outcome.failed[mailbox.name] = error
        _log.error("purge_failed", mailbox=mailbox.name, because=str(error), hint=error.hint)
        return isinstance(error, Unavailable)
    return False


def _turns(mailbox: Mailbox, keyword: str | None, desk: Desk, outcome: Outcome) -> None:
    work = Round(mailbox, desk, keyword=keyword)
    pause = threading.Event()
    failures = 0
    until = desk.clock.monotonic() + _UNTIL_SENT
    while True:
        try:
            work.turn(impatient=True)
            outcome.failed.pop(mailbox.name, None)
        except (Unavailable, Refused) as error:
            failures += 1
            outcome.failed[mailbox.name] = error
            _log.error(
                "mailbox_check_failed",
                mailbox=mailbox.name,
                because=str(error),
                hint=error.hint,
            )
            most = _TRIES_TO_READ if work.listed else _TRIES
            if isinstance(error, Refused | LoginRefused) or failures >= most:
                break
            pause.wait(_PAUSE)
            continue
        work.drain(_UNTIL_ENDED)
        _see_through(work, desk, pause)
        if _purge(work, mailbox, outcome) and work.purge_is_due:
            # It is to be tried again soon, after another turn.
            pause.wait(_PAUSE)
            continue
        if work.complete or desk.clock.monotonic() >= until:
            break
        pause.wait(_PAUSE)
    if not work.complete:
        outcome.incomplete.append(mailbox.name)
