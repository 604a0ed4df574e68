"""The life of a message and of a delivery, as tables. Every transition is here.

docs/architecture.md draws its diagrams from these tables and the ledger edge builds the
database's own checks from them, so the three cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from dispatcher.core.certificate import HoldReason, Result
from dispatcher.core.delivery import Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.message import MessageRef
from dispatcher.core.routing import Kind


class State(Enum):
    """Where a SI-DEP message stands. Stored as these words: never renamed or reused."""

    PENDING = "pending"  # has targets that do not all hold it yet
    HELD = "held"  # waits for a person
    DELIVERED = "delivered"  # every target holds it
    DUPLICATE = "duplicate"  # the same content came before
    EXPIRED = "expired"  # ended undelivered, and a person knows
    PURGED = "purged"  # removed at its legal term; an empty line remains


class DeliveryState(Enum):
    """Where one delivery stands. Stored as these words: never renamed or reused."""

    DECIDED = "decided"  # has to be made
    WAITING = "waiting"  # has to be made when its site opens
    DELIVERING = "delivering"  # the intent is on disk, the effect may have begun
    IN_DOUBT = "in_doubt"  # the effect may have happened; to be settled
    DELIVERED = "delivered"  # the destination holds it and we have a receipt
    HELD = "held"  # waits for a person
    DISCARDED = "discarded"  # a person decided that it is not to be made


ALLOWED: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.PENDING: frozenset({State.DELIVERED, State.HELD, State.EXPIRED}),
        State.HELD: frozenset({State.PENDING, State.DELIVERED, State.EXPIRED}),
        State.DELIVERED: frozenset({State.PENDING, State.PURGED}),  # pending: printed again
        State.DUPLICATE: frozenset({State.PURGED}),
        State.EXPIRED: frozenset(),
        State.PURGED: frozenset(),
    }
)

DELIVERY_ALLOWED: Final[Mapping[DeliveryState, frozenset[DeliveryState]]] = MappingProxyType(
    {
        DeliveryState.DECIDED: frozenset(
            {
                DeliveryState.DELIVERING,
                DeliveryState.WAITING,
                DeliveryState.HELD,
                DeliveryState.DISCARDED,
            }
        ),
        DeliveryState.WAITING: frozenset(
            {DeliveryState.DECIDED, DeliveryState.HELD, DeliveryState.DISCARDED}
        ),
        DeliveryState.DELIVERING: frozenset(
            {
                DeliveryState.DELIVERED,
                DeliveryState.DECIDED,
                DeliveryState.HELD,
                DeliveryState.IN_DOUBT,
                DeliveryState.DISCARDED,  # refused, and its fallback takes over
            }
        ),
        DeliveryState.IN_DOUBT: frozenset(
            {
                DeliveryState.DELIVERED,
                DeliveryState.DELIVERING,  # found at its destination, to be followed
                DeliveryState.DECIDED,
                DeliveryState.HELD,
            }
        ),
        DeliveryState.HELD: frozenset(
            {DeliveryState.DECIDED, DeliveryState.DELIVERED, DeliveryState.DISCARDED}
        ),
        DeliveryState.DELIVERED: frozenset(),
        DeliveryState.DISCARDED: frozenset(),
    }
)

# States in which a message begins.
INITIAL: Final = frozenset({State.PENDING, State.HELD, State.DUPLICATE})

# States in which nothing is left to do for a message that still lies in its mailbox.
SETTLED: Final = frozenset({State.DELIVERED, State.DUPLICATE, State.EXPIRED})

# Deliveries that have ended; every other one still has to be made, or is being made.
ENDED: Final = frozenset({DeliveryState.DELIVERED, DeliveryState.DISCARDED})

# The effect may be under way: nobody but the one who settles it may decide about it.
UNDER_WAY: Final = frozenset({DeliveryState.DELIVERING, DeliveryState.IN_DOUBT})


def may_follow(before: State, after: State) -> bool:
    """Return whether a message in `before` may move to `after`."""
    return after in ALLOWED[before]


def delivery_may_follow(before: DeliveryState, after: DeliveryState) -> bool:
    """Return whether a delivery in `before` may move to `after`."""
    return after in DELIVERY_ALLOWED[before]


def state_of(deliveries: Collection[DeliveryState]) -> State:
    """Return the state of a message from the states of its deliveries.

    One held delivery makes the message held; deliveries that a person discarded do not
    count beside others. None at all: held, because somebody must say where it goes.
    """
    counted = set(deliveries) - {DeliveryState.DISCARDED}
    if DeliveryState.HELD in counted:
        return State.HELD
    if not counted:
        return State.EXPIRED if deliveries else State.HELD
    return State.DELIVERED if counted == {DeliveryState.DELIVERED} else State.PENDING


# What INTERNALDATE is when the server gives none that can be read.
UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server says of a message without reading it: enough to see a reused uid.

    `size` is RFC822.SIZE in bytes, `internal_at` INTERNALDATE, aware (RFC 3501, 2.3.3), or
    UNDATED.
    """

    size: int
    internal_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as the ledger holds it. `because` is for people, without patient data.

    `site` is the one it was decided for: a release may send the message elsewhere while
    what was made stays. `reason` is set while it is held. `copy` counts the extra copies
    that people asked for, 0 is the first. `asked`: a person wants it now, whatever the hour.
    `made_at` is when it was delivered; `removal` and `removed_at` say what became of the
    copy at its term. `rules` is the digest of the rules that it was decided under; from its
    first beginning on, of those by which it went.
    """

    id: str
    target: str
    kind: Kind
    state: DeliveryState
    reference: str | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    because: str = ""
    site: FinessET | None = None
    reason: HoldReason | None = None
    copy: int = 0
    asked: bool = False
    made_at: datetime | None = None
    removal: Removal | None = None
    removed_at: datetime | None = None
    rules: str = ""

    @property
    def lies_there(self) -> bool:
        """Whether a copy of ours is to be looked after: made, and not removed."""
        return self.state is DeliveryState.DELIVERED and self.removal is None


@dataclass(frozen=True, slots=True)
class Entry:
    """One SI-DEP message as the ledger holds it. No patient's name is in it.

    `ref` is where the message was last seen; `present` whether it still lies there.
    `detail` is a sentence for people, without patient data. `sha256` is the document's,
    `raw_sha256` the whole message's, `message_id` that of its Message-ID, all hexadecimal.

    `kept_until`: a person keeps it beyond its term. `purge_begun_at`: the intent to delete
    its mail is on disk; `removal` and `removed_at` say how the mail went. `emptied_at`: what
    identifies was taken out of the line; `key_digest` then finds a later duplicate (a keyed
    digest of the content key). `warned_at` is when somebody was first warned that its term
    comes before its delivery, `warned` the hours before it at the last warning.
    """

    id: str
    ref: MessageRef
    identity: Identity
    received_at: datetime
    state: State
    reason: HoldReason | None = None
    detail: str = ""
    site: FinessET | None = None
    file_number: str | None = field(default=None, repr=False)
    result: Result | None = None
    analysis: str | None = None
    sampled_at: datetime | None = None
    purge_at: datetime | None = None
    sha256: str | None = None
    raw_sha256: str | None = None
    replaces: str | None = None
    duplicate_of: str | None = None
    present: bool = True
    keyword_set: bool = False
    rules: str = ""
    deliveries: tuple[Delivery, ...] = ()
    message_id: str | None = None
    kept_until: datetime | None = None
    purge_begun_at: datetime | None = None
    removal: Removal | None = None
    removed_at: datetime | None = None
    emptied_at: datetime | None = None
    key_digest: str | None = None
    warned_at: datetime | None = None
    warned: int | None = None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to record; it begins `decided`, by the rules of this digest."""

    target: str
    kind: Kind
    rules: str = ""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A message to record, in one of the INITIAL states; pending needs deliveries."""

    ref: MessageRef
    identity: Identity
    received_at: datetime
    state: State
    reason: HoldReason | None = None
    detail: str = ""
    site: FinessET | None = None
    file_number: str | None = field(default=None, repr=False)
    result: Result | None = None
    analysis: str | None = None
    sampled_at: datetime | None = None
    purge_at: datetime | None = None
    sha256: str | None = None
    raw_sha256: str | None = None
    replaces: str | None = None
    duplicate_of: str | None = None
    rules: str = ""
    deliveries: tuple[NewDelivery, ...] = ()
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts of messages. It closes when `difference` is 0."""

    received: int = 0
    delivered: int = 0
    held: int = 0
    pending: int = 0
    duplicate: int = 0
    expired: int = 0
    foreign: int = 0

    @property
    def difference(self) -> int:
        """Received messages that no state accounts for; anything but 0 is an alarm."""
        return self.received - (
            self.delivered + self.held + self.pending + self.duplicate + self.expired
        )


@dataclass(frozen=True, slots=True)
class Place:
    """What the ledger remembers of an IMAP mailbox since the last good check of it.

    `uidnext` is RFC 3501's next uid; `checked_at` the time of that check; `since` the
    setting of that name then, before which mail was left alone.
    """

    mailbox: str
    uidvalidity: int
    uidnext: int
    checked_at: datetime
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often a server refused our login in a row, and when it did last."""

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Act:
    """What a person decided, for the audit trail. `by` is a system user's name."""

    verb: str
    entry: str
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history: a message (`delivery` None) or a delivery changed its state.

    `was` is None where it begins. `because` is for people, without patient data.
    """

    at: datetime
    entry: str
    delivery: str | None
    was: State | DeliveryState | None
    became: State | DeliveryState
    because: str = ""
