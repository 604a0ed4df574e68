"""What the purge does to a message in the ledger, step by step, until its line is empty."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from dispatcher.core import life
from dispatcher.core.certificate import ContentKey
from dispatcher.core.delivery import Removal
from dispatcher.core.ledger import (
    UNDER_WAY,
    Delivery,
    DeliveryState,
    Entry,
    State,
)
from dispatcher.errors import InvariantBroken, NotNow

# What a message becomes when its line is emptied; others are not emptied.
EMPTIED: Final = {
    State.DELIVERED: State.PURGED,
    State.DUPLICATE: State.PURGED,
    State.EXPIRED: State.EXPIRED,
}


def key_digest(secret: bytes, key: ContentKey) -> str:
    """Return a keyed digest that finds the same content again and tells nothing of it.

    The document's digest is part of it: a file number alone could be guessed by trying.
    """
    # Unambiguous: a site's number and a digest have lengths of their own.
    content = f"{key.site.number}{key.sha256}{key.file_number}"
    return hmac.digest(secret, content.encode(errors="backslashreplace"), "sha256").hex()


def begun(entry: Entry, at: datetime) -> Entry:
    """Record the intent to delete the mail of a message; nothing is delivered from then on."""
    if entry.state not in EMPTIED or any(d.state in UNDER_WAY for d in entry.deliveries):
        raise InvariantBroken(f"message {entry.id} is {entry.state.value}: it stays")
    return replace(entry, purge_begun_at=entry.purge_begun_at or life.utc(at))


def mail_gone(entry: Entry, how: Removal, at: datetime) -> Entry:
    """Record that the mail of a message is gone for good, by us or by others."""
    if entry.state not in EMPTIED:
        raise InvariantBroken(f"message {entry.id} is {entry.state.value}: its mail stays")
    return replace(entry, present=False, removal=how, removed_at=life.utc(at))


def copy_gone(entry: Entry, delivery_id: str, how: Removal, at: datetime) -> Entry:
    """Record what became of a delivered copy; `changed` may still become another word."""
    delivery = _made(entry, delivery_id)
    told = replace(
        delivery,
        removal=how,
        removed_at=life.utc(at),
        # What was changed is asked for again, to see when it is gone.
        reference=delivery.reference if how is Removal.CHANGED else None,
    )
    return _with(entry, told)


def located(entry: Entry, delivery_id: str, reference: str) -> Entry:
    """Record by which reference a copy is found that was delivered without one."""
    return _with(entry, replace(_made(entry, delivery_id), reference=reference))


def _made(entry: Entry, delivery_id: str) -> Delivery:
    delivery = next((d for d in entry.deliveries if d.id == delivery_id), None)
    if delivery is None or delivery.state is not DeliveryState.DELIVERED:
        raise InvariantBroken(f"delivery {delivery_id} has no copy")
    return delivery


def _with(entry: Entry, told: Delivery) -> Entry:
    others = (told if d.id == told.id else d for d in entry.deliveries)
    return replace(entry, deliveries=tuple(others))


def is_over(entry: Entry) -> bool:
    """Whether mail and copies are gone, as far as they are ours, and the line may go too."""
    return (
        entry.emptied_at is None
        and entry.state in EMPTIED
        and entry.removal is not None
        and not any(delivery.lies_there for delivery in entry.deliveries)
    )


def emptied(entry: Entry, secret: bytes, at: datetime) -> life.Step:
    """Take out of a line what identifies; what stays counts, and finds a duplicate."""
    if not is_over(entry):
        raise InvariantBroken(f"message {entry.id} is not gone everywhere")
    became = EMPTIED[entry.state]
    after = replace(
        entry,
        state=became,
        emptied_at=life.utc(at),
        key_digest=_key_digest(entry, secret) if became is State.PURGED else None,
        deliveries=tuple(map(_without_reference, entry.deliveries)),
        **_NOTHING,
    )
    return life.changed(entry, after, at, "its term came")


_NOTHING: Final[Mapping[str, Any]] = {
    "detail": "",
    "file_number": None,
    "result": None,
    "analysis": None,
    "sampled_at": None,
    "purge_at": None,
    "sha256": None,
    "raw_sha256": None,
    "message_id": None,
    "kept_until": None,
}


def _key_digest(entry: Entry, secret: bytes) -> str | None:
    if entry.site is None or entry.file_number is None or entry.sha256 is None:
        return None
    return key_digest(secret, ContentKey(entry.site, entry.file_number, entry.sha256))


def _without_reference(delivery: Delivery) -> Delivery:
    if delivery.removal is Removal.CHANGED:
        return delivery
    return replace(delivery, reference=None)


def expired(entry: Entry, at: datetime) -> life.Step:
    """End an undelivered message at its term, as far as it was not delivered."""
    return life.discard(entry, at, "its term came before its delivery")


def ensure_not_begun(entries: Iterable[Entry]) -> None:
    """Raise NotNow for a message that is being deleted: it can be delivered no more."""
    for entry in entries:
        if entry.purge_begun_at is not None or entry.removal is not None:
            raise NotNow(
                f"message {entry.id} is being deleted: its term has come",
                hint="Ask SI-DEP for it again if it is needed.",
            )
