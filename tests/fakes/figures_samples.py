"""Figures in which every family has a sample, for tests and for the documentation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Balance, DeliveryState
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import Refusal, RulesState
from dispatcher.core.vitals import (
    Filling,
    Hindrance,
    LaneVitals,
    MailboxVitals,
    Oldest,
    Stopped,
    Vitals,
)
from dispatcher.edges.metrics import Exposition
from dispatcher.ports import Ending, Figures

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SITE = FinessET("990000010")
ID = "an-id-that-nobody-shows"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def full() -> Figures:
    """Return figures of a service in which much goes wrong."""
    box = MailboxVitals(
        "lbm",
        checked_at=ago(minutes=20),
        oldest=Oldest(ID, ago(hours=1)),
        refusals=2,
        past_term=3,
        overdue_at=ago(days=1),
        stopped=Stopped(frozenset({"large-share"}), ago(days=1)),
        quota=Filling(150, 200, ago(minutes=1)),
    )
    lanes = (
        LaneVitals(SITE, "dossier", Kind.FOLDER, {DeliveryState.DELIVERED: 9}),
        LaneVitals(
            SITE,
            "papier",
            Kind.PRINT,
            {DeliveryState.WAITING: 2, DeliveryState.IN_DOUBT: 1},
            Hindrance("out of paper", ago(minutes=10)),
        ),
    )
    vitals = Vitals(
        at=ago(seconds=3),
        balance=Balance(
            received=20, delivered=9, held=4, pending=3, duplicate=2, expired=1, foreign=7
        ),
        mailboxes=(box, MailboxVitals("second")),
        lanes=lanes,
        started_at=ago(days=2),
        silences={"mailbox lbm": 1.5, "ledger": 0.0},
    )
    return Figures(
        vitals,
        RulesState("0" * 64, ago(days=1), Refusal(ago(hours=2), "1" * 64, ("a mistake",))),
        endings={"lbm": (Ending("client certificate", NOW + timedelta(days=40)),)},
        failing={"lbm": ago(minutes=19)},
        unwritable_since=ago(minutes=5),
    )


def exposition() -> Exposition:
    """Return one that has counted a delivery of each kind and a held one."""
    made = Exposition("1.2.3")
    made.ended(SITE, "dossier", Kind.FOLDER, outcome="delivered", seconds=3.0)
    made.ended(SITE, "papier", Kind.PRINT, outcome="delivered", seconds=400.0)
    made.ended(SITE, "papier", Kind.PRINT, outcome="held", seconds=4.0)
    return made
