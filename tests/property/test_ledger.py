"""The real ledger and the fake, driven by the same random work, never differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dispatcher.core import life
from dispatcher.core.audit import Deed, What
from dispatcher.core.certificate import HoldReason
from dispatcher.core.delivery import Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    Act,
    Delivery,
    DeliveryState,
    Entry,
    Identity,
    NewDelivery,
    NewEntry,
    State,
)
from dispatcher.core.message import MessageRef
from dispatcher.edges.ledger import SqlLedger
from dispatcher.errors import DispatcherError
from dispatcher.ports import Writer
from tests.fakes.ledger_samples import (
    FOLDER,
    GARE,
    NOW,
    PRINTER,
    REPUBLIQUE,
    StillClock,
    duplicate,
    held,
    pending,
)
from tests.fakes.memory_ledger import MemoryLedger

pytestmark = pytest.mark.slow

UIDS = st.integers(1, 6)
REFS = st.builds(MessageRef, st.just("lbm"), st.integers(7, 8), UIDS)
SITES = st.sampled_from([REPUBLIQUE, GARE])
TARGETS = st.lists(st.sampled_from([FOLDER, PRINTER]), min_size=1, max_size=2, unique=True)
REMOVALS = st.sampled_from(Removal)
REASONS = st.sampled_from(HoldReason)
IDENTITIES = st.builds(Identity, st.integers(1, 3), st.just(NOW))
NUMBERS = st.sampled_from(["21048BC000020", "21048BC000021"])
INDEXES = st.integers(0, 50)


CERTIFICATES = st.builds(
    lambda where, hour, targets, **changes: pending(
        1,
        ref=where,
        received_at=NOW + timedelta(hours=hour),
        deliveries=tuple(targets),
        **changes,
    ),
    where=REFS,
    hour=st.integers(0, 3),
    targets=TARGETS,
    site=SITES,
    file_number=NUMBERS,
    identity=IDENTITIES,
)


class Undone(Exception):
    """Somebody changed his mind inside a transaction."""


@lru_cache
def _new_ledger() -> bytes:
    """Make one file for all examples: the migrations take longer than an example."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "l.sqlite3"
        SqlLedger(f"sqlite:///{path}", clock=StillClock()).close()
        return path.read_bytes()


