"""Removes delivered copies from site folders and print spools, each site apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from dispatcher.core.audit import Deed, What
from dispatcher.core.delivery import Order, Removal
from dispatcher.core.ledger import Delivery, Entry
from dispatcher.core.retention import term
from dispatcher.core.routing import Kind
from dispatcher.errors import InDoubt, InvariantBroken, Refused, Unavailable
from dispatcher.ports import Copy, Destination, Mailbox
from dispatcher.service.desk import Desk
from dispatcher.service.groups import in_groups
from dispatcher.service.lanes import Ended, Lane, Lanes
from dispatcher.service.purge import stuck
from dispatcher.service.refetch import documents

_log = structlog.get_logger(__name__)

# Removed and recorded together in one lane.
_TOGETHER: Final = 64

Pair = tuple[Entry, Delivery]
Answer = Removal | Unavailable | Refused | InDoubt
Answers = list[tuple[Pair, Answer]]


class Copies:
    """The copies of one mailbox's certificates. Used by one thread."""

    def __init__(self, mailbox: Mailbox, desk: Desk, *, patience: float) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._lanes: Lanes[Answers] = Lanes(desk.clock, patience=patience)

    @property
    def idle(self) -> bool:
        """Whether no removal is under way."""
        return self._lanes.idle

    def leftovers(self, patience: float = 0.0) -> int:
        """Record what slow removals came to since; return how many copies are gone."""
        return self._record(self._lanes.leftovers(patience))

    def remove(self, pairs: Sequence[Pair]) -> int:
        """Remove these copies as far as their sites answer; return how many are gone."""
        by_lane: dict[Lane, list[Pair]] = {}
        for pair in pairs:
            by_lane.setdefault(_lane(*pair), []).append(pair)
        gone = 0
        while by_lane:
            work = {
                lane: self._work(lane, mine[:_TOGETHER])
                for lane, mine in by_lane.items()
                if not self._lanes.busy(lane)
            }
            for group in self._lanes.run(work):
                gone += self._record(group)
            # A lane that hangs or refuses gets no more of it now.
            by_lane = {
                lane: mine[_TOGETHER:]
                for lane, mine in by_lane.items()
                if mine[_TOGETHER:] and lane in work and not self._lanes.busy(lane)
            }
        self._tell_silent({_lane(*pair) for pair in pairs})
        return gone

    def locate(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Find the copies in folders that were delivered without a reference.

        Without one, a mail must not go: only its document tells which file is meant.
        Returns the ids of those messages whose copies cannot be looked for now.
        """
        unknown = [e for e in entries if e.present and any(map(_is_unknown, e.deliveries))]
        unsure = {entry.id for entry in unknown}
        for some in in_groups(unknown, _TOGETHER):
            found = documents(self._mailbox, some, self._desk.policy.senders)
            for entry, document in list(found):
                orders = [
                    (Order(delivery.id, *_lane(entry, delivery), document), delivery.rules)
                    for delivery in entry.deliveries
                    if document is not None and _is_unknown(delivery)
                ]
                if document is not None and self._locate(orders):
                    unsure.discard(entry.id)
        return frozenset(unsure)

    def _locate(self, orders: Iterable[tuple[Order, str]]) -> bool:
        """Look for every one; return whether all could be looked for."""
        asked = [self._located(order, rules) for order, rules in orders]
        return all(asked)

    def _located(self, order: Order, rules: str) -> bool:
        destination = self._desk.destination(order.site, order.target, rules)
        if destination is None:
            return False
        try:
            receipt = destination.find(order)
        except (Unavailable, Refused, InDoubt):
            return False
        with self._desk.ledger.writing() as writer:
            if receipt is None:
                writer.copy_gone(order.id, Removal.GONE)
            else:
                writer.located(order.id, receipt.reference)
        return True

    def _work(self, lane: Lane, pairs: Sequence[Pair]) -> Callable[[], Answers]:
        # Each copy lies where the rules said by which it was delivered.
        by = {delivery.rules for _, delivery in pairs}
        found = {rules: self._desk.destination(*lane, rules) for rules in by}
        return lambda: [(pair, _removed(found[pair[1].rules], *pair)) for pair in pairs]

    def _record(self, group: Iterable[Ended[Answers]]) -> int:
        gone = 0
        for ended in group:
            stuck.tell_broken(self._desk, ended)
            gone += self._recorded(ended.lane, ended.result or [])
        return gone

    def _recorded(self, lane: Lane, answers: Answers) -> int:
        gone, failed = 0, None
        with self._desk.ledger.writing() as writer:
            for (entry, delivery), answer in answers:
                if not isinstance(answer, Removal):
                    failed = answer
                    continue
                now = self._desk.ledger.entry(entry.id)
                mine = next(d for d in now.deliveries if d.id == delivery.id) if now else None
                if mine is None or not (mine.lies_there or mine.removal is Removal.CHANGED):
                    continue  # another process was faster
                if mine.removal is answer:
                    continue  # changed before, and still there
                writer.copy_gone(delivery.id, answer)
                writer.trace(self._deed(entry, lane, answer))
                gone += answer is not Removal.CHANGED
                self._tell((entry, delivery), lane, answer)
        if failed is not None:
            stuck.tell(self._desk, lane, failed)
        return gone

    def _deed(self, entry: Entry, lane: Lane, answer: Removal) -> Deed:
        verb = {Removal.REMOVED: "removed", Removal.CHANGED: "left"}.get(answer, "gone")
        return Deed(
            verb,
            What.COPY,
            self._desk.clock.now(),
            entry=entry.id,
            where=f"{lane[0]} {lane[1]}",
            # Emptied already: only what was left changed is asked for again.
            rule="" if entry.emptied_at else term(entry, self._desk.policy.terms).rule,
            answer=answer.value,
        )

    def _tell(self, pair: Pair, lane: Lane, answer: Removal) -> None:
        told = {"id": pair[0].id, "site": str(lane[0]), "target": lane[1]}
        if answer is Removal.CHANGED:
            _log.error("changed_copy_was_left", **told)
        elif _is_unknown(pair[1]):
            # Its mail was gone before anybody looked: nothing tells which file was meant.
            _log.error("copy_could_not_be_looked_for", **told)

    def _tell_silent(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            if self._lanes.busy(lane):
                stuck.tell(self._desk, lane, Unavailable("it does not answer"))


def _removed(destination: Destination | None, entry: Entry, delivery: Delivery) -> Answer:
    if destination is None:
        return Unavailable(stuck.NO_TARGET)
    # An emptied line has no digest left: then nothing is ever taken for ours.
    copy = Copy(delivery.id, delivery.reference or "", entry.sha256 or "")
    try:
        return destination.remove(copy)
    except (Unavailable, Refused, InDoubt) as error:
        return error


def _is_unknown(delivery: Delivery) -> bool:
    there = delivery.lies_there and delivery.kind is Kind.FOLDER
    return there and delivery.reference is None


def _lane(entry: Entry, delivery: Delivery) -> Lane:
    site = delivery.site or entry.site
    if site is None:
        raise InvariantBroken(f"message {entry.id} has deliveries and no site")
    return site, delivery.target


def changed(entries: Iterable[Entry]) -> list[Pair]:
    """Return the copies that were left because they were changed: perhaps gone by now."""
    return [
        (replace(entry, sha256=None), delivery)
        for entry in entries
        for delivery in entry.deliveries
        if delivery.removal is Removal.CHANGED
    ]
