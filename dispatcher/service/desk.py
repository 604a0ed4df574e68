"""What every step of the service works with, gathered once by the wiring."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Protocol

from dispatcher.core.certificate import PdfText
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import UNDATED, Identity
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import Months, Span, Terms
from dispatcher.core.routing import Rules
from dispatcher.errors import Unavailable
from dispatcher.ports import (
    Clock,
    Destination,
    Inspector,
    Ledger,
    MessageReader,
    Meter,
    Paper,
    Question,
)


class FindDestination(Protocol):
    """Finds the place behind a site and the name of one of its targets."""

    def __call__(self, site: FinessET, name: str, rules: str = "", /) -> Destination | None:
        """Return it by the rules of this digest (empty: those in force); None: no such target.

        Rules that are not known any more are those in force.
        """
        ...


@dataclass(frozen=True, slots=True)
class Purging:
    """Settings of the purge: how much at once, how often, and how long its trail is kept."""

    max_deletions: int = 500
    max_share: float = 0.5
    every: timedelta = timedelta(hours=1)
    audit: Span = Months(6)


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings that decide, in core values. `since` is by mailbox."""

    senders: frozenset[str]
    pdf_text: PdfText = PdfText.WARN
    terms: Terms = Terms()
    purging: Purging = Purging()
    since: Mapping[str, date] = field(default_factory=dict)

    def leaves_alone(self, mailbox: str, identity: Identity) -> bool:
        """Whether a message arrived before the date from which its mailbox is looked after.

        What has no date of arrival may have come today.
        """
        since = self.since.get(mailbox)
        if since is None or identity.internal_at == UNDATED:
            return False
        return identity.internal_at < datetime.combine(since, time(), tzinfo=PARIS)


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading a message to the end needs. `rules` is asked anew for each batch.

    `inspector` reads the texts that may wait until their documents are delivered.
    `earlier` returns the rules of a digest; None: they are not known any more.
    """

    messages: MessageReader
    inspector: Inspector
    rules: Callable[[], Rules]
    policy: Policy
    earlier: Callable[[str], Rules | None] | None = None

    def warm(self) -> None:
        """Begin the helpers, so that the first certificate does not wait for them."""
        with contextlib.suppress(Unavailable):  # said when a message needs one
            self.messages.read([b""], self.policy.senders, ask_names=False)
            if self.policy.pdf_text is PdfText.WARN:
                self.inspector.inspect([Question(b"")])


@dataclass(frozen=True, slots=True)
class Desk:
    """The ports and the reader: what the work on a mailbox needs.

    `destination` takes certificates. `single` finds the same places for pages of our own,
    which come once, whatever the copies of a certificate; without it they are the same.
    `paper` returns what draws such pages; without it there are none. `helpers` are shared
    by the mailboxes and tell for how many seconds they have been at one piece of work; a
    name for each. `meter` counts what comes of deliveries, where somebody wants to know.
    """

    ledger: Ledger
    clock: Clock
    reader: Reader
    destination: FindDestination
    single: FindDestination | None = None
    paper: Callable[[], Paper] | None = None
    helpers: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    meter: Meter | None = None

    @property
    def policy(self) -> Policy:
        """Settings that decide."""
        return self.reader.policy

    @property
    def page_destination(self) -> FindDestination:
        """Finds where pages of our own go."""
        return self.single or self.destination

    @property
    def rules(self) -> Rules:
        """The rules in force now."""
        return self.reader.rules()

    def rules_of(self, digest: str) -> Rules:
        """Return the rules of a digest; those in force where they are not known any more."""
        now, earlier = self.rules, self.reader.earlier
        if digest == now.digest or earlier is None:
            return now
        return earlier(digest) or now
