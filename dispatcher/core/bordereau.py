"""The bordereau: the certificates that one site received on one day, as a list to sign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Final

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, Event, State
from dispatcher.core.life import RELEASED
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Kind, PrintWhen, Site, Target
from dispatcher.core.text import fold

# A held message may be another site's, and its patient's name is then nobody's business
# here. These two come after the sources agreed: only a target is in trouble.
_OF_THE_SITE: Final = frozenset({HoldReason.TARGET_REFUSED, HoldReason.IN_DOUBT})


class Standing(IntEnum):
    """How far one certificate is on its way; of several targets the highest counts."""

    NOT_MADE = 0  # a person, or a fallback, put an end to it
    MADE = 1
    WAITING = 2
    HELD = 3


_STANDINGS: Final[Mapping[DeliveryState, Standing]] = {
    DeliveryState.DELIVERED: Standing.MADE,
    DeliveryState.DISCARDED: Standing.NOT_MADE,
    DeliveryState.DECIDED: Standing.WAITING,
    DeliveryState.WAITING: Standing.WAITING,
    DeliveryState.DELIVERING: Standing.WAITING,
    DeliveryState.IN_DOUBT: Standing.WAITING,
    DeliveryState.HELD: Standing.HELD,
}


@dataclass(frozen=True, slots=True)
class Name:
    """A patient's name as the message bears it."""

    last: str = field(repr=False)
    first: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One certificate. Its result is left out: whoever hands it over need not know it.

    `name` is None when the message could not be read now. `paper` and `copy` say how far
    the prints and the other deliveries are; None: the certificate has none of that kind.
    `replaces`: it replaces an earlier certificate of the same test. `late`: it is of an
    earlier day and came after the list before this one was made.
    """

    file_number: str | None = field(repr=False)
    name: Name | None
    received_at: datetime
    paper: Standing | None = None
    copy: Standing | None = None
    replaces: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Bordereau:
    """The list of one site and day, as it stood at `made_at`; both times aware.

    `printed`: the site has a printer, so each line says how far its print is.
    """

    site: FinessET
    site_name: str
    on: date
    made_at: datetime
    lines: tuple[Line, ...] = ()
    printed: bool = False

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"bordereau-{self.site}-{self.on.isoformat()}.pdf"

    @property
    def early(self) -> bool:
        """Whether the day was not over when it was made: certificates may still come."""
        return self.made_at.astimezone(PARIS).date() <= self.on

    @property
    def unread(self) -> int:
        """How many lines lack their name."""
        return sum(line.name is None for line in self.lines)

    @property
    def late(self) -> int:
        """How many lines are of an earlier day."""
        return sum(line.late for line in self.lines)


def of_site(entry: Entry, site: Site) -> bool:
    """Whether a message is a certificate of this site, whatever its day.

    Delivered or pending, or held for the sake of a target alone.
    """
    if entry.site != site.finess and entry.site not in site.aliases:
        return False
    if entry.state is State.HELD:
        return entry.reason in _OF_THE_SITE and bool(entry.deliveries)
    return entry.state in {State.DELIVERED, State.PENDING}


def day_of(entry: Entry) -> date:
    """Return the day in Paris on which a message was received: its own list's day."""
    return entry.received_at.astimezone(PARIS).date()


def came_at(history: Iterable[Event]) -> datetime | None:
    """Return when a message became its site's certificate, by its history; None: it has none.

    That is when the program took it in, or when a person released it: both may come long
    after the day on which the mail was received, when that day's list is made.
    """
    moments = [
        event.at
        for event in history
        if event.delivery is None and (event.was is None or event.because == RELEASED)
    ]
    return moments[-1] if moments else None


def compose(
    site: Site,
    on: date,
    entries: Iterable[Entry],
    *,
    names: Mapping[str, Name],
    made_at: datetime,
    late: Collection[str] = (),
) -> Bordereau:
    """Return the bordereau of a day, with the `late` messages (ids) of earlier days.

    `names` are by the ids of messages, unread ones left out. What is not the site's is no
    line, late or not.
    """
    chosen = [
        entry
        for entry in entries
        if of_site(entry, site) and (day_of(entry) == on or entry.id in late)
    ]
    lines = sorted((_line(entry, names.get(entry.id), on) for entry in chosen), key=_order)
    return Bordereau(
        site.finess,
        site.name,
        on,
        made_at,
        tuple(lines),
        printed=any(target.kind is Kind.PRINT for target in site.targets)
        or any(line.paper is not None for line in lines),
    )


def places(site: Site) -> tuple[Target, ...]:
    """Return the targets that take a bordereau: the first folder and the first queue.

    A target for some certificates only (`when`) is none for a list of all, nor is a printer
    that prints when somebody asks, unless the site has no other of its kind.
    """
    return tuple(_places(site))


def _places(site: Site) -> Iterator[Target]:
    for kind in (Kind.FOLDER, Kind.PRINT):
        every = [target for target in site.targets if target.kind is kind]
        yield from sorted(every, key=_unfit)[:1]


def _unfit(target: Target) -> tuple[bool, bool]:
    asked = target.printing is not None and target.printing.when is PrintWhen.HOLD
    return bool(target.when.results or target.when.analyses), asked


def _line(entry: Entry, name: Name | None, on: date) -> Line:
    # What went to another site before a person released it to this one says nothing here.
    here = [one for one in entry.deliveries if one.site in {None, entry.site}]
    return Line(
        entry.file_number,
        name,
        entry.received_at,
        _standing(one for one in here if one.kind is Kind.PRINT),
        _standing(one for one in here if one.kind is not Kind.PRINT),
        replaces=entry.replaces is not None,
        late=day_of(entry) < on,
    )


def _standing(deliveries: Iterable[Delivery]) -> Standing | None:
    """Return the worst of the targets; one that got a copy before has it, whatever follows.

    What was given up counts only where nothing took its place, as in `ledger.state_of`.
    """
    by_target: dict[str, set[Standing]] = defaultdict(set)
    for delivery in deliveries:
        by_target[delivery.target].add(_STANDINGS[delivery.state])
    return max(map(_best, by_target.values()), default=None)


def _best(copies: set[Standing]) -> Standing:
    return Standing.MADE if Standing.MADE in copies else max(copies)


def _order(line: Line) -> tuple[bool, str, str, datetime, str]:
    """By name as people look it up, whatever its case and accents; unread ones at the end."""
    last, first = (fold(line.name.last), fold(line.name.first)) if line.name else ("", "")
    return line.name is None, last, first, line.received_at, line.file_number or ""
