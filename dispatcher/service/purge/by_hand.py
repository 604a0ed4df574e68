"""A purge that a person asks for, beside the service or without it."""

from __future__ import annotations

from dispatcher.errors import LoginRefused
from dispatcher.ports import Mailbox, Selected
from dispatcher.service.decisions import Person
from dispatcher.service.desk import Desk
from dispatcher.service.logins import Logins
from dispatcher.service.named import naming
from dispatcher.service.purge.brakes import Braked
from dispatcher.service.purge.due import Plan
from dispatcher.service.purge.run import Purge, Report
from dispatcher.service.whereabouts import Whereabouts

# Nobody else waits: a slow site gets more time than in the service.
_PATIENCE = 10.0


def look(mailbox: Mailbox, desk: Desk) -> tuple[Plan, Braked | None]:
    """Return what a purge would remove and what would stop it. Changes nothing anywhere.

    Raises Unavailable or Refused when the mailbox or the ledger does not answer.
    """
    purge = Purge(mailbox, desk, Whereabouts(mailbox, desk), patience=_PATIENCE)
    with naming(mailbox.name):
        return purge.look(_selected(mailbox, desk))


def carry_out(mailbox: Mailbox, desk: Desk, person: Person | None = None) -> Report:
    """Make a purge over a connection of its own; `person` confirms what would stop it.

    A service that runs meanwhile does no harm and takes none: each mail is verified on the
    server and each removal is recorded once. Raises as `look`.
    """
    whereabouts = Whereabouts(mailbox, desk)
    purge = Purge(mailbox, desk, whereabouts, patience=_PATIENCE)
    with naming(mailbox.name):
        _ensure_allowed(mailbox, desk)
        unread = bool(whereabouts.news())
        report = purge.run(person=person, unread=unread)
        purge.finish(_PATIENCE)
        return report


def _selected(mailbox: Mailbox, desk: Desk) -> Selected:
    logins = _ensure_allowed(mailbox, desk)
    try:
        return mailbox.select(read_only=True)
    except LoginRefused:
        logins.refused()
        raise


def _ensure_allowed(mailbox: Mailbox, desk: Desk) -> Logins:
    logins = Logins(mailbox.name, desk)
    logins.ensure_allowed()
    return logins
