"""Watches how full the BAL is, where its server tells."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

import structlog

from dispatcher.core.vitals import Filling
from dispatcher.ports import Ledger, Mailbox
from dispatcher.service.desk import Desk

_log = structlog.get_logger(__name__)

# An alarm at these shares of the quota, again only after it fell below by so much.
_ALARMS: Final = (75, 90)
_BELOW: Final = 5


def read(ledger: Ledger, mailbox: str) -> Filling | None:
    """Return what is remembered of a mailbox; None: its server tells no quota."""
    found = _read(ledger, mailbox)
    return None if found is None else found[0]


def _read(ledger: Ledger, mailbox: str) -> tuple[Filling, int] | None:
    """Return the same with the alarm that was given for it."""
    text = ledger.memo(f"quota {mailbox}")
    if text is None:
        return None
    found = json.loads(text)
    asked_at = datetime.fromisoformat(found["asked_at"])
    return Filling(found["used"], found["limit"], asked_at), found["told"]


def watch(mailbox: Mailbox, desk: Desk) -> None:
    """Ask the server, remember its answer, and tell when an alarm is reached."""
    quota = mailbox.quota()
    before = _read(desk.ledger, mailbox.name)
    if quota is None or not quota.limit:
        if before is not None:
            with desk.ledger.writing() as writer:
                writer.note(f"quota {mailbox.name}", None)
        return
    now = desk.clock.now()
    filling = Filling(quota.used, quota.limit, now)
    told_before = before[1] if before else 0
    told = _told(filling.percent, told_before)
    _remember(desk, mailbox.name, filling, told)
    if told > told_before:
        told_of = {"mailbox": mailbox.name, "percent": filling.percent}
        if told == max(_ALARMS):
            _log.error("mailbox_became_nearly_full", **told_of)
        else:
            _log.warning("mailbox_filled_up", **told_of)


def _told(percent: int, before: int) -> int:
    """Return the highest alarm in force: reached now, or told and not fallen below."""
    reached = [alarm for alarm in _ALARMS if percent >= alarm]
    lasting = [alarm for alarm in _ALARMS if alarm <= before and percent >= alarm - _BELOW]
    return max([*reached, *lasting], default=0)


def _remember(desk: Desk, name: str, filling: Filling, told: int) -> None:
    text = json.dumps(
        {
            "used": filling.used,
            "limit": filling.limit,
            "asked_at": filling.asked_at.isoformat(),
            "told": told,
        }
    )
    with desk.ledger.writing() as writer:
        writer.note(f"quota {name}", text)
