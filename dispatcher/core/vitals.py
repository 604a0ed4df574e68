"""How the service stands at one moment, as values: what alerts, figures and `status` tell.

Nothing here names a patient: ids, sites, targets, counts and times only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Balance, DeliveryState
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import RulesState


@dataclass(frozen=True, slots=True)
class Filling:
    """How full an account was, in bytes, when its server was last asked."""

    used: int
    limit: int
    asked_at: datetime

    @property
    def percent(self) -> int:
        """The share that is used, rounded down."""
        return 100 * self.used // self.limit if self.limit else 0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A purge that brakes keep from deleting; `brakes` are their words.

    `asks`: it is no alarm, the first purge of an old mailbox waits for a yes.
    """

    brakes: frozenset[str]
    since_at: datetime
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Oldest:
    """The certificate that has been on its way for the longest time.

    `since_at` is its reception, or when its site opened or a person released it.
    """

    id: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class MailboxVitals:
    """One mailbox. `checked_at`: the last good check; None: there was none yet.

    `oldest` counts what could be delivered now: neither what is held nor what waits for its
    site to open. `refused_at` is when the server refused our login for the first time in a
    row. `past_term` counts messages whose term has come and that are not wholly deleted,
    `overdue_at` is the earliest of these terms.
    """

    name: str
    checked_at: datetime | None = None
    oldest: Oldest | None = None
    refusals: int = 0
    refused_at: datetime | None = None
    purged_at: datetime | None = None
    past_term: int = 0
    overdue_at: datetime | None = None
    stopped: Stopped | None = None
    quota: Filling | None = None


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why the oldest delivery that waits at a site's target has not ended, and since when."""

    because: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class LaneVitals:
    """One target of one site: how many of its deliveries stand where."""

    site: FinessET
    target: str
    kind: Kind
    counts: Mapping[DeliveryState, int] = field(default_factory=dict)
    hindrance: Hindrance | None = None

    def count(self, state: DeliveryState) -> int:
        """Return how many deliveries are in this state."""
        return self.counts.get(state, 0)


@dataclass(frozen=True, slots=True)
class HeldVitals:
    """One message that waits for a person; `site` None: it is not known."""

    id: str
    site: FinessET | None
    reason: HoldReason


@dataclass(frozen=True, slots=True)
class Deadline:
    """One message that is not delivered, and when its legal term ends."""

    id: str
    site: FinessET | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Room:
    """How full a disk or a share is: bytes, and files where it counts them (0: it does not)."""

    free: int
    size: int
    free_files: int = 0
    files: int = 0

    @property
    def used(self) -> float:
        """The part that is used, between 0 and 1: of bytes or of files, what is scarcer."""
        shares = [
            1 - free / whole
            for free, whole in ((self.free, self.size), (self.free_files, self.files))
            if whole > 0
        ]
        return max(shares, default=0.0)


@dataclass(frozen=True, slots=True)
class PlaceHealth:
    """How a destination is now: what keeps it from taking documents, in words; its room.

    `room` None: it has none of its own (a print queue).
    """

    trouble: str = ""
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class PlaceVitals:
    """One target of one site when it was last looked at. `since_at`: of its trouble."""

    site: FinessET
    target: str
    kind: Kind
    health: PlaceHealth = PlaceHealth()
    since_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """Something a mailbox is opened with that ends by itself: a certificate, a long token."""

    mailbox: str
    what: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Silence:
    """A site of which nothing came since `since_on` though its history says it should.

    `expected` is how many certificates its own weeks would have brought.
    """

    site: FinessET
    since_on: date
    expected: float


@dataclass(frozen=True, slots=True)
class Leftover:
    """Messages of which a printer keeps a document after its job ended."""

    site: FinessET
    target: str
    count: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many deliveries of one kind to one target are in one state."""

    site: FinessET
    target: str
    kind: Kind
    state: DeliveryState
    count: int


@dataclass(frozen=True, slots=True)
class Vitals:
    """Everything at the moment `at`. `started_at`: of this service; None: not from inside it.

    `deadlines` begin with the next one. `silences` are seconds without a sign of life, by
    the service's parts. `vanished` are ids of undelivered messages that others removed from
    the mailbox, `rules` those in force and what keeps a changed file out. The rest is looked
    at by the service alone: its `places`, the `room` on the ledger's disk, `credentials`,
    documents left in spools, and sites that are silent.
    """

    at: datetime
    balance: Balance
    mailboxes: tuple[MailboxVitals, ...] = ()
    lanes: tuple[LaneVitals, ...] = ()
    held: tuple[HeldVitals, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    started_at: datetime | None = None
    silences: Mapping[str, float] = field(default_factory=dict)
    vanished: tuple[str, ...] = ()
    rules: RulesState | None = None
    places: tuple[PlaceVitals, ...] = ()
    room: Room | None = None
    credentials: tuple[Credential, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    silent: tuple[Silence, ...] = ()

    @property
    def oldest(self) -> Oldest | None:
        """The oldest of all mailboxes."""
        found = [box.oldest for box in self.mailboxes if box.oldest is not None]
        return min(found, key=_since, default=None)


def _since(oldest: Oldest) -> datetime:
    return oldest.since_at
