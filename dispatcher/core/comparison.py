"""Which certificates would go elsewhere under other rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dispatcher.core.certificate import Facts, HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry, State
from dispatcher.core.routing import Rules, decide

# Held for these, a certificate would find its way under other rules; every other reason
# lies in the message itself.
_OF_THE_RULES = frozenset({HoldReason.SITE_UNKNOWN, HoldReason.TARGET_REFUSED})


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """One place of a way."""

    target: str
    kind: str
    place: str


@dataclass(frozen=True, slots=True)
class Way:
    """Where a certificate goes: the site in the table, and its places. No site: held."""

    site: FinessET | None
    spots: tuple[Spot, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A certificate that would go elsewhere."""

    entry: Entry
    before: Way
    after: Way


def moves(before: Rules, after: Rules, entries: Iterable[Entry]) -> Iterator[Move]:
    """Yield the certificates of `entries` that go elsewhere under `after`.

    Left out are duplicates, what was emptied at its term, and what is held because its
    message cannot be read or contradicts itself. A former number that a certificate bore
    is not known any more: it is taken to bear the number of its site.
    """
    for entry in filter(_is_routed, entries):
        was, will_be = way(before, entry), way(after, entry)
        if was != will_be:
            yield Move(entry, was, will_be)


def way(rules: Rules, entry: Entry) -> Way:
    """Return where these rules send a certificate of the ledger."""
    facts = Facts(site=entry.site, result=entry.result, analysis=entry.analysis)
    site = None if entry.site is None else rules.site_of(entry.site)
    targets = decide(rules, facts) or ()
    spots = sorted(Spot(t.name, t.kind.value, t.place) for t in targets)
    return Way(None if site is None else site.finess, tuple(spots))


def _is_routed(entry: Entry) -> bool:
    read = entry.reason is None or entry.reason in _OF_THE_RULES
    there = entry.emptied_at is None and entry.state is not State.DUPLICATE
    return read and there and entry.site is not None


def sites_added(before: Rules, after: Rules) -> tuple[FinessET, ...]:
    """Return the numbers, former ones included, that only `after` knows."""
    return tuple(sorted(_numbers(after) - _numbers(before), key=str))


def _numbers(rules: Rules) -> set[FinessET]:
    return {number for site in rules.sites.values() for number in (site.finess, *site.aliases)}
