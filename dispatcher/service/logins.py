"""Keeps an account from being locked: a refused login is not tried again at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from dispatcher.errors import LoginRefused
from dispatcher.ports import Ledger
from dispatcher.service.desk import Desk

# A refused login is tried this often, then once in that time, over restarts too:
# operators lock accounts.
_TRIES: Final = 3
_PAUSE: Final = timedelta(minutes=5)


class Logins:
    """The logins to one mailbox. Used by one thread."""

    def __init__(self, mailbox: str, desk: Desk) -> None:
        self._mailbox = mailbox
        self._desk = desk

    def ensure_allowed(self) -> None:
        """Raise LoginRefused when the next try would come too soon. Asks no server."""
        left = self.pause()
        if left > timedelta(0):
            again = self._desk.clock.now() + left
            raise LoginRefused(
                f"the login was refused too often; the next try is at {again:%H:%M:%S} UTC",
                hint="Put the password right; `check` tries the login at once.",
            )

    def refused(self) -> None:
        """Say that the server refused the login."""
        first = self._desk.ledger.refusals(self._mailbox) is None
        with self._desk.ledger.writing() as writer:
            writer.login_refused(self._mailbox)
            if first:
                writer.did(_errand(self._mailbox), self._desk.clock.now())

    def accepted(self) -> None:
        """Say that the server accepted the login."""
        if self._desk.ledger.refusals(self._mailbox) is not None:
            with self._desk.ledger.writing() as writer:
                writer.login_accepted(self._mailbox)

    def pause(self) -> timedelta:
        """Return how long the next try has to wait."""
        refusals = self._desk.ledger.refusals(self._mailbox)
        if refusals is None or refusals.count < _TRIES:
            return timedelta(0)
        since = self._desk.clock.now() - refusals.last_at
        # A clock that was set back must not lock us out for longer.
        return _PAUSE - since if timedelta(0) <= since < _PAUSE else timedelta(0)


def refused_at(ledger: Ledger, mailbox: str) -> datetime | None:
    """Return when the refusals in a row began; None: the last login was accepted."""
    refusals = ledger.refusals(mailbox)
    if refusals is None:
        return None
    return ledger.last_did(_errand(mailbox)) or refusals.last_at


def _errand(mailbox: str) -> str:
    return f"refused-first {mailbox}"
