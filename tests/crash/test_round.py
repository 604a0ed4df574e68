"""Kill the program before and after every outside call; nothing is lost or done twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.ledger import State
from dispatcher.core.vitals import PlaceHealth
from dispatcher.errors import InDoubt
from dispatcher.ports import Copy, Destination, Finding, Outcome, Removal, Writer
from tests.fakes.memory_ledger import MemoryLedger
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.office import Office, certificates

T = TypeVar("T")


class Killed(BaseException):
    """The power went out. Not an Exception: no handler may catch it."""


class Fuse:
    """Burns just before or just after one chosen outside call, and stays burnt."""

    def __init__(self, moment: int | None) -> None:
        self._moments = itertools.count()
        self._burns_at = moment
        self.burnt = False

    def _pass(self) -> None:
        if self.burnt:
            raise Killed
        if next(self._moments) == self._burns_at:
            self.burnt = True
            raise Killed

    def around(self, call: Callable[[], T]) -> T:
        self._pass()
        result = call()
        self._pass()
        return result


class FusedLedger:
    """Reads pass; a commit can be cut off before or after it reaches the disk."""

    def __init__(self, inner: MemoryLedger, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._inner.writing() as writer:
            yield writer
            self._fuse._pass()
        self._fuse._pass()


class FusedMailbox:
    """Every command can be the last, also after the server carried it out."""

    def __init__(self, inner: MemoryMailbox, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in {"select", "uids", "identities", "add_keyword", "headers"}:
            return found
        return lambda *a, **k: self._fuse.around(lambda: found(*a, **k))


class Printer:
    """The least forgiving destination: every order it gets is a new effect."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.fuse = Fuse(None)

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return tuple(self._fused(order) for order in orders)

    def _fused(self, order: Order) -> Receipt:
        return self.fuse.around(lambda: self._deliver(order))

    def _deliver(self, order: Order) -> Receipt:
        self.effects.append(order.id)
        return Receipt(order.id)

    def find(self, order: Order) -> Receipt | None:
        return self.fuse.around(lambda: Receipt(order.id) if order.id in self.effects else None)

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        return {key: InDoubt("never accepted") for key in orders}

    def spool_left(self, _references: Sequence[str], /) -> tuple[str, ...]:
        return ()

    def remove(self, copy: Copy) -> Removal:
        return Removal.KEPT if copy.delivery in self.effects else Removal.GONE

    def check(self) -> list[Finding]:
        return []

    def health(self) -> PlaceHealth:
        return PlaceHealth()


def laboratory(messages: int = 2) -> tuple[Office, Printer]:
    office, printer = Office(), Printer()
    shared: Destination = printer
    office.destinations = dict.fromkeys(office.destinations, shared)
    for sending in certificates(1, messages):
        office.mailbox.append(sending.raw)
    office.mailbox.append(b"From: someone@example.test\r\nSubject: hello\r\n\r\nhello\r\n")
    return office, printer


def live(office: Office, printer: Printer, moment: int | None) -> bool:
    """Run the program once from its start; return whether it was killed."""
    fuse = Fuse(moment)
    printer.fuse = fuse
    office.mailbox.close()
    ledger: Any = FusedLedger(office.ledger, fuse)
    mailbox: Any = FusedMailbox(office.mailbox, fuse)
    try:
        office.round(mailbox, ledger).turn(impatient=True)
    except Killed:
        return True
    finally:
        # A dead program's threads do nothing more.
        fuse.burnt = moment is not None
    return False


def assert_once(office: Office, printer: Printer, messages: int = 2) -> None:
    states = [entry.state for entry in office.ledger.entries()]
    assert states == [State.DELIVERED] * messages
    assert len(printer.effects) == len(set(printer.effects)) == messages
    balance = office.ledger.balance()
    assert (balance.received, balance.difference, balance.foreign) == (messages, 0, 1)
    assert office.ledger.flaws() == ()
    assert office.mailbox.flags()[messages + 1] == frozenset()


def moments() -> int:
    """Return how many moments a life has: the fuse counts them."""
    office, printer = laboratory()
    for moment in itertools.count():
        if not live(office, printer, moment):
            return moment
        office, printer = laboratory()
    raise AssertionError


MOMENTS = moments()


def test_a_life_has_more_than_a_few_moments() -> None:
    assert MOMENTS > 15


@pytest.mark.parametrize("first", range(MOMENTS))
def test_two_crashes_anywhere_still_mean_one_effect_each(first: int) -> None:
    for second in range(MOMENTS + 8):
        office, printer = laboratory()
        assert live(office, printer, first)
        live(office, printer, second)
        for _ in range(3):
            live(office, printer, None)
        assert_once(office, printer)


def test_the_suite_sees_a_delivery_that_is_repeated_without_looking() -> None:
    office, printer = laboratory()
    live(office, printer, None)
    printer.effects.append(printer.effects[0])
    with pytest.raises(AssertionError):
        assert_once(office, printer)
