"""A year of 20,000 messages: each day nothing is older than its term, nothing younger gone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import pytest
import structlog

from dispatcher.core.certificate import Document, Facts, Result
from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState, Entry, NewDelivery, NewEntry, State
from dispatcher.core.message import MessageRef, message_id_digest
from dispatcher.core.retention import Terms, due_at
from dispatcher.core.routing import Kind
from dispatcher.service.desk import Purging
from dispatcher.service.purge.by_hand import carry_out
from dispatcher.simulator.scenario import SITES
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.office import Office

PARIS = ZoneInfo("Europe/Paris")
MESSAGES = 20_000
DAYS = 365
HOUR = timedelta(hours=1)


@dataclass
class Sent:
    """One certificate as the test knows it."""

    number: int
    result: str | None
    sampled_at: datetime | None
    received_at: datetime
    made_at: datetime
    uid: int = 0
    site: str = ""

    @cached_property  # asked each day; what it follows from does not change
    def term(self) -> datetime:
        """The term by the guide, worked out without the program's own clock."""
        start = self.sampled_at
        if self.result is None or start is None:
            return _six_months(self.received_at)
        if start > self.received_at + HOUR or _six_months(start) <= self.received_at:
            start = self.received_at
        if self.result == "positif":
            return _six_months(start)
        return datetime.fromtimestamp(start.timestamp() + 72 * 3600, UTC)

    @cached_property
    def copy_due(self) -> datetime:
        return self.term if self.made_at < self.term else self.made_at + 24 * HOUR


def _six_months(start: datetime) -> datetime:
    day = start.astimezone(PARIS).date()
    year, month = (day.year, day.month + 6) if day.month <= 6 else (day.year + 1, day.month - 6)
    for last in range(day.day, 0, -1):
        try:
            found = date(year, month, last)
        except ValueError:
            continue
        return datetime(found.year, found.month, found.day, tzinfo=PARIS)
    raise AssertionError


def invent(rng: random.Random, number: int, day: datetime) -> Sent:
    """Return a certificate received on this day and delivered at its end."""
    received_at = day + timedelta(minutes=rng.randrange(1080))
    sampled_at: datetime | None = received_at - timedelta(minutes=rng.randrange(60, 2400))
    kind = rng.random()
    if kind < 0.04:
        sampled_at = received_at - timedelta(hours=rng.randrange(60, 120))  # a slow result
    elif kind < 0.05:
        sampled_at = received_at + timedelta(days=rng.randrange(1, 4000))
    elif kind < 0.06:
        sampled_at = received_at.replace(year=1926)
    elif kind < 0.07:
        sampled_at = None
    result = rng.choices(["negatif", "positif", "indetermine", None], [90, 5, 4, 1])[0]
    return Sent(number, result, sampled_at, received_at, day + 18 * HOUR)


def bring(office: Office, sent: list[Sent]) -> None:
    """Let the day's mail lie in the mailbox, delivered, as a turn leaves it."""
    rows = []
    for one in sent:
        raw = f"Message-ID: <{one.number}@example.test>\r\n\r\n{one.number}\r\n".encode()
        one.uid = office.mailbox.append(raw, internal_at=one.received_at)
        one.site = list(SITES)[one.number % len(SITES)]
        rows.append((one, raw))
    office.clock.at = sent[0].made_at
    with office.ledger.writing() as writer:
        for one, raw in rows:
            site = FinessET(one.site)
            document = Document(f"{one.number}.pdf", str(one.number).encode())
            entry = writer.receive(
                NewEntry(
                    MessageRef("lbm", office.mailbox.uidvalidity, one.uid),
                    office.mailbox.stored[one.uid].identity,
                    received_at=one.received_at,
                    state=State.PENDING,
                    site=site,
                    file_number=str(one.number),
                    result=None if one.result is None else Result(one.result),
                    sampled_at=one.sampled_at,
                    purge_at=_recorded(one),
                    sha256=document.sha256,
                    raw_sha256="",
                    message_id=message_id_digest(raw),
                    deliveries=(NewDelivery("folder", Kind.FOLDER),),
                )
            )
            order = Order(entry.deliveries[0].id, site, "folder", document)
            (receipt,) = office.at(one.site).deliver([order])
            assert isinstance(receipt, Receipt)
            writer.move(order.id, DeliveryState.DELIVERING)
            writer.move(order.id, DeliveryState.DELIVERED, reference=receipt.reference)


def _recorded(one: Sent) -> datetime:
    """Return the term as intake records it, by the program's own clock."""
    result = None if one.result is None else Result(one.result)
    facts = Facts(result=result, sampled_at=one.sampled_at)
    return due_at(facts, one.received_at, Terms())


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Leave out the log: it would be longer than the test."""
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_drop])
    yield
    structlog.configure(processors=before)


def _drop(*_: object) -> str:
    raise structlog.DropEvent


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_quiet")
def test_each_day_of_a_year_nothing_is_too_old_and_nothing_young_is_missing() -> None:
    rng = random.Random(20270101)
    office = Office()
    office.clock.at = datetime(2026, 11, 20, tzinfo=UTC)
    office.ledger.born_at = office.clock.at
    office.policy = replace(office.policy, purging=Purging(max_share=1.0))
    mails: list[Sent] = []
    copies: list[Sent] = []
    numbers = iter(range(MESSAGES))
    for day in range(DAYS):
        begins = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=day)
        count = (day + 1) * MESSAGES // DAYS - day * MESSAGES // DAYS
        today = [invent(rng, next(numbers), begins) for _ in range(count)]
        bring(office, today)
        mails += today
        copies += today
        office.clock.at = begins + 24 * HOUR
        carry_out(office.mailbox, office.desk())
        now = office.clock.now()
        mails = [one for one in mails if one.term > now]
        copies = [one for one in copies if one.copy_due > now]
        assert set(office.mailbox.stored) == {one.uid for one in mails}, begins
        lying = {int(name.removesuffix(".pdf")) for name in names(office)}
        assert lying == {one.number for one in copies}, begins
    assert_closed(office, {one.uid for one in mails} | {one.uid for one in copies})


def names(office: Office) -> list[str]:
    found = []
    for site in SITES:
        destination = office.at(site)
        assert isinstance(destination, MemoryDestination)
        found += [name for name, _ in destination.documents]
    return found


def assert_closed(office: Office, alive: set[int]) -> None:
    balance = office.ledger.balance()
    assert (balance.received, balance.delivered) == (MESSAGES, MESSAGES)
    full = [entry for entry in office.ledger.entries() if entry.state is not State.PURGED]
    assert {entry.ref.uid for entry in full} == alive
    assert not [e for e in office.ledger.entries() if e.state is State.PURGED and tells(e)]
    assert office.ledger.flaws() == ()


def tells(entry: Entry) -> bool:
    return bool(entry.file_number or entry.sampled_at or entry.result or entry.sha256)
