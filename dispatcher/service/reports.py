"""Makes the report of each day and week, as a file and by mail, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

import structlog

from dispatcher.core import letter, report
from dispatcher.core.paris import PARIS
from dispatcher.core.report import Period, Report
from dispatcher.core.routing import Rules
from dispatcher.errors import DispatcherError, InDoubt, Refused, Unavailable
from dispatcher.ports import Alerts, Ledger, Shelf
from dispatcher.service.desk import Desk

_log = structlog.get_logger(__name__)

_DAY: Final = timedelta(days=1)
_PAUSE: Final = 600.0  # after a mail server or a disk that failed (seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """When reports are made, Paris time, and which."""

    at: time = time(7)
    daily: bool = True
    weekly: bool = True


def make(ledger: Ledger, rules: Rules, period: Period) -> Report:
    """Return the report of a period. Raises Unavailable without the ledger."""
    return report.compose(period, ledger.turnover(period.begins_at, period.ends_at), rules)


class Reports:
    """The reports that are due. Used by one thread, which may wait long.

    The ledger remembers which was made last. After a longer stop only the newest is made;
    `report --date` makes any other.
    """

    def __init__(
        self, desk: Desk, plan: Plan, *, alerts: Alerts | None, shelf: Shelf | None
    ) -> None:
        self._desk = desk
        self._plan = plan
        self._alerts = alerts
        self._shelf = shelf
        self._not_before = 0.0
        self._told = False

    def turn(self) -> None:
        """Make what is due. Raises Unavailable without the ledger."""
        if self._desk.clock.monotonic() < self._not_before:
            return
        now = self._desk.clock.now()
        for errand, period in self._newest(now):
            if self._is_due(errand, period):
                try:
                    self._publish(make(self._desk.ledger, self._desk.rules, period), now)
                except (Unavailable, Refused, InDoubt) as error:
                    self._failed(error, period)
                    return
                self._did(errand, period)
                _log.info("report_was_made", period=period.name)
                self._told = False

    def _newest(self, now: datetime) -> Iterator[tuple[str, Period]]:
        """Yield the newest period of each kind that is over, and whose hour has come."""
        wall = now.astimezone(PARIS)
        today = wall.date() if wall.time() >= self._plan.at else wall.date() - _DAY
        if self._plan.daily:
            yield "report day", report.day(today - _DAY)
        if self._plan.weekly:
            yield "report week", report.week(report.week(today).first - _DAY)

    def _is_due(self, errand: str, period: Period) -> bool:
        last = self._desk.ledger.last_did(errand)
        if last is None:
            # The first one is of a period that the service has seen from now on.
            self._did(errand, period)
            return False
        return last < period.ends_at

    def _did(self, errand: str, period: Period) -> None:
        with self._desk.ledger.writing() as writer:
            writer.did(errand, period.ends_at)

    def _publish(self, made: Report, now: datetime) -> None:
        if self._shelf is not None:
            name = f"rapport-{made.period.name}.csv"
            # With a mark at the start (U+FEFF) spreadsheets see that it is UTF-8.
            self._shelf.put(name, report.as_csv(made).encode("utf-8-sig"))
        if self._alerts is not None:
            subject = f"[SI-DEP {self._desk.rules.lbm}] Rapport {made.period.name}"
            sent = self._alerts.send(letter.letter(subject, report.as_lines(made), now))
            if sent.refused:
                # The others have it: to send it again would be a second one for them.
                _log.error(
                    "report_recipient_was_refused",
                    period=made.period.name,
                    count=len(sent.refused),
                )

    def _failed(self, error: DispatcherError, period: Period) -> None:
        self._not_before = self._desk.clock.monotonic() + _PAUSE
        if not self._told:
            _log.error(
                "report_could_not_be_sent",
                period=period.name,
                because=str(error),
                hint=error.hint,
            )
        self._told = True
