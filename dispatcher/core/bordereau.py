"""The bordereau: the certificates that one site received on one day, as a list to sign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Final

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, State
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Kind, Site, Target
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
    `replaces`: it replaces an earlier certificate of the same test.
    """

    file_number: str | None = field(repr=False)
    name: Name | None
    received_at: datetime
    paper: Standing | None = None
    copy: Standing | None = None
    replaces: bool = False


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


def belongs(entry: Entry, site: Site, on: date) -> bool:
    """Whether a message is a certificate of this site, received on this day in Paris.

    Delivered or pending, or held for the sake of a target alone.
    """
    ours = entry.site == site.finess or entry.site in site.aliases
    if not ours or entry.received_at.astimezone(PARIS).date() != on:
        return False
    if entry.state is State.HELD:
        return entry.reason in _OF_THE_SITE and bool(entry.deliveries)
    return entry.state in {State.DELIVERED, State.PENDING}


def compose(
    site: Site,
    on: date,
    entries: Iterable[Entry],
    *,
    names: Mapping[str, Name],
    made_at: datetime,
) -> Bordereau:
    """Return the bordereau; `names` are by the ids of messages, unread ones left out."""
    chosen = [entry for entry in entries if belongs(entry, site, on)]
    lines = sorted((_line(entry, names.get(entry.id)) for entry in chosen), key=_order)
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

    A target for some certificates only (`when`) is none for a list of all, unless the site
    has no other of its kind.
    """
    return tuple(_places(site))


def _places(site: Site) -> Iterator[Target]:
    for kind in (Kind.FOLDER, Kind.PRINT):
        every = [target for target in site.targets if target.kind is kind]
        yield from sorted(every, key=lambda one: bool(one.when.results or one.when.analyses))[
            :1
        ]


def _line(entry: Entry, name: Name | None) -> Line:
    # What went to another site before a person released it to this one says nothing here.
    here = [one for one in entry.deliveries if one.site in {None, entry.site}]
    return Line(
        entry.file_number,
        name,
        entry.received_at,
        _standing(one for one in here if one.kind is Kind.PRINT),
        _standing(one for one in here if one.kind is not Kind.PRINT),
        replaces=entry.replaces is not None,
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
