"""Warns before the term of what is not delivered, and goes on saying so after it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.core.ledger import Entry
from dispatcher.core.retention import WARNINGS, warning_of
from dispatcher.service.desk import Desk
from dispatcher.service.purge.told import is_news

_log = structlog.get_logger(__name__)

_FIRST: Final = timedelta(hours=max(WARNINGS))


def warn(desk: Desk, mailbox: str) -> None:
    """Tell, per site, of certificates whose term comes before their delivery.

    Each of the hours before the term is told once for a certificate; the ledger remembers.
    What is kept beyond its term is told once a day.
    """
    now = desk.clock.now()
    entries = desk.ledger.undelivered(mailbox, now + _FIRST)
    for hours in WARNINGS:
        _warn(desk, [entry for entry in entries if _is_news(entry, hours, now)], hours)
    late = [entry for entry in entries if entry.purge_at is not None and entry.purge_at <= now]
    for site, some in _by_site(late):
        if is_news(desk, f"overdue {mailbox} {site}"):
            _log.error(
                "term_passed_undelivered", mailbox=mailbox, site=site, count=len(some), ids=some
            )


def _is_news(entry: Entry, hours: int, now: datetime) -> bool:
    """Whether this warning is the one that is due now, and was not given."""
    if entry.purge_at is None or warning_of(entry.purge_at - now) != hours:
        return False
    return entry.warned is None or entry.warned > hours


def _warn(desk: Desk, entries: Iterable[Entry], hours: int) -> None:
    news = list(entries)
    if not news:
        return
    with desk.ledger.writing() as writer:
        for entry in news:
            writer.warned(entry.id, hours)
    for site, ids in _by_site(news):
        told = {"site": site, "count": len(ids), "hours": hours, "ids": ids}
        if hours == min(WARNINGS):
            _log.error("deadline_came_very_near", **told)
        else:
            _log.warning("deadline_came_near", **told)


def _by_site(entries: Iterable[Entry]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(str(entry.site or ""), []).append(entry.id)
    return sorted(found.items())
