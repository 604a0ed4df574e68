"""Knows which messages a new one resembles: those of the ledger, and those of its batch."""

from __future__ import annotations

from dispatcher.core.certificate import ContentKey, HoldReason
from dispatcher.core.ledger import Entry, State
from dispatcher.ports import Alike
from dispatcher.service.assess import Assessment


class Likeness:
    """One batch against what is known. `alike` was asked for inside its transaction."""

    def __init__(self, alike: Alike) -> None:
        self._alike = alike
        # What this transaction has recorded: the ledger's reads do not show it yet.
        self._by_key: dict[ContentKey, Entry] = {}
        self._relocated: set[str] = set()

    def note(self, key: ContentKey | None, entry: Entry) -> None:
        """Say that this message of the batch is in the ledger now."""
        if key is not None and entry.state is not State.DUPLICATE:
            self._by_key[key] = entry

    def note_relocated(self, entry: Entry) -> None:
        """Say that this message of the ledger was found in the batch."""
        self._relocated.add(entry.id)

    def was_relocated(self, entry: Entry) -> bool:
        """Whether it was found in this batch."""
        return entry.id in self._relocated

    def moved(self, assessment: Assessment) -> Entry | None:
        """Return the message of the ledger that these very bytes are, found elsewhere.

        Other bytes around the same document (a server that rewrites headers) take the
        place of a message that is gone and was never delivered.
        """
        raw, key = assessment.raw_sha256, assessment.key
        same = [e for e in self._alike.same_raw.get(raw, ()) if e.state is not State.PURGED]
        if key is not None:
            content = self._alike.same_content.get(key, ())
            same += [e for e in content if e.state is State.PENDING]
        gone = (e for e in same if not e.present and e.id not in self._relocated)
        return next(gone, None)

    def first_of(self, key: ContentKey | None) -> Entry | None:
        """Return the first message with this content whose sources agreed, if any."""
        if key is None:
            return None
        if key in self._by_key:
            return self._by_key[key]
        content = self._alike.same_content.get(key, ())
        return next((entry for entry in content if _stands(entry)), None)

    def replaced_by(self, key: ContentKey | None) -> str | None:
        """Return the id of the message that this content takes the place of, if any."""
        if key is None:
            return None
        test = (key.site, key.file_number)
        fresh = [
            e for other, e in self._by_key.items() if (other.site, other.file_number) == test
        ]
        latest = fresh[-1] if fresh else self._alike.latest_of.get(test)
        return latest.id if latest is not None and _stands(latest) else None


def _stands(entry: Entry) -> bool:
    """Whether a later message with the same content is a duplicate of this one.

    Not of one whose sources disagreed, and not of one that a person discarded: a sound
    certificate must never be taken for a copy of those.
    """
    sound = {HoldReason.SITE_UNKNOWN, HoldReason.TARGET_REFUSED, HoldReason.IN_DOUBT}
    sound |= {reason for reason in HoldReason if reason.value.startswith("pdf-")}
    if entry.state is State.HELD:
        return entry.reason in sound
    return entry.state is not State.EXPIRED
