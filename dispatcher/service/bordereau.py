"""Makes a site's bordereau: lines from the ledger, names from the mailbox at that moment."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import structlog

from dispatcher.core import certificate as certificates
from dispatcher.core.bordereau import Bordereau, Name, belongs, compose, places
from dispatcher.core.certificate import Certificate, Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Site, Target
from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.ports import Copy, Mailbox, Outcome
from dispatcher.service.decisions import NotAsked
from dispatcher.service.desk import Desk
from dispatcher.service.logins import Logins
from dispatcher.service.purge import pages

_log = structlog.get_logger(__name__)

_DAY: Final = timedelta(days=1)
# After a longer stop the older days are left out: their mails have gone at their term.
_CAUGHT_UP: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a bordereau at one target, and the copy that lies there now.

    It bears names: whoever keeps `copy` can have it removed at its term, and only then can
    it be told from a file of that name that somebody else wrote.
    """

    target: Target
    outcome: Outcome
    copy: Copy | None = None


def bordereau(site: FinessET, on: date, desk: Desk, mailboxes: Sequence[Mailbox]) -> Bordereau:
    """Return the list of a site's day, read now. Changes nothing in the mailboxes.

    `site` may be a former number. A mailbox or a message that cannot be read leaves lines
    without a name; the mailboxes asked are closed. Raises NotAsked for a site that the
    rules do not have and for a day that has not come, Unavailable without the ledger.
    """
    known = _site(site, desk)
    now = desk.clock.now()
    if on > now.astimezone(PARIS).date():
        raise NotAsked("that day has not come", hint="Name today, or a day before it.")
    entries = _entries(known, on, desk)
    names: dict[str, Name] = {}
    for mailbox in mailboxes:
        here = [one for one in entries if one.present and one.ref.mailbox == mailbox.name]
        if here:
            names.update(_names(mailbox, here, desk))
    return compose(known, on, entries, names=names, made_at=now)


def send(page: Bordereau, content: bytes, desk: Desk) -> tuple[Sent, ...]:
    """Deliver a drawn bordereau to the site's first folder and its first queue.

    One answer each; a queue answers Accepted, and nobody follows that job to its end.
    Raises NotAsked when the site has neither.
    """
    targets = places(_site(page.site, desk))
    if not targets:
        raise NotAsked(
            "the site has neither a folder nor a queue", hint="Name a file with --to."
        )
    document = Document(page.file_name, content)
    sent = tuple(_sent(page.site, target, document, desk) for target in targets)
    # It bears names: it is deleted like what it lists.
    pages.remember(
        desk, [((page.site, s.target.name), page.on, s.copy) for s in sent if s.copy]
    )
    return sent


def due(last_made: date | None, now: datetime, at: time) -> date | None:
    """Return the day whose bordereau is to be made now, None when there is none.

    `at` is the time of day in Paris, `last_made` the day of the newest one made. Days that
    passed while the program stood still come one at a time, the oldest first, at most a
    week of them. Without any made before, only today's can be due.
    """
    newest = _newest(now, at)
    if last_made is None:
        return newest if newest == now.astimezone(PARIS).date() else None
    if last_made >= newest:
        return None
    return max(last_made + _DAY, newest - _CAUGHT_UP + _DAY)


def _newest(now: datetime, at: time) -> date:
    """Return the newest day of which the time `at` has come."""
    today = now.astimezone(PARIS).date()
    # Compared in UTC: two times of one zone would be compared by their digits alone.
    moment = datetime.combine(today, at, tzinfo=PARIS).astimezone(UTC)
    return today if now >= moment else today - _DAY


def _site(number: FinessET, desk: Desk) -> Site:
    known = desk.rules.site_of(number)
    if known is None:
        raise NotAsked("that site is not in routing.yaml", hint="`check` lists its sites.")
    return known


def _entries(site: Site, on: date, desk: Desk) -> list[Entry]:
    numbers = sorted({site.finess, *site.aliases})
    every = (entry for number in numbers for entry in desk.ledger.entries(site=number))
    return [entry for entry in every if belongs(entry, site, on)]


def _names(mailbox: Mailbox, entries: Sequence[Entry], desk: Desk) -> dict[str, Name]:
    found: dict[str, Name] = {}
    try:
        uidvalidity = _selected(mailbox, desk)
        by_uid = {one.ref.uid: one for one in entries if one.ref.uidvalidity == uidvalidity}
        for fetched in mailbox.fetch(sorted(by_uid)) if by_uid else ():
            entry = by_uid[fetched.uid]
            name = _name(fetched.raw, entry, desk.policy.senders)
            if name is not None:
                found[entry.id] = name
    except (Unavailable, Refused) as error:
        unread = len(entries) - len(found)
        _log.warning("names_not_read", mailbox=mailbox.name, count=unread, error=str(error))
    finally:
        mailbox.close()
    return found


def _selected(mailbox: Mailbox, desk: Desk) -> int:
    logins = Logins(mailbox.name, desk)
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


def _sent(site: FinessET, target: Target, document: Document, desk: Desk) -> Sent:
    destination = desk.destination(site, target.name)
    if destination is None:
        return Sent(
            target, Refused("this installation cannot deliver to it", hint="See `check`.")
        )
    order = Order(secrets.token_hex(16), site, target.name, document)
    (outcome,) = destination.deliver([order])
    if isinstance(outcome, Receipt | Accepted):
        return Sent(target, outcome, Copy(order.id, outcome.reference, document.sha256))
    return Sent(target, outcome)
