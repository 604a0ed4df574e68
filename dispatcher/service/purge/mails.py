"""Removes mails from the mailbox: each verified on the server just before, or left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from dispatcher.core.audit import Deed, What
from dispatcher.core.delivery import Removal
from dispatcher.core.ledger import Entry, State
from dispatcher.core.message import MessageRef
from dispatcher.core.retention import term
from dispatcher.ports import Mailbox, Shown, Writer
from dispatcher.service.desk import Desk
from dispatcher.service.groups import in_groups
from dispatcher.service.purge.told import is_news
from dispatcher.service.whereabouts import Whereabouts

_log = structlog.get_logger(__name__)

# Verified, intended, removed and recorded together.
_TOGETHER: Final = 100
# Without a Message-ID the whole message is compared: fewer at a time.
_WHOLE: Final = 16

EXPUNGED: Final = "expunged by the server"
INTERRUPTED: Final = "gone after an interrupted purge"
OTHERS: Final = "was gone, removed by others"


@dataclass(frozen=True, slots=True)
class Sorted:
    """What the server showed of some candidates."""

    sure: tuple[Entry, ...] = ()
    other: tuple[Entry, ...] = ()  # another message lies there
    unshown: tuple[Entry, ...] = ()


class Mails:
    """The mails of one mailbox. Used by the thread that owns its connection."""

    def __init__(self, mailbox: Mailbox, desk: Desk, whereabouts: Whereabouts) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._whereabouts = whereabouts

    def remove(self, entries: Sequence[Entry]) -> int:
        """Remove the mails of these messages from the server; return how many went.

        Raises Unavailable when the connection breaks: what was begun is found and recorded
        by the next purge.
        """
        if not self._mailbox.removes():
            # Told also before the first term: somebody has time to ask the operator.
            self._cannot()
            return 0
        here = [entry for entry in entries if self._lies_here(entry)]
        return sum(self._remove(some) for some in in_groups(here, _TOGETHER))

    def record_gone(self, entries: Iterable[Entry]) -> int:
        """Record what is not in the mailbox any more, and why; return how many."""
        gone = [entry for entry in entries if not entry.present]
        for some in in_groups(gone, _TOGETHER):
            with self._desk.ledger.writing() as writer:
                for entry in some:
                    now = self._desk.ledger.entry(entry.id)
                    if now is not None and not now.present and now.removal is None:
                        self._record_gone(writer, now)
        return len(gone)

    def _record_gone(self, writer: Writer, entry: Entry) -> None:
        if self._expired(writer, entry):
            begun = entry.purge_begun_at is not None
            how = Removal.REMOVED if begun else Removal.GONE
            writer.mail_gone(entry.id, how)
            verb, answer = ("removed", INTERRUPTED) if begun else ("gone", OTHERS)
            writer.trace(self._deed(entry, verb, answer))

    def _lies_here(self, entry: Entry) -> bool:
        return entry.present and self._whereabouts.ref(entry.ref.uid) == entry.ref

    def _remove(self, entries: Sequence[Entry]) -> int:
        found = self._sorted(entries)
        self._report(found)
        begun = self._begin(found.sure)
        gone = self._mailbox.remove([entry.ref.uid for entry in begun])
        done = [entry for entry in begun if entry.ref.uid in gone]
        with self._desk.ledger.writing() as writer:
            for entry in done:
                now = self._desk.ledger.entry(entry.id)
                if now is not None and now.removal is None:
                    writer.mail_gone(entry.id, Removal.REMOVED)
                    writer.trace(self._deed(entry, "removed", EXPUNGED))
        self._whereabouts.removed(entry.ref.uid for entry in done)
        left = len(begun) - len(done)
        if left and is_news(self._desk, f"unexpunged {self._mailbox.name}"):
            name = self._mailbox.name
            _log.error("mails_were_not_expunged", mailbox=name, count=left)
        return len(done)

    def _begin(self, entries: Sequence[Entry]) -> list[Entry]:
        """Put the intent on disk, for those that nobody decided about meanwhile."""
        begun = []
        with self._desk.ledger.writing() as writer:
            for entry in entries:
                if self._desk.ledger.entry(entry.id) == entry and self._expired(writer, entry):
                    writer.begin_purge([entry.id])
                    begun.append(entry)
        return begun

    def _expired(self, writer: Writer, entry: Entry) -> bool:
        """End what was not delivered by its term; return whether its mail may go."""
        if entry.state not in {State.PENDING, State.HELD}:
            return True
        now = writer.expire(entry.id)
        writer.trace(self._deed(entry, "expired", "undelivered at its term"))
        _log.error("certificate_expired_undelivered", id=entry.id, site=str(entry.site or ""))
        # Delivered to some of its targets: their copies are looked after like any other.
        return now.state in {State.EXPIRED, State.DELIVERED}

    # --- certainty

    def _sorted(self, entries: Sequence[Entry]) -> Sorted:
        shown = self._mailbox.shown([entry.ref.uid for entry in entries])
        sure, other, doubtful = [], [], []
        for entry in entries:
            one = shown.get(entry.ref.uid)
            if one is None:
                continue
            if not _agrees(entry, one):
                other.append(entry)
            elif entry.message_id is None or one.message_id is None:
                doubtful.append(entry)
            else:
                sure.append(entry)
        for some in in_groups(doubtful, _WHOLE):
            same = self._same_bytes(some)
            sure += [entry for entry in some if entry.id in same]
            other += [entry for entry in some if entry.id not in same]
        unshown = tuple(entry for entry in entries if entry.ref.uid not in shown)
        return Sorted(tuple(sure), tuple(other), unshown)

    def _same_bytes(self, entries: Sequence[Entry]) -> frozenset[str]:
        """Return the ids of those whose message is the recorded one, byte for byte."""
        by_uid = {entry.ref.uid: entry for entry in entries}
        same = {
            by_uid[one.uid].id
            for one in self._mailbox.fetch(sorted(by_uid))
            if _digest(one.raw) == by_uid[one.uid].raw_sha256
        }
        for entry in entries:
            # Of one that was set aside unread the header alone is known.
            if entry.id not in same:
                header = self._mailbox.headers(entry.ref.uid)
                if header is not None and _digest(header) == entry.raw_sha256:
                    same.add(entry.id)
        return frozenset(same)

    def _report(self, found: Sorted) -> None:
        """Tell once of each mail that is not the recorded one; look at all of them anew."""
        for entry in found.other:
            name = f"mismatch {entry.id}"
            if self._desk.ledger.memo(name) is None:
                with self._desk.ledger.writing() as writer:
                    writer.note(name, self._desk.clock.now().isoformat())
                    writer.trace(self._deed(entry, "refused", "another message lies there"))
                _log.error("mail_was_not_deleted", id=entry.id, because="another lies there")
        listed = set(self._mailbox.uids(1)) if found.unshown else set()
        hidden = [entry for entry in found.unshown if entry.ref.uid in listed]
        if hidden and is_news(self._desk, f"hidden {self._mailbox.name}"):
            name = self._mailbox.name
            _log.error("mails_were_not_shown", mailbox=name, count=len(hidden))
        lost = [entry.ref.uid for entry in found.unshown if entry.ref.uid not in listed]
        replaced = self._replaced(found.other)
        if lost or replaced:
            self._whereabouts.lost([*lost, *replaced])

    def _replaced(self, entries: Iterable[Entry]) -> list[int]:
        """Return the uids under which the server shows another size or date than before."""
        by_uid = {entry.ref.uid: entry for entry in entries}
        shown = self._mailbox.identities(sorted(by_uid)) if by_uid else {}
        return [uid for uid, one in shown.items() if one != by_uid[uid].identity]

    def _cannot(self) -> None:
        if is_news(self._desk, f"uidplus {self._mailbox.name}"):
            _log.error(
                "mailbox_refused_deletion",
                mailbox=self._mailbox.name,
                hint="No UIDPLUS there, or no right to delete: ask the operator.",
            )

    def _deed(self, entry: Entry, verb: str, answer: str) -> Deed:
        return Deed(
            verb,
            What.MAIL,
            self._desk.clock.now(),
            entry=entry.id,
            where=place_of(entry.ref),
            rule=term(entry, self._desk.policy.terms).rule,
            answer=answer,
        )


def place_of(ref: MessageRef) -> str:
    """Return where a message lies, as the trail writes it."""
    return f"{ref.mailbox} {ref.uidvalidity}/{ref.uid}"


def _agrees(entry: Entry, shown: Shown) -> bool:
    same = (shown.size, shown.internal_at) == (
        entry.identity.size,
        entry.identity.internal_at,
    )
    known = entry.message_id is not None and shown.message_id is not None
    return same and (not known or entry.message_id == shown.message_id)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
