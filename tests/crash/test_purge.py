"""Kill the program before and after every outside call of a purge, twice in a row."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from dispatcher.core.audit import What
from dispatcher.core.delivery import Order, Removal
from dispatcher.core.ledger import State
from dispatcher.core.vitals import PlaceHealth
from dispatcher.ports import Copy, Finding, Outcome
from dispatcher.simulator.scenario import Sending
from tests.crash.test_round import Fuse, FusedLedger, Killed
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.office import Office, certificates

_COMMANDS = {"select", "uids", "identities", "shown", "remove", "newest", "quota", "fetch"}
FOREIGN = b"From: someone@example.test\r\nSubject: hello\r\n\r\nhello\r\n"


class FusedMailbox:
    """Every command can be the last, also after the server carried it out."""

    def __init__(self, inner: MemoryMailbox, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _COMMANDS:
            return found
        return lambda *a, **k: self._fuse.around(lambda: found(*a, **k))


@dataclass
class Power:
    """What all sites hang on in one life of the program."""

    fuse: Fuse = field(default_factory=lambda: Fuse(None))
    sites: list[FusedSite] = field(default_factory=list)

    def documents(self) -> list[bytes]:
        """Return what lies on all sites."""
        return [o.document.content for s in self.sites for o in s.inner.documents.values()]


class FusedSite:
    """A folder that can lose power before and after each file that it removes."""

    def __init__(self, power: Power) -> None:
        self.inner = MemoryDestination()
        self._power = power

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return self.inner.deliver(orders)

    def find(self, order: Order) -> Any:
        return self.inner.find(order)

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        return self.inner.follow(orders)

    def spool_left(self, references: Sequence[str], /) -> tuple[str, ...]:
        return self.inner.spool_left(references)

    def remove(self, copy: Copy) -> Removal:
        return self._power.fuse.around(lambda: self.inner.remove(copy))

    def check(self) -> Iterable[Finding]:
        return []

    def health(self) -> PlaceHealth:
        return self.inner.health()


@cache
def sent() -> tuple[tuple[Sending, ...], tuple[Sending, ...]]:
    """Return two certificates whose term comes, and one whose term does not."""
    every = certificates(5, 40)
    gone = [s for s in every if s.truth.result == "negatif"][:2]
    kept = [s for s in every if s.truth.result == "positif"][:1]
    return tuple(gone), tuple(kept)


def laboratory() -> tuple[Office, Power]:
    office, power = Office(), Power()
    power.sites = [FusedSite(power) for _ in office.destinations]
    office.destinations = dict(zip(office.destinations, power.sites, strict=True))
    for sending in itertools.chain(*sent()):
        office.mailbox.append(sending.raw, internal_at=office.clock.now())
    office.mailbox.append(FOREIGN, internal_at=office.clock.now(), flags=["\\Deleted"])
    work = office.round()
    work.turn(impatient=True)
    work.purge()
    office.clock.go(timedelta(hours=72))
    return office, power


def live(office: Office, power: Power, moment: int | None) -> bool:
    """Run the program from its start to the end of a purge; return whether it was killed."""
    fuse = Fuse(moment)
    power.fuse = fuse
    office.mailbox.close()
    ledger: Any = FusedLedger(office.ledger, fuse)
    mailbox: Any = FusedMailbox(office.mailbox, fuse)
    try:
        work = office.round(mailbox, ledger)
        work.turn()
        work.purge()
        work.finish_purge(5)
    except Killed:
        return True
    finally:
        fuse.burnt = moment is not None
    return False


def assert_exactly_what_was_due_is_gone(office: Office, power: Power) -> None:
    (_, (kept,)) = sent()
    assert list(office.mailbox.messages().values()) == [kept.raw, FOREIGN]
    assert office.mailbox.flags()[4] == {"\\Deleted"}
    assert power.documents() == [kept.truth.document]
    states = Counter(entry.state for entry in office.ledger.entries())
    assert states == {State.PURGED: 2, State.DELIVERED: 1}
    assert office.ledger.balance().difference == 0
    assert office.ledger.flaws() == ()
    lines = Counter((t.deed.entry, t.deed.what) for t in office.ledger.trail())
    assert Counter(what for _, what in lines) == {What.MAIL: 2, What.COPY: 2, What.LINE: 2}
    assert set(lines.values()) == {1}, "one line for each deletion"
    verbs = {t.deed.verb for t in office.ledger.trail() if t.deed.what is What.MAIL}
    assert verbs == {"removed"}, "nobody else took a mail"


def moments() -> int:
    """Return how many moments a life has: the fuse counts them."""
    for moment in itertools.count():
        if not live(*laboratory(), moment):
            return moment
    raise AssertionError


MOMENTS = moments()


def test_a_purge_has_more_than_a_few_moments() -> None:
    assert MOMENTS > 20


@pytest.mark.parametrize("first", range(MOMENTS))
def test_two_crashes_anywhere_still_mean_one_proven_deletion_each(first: int) -> None:
    for second in range(first % 3, MOMENTS + 4, 3):
        office, power = laboratory()
        assert live(office, power, first)
        live(office, power, second)
        for _ in range(3):
            office.clock.go(timedelta(hours=1))
            live(office, power, None)
        assert_exactly_what_was_due_is_gone(office, power)


def test_the_suite_sees_a_deletion_without_its_line() -> None:
    office, power = laboratory()
    live(office, power, None)
    assert_exactly_what_was_due_is_gone(office, power)
    office.ledger.book.traces.pop()
    with pytest.raises(AssertionError):
        assert_exactly_what_was_due_is_gone(office, power)
