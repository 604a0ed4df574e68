"""Keeps what was told of the alarms in the ledger, and sends what is to be told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from dispatcher.core import letter, telling
from dispatcher.core.alarm import Alarm, AlarmKind
from dispatcher.core.telling import Key, Notice, Standing
from dispatcher.errors import DispatcherError, InDoubt, Refused, Unavailable
from dispatcher.ports import Alerts, Clock, Ledger
from dispatcher.service.desk import Desk

_log = structlog.get_logger(__name__)

_PREFIX: Final = "alarm "
_MAILS: Final = "alarm-mails"
# A mail server that does not take a mail is asked again after these pauses (seconds).
_FIRST_PAUSE: Final = 30.0
_LAST_PAUSE: Final = 900.0


class Herald:
    """Tells alarms, each once, with its recovery. Used by one thread, which may wait long.

    What was told stands in the ledger, so that a restart repeats nothing and tells what
    ended meanwhile. Where the ledger takes nothing (a full disk above all), it is told all
    the same and remembered here until it does.
    """

    def __init__(self, desk: Desk, alerts: Alerts, *, per_hour: int = 10) -> None:
        self._desk = desk
        self._alerts = alerts
        self._per_hour = per_hour
        self._memory: dict[Key, Standing] | None = None
        self._sent_at: tuple[datetime, ...] = ()
        self._written: dict[str, str] = {}
        self._failures = 0
        self._not_before = 0.0

    def look(self, alarms: Iterable[Alarm]) -> None:
        """Take what there is now, and send what is to be told. Raises Unavailable.

        Never for a mail server that fails: it is tried again later, and the log tells.
        """
        now = self._desk.clock.now()
        if self._memory is None:
            self._memory = read(self._desk.ledger)
            self._sent_at = _read_mails(self._desk.ledger)
            self._written = dict(self._desk.ledger.memos(_PREFIX))
        self._memory = telling.remember(self._memory, alarms, now)
        self._write()
        notices = telling.due(self._memory, now)
        resting = self._desk.clock.monotonic() < self._not_before
        if notices and not resting and telling.may_send(self._sent_at, now, self._per_hour):
            self._send(notices, now)

    def _send(self, notices: tuple[Notice, ...], now: datetime) -> None:
        text = letter.of_notices(notices, self._desk.rules.lbm, now)
        try:
            sent = self._alerts.send(text)
        except (Unavailable, Refused, InDoubt) as error:
            self._failed(error, len(notices))
            return
        if self._failures:
            _log.info("alert_mail_went_again", failures=self._failures)
        self._failures, self._not_before = 0, 0.0
        kinds = sorted({notice.standing.alarm.kind.value for notice in notices})
        _log.info("alert_was_sent", count=len(notices), kinds=kinds, answer=sent.answer)
        if sent.refused:
            _log.error("alert_recipient_was_refused", count=len(sent.refused))
        self._memory = telling.told(self._memory or {}, notices, now)
        self._sent_at = (*telling.recent(self._sent_at, now), now)
        self._write()

    def _failed(self, error: DispatcherError, count: int) -> None:
        """Plan the next try; the first failure of a row is told in the log."""
        pause = min(_LAST_PAUSE, _FIRST_PAUSE * (1 << min(self._failures, 10)))
        self._not_before = self._desk.clock.monotonic() + pause
        self._failures += 1
        report = _log.error if self._failures == 1 else _log.debug
        report("alert_could_not_be_sent", count=count, because=str(error), hint=error.hint)

    def _write(self) -> None:
        """Bring the ledger's memory up to this one, as far as it takes it."""
        wanted = {_name(key): _text(one) for key, one in (self._memory or {}).items()}
        wanted[_MAILS] = json.dumps([at.isoformat() for at in self._sent_at])
        changed: dict[str, str | None] = {
            name: text for name, text in wanted.items() if self._written.get(name) != text
        }
        changed |= dict.fromkeys(self._written.keys() - wanted.keys())
        if not changed:
            return
        try:
            with self._desk.ledger.writing() as writer:
                for name, text in changed.items():
                    writer.note(name, text)
        except Unavailable as error:
            _log.warning("alarms_could_not_be_recorded", because=str(error))
        else:
            self._written = wanted


def read(ledger: Ledger) -> dict[Key, Standing]:
    """Return what the ledger remembers of the alarms."""
    found = (_standing(text) for text in ledger.memos(_PREFIX).values())
    return {one.alarm.key: one for one in found}


def standing(ledger: Ledger) -> tuple[Standing, ...]:
    """Return the alarms that stand, the oldest first."""
    lasting = [one for one in read(ledger).values() if one.ended_at is None]
    return tuple(sorted(lasting, key=_seen))


def _seen(standing: Standing) -> datetime:
    return standing.seen_at


def send_test(alerts: Alerts, clock: Clock, lbm: str) -> str:
    """Send a mail now; return what the server answered. Raises what `Alerts.send` does."""
    sent = alerts.send(letter.of_test(lbm, clock.now()))
    if sent.refused:
        raise Refused(
            f"the mail server took it ({sent.answer}), but not for {len(sent.refused)} of the "
            "recipients",
            hint="correct `alerts.to`",
        )
    return sent.answer


def _read_mails(ledger: Ledger) -> tuple[datetime, ...]:
    text = ledger.memo(_MAILS)
    return tuple(map(datetime.fromisoformat, json.loads(text))) if text else ()


def _name(key: Key) -> str:
    kind, subject = key
    return f"{_PREFIX}{kind.value} {subject}"


def _text(one: Standing) -> str:
    alarm = one.alarm
    return json.dumps(
        {
            "kind": alarm.kind.value,
            "subject": alarm.subject,
            "french": alarm.french,
            "english": alarm.english,
            "parts": sorted(alarm.parts),
            "repeats": alarm.repeats,
            "since": _time(alarm.since_at),
            "seen": _time(one.seen_at),
            "told_at": _time(one.told_at),
            "told": sorted(one.told),
            "ended": _time(one.ended_at),
        }
    )


def _standing(text: str) -> Standing:
    found: Mapping[str, Any] = json.loads(text)
    alarm = Alarm(
        AlarmKind(found["kind"]),
        found["subject"],
        found["french"],
        found["english"],
        parts=frozenset(found["parts"]),
        repeats=found["repeats"],
        since_at=_at(found["since"]),
    )
    seen_at = datetime.fromisoformat(found["seen"])
    told = frozenset(found["told"])
    return Standing(alarm, seen_at, _at(found["told_at"]), told, _at(found["ended"]))


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