class TwoLedgers(RuleBasedStateMachine):
    """Does everything on both, and calls messages by the order of their reception."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.clock = StillClock()
        path = Path(self._directory.name) / "l.sqlite3"
        path.write_bytes(_new_ledger())
        self.real = SqlLedger(f"sqlite:///{path}", clock=self.clock)
        self.fake = MemoryLedger(clock=self.clock)
        self.real_ids: list[str] = []
        self.fake_ids: list[str] = []

    def teardown(self) -> None:
        try:
            self.look_closely()
        finally:
            self.real.close()
            self._directory.cleanup()

    # --- the same work on both

    def both(self, work: Callable[[Writer, list[str]], None], undone: bool = False) -> None:
        outcomes = [
            self._outcome(self.real, self.real_ids, work, undone),
            self._outcome(self.fake, self.fake_ids, work, undone),
        ]
        assert outcomes[0] == outcomes[1]

    def _outcome(
        self,
        ledger: SqlLedger | MemoryLedger,
        ids: list[str],
        work: Callable[[Writer, list[str]], None],
        undone: bool,
    ) -> str:
        before = list(ids)
        try:
            with ledger.writing() as writer:
                work(writer, ids)
                _give_up(undone)
        except (DispatcherError, Undone) as error:
            ids[:] = before
            # The real one finds some faults at the end only; given up is given up.
            return "given up" if undone else type(error).__name__
        return "done"

    @initialize()
    def begin_with_two(self) -> None:
        self.receive(pending(1, deliveries=(FOLDER, PRINTER)))
        self.receive(held(2))

    def receive(self, new: NewEntry) -> None:
        self.both(lambda writer, ids: ids.append(writer.receive(new).id))

    @rule(new=CERTIFICATES, undone=st.booleans())
    def receive_pending(self, new: NewEntry, undone: bool) -> None:
        self.both(lambda writer, ids: ids.append(writer.receive(new).id), undone)

    @rule(where=REFS, reason=REASONS)
    def receive_held(self, where: MessageRef, reason: HoldReason) -> None:
        self.receive(held(1, ref=where, reason=reason))

    @rule(where=REFS, of=INDEXES)
    def receive_duplicate(self, where: MessageRef, of: int) -> None:
        def work(writer: Writer, ids: list[str]) -> None:
            new = duplicate(1, ids[of % len(ids)], ref=where)
            ids.append(writer.receive(new).id)

        self.both(work)

    @rule(where=REFS, identity=IDENTITIES)
    def note_foreign(self, where: MessageRef, identity: Identity) -> None:
        self.both(lambda writer, _: writer.note_foreign(where, identity))

    @rule(of=INDEXES, where=REFS, identity=IDENTITIES)
    def relocate(self, of: int, where: MessageRef, identity: Identity) -> None:
        self.both(lambda w, ids: w.relocate(ids[of % len(ids)], where, identity))

    @rule(refs=st.lists(REFS, max_size=4), opened=st.lists(REFS, max_size=2))
    def be_absent(self, refs: list[MessageRef], opened: list[MessageRef]) -> None:
        def work(writer: Writer, _: list[str]) -> None:
            writer.opening(refs)
            writer.opening(opened)
            writer.opened(opened[:1])
            writer.absent(refs)

        self.both(work)

    @rule(refs=st.lists(REFS, max_size=4))
    def set_keyword(self, refs: list[MessageRef]) -> None:
        self.both(lambda writer, _: writer.keyword_set(refs))

    @rule(
        of=st.lists(st.tuples(INDEXES, st.integers(0, 3)), min_size=1, max_size=3),
        turns=st.lists(st.sampled_from(DeliveryState), min_size=1, max_size=2),
        reason=REASONS,
        minutes=st.none() | st.integers(-5, 5),
    )
    def move(
        self,
        of: list[tuple[int, int]],
        turns: list[DeliveryState],
        reason: HoldReason,
        minutes: int | None,
    ) -> None:
        later = None if minutes is None else NOW + timedelta(minutes=minutes)

        def work(writer: Writer, ids: list[str]) -> None:
            for message, position in of:
                delivery = self._delivery(ids, message, position)
                for to in turns:
                    writer.move(
                        delivery,
                        to,
                        because="as drawn",
                        reason=reason if to is DeliveryState.HELD else None,
                        next_try_at=later,
                    )

        self.both(work)

    @rule(of=INDEXES, position=st.integers(0, 3), to=st.sampled_from([FOLDER, PRINTER]))
    def divert(self, of: int, position: int, to: NewDelivery) -> None:
        self.both(
            lambda writer, ids: void(
                writer.divert(self._delivery(ids, of, position), to, "refused")
            )
        )

    @rule(of=INDEXES, position=st.integers(0, 3))
    def plan(self, of: int, position: int) -> None:
        self.both(
            lambda writer, ids: void(writer.plan(self._delivery(ids, of, position), None))
        )

    @rule(of=INDEXES, reason=REASONS)
    def hold(self, of: int, reason: HoldReason) -> None:
        self.both(lambda w, ids: void(w.hold(ids[of % len(ids)], reason, "as drawn")))

    @rule(of=INDEXES, site=SITES, to=TARGETS)
    def release(self, of: int, site: FinessET, to: list[NewDelivery]) -> None:
        def work(writer: Writer, ids: list[str]) -> None:
            entry = ids[of % len(ids)]
            writer.release(entry, site, to)
            writer.record(Act("release", entry, "claire", "as drawn", NOW))

        self.both(work)

    @rule(of=INDEXES, expected=st.sampled_from(State))
    def discard(self, of: int, expected: State) -> None:
        def work(writer: Writer, ids: list[str]) -> None:
            writer.expect(ids[of % len(ids)], expected)
            writer.discard(ids[of % len(ids)])

        self.both(work)

    @rule(of=st.lists(INDEXES, min_size=1, max_size=3), how=REMOVALS, empty=st.booleans())
    def purge(self, of: list[int], how: Removal, empty: bool) -> None:
        def work(writer: Writer, ids: list[str]) -> None:
            chosen = [ids[number % len(ids)] for number in of]
            writer.begin_purge(chosen)
            for entry_id in chosen:
                entry = writer.mail_gone(entry_id, how)
                writer.trace(Deed("removed", What.MAIL, NOW, where="lbm", answer=how.value))
                for delivery in entry.deliveries if empty else ():
                    writer.copy_gone(delivery.id, how)
                if empty:
                    writer.empty(entry_id)

        self.both(work)

    @rule(of=INDEXES, position=st.integers(0, 3), how=REMOVALS)
    def remove_copy(self, of: int, position: int, how: Removal) -> None:
        self.both(lambda w, ids: void(w.copy_gone(self._delivery(ids, of, position), how)))

    @rule(of=INDEXES)
    def expire(self, of: int) -> None:
        self.both(lambda w, ids: void(w.expire(ids[of % len(ids)])))

    @rule(of=INDEXES, until=st.none() | st.just(NOW), hours=st.sampled_from([24, 4]))
    def keep_and_warn(self, of: int, until: datetime | None, hours: int) -> None:
        def work(writer: Writer, ids: list[str]) -> None:
            writer.keep(ids[of % len(ids)], until)
            writer.warned(ids[of % len(ids)], hours)

        self.both(work)

    @rule(hour=st.integers(-1, 4))
    def forget(self, hour: int) -> None:
        at = NOW + timedelta(hours=hour)
        self.both(lambda w, _: void((w.forget_keys(at), w.trim_trail(at))))

    def _delivery(self, ids: list[str], message: int, position: int) -> str:
        ledger = self.real if ids is self.real_ids else self.fake
        entry = ledger.entry(ids[message % len(ids)])
        if entry is None or not entry.deliveries:
            return "nobody"
        return entry.deliveries[position % len(entry.deliveries)].id

    # --- what must never differ

    @invariant()
    def they_hold_the_same(self) -> None:
        real = [self._named(entry, self.real_ids) for entry in self.real.entries()]
        fake = [self._named(entry, self.fake_ids) for entry in self.fake.entries()]
        assert real == fake

    @rule()
    def look_closely(self) -> None:
        self.they_answer_the_same()
        self.no_ledger_contradicts_itself()
        self.folding_the_history_gives_the_present()

    def they_answer_the_same(self) -> None:
        for ask in (_counts, _places):
            assert ask(self.real) == ask(self.fake)
        for later in (timedelta(minutes=-1), timedelta(), timedelta(minutes=5)):
            at = self.clock.now() + later
            assert self.real.backlog("lbm", at) == self.fake.backlog("lbm", at)
            assert self._numbers(self.real.past_term("lbm", at), self.real_ids) == (
                self._numbers(self.fake.past_term("lbm", at), self.fake_ids)
            )
            assert self._numbers(self.real.due("lbm", at), self.real_ids) == self._numbers(
                self.fake.due("lbm", at), self.fake_ids
            )
        assert self._numbers(self.real.unsettled("lbm"), self.real_ids) == self._numbers(
            self.fake.unsettled("lbm"), self.fake_ids
        )

    def no_ledger_contradicts_itself(self) -> None:
        assert self.real.flaws() == self.fake.flaws() == ()
        assert self.real.balance().difference == 0

    def folding_the_history_gives_the_present(self) -> None:
        for entry in self.real.entries():
            told, breaks = life.folded(self.real.history(entry.id))
            present: dict[str | None, str] = {d.id: d.state.value for d in entry.deliveries}
            present[None] = entry.state.value
            assert told == present
            assert breaks == ()

    def _numbers(self, entries: tuple[Entry, ...], ids: list[str]) -> list[int]:
        return [ids.index(entry.id) for entry in entries]

    def _named(self, entry: Entry, ids: list[str]) -> Entry:
        first = entry.duplicate_of
        return replace(
            entry,
            key_digest=None if entry.key_digest is None else "",
            id=str(ids.index(entry.id)),
            duplicate_of=None if first is None else str(ids.index(first)),
            deliveries=tuple(_unnamed(delivery) for delivery in entry.deliveries),
        )


def _unnamed(delivery: Delivery) -> Delivery:
    return replace(delivery, id="")


def _counts(ledger: SqlLedger | MemoryLedger) -> object:
    known = [ledger.balance(), ledger.next_due("lbm"), ledger.place("lbm")]
    trail = [(t.seq, replace(t.deed, entry=None)) for t in ledger.trail()]
    return known, trail, ledger.vanished("lbm"), len(ledger.changed_copies())


def _places(ledger: SqlLedger | MemoryLedger) -> object:
    return [
        (
            ledger.known("lbm", uidvalidity),
            ledger.openings("lbm", uidvalidity),
            ledger.lacking_keyword("lbm", uidvalidity),
        )
        for uidvalidity in (7, 8)
    ]


def _give_up(undone: bool) -> None:
    if undone:
        raise Undone


def void(_: object) -> None:
    """Drop a value where only the effect matters."""


TestTwoLedgers = TwoLedgers.TestCase
TestTwoLedgers.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
