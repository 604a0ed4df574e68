"""What a person decides about a certificate: release, discard, retry. Each is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dispatcher.core.certificate import Facts, HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Act, DeliveryState, Entry, NewDelivery, State
from dispatcher.core.routing import Kind, Rules, Target, decide
from dispatcher.errors import Refused
from dispatcher.ports import Clock, Ledger, Writer
from dispatcher.service.distrust import perhaps_printed


class NotPossible(Refused):
    """The decision does not fit where the message stands: done already, or not yet."""


class NotAsked(Refused):
    """The decision lacks something, or names what does not exist (a usage error)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides, and why. `name` is the system user's."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """Records decisions in the ledger; the running service carries them out."""

    ledger: Ledger
    clock: Clock
    rules: Rules

    def release(self, entry_id: str, person: Person, site: FinessET | None = None) -> Entry:
        """Let a held certificate go to its site, or to `site`.

        One in doubt is closed as delivered: the person has looked. Raises NotPossible
        when it is not held, NotAsked when nobody said where it goes.
        """
        entry = self._held(entry_id, "released")
        if entry.reason is HoldReason.IN_DOUBT:
            return self._accept(entry, person, site)
        goes_to = self._site(entry, site)
        if entry.sha256 is None:
            raise NotPossible(
                "the message holds no single document that could be delivered",
                hint="Look at it in the mailbox, then discard it here.",
            )
        targets = self._targets(entry, goes_to)
        deliveries = [self._new(target) for target in targets]
        return self._record(
            "release", entry, person, lambda w: w.release(entry.id, goes_to, deliveries)
        )

    def discard(self, entry_id: str, person: Person) -> Entry:
        """End a held or pending certificate undelivered; its mail goes at its legal term."""
        entry = self._found(entry_id)
        if entry.state not in {State.HELD, State.PENDING}:
            raise NotPossible(f"it is {entry.state.value}, so it cannot be discarded")
        if _being_delivered(entry):
            raise NotPossible("a delivery of it is under way", hint="Try again in a moment.")
        return self._record("discard", entry, person, lambda w: w.discard(entry.id))

    def retry(self, entry_id: str, person: Person) -> Entry:
        """Make the deliveries that are held or waiting for their next try due now.

        One held because its site was unknown is decided anew by the rules in force.
        """
        entry = self._found(entry_id)
        if entry.state is State.HELD and not entry.deliveries:
            return self._decide_anew(entry, person)
        if not entry.present:
            raise NotPossible(
                "its message is no longer in the mailbox",
                hint="Bring the message back into the mailbox, or discard it here.",
            )
        again = {DeliveryState.HELD, DeliveryState.WAITING}
        due = [d for d in entry.deliveries if d.state in again]
        waiting = [d for d in entry.deliveries if d.state is DeliveryState.DECIDED]
        if not due and not waiting:
            raise NotPossible(f"it is {entry.state.value}: no delivery is to be tried again")

        def again_now(writer: Writer) -> Entry:
            now = entry
            for delivery in due:
                now = writer.move(
                    delivery.id, DeliveryState.DECIDED, because="a person asked for it"
                )
            for delivery in waiting:
                now = writer.plan(delivery.id, None)
            return now

        return self._record("retry", entry, person, again_now)

    def print_now(self, entry_id: str, person: Person) -> Entry:
        """Let what waits for opening hours or for a person be printed now."""
        entry = self._found(entry_id)
        waiting = [d for d in entry.deliveries if d.state is DeliveryState.WAITING]
        doubtful = [d for d in entry.deliveries if perhaps_printed(d)]
        if not waiting and not doubtful:
            raise NotPossible(
                "nothing of it waits to be printed", hint="`reprint` makes a copy."
            )

        def ask(writer: Writer) -> Entry:
            now = entry
            for delivery in (*waiting, *doubtful):
                now = writer.ask(delivery.id)
            return now

        return self._record("print", entry, person, ask)

    def reprint(self, entry_id: str, person: Person) -> Entry:
        """Print one more copy of a delivered certificate."""
        entry = self._found(entry_id)
        printed = {d.target for d in entry.deliveries if d.kind is Kind.PRINT}
        if entry.state is not State.DELIVERED:
            raise NotPossible(f"it is {entry.state.value}, so it is not printed again")
        if not printed:
            raise NotPossible(
                "it went to no printer", hint="Its file lies in the site's folder."
            )
        if not entry.present:
            raise NotPossible("its message is no longer in the mailbox")
        if entry.purge_begun_at is not None:
            raise NotPossible("its term has come: its message is being deleted")

        def again(writer: Writer) -> Entry:
            now = entry
            for target in sorted(printed):
                now = writer.reprint(entry.id, target)
            return now

        return self._record("reprint", entry, person, again)

    def keep(self, entry_id: str, until: datetime | None, person: Person) -> Entry:
        """Keep a certificate and its copies beyond its term; None or the past: no longer."""
        entry = self._found(entry_id)
        if entry.emptied_at is not None or entry.purge_begun_at is not None:
            raise NotPossible("its term has come: it is deleted")
        kept = until if until is not None and until > self.clock.now() else None
        return self._record("hold", entry, person, lambda w: w.keep(entry.id, kept))

    def waiting_at(self, site: FinessET) -> list[Entry]:
        """Return the certificates of a site of which something waits to be printed."""
        return [
            entry
            for entry in self.ledger.entries(site=site)
            if any(
                d.state is DeliveryState.WAITING or perhaps_printed(d) for d in entry.deliveries
            )
        ]

    def _accept(self, entry: Entry, person: Person, site: FinessET | None) -> Entry:
        if site is not None:
            raise NotAsked("a delivery in doubt is closed where it was made; leave out --site")
        # Another one that is held beside it, refused by its target, was surely not made.
        held = [d for d in entry.deliveries if d.reason is HoldReason.IN_DOUBT]

        def accept(writer: Writer) -> Entry:
            now = entry
            for delivery in held:
                now = writer.move(
                    delivery.id, DeliveryState.DELIVERED, because="a person looked for it"
                )
            return now

        return self._record("release", entry, person, accept)

    def _decide_anew(self, entry: Entry, person: Person) -> Entry:
        if entry.reason not in {HoldReason.SITE_UNKNOWN, HoldReason.TARGET_REFUSED}:
            raise NotPossible(
                "its message will not read otherwise",
                hint="Release it to a site, or discard it.",
            )
        site = self._site(entry, None)
        deliveries = [self._new(target) for target in self._targets(entry, site)]
        return self._record(
            "retry", entry, person, lambda w: w.release(entry.id, site, deliveries)
        )

    def _new(self, target: Target) -> NewDelivery:
        return NewDelivery(target.name, target.kind, self.rules.digest)

    def _site(self, entry: Entry, site: FinessET | None) -> FinessET:
        wanted = site or entry.site
        if wanted is None:
            raise NotAsked(
                "its sources do not agree on a site", hint="Name one with --site ET."
            )
        known = self.rules.site_of(wanted)
        if known is None:
            raise NotAsked(
                "that site is not in routing.yaml",
                hint="Add it to routing.yaml, or name another one with --site ET.",
            )
        return known.finess

    def _targets(self, entry: Entry, site: FinessET) -> tuple[Target, ...]:
        facts = Facts(site=site, result=entry.result, analysis=entry.analysis)
        targets = decide(self.rules, facts)
        if not targets:
            raise NotPossible(
                "no target of that site takes a certificate with this result or analysis",
                hint="Add a target without `when` to the site in routing.yaml.",
            )
        return targets

    def _held(self, entry_id: str, wanted: str) -> Entry:
        entry = self._found(entry_id)
        if entry.state is not State.HELD:
            raise NotPossible(f"it is {entry.state.value}, not held: it cannot be {wanted}")
        return entry

    def _found(self, entry_id: str) -> Entry:
        entry = self.ledger.entry(entry_id)
        if entry is None:
            raise NotAsked(
                "no message has this id", hint="`sidep-dispatcher list` shows the ids."
            )
        return entry

    def _record(
        self, verb: str, entry: Entry, person: Person, change: Callable[[Writer], Entry]
    ) -> Entry:
        act = Act(verb, entry.id, person.name, person.reason, self.clock.now())
        with self.ledger.writing() as writer:
            # Two people may have read the same state: the first decision stands alone.
            writer.expect(entry.id, entry.state)
            now = change(writer)
            writer.record(act)
        return now


def _being_delivered(entry: Entry) -> bool:
    under_way = {DeliveryState.DELIVERING, DeliveryState.IN_DOUBT}
    return any(delivery.state in under_way for delivery in entry.deliveries)
