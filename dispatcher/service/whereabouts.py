"""Knows which messages of a mailbox were seen before, whatever the server does to uids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final

import structlog

from dispatcher.core.ledger import Identity, Place, State
from dispatcher.core.message import MessageRef
from dispatcher.ports import Mailbox, Selected
from dispatcher.service.desk import Desk, Policy

_log = structlog.get_logger(__name__)

# A watermark alone would miss a message that was hidden for a while: the whole uid list
# is compared at every start, after anything odd, and this often (seconds).
_FULL_LOOK: Final = 600.0
# How many known messages are asked for their identity in a full look; all of them as soon
# as one has changed. Uids given out again after a mailbox was emptied change them all.
_SAMPLE: Final = 256
# A message that the server lists and does not send is reported after this time (seconds).
_MISSING_FOR: Final = 60.0
# It is looked for as long after as it has been missing, within these bounds (seconds).
_SOON: Final = 1.0
_LATE: Final = 60.0


class Whereabouts:
    """What lies where in one mailbox. Used by one thread."""

    def __init__(self, mailbox: Mailbox, desk: Desk) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._selected: Selected | None = None
        self._known: dict[int, Identity] | None = None
        self._looked_at: float | None = None
        self._highest: int | None = None
        self._missing: dict[int, float] = {}
        self._reported: set[int] = set()
        self._checked_at: datetime | None = None

    @property
    def selected(self) -> Selected:
        """What the server said last. Only after `news`."""
        assert self._selected is not None  # noqa: S101 - order of calls, not input
        return self._selected

    def ref(self, uid: int) -> MessageRef:
        """Return where this uid lies now."""
        return MessageRef(self._mailbox.name, self.selected.uidvalidity, uid)

    def holds(self, ref: MessageRef) -> bool:
        """Whether a message of ours lies there now: flags are set on no other."""
        known = self._known if self._known is not None else {}
        return ref == self.ref(ref.uid) and ref.uid in known

    def news(self) -> tuple[int, ...]:
        """Select the mailbox; return the uids that nobody has read yet, ascending."""
        selected = self._mailbox.select()
        known = self._remembered(selected)
        first = min([self._next(), *self._missing])
        listed = self._mailbox.uids(first) if self._steady(selected, known) else None
        new = [] if listed is None else [uid for uid in listed if uid not in known]
        if listed is None or selected.exists != len(known) + len(new):
            new = self._full_look(known)
        self._forget_missing(new)
        return tuple(new)

    def noted(self, identities: Mapping[int, Identity]) -> None:
        """Say that these uids are in the ledger now."""
        known = self._remembered(self.selected)
        last = self._last(known)
        known.update(identities)
        self._highest = max([*identities, last or 0], default=None)
        for uid in identities:
            self._missing.pop(uid, None)
            self._reported.discard(uid)

    @property
    def newest(self) -> datetime | None:
        """The newest date of arrival that the server has shown of what lies there."""
        known = self._known or {}
        return max((one.internal_at for one in known.values()), default=None)

    def removed(self, uids: Iterable[int]) -> None:
        """Say that we removed these messages, and that the ledger knows."""
        known = self._known if self._known is not None else {}
        for uid in uids:
            known.pop(uid, None)

    def missing(self, uids: Iterable[int]) -> None:
        """Say that the server listed these uids and did not send them: asked for again."""
        now = self._desk.clock.monotonic()
        news = [
            uid
            for uid in uids
            if now - self._missing.setdefault(uid, now) >= _MISSING_FOR
            and uid not in self._reported
        ]
        if news:
            self._reported.update(news)
            _log.error(
                "message_stayed_unfetchable",
                mailbox=self._mailbox.name,
                uidvalidity=self.selected.uidvalidity,
                uid=news[0],
                count=len(news),
            )

    @property
    def complete(self) -> bool:
        """Whether everything that the server listed could be read."""
        return not self._missing

    @property
    def patience(self) -> float:
        """In how many seconds to look again for what the server did not send."""
        since = max(self._missing.values(), default=0.0)
        return min(_LATE, max(_SOON, self._desk.clock.monotonic() - since))

    def lost(self, uids: Iterable[int]) -> None:
        """Say that other messages lie under these uids now, or none: look at all again."""
        self._mark_absent(list(uids), "known_message_was_replaced")
        self._looked_at = None

    def place(self) -> Place:
        """Return what to remember of this check, for the ledger.

        It was no good one when something has been listed and not sent for long: that may be
        a certificate, and whoever looks at the time of the last good check has to hear of it.
        """
        uidnext = min([self.selected.uidnext, *self._missing])
        if self._checked_at is None or not self._reported & self._missing.keys():
            self._checked_at = self._desk.clock.now()
        return Place(
            self._mailbox.name,
            self.selected.uidvalidity,
            uidnext,
            self._checked_at,
            self._since,
        )

    def _remembered(self, selected: Selected) -> dict[int, Identity]:
        if self._known is None or self._changed(selected):
            self._begin_anew(selected)
        self._selected = selected
        assert self._known is not None  # noqa: S101 - set just above
        return self._known

    def _changed(self, selected: Selected) -> bool:
        before = self._selected
        return before is not None and before.uidvalidity != selected.uidvalidity

    def _begin_anew(self, selected: Selected) -> None:
        name, ledger = self._mailbox.name, self._desk.ledger
        place = ledger.place(name)
        if place is not None and place.uidvalidity != selected.uidvalidity:
            _log.warning(
                "uidvalidity_changed",
                mailbox=name,
                before=place.uidvalidity,
                after=selected.uidvalidity,
            )
            old = ledger.known(name, place.uidvalidity)
            with ledger.writing() as writer:
                writer.absent([MessageRef(name, place.uidvalidity, uid) for uid in old])
                writer.remember(Place(name, selected.uidvalidity, 1, self._desk.clock.now()))
        elif place is not None:
            self._take_back(place)
        self._known = dict(ledger.known(name, selected.uidvalidity))
        self._highest = None
        self._looked_at = None
        self._missing.clear()
        self._reported.clear()

    @property
    def _since(self) -> date | None:
        return self._desk.policy.since.get(self._mailbox.name)

    def _take_back(self, place: Place) -> None:
        """Forget mail that an earlier `since` left alone and today's does not: read anew.

        Foreign mail of that time is read once more with it, which changes nothing.
        """
        if place.since is None or (self._since is not None and self._since >= place.since):
            return
        ledger = self._desk.ledger
        before = Policy(frozenset(), since={place.mailbox: place.since})
        refs = [
            MessageRef(place.mailbox, place.uidvalidity, uid)
            for uid, identity in ledger.known(place.mailbox, place.uidvalidity).items()
            if before.leaves_alone(place.mailbox, identity)
        ]
        ours = ledger.entries_at(refs)
        with ledger.writing() as writer:
            writer.absent([ref for ref in refs if ref not in ours])
            writer.remember(replace(place, uidnext=1, since=self._since))

    def _next(self) -> int:
        place = self._desk.ledger.place(self._mailbox.name)
        return 1 if place is None else place.uidnext

    def _steady(self, selected: Selected, known: Mapping[int, Identity]) -> bool:
        """Whether nothing suggests that more than new mail has happened."""
        if self._looked_at is None or selected.uidnext < self._next():
            return False
        if self._desk.clock.monotonic() - self._looked_at >= _FULL_LOOK:
            return False
        last = self._last(known)
        return last is None or not self._altered([last], known)

    def _last(self, known: Mapping[int, Identity]) -> int | None:
        """Return the highest known uid; looked for only when the one known as such is gone."""
        if self._highest not in known:
            self._highest = max(known, default=None)
        return self._highest

    def _full_look(self, known: dict[int, Identity]) -> list[int]:
        listed = self._mailbox.uids(1)
        present = set(listed)
        self._mark_absent([uid for uid in known if uid not in present], "message_was_removed")
        still = sorted(known)
        altered = self._altered(_sample(still), known)
        if altered:
            altered = self._altered(still, known)
            self._mark_absent(altered, "known_message_was_replaced")
        self._looked_at = self._desk.clock.monotonic()
        return [uid for uid in listed if uid not in known]

    def _altered(self, uids: Sequence[int], known: Mapping[int, Identity]) -> list[int]:
        """Return those uids under which the server shows another message than before."""
        shown = self._mailbox.identities(uids) if uids else {}
        return [uid for uid in uids if uid in shown and shown[uid] != known[uid]]

    def _mark_absent(self, uids: Sequence[int], event: str) -> None:
        if not uids:
            return
        refs = [self.ref(uid) for uid in uids]
        there = self._desk.ledger.entries_at(refs).values()
        undelivered = [e.id for e in there if e.state in {State.PENDING, State.HELD}]
        with self._desk.ledger.writing() as writer:
            writer.absent(refs)
        known = self._known if self._known is not None else {}
        for uid in uids:
            known.pop(uid, None)
        _log.info(event, mailbox=self._mailbox.name, count=len(uids))
        for entry_id in undelivered:
            _log.error("undelivered_message_was_removed_by_others", id=entry_id)

    def _forget_missing(self, new: Sequence[int]) -> None:
        gone = set(self._missing) - set(new)
        for uid in gone:
            del self._missing[uid]
            self._reported.discard(uid)


def _sample(uids: Sequence[int]) -> list[int]:
    if len(uids) <= _SAMPLE:
        return list(uids)
    step = (len(uids) - 1) / (_SAMPLE - 1)
    return sorted({uids[round(index * step)] for index in range(_SAMPLE)})
