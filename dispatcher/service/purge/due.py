"""Says of each copy of each certificate when it is to go, and why not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from dispatcher.core import retention
from dispatcher.core.audit import What
from dispatcher.core.ledger import Delivery, Entry
from dispatcher.core.retention import Due, Term, Terms


@dataclass(frozen=True, slots=True)
class Item:
    """One copy that exists, as far as the ledger knows: a mail, or a delivery's copy."""

    entry: Entry
    what: What
    due: Due
    term: Term
    delivery: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to go by one moment. An entry may be in several of its parts."""

    mails: tuple[Entry, ...] = ()
    copies: tuple[tuple[Entry, Delivery], ...] = ()
    over: tuple[Entry, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.mails or self.copies or self.over)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The certificates of which something goes."""
        every = [*self.mails, *(entry for entry, _ in self.copies), *self.over]
        return tuple({entry.id: entry for entry in every}.values())

    def first(self, count: int) -> Plan:
        """Return the plan for the certificates received first."""
        chosen = sorted(self.entries, key=lambda entry: entry.received_at)[:count]
        ids = {entry.id for entry in chosen}
        return Plan(
            tuple(entry for entry in self.mails if entry.id in ids),
            tuple(pair for pair in self.copies if pair[0].id in ids),
            tuple(entry for entry in self.over if entry.id in ids),
        )


def plan(entries: Iterable[Entry], terms: Terms, now: datetime) -> Plan:
    """Return what of these messages is to go by now."""
    mails, copies, over = [], [], []
    for entry in entries:
        left = list(_existing(entry, terms))
        for item in left:
            if not item.due.by(now):
                continue
            if item.delivery is None:
                mails.append(entry)
            else:
                copies.append((entry, item.delivery))
        if not left:
            over.append(entry)
    return Plan(tuple(mails), tuple(copies), tuple(over))


def items(entries: Iterable[Entry], terms: Terms) -> Iterator[Item]:
    """Yield every copy that there is, for `purge --dry-run`."""
    for entry in entries:
        if entry.emptied_at is None:
            yield from _existing(entry, terms)


def _existing(entry: Entry, terms: Terms) -> Iterator[Item]:
    term = retention.term(entry, terms)
    if entry.removal is None:
        yield Item(entry, What.MAIL, retention.mail_due(entry, terms, found=term), term)
    for delivery in entry.deliveries:
        if delivery.lies_there:
            due = retention.copy_due(entry, delivery, terms, found=term)
            yield Item(entry, What.COPY, due, term, delivery)
