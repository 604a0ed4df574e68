"""Whether the service lives and certificates flow, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.ledger import Balance
from dispatcher.core.rulebook import Draft
from dispatcher.edges.metrics import Exposition, Pages
from dispatcher.edges.systemd import SystemdNotifier
from dispatcher.errors import InvariantBroken, LoginRefused, Unavailable
from dispatcher.ports import Figures
from dispatcher.service.health import FRESH, Health
from dispatcher.service.keeper import Keeper
from dispatcher.service.loop import Loops, MailboxLoop
from dispatcher.service.pulse import Pulses
from dispatcher.service.rulebook import Rulebook
from tests.fakes.memory_ledger import MemoryLedger, MemoryWriter
from tests.fakes.office import KEYWORD, Office

DOWN = Unavailable("the server is down")


class RulesFile:
    """A rules' file of which only its rules matter."""

    def __init__(self) -> None:
        self.draft_found: Draft | None = None

    def stamp(self) -> tuple[int, ...]:
        return ()

    def draft(self) -> Draft | None:
        return self.draft_found


class Service:
    """The parts of a service, none of them running by itself."""

    def __init__(self, office: Office) -> None:
        desk = office.desk()
        self.office = office
        self.pulses = Pulses(office.clock)
        self.loop = MailboxLoop(office.mailbox, desk, keyword=KEYWORD)
        self.loops = Loops([self.loop])
        self.keeper = Keeper(desk, self.pulses, SystemdNotifier({}))
        self.file = RulesFile()
        found = Draft("0" * 64, b"x", office.rules)
        self.rules = Rulebook(self.file, found=found, rules=office.rules, clock=office.clock)
        self.health = Health(
            desk,
            self.loops,
            self.rules,
            keeper=self.keeper,
            pulses=self.pulses,
            mailboxes=[office.mailbox.name],
        )

    def turn(self) -> None:
        self.loop._one_turn()

    def page(self, path: str) -> tuple[int, object]:
        pages = Pages(Exposition("1"), self.health, self.office.clock)
        page = pages(path, "")
        assert page is not None
        return page.status, json.loads(page.body)


@pytest.fixture
def service() -> Service:
    return Service(Office())


def test_a_service_that_has_just_started_lives_and_is_not_ready(service: Service) -> None:
    assert service.page("/healthz") == (200, {"alive": True, "reasons": []})
    assert service.page("/readyz") == (
        503,
        {"ready": False, "reasons": ["the service has just started"]},
    )
    service.health.look()
    assert service.health.unready() == ("mailbox lbm: no good check yet",)


def test_after_a_good_check_it_is_ready_until_the_check_is_old(service: Service) -> None:
    service.turn()
    service.health.look()
    assert service.page("/readyz") == (200, {"ready": True, "reasons": []})
    service.office.clock.go(FRESH + timedelta(seconds=1))
    service.keeper._ask_ledger()
    service.health.look()
    (reason,) = service.health.unready()
    assert reason.startswith("mailbox lbm: no good check since 2026-11-20 ")


@pytest.mark.parametrize("error", [DOWN, LoginRefused("no")], ids=["down", "refused"])
def test_one_failed_check_is_a_hiccup_and_two_are_a_reason(
    service: Service, error: Unavailable | LoginRefused
) -> None:
    service.turn()
    service.health.look()
    service.office.mailbox.fail_next("select", error, times=2)
    service.turn()
    assert service.health.unready() == ()
    service.turn()
    (reason,) = service.health.unready()
    assert reason.startswith("mailbox lbm: its checks fail since ")
    assert str(error) not in reason
    service.turn()
    assert service.health.unready() == ()


class FullLedger(MemoryLedger):
    """A ledger whose disk is full or not, and that answers or not."""

    full = False
    silent = False

    @contextmanager
    def writing(self) -> Iterator[MemoryWriter]:
        with super().writing() as writer:
            yield writer
            if self.full:
                raise Unavailable("the disk is full")

    def balance(self) -> Balance:
        if self.silent:
            raise Unavailable("no answer")
        return super().balance()


