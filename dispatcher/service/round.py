"""One full turn over one mailbox: settle, take in, try again, mark on the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from dispatcher.core.certificate import Document
from dispatcher.core.ledger import DeliveryState, Entry
from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.ports import Mailbox, Writer
from dispatcher.service.decisions import Person
from dispatcher.service.desk import Desk
from dispatcher.service.dispatch import Dispatch, Job, is_followed, settled
from dispatcher.service.groups import in_groups
from dispatcher.service.intake import Intake
from dispatcher.service.logins import Logins
from dispatcher.service.purge import Purge, Report
from dispatcher.service.refetch import documents
from dispatcher.service.whereabouts import Whereabouts

_log = structlog.get_logger(__name__)

# Retries fetched, recorded and delivered together.
_TOGETHER: Final = 32
# New messages marked in one command: it interrupts the fetching. A crash leaves them to be
# marked by the next start.
_MARKED_TOGETHER: Final = 256
# A server that would not take the keyword is asked again after this time (seconds).
_MARKING_RESTS: Final = 300.0
# How soon a delivery that is under way is looked at again (seconds).
_SOON: Final = 1.0
_FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)

Begin = Callable[[Writer, Entry, Document], list[Job]]


class Round:
    """The work on one mailbox. Used by one thread.

    `progress` counts what following accepted deliveries has changed.
    """

    def __init__(
        self, mailbox: Mailbox, desk: Desk, *, keyword: str | None, patience: float = 2.0
    ) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._dispatch = Dispatch(desk, patience=patience)
        self._whereabouts = Whereabouts(mailbox, desk)
        self._intake = Intake(
            mailbox,
            desk,
            whereabouts=self._whereabouts,
            dispatch=self._dispatch,
            keyword=keyword,
        )
        self._purge = Purge(mailbox, desk, self._whereabouts, patience=patience)
        self._logins = Logins(mailbox.name, desk)
        self.progress = 0
        self._listed = False
        self._unmarked: set[int] | None = None
        self._marked_in: int | None = None
        self._marks_again_at = 0.0

    @property
    def listed(self) -> bool:
        """Whether the last turn came so far that the server listed what lies there."""
        return self._listed

    @property
    def complete(self) -> bool:
        """Whether all that the server listed could be read and nothing is under way."""
        return self._whereabouts.complete and self._dispatch.idle

    @property
    def patience(self) -> float:
        """In how many seconds to look again, where it is not complete."""
        return self._whereabouts.patience if self._dispatch.idle else _SOON

    @property
    def drained(self) -> bool:
        """Whether no delivery is under way in this program."""
        return self._dispatch.idle

    def turn(self, *, impatient: bool = False) -> None:
        """Do everything that can be done now.

        `impatient` tries again at once what was to wait for its next try. Raises
        Unavailable or Refused when the mailbox or the ledger does not answer; nothing is
        lost by that, and the next turn goes on from there.
        """
        news = self._news()
        self._begin_marking()
        self._finish(self._dispatch.leftovers())
        if impatient:
            self._dispatch.wake()
        self.follow()
        self.settle()
        opened = self._open()
        self._dispatch.line_up(self._mailbox.name, anew=opened)
        for entries in self._intake.take(news):
            self._finish(entries, together=_MARKED_TOGETHER)
        self._mark(set())
        self._try_again(_FAR if impatient else self._desk.clock.now())
        self.settle()
        with self._desk.ledger.writing() as writer:
            if self._whereabouts.complete:
                self._intake.looked(writer)
            writer.remember(self._whereabouts.place())

    @property
    def purge_is_due(self) -> bool:
        """Whether what is past its term is to be deleted now."""
        return self._purge.is_due

    def purge(self, person: Person | None = None) -> Report:
        """Delete what is past its term, after a turn; see `Purge.run`."""
        return self._purge.run(person=person)

    def finish_purge(self, seconds: float = 0.0) -> None:
        """Record what slow sites came to since the last purge."""
        self._purge.finish(seconds)

    def login_pause(self) -> float:
        """Return how many seconds the next login has to wait."""
        return self._logins.pause().total_seconds()

    def _news(self) -> tuple[int, ...]:
        self._listed = False
        self._logins.ensure_allowed()
        try:
            news = self._whereabouts.news()
        except LoginRefused:
            self._logins.refused()
            raise
        self._logins.accepted()
        self._listed = True
        return news

    def drain(self, seconds: float) -> None:
        """Record what slow deliveries come to, for at most that long. Never starts new ones."""
        until = self._desk.clock.monotonic() + seconds
        while not self._dispatch.idle:
            left = until - self._desk.clock.monotonic()
            if left <= 0:
                return
            self._finish(self._dispatch.leftovers(left))

    @property
    def following(self) -> bool:
        """Whether a destination works on something whose end is to be followed."""
        return any(
            is_followed(delivery)
            for entry in self._desk.ledger.unsettled(self._mailbox.name)
            for delivery in entry.deliveries
        )

    def follow(self) -> bool:
        """Ask what became of accepted deliveries; return whether anything changed."""
        entries = self._desk.ledger.unsettled(self._mailbox.name)
        changed = self._dispatch.follow(entries)
        self.progress += len(changed)
        self._finish(changed)
        return bool(changed)

    def _open(self) -> bool:
        """Let go what waited for its site to open, the oldest first; whether any did."""
        now = self._desk.clock.now()
        entries = self._desk.ledger.opening(self._mailbox.name, now)
        if not entries:
            return False
        with self._desk.ledger.writing() as writer:
            for entry in filter(self._still_so, entries):
                for delivery in entry.deliveries:
                    until = delivery.next_try_at
                    waits = delivery.state is DeliveryState.WAITING
                    if waits and until is not None and until <= now:
                        writer.move(
                            delivery.id, DeliveryState.DECIDED, because="its site opened"
                        )
        return True

    def settle(self) -> None:
        """Find out what became of every delivery whose end nobody recorded."""
        entries = [
            entry
            for entry in self._desk.ledger.unsettled(self._mailbox.name)
            if entry.present and self._dispatch.open_questions(entry)
        ]
        for some in in_groups(entries, _TOGETHER):
            self._finish(self._dispatch.settle(self._fetched(some, self._dispatch.doubt)))

    def go_on(self) -> bool:
        """Begin what was never tried because its queue was full; return whether any began."""
        due = self._desk.ledger.due(self._mailbox.name, _FAR)
        fresh = [entry for entry in due if entry.present and _untried(entry)]
        ready = [entry for entry in fresh if self._dispatch.startable(entry)]
        self._make(fresh)
        return bool(ready)

    def _try_again(self, now: datetime) -> None:
        """Make the deliveries that are due; one target that fails is asked once a turn."""
        due = self._desk.ledger.due(self._mailbox.name, now)
        self._make([entry for entry in due if entry.present])

    def _make(self, due: Sequence[Entry]) -> None:
        for some in in_groups(due, _TOGETHER):
            ready = [entry for entry in some if self._dispatch.startable(entry)]
            if ready:
                jobs = self._fetched(ready, self._dispatch.intend)
                self._finish(self._dispatch.deliver(jobs))
            self._put_off([entry for entry in some if entry not in ready])

    def _put_off(self, entries: Sequence[Entry]) -> None:
        if entries:
            with self._desk.ledger.writing() as writer:
                for entry in filter(self._still_so, entries):
                    self._dispatch.put_off(writer, entry)

    def _still_so(self, entry: Entry) -> bool:
        """Whether nobody decided about a message since it was read from the ledger.

        Inside a transaction, in which nobody else can: the next turn meets what changed.
        """
        return self._desk.ledger.entry(entry.id) == entry

    def _fetched(self, entries: Sequence[Entry], begin: Begin) -> list[Job]:
        """Fetch the documents of `entries` and record how the work on each begins."""
        jobs: list[Job] = []
        strangers = []
        senders = self._desk.policy.senders
        found = list(documents(self._mailbox, entries, senders))
        with self._desk.ledger.writing() as writer:
            for entry, document in found:
                if document is None:
                    strangers.append(entry.ref.uid)
                elif self._still_so(entry):
                    jobs += begin(writer, entry, document)
        self._whereabouts.lost(strangers)
        return jobs

    def _finish(self, entries: Iterable[Entry], *, together: int = 1) -> None:
        """Mark what came to its good end with the keyword, where the server keeps one.

        Not before there are so many to be marked `together`.
        """
        self._mark(
            {
                entry.ref.uid
                for entry in settled(entries)
                if not entry.keyword_set and self._whereabouts.holds(entry.ref)
            },
            together=together,
        )

    def _begin_marking(self) -> None:
        """Pick up the messages whose keyword an earlier run could not set."""
        uidvalidity = self._whereabouts.selected.uidvalidity
        if self._marked_in != uidvalidity:
            self._marked_in = uidvalidity
            lacking = self._desk.ledger.lacking_keyword(self._mailbox.name, uidvalidity)
            self._unmarked = set(lacking)
        self._mark(set())

    def _mark(self, uids: set[int], *, together: int = 1) -> None:
        if self._unmarked is None:
            return
        self._unmarked |= uids
        if len(self._unmarked) < together:
            return
        selected = self._whereabouts.selected
        if not self._unmarked or selected.read_only or not selected.keeps_keyword:
            return
        if self._desk.clock.monotonic() < self._marks_again_at:
            return
        marked = sorted(self._unmarked)
        try:
            self._mailbox.add_keyword(marked)
        except (Unavailable, Refused) as error:
            # Only a hint for people and for a lost ledger: the delivery stands without it,
            # and a server that refuses it for good must not cost a connection each turn.
            self._marks_again_at = self._desk.clock.monotonic() + _MARKING_RESTS
            _log.warning("keyword_was_not_set", mailbox=self._mailbox.name, because=str(error))
            return
        with self._desk.ledger.writing() as writer:
            writer.keyword_set([self._whereabouts.ref(uid) for uid in marked])
        self._unmarked.clear()


def _untried(entry: Entry) -> bool:
    return any(d.state is DeliveryState.DECIDED and not d.attempts for d in entry.deliveries)
