"""Says what a run would do with a mailbox, opened so that nothing can change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from dispatcher.core.certificate import ContentKey, Foreign, HoldReason
from dispatcher.core.ledger import Identity
from dispatcher.core.message import MessageRef
from dispatcher.ports import Mailbox
from dispatcher.service.assess import Assessment, assess, assess_header, purge_at
from dispatcher.service.desk import Reader
from dispatcher.service.groups import in_groups

_TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Previewed:
    """One message and what would become of it.

    `repeats` is the uid of an earlier message of this mailbox with the same content.
    `purge_at` is None for foreign mail. `flags` are the server's.
    """

    ref: MessageRef
    assessment: Assessment
    purge_at: datetime | None
    repeats: int | None = None
    flags: frozenset[str] = frozenset()


def preview(mailbox: Mailbox, reader: Reader) -> Iterator[Previewed]:
    """Read every message of a mailbox with EXAMINE. Raises Unavailable or Refused."""
    selected = mailbox.select(read_only=True)
    identities = mailbox.identities(mailbox.uids(1))
    uids = [
        uid
        for uid in identities
        if not reader.policy.leaves_alone(mailbox.name, identities[uid])
    ]
    first: dict[ContentKey, int] = {}
    for some in in_groups(sorted(uids), _TOGETHER):
        for uid, assessment, flags in _assessed(mailbox, reader, some):
            ref = MessageRef(mailbox.name, selected.uidvalidity, uid)
            key = assessment.key
            repeats = None if key is None else first.setdefault(key, uid)
            yield Previewed(
                ref,
                assessment,
                _term(assessment, identities[uid], reader),
                None if repeats == uid else repeats,
                flags,
            )


def _assessed(
    mailbox: Mailbox, reader: Reader, uids: Sequence[int]
) -> Iterator[tuple[int, Assessment, frozenset[str]]]:
    fetched = list(mailbox.fetch(uids))
    found = assess([one.raw for one in fetched], reader)
    assessed = {one.uid: assessment for one, assessment in zip(fetched, found, strict=True)}
    for uid in uids:
        if uid not in assessed and mailbox.too_large(uid) and (header := mailbox.headers(uid)):
            reason, detail = HoldReason.TOO_LARGE, "too large to read"
            assessed[uid] = assess_header(header, reader, reason=reason, detail=detail)
    flags = {one.uid: one.flags for one in fetched}
    for uid in sorted(assessed):
        yield uid, assessed[uid], flags.get(uid, frozenset())


def _term(assessment: Assessment, identity: Identity, reader: Reader) -> datetime | None:
    if isinstance(assessment.reading, Foreign):
        return None
    return purge_at(assessment, identity.internal_at, reader.policy)
