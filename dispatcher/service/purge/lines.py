"""Empties lines of the ledger whose mail and copies are gone, and lets old proof go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.core import erasure
from dispatcher.core.audit import Deed, What
from dispatcher.core.ledger import Entry
from dispatcher.core.retention import (
    Months,
    Span,
    Terms,
    after,
    forgotten_before,
    term,
    told,
)
from dispatcher.errors import Unavailable
from dispatcher.service.desk import Desk
from dispatcher.service.groups import in_groups

_log = structlog.get_logger(__name__)

_TERMS: Final = "retention"
_TO_SCOUR: Final = "to scour"
_TOGETHER: Final = 500


def empty(desk: Desk, entry_ids: Iterable[str]) -> int:
    """Empty the lines of these messages that are over; return how many."""
    return sum(_empty(desk, some) for some in in_groups(list(entry_ids), _TOGETHER))


def _empty(desk: Desk, entry_ids: Iterable[str]) -> int:
    count = 0
    with desk.ledger.writing() as writer:
        for entry_id in entry_ids:
            entry = desk.ledger.entry(entry_id)
            if entry is None or not erasure.is_over(entry):
                continue
            writer.empty(entry_id)
            writer.note(f"mismatch {entry_id}", None)
            writer.trace(_deed(entry, desk))
            writer.note(_TO_SCOUR, "1")
            count += 1
    return count


def _deed(entry: Entry, desk: Desk) -> Deed:
    return Deed(
        "emptied",
        What.LINE,
        desk.clock.now(),
        entry=entry.id,
        where="ledger",
        rule=term(entry, desk.policy.terms).rule,
        answer="emptied",
    )


def tidy(desk: Desk) -> None:
    """Let go what outlived its use: keys of purged certificates, old lines of the trail."""
    now = desk.clock.now()
    with desk.ledger.writing() as writer:
        writer.forget_keys(forgotten_before(now))
        writer.trim_trail(_ago(now, desk.policy.purging.audit))


def scour(desk: Desk) -> None:
    """Make sure that the ledger's files hold nothing of what was emptied.

    What cannot be done now is done by the next purge: the ledger remembers.
    """
    if desk.ledger.memo(_TO_SCOUR) is None:
        return
    try:
        done = desk.ledger.scour()
    except Unavailable as error:
        _log.warning("ledger_was_not_scoured", because=str(error))
        return
    if not done:
        _log.warning("ledger_was_not_scoured", because="somebody reads it just now")
        return
    with desk.ledger.writing() as writer:
        writer.note(_TO_SCOUR, None)


def are_terms_recorded(desk: Desk, mailbox: str) -> bool:
    """Whether the ledger's terms are those of the settings of today."""
    return desk.ledger.memo(f"{_TERMS} {mailbox}") == _digest(desk.policy.terms)


def unemptied(desk: Desk, mailbox: str) -> Iterator[Entry]:
    """Yield what the ledger still tells of the certificates of a mailbox, page by page."""
    every = desk.ledger.entries()
    return (e for e in every if e.emptied_at is None and e.ref.mailbox == mailbox)


def renew_terms(desk: Desk, mailbox: str) -> None:
    """Set every term anew when the settings are not those of the last time."""
    if are_terms_recorded(desk, mailbox):
        return
    terms = desk.policy.terms
    changed = [
        (entry.id, at)
        for entry in unemptied(desk, mailbox)
        for at in [term(entry, terms).at]
        if entry.purge_at != at
    ]
    with desk.ledger.writing() as writer:
        for entry_id, at in changed:
            writer.set_term(entry_id, at)
        writer.note(f"{_TERMS} {mailbox}", _digest(terms))
    if changed:
        _log.warning("terms_were_set_anew", mailbox=mailbox, count=len(changed))


def _digest(terms: Terms) -> str:
    spans: tuple[Span, ...] = (terms.negative, terms.positive, terms.other, terms.unreadable)
    return ", ".join(map(told, spans))


def _ago(now: datetime, span: Span) -> datetime:
    if isinstance(span, timedelta):
        return now - span
    return after(now, Months(-span.count))
