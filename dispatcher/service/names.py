"""Reads patients' names from the mailboxes, for a list that is made now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from dispatcher.core import certificate as certificates
from dispatcher.core.bordereau import Name
from dispatcher.core.certificate import Certificate
from dispatcher.core.ledger import Entry
from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.ports import Mailbox
from dispatcher.service.desk import Desk
from dispatcher.service.logins import Logins

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Names:
    """Connections of their own, opened with EXAMINE: no flag of any message changes.

    `failed` has the mailboxes that did not answer; they are not asked again. To be closed.
    Used by one thread.
    """

    desk: Desk
    mailboxes: Sequence[Mailbox]
    failed: set[str] = field(default_factory=set)

    def read(self, entries: Iterable[Entry]) -> dict[str, Name]:
        """Return the names by the ids of messages; those that cannot be read are left out."""
        wanted = [entry for entry in entries if entry.present]
        found: dict[str, Name] = {}
        for mailbox in self.mailboxes:
            here = [entry for entry in wanted if entry.ref.mailbox == mailbox.name]
            if here and mailbox.name not in self.failed:
                found.update(self._read(mailbox, here))
        return found

    def close(self) -> None:
        """Close every connection. Never raises."""
        for mailbox in self.mailboxes:
            mailbox.close()

    def _read(self, mailbox: Mailbox, entries: Sequence[Entry]) -> dict[str, Name]:
        found: dict[str, Name] = {}
        try:
            uidvalidity = self._selected(mailbox)
            by_uid = {one.ref.uid: one for one in entries if one.ref.uidvalidity == uidvalidity}
            for fetched in mailbox.fetch(sorted(by_uid)) if by_uid else ():
                entry = by_uid[fetched.uid]
                name = _name(fetched.raw, entry, self.desk.policy.senders)
                if name is not None:
                    found[entry.id] = name
        except (Unavailable, Refused) as error:
            self.failed.add(mailbox.name)
            unread = len(entries) - len(found)
            _log.warning(
                "names_were_not_read", mailbox=mailbox.name, count=unread, error=str(error)
            )
        return found

    def _selected(self, mailbox: Mailbox) -> int:
        logins = Logins(mailbox.name, self.desk)
        logins.ensure_allowed()
        try:
            selected = mailbox.select(read_only=True)
        except LoginRefused:
            logins.refused()
            raise
        logins.accepted()
        return selected.uidvalidity


def _name(raw: bytes, entry: Entry, senders: frozenset[str]) -> Name | None:
    """Return the name in a message; None when it is not this very certificate."""
    reading = certificates.read(raw, senders)
    if not isinstance(reading, Certificate):
        return None
    # A server may give a uid out again: a wrong name would be worse than none.
    same = (reading.file_number, reading.document.sha256) == (entry.file_number, entry.sha256)
    return Name(reading.last_name, reading.first_name) if same else None