@pytest.fixture
def troubled() -> tuple[Service, FullLedger]:
    office = Office()
    ledger = FullLedger(clock=office.clock)
    office.ledger = ledger
    service = Service(office)
    service.turn()
    return service, ledger


def test_a_failure_of_another_kind_is_told_within_a_row_and_its_repetition_is_not(
    service: Service,
) -> None:
    """A network that came back to a password that had expired meanwhile."""
    kinds = [Unavailable("no network")] * 3 + [LoginRefused("refused")] * 2
    for error in kinds:
        service.office.mailbox.fail_next("select", error)
    with capture_logs() as logged:
        for _ in kinds:
            service.turn()
        service.turn()
        service.office.mailbox.fail_next("select", LoginRefused("refused"))
        service.turn()
    told = [
        (line["event"], line["log_level"], line.get("kind"))
        for line in logged
        if line["event"].startswith("mailbox_check")
    ]
    assert told == [
        ("mailbox_check_failed", "error", "Unavailable"),
        *[("mailbox_check_failed", "debug", "Unavailable")] * 2,
        ("mailbox_check_failed", "error", "LoginRefused"),
        ("mailbox_check_failed", "debug", "LoginRefused"),
        ("mailbox_check_recovered", "info", None),
        ("mailbox_check_failed", "error", "LoginRefused"),
    ]


def test_a_ledger_that_takes_nothing_is_a_reason_until_it_takes_again(
    troubled: tuple[Service, FullLedger],
) -> None:
    service, ledger = troubled
    service.health.look()
    ledger.full = True
    service.office.clock.go(timedelta(seconds=61))
    service.health.look()
    (reason,) = service.health.unready()
    assert reason.startswith("ledger: nothing can be written since ")
    figures = service.health.figures()
    assert isinstance(figures, Figures)
    assert figures.unwritable_since == service.office.clock.now()
    ledger.full = False
    service.health.look()
    assert service.health.unready() == ()


def test_figures_that_cannot_be_taken_grow_old_and_that_is_told(
    troubled: tuple[Service, FullLedger],
) -> None:
    service, ledger = troubled
    service.health.look()
    before = service.health.figures()
    ledger.silent = True
    service.office.clock.go(timedelta(minutes=3))
    service.health.look()
    assert service.health.figures() is before
    (reason,) = service.health.unready()
    assert reason.startswith("ledger: it has not been read since ")


def test_a_file_of_rules_with_mistakes_is_a_reason(service: Service) -> None:
    service.turn()
    service.rules.begin(service.office.ledger)
    service.file.draft_found = Draft("1" * 64, b"y", None, ("routing.yaml:1:1: no; write yes",))
    assert service.rules.reload()
    service.health.look()
    (reason,) = service.health.unready()
    assert reason.startswith("rules: the file has mistakes since ")
    figures = service.health.figures()
    assert figures is not None
    assert figures.rules.refusal is not None


def test_a_part_that_makes_no_progress_ends_life_and_readiness(service: Service) -> None:
    service.turn()
    part = service.pulses.add("mailbox lbm")
    part.beat()
    service.keeper._ask_ledger()
    service.office.clock.go(timedelta(seconds=470))
    assert service.health.dead() == ()
    service.keeper._ask_ledger()
    service.office.clock.go(timedelta(seconds=20))
    service.health.look()
    status, told = service.page("/healthz")
    assert (status, told) == (
        503,
        {"alive": False, "reasons": ["mailbox lbm: no progress for 490 s"]},
    )
    assert service.health.unready()[0] == "mailbox lbm: no progress for 490 s"


def test_work_that_cannot_go_on_is_the_end_of_life(service: Service) -> None:
    service.loop.broken = InvariantBroken("a bug")
    assert service.health.dead() == ("the work cannot go on, see the log",)


def test_a_service_that_ends_is_not_ready(service: Service) -> None:
    service.turn()
    service.health.look()
    service.health.stop()
    assert service.health.unready() == ("the service ends",)


def test_there_are_three_pages_and_no_other(service: Service) -> None:
    pages = Pages(Exposition("1"), service.health, service.office.clock)
    assert pages("/", "") is None
    assert pages("/metrics/", "") is None
