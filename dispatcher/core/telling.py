"""What was told of the alarms, and what is to be told now: each once, with its recovery."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from dispatcher.core.alarm import Alarm, AlarmKind

# What comes and goes within this time is nothing to tell, in both directions.
SETTLED: Final = timedelta(seconds=45)
# What has grown is told anew after this time, what lasts after a day.
_GROWN: Final = timedelta(hours=1)
_DAILY: Final = timedelta(days=1)
# Alarms whose parts are steps to something worse: the next step is told at once.
_STEPS: Final = frozenset(
    {
        AlarmKind.CREDENTIAL_ENDS,
        AlarmKind.DEADLINE_NEAR,
        AlarmKind.PURGE_STOPPED,
        AlarmKind.QUOTA,
    }
)
HOUR: Final = timedelta(hours=1)

Key = tuple[AlarmKind, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """One alarm in the memory: as it was seen last, and what was told of it.

    `seen_at` is when it began to be seen, `ended_at` since when it is not seen any more,
    `told_at` when a mail last told of it, `told` the parts that it told of.
    """

    alarm: Alarm
    seen_at: datetime
    told_at: datetime | None = None
    told: frozenset[str] = frozenset()
    ended_at: datetime | None = None


Memory = Mapping[Key, Standing]


class News(Enum):
    """Why an alarm is in a mail."""

    BEGAN = "began"
    GREW = "grew"
    LASTS = "lasts"
    ENDED = "ended"
    PASSED = "passed"  # began and ended before a mail could tell of it


@dataclass(frozen=True, slots=True)
class Notice:
    """One alarm to tell of, and why."""

    news: News
    standing: Standing


def remember(memory: Memory, alarms: Iterable[Alarm], now: datetime) -> dict[Key, Standing]:
    """Return the memory after a look that found these alarms."""
    found = {alarm.key: alarm for alarm in alarms}
    after: dict[Key, Standing] = {}
    for key, alarm in found.items():
        known = memory.get(key)
        if known is not None and (alarm.firm or known.ended_at is None):
            # One that comes back before its end was told has never ended.
            after[key] = replace(
                known, alarm=alarm, ended_at=None, told=known.told & alarm.parts
            )
        elif known is not None:
            after[key] = known
        elif alarm.firm:
            after[key] = Standing(alarm, now)
    for key, known in memory.items():
        if key not in found:
            after[key] = replace(known, ended_at=known.ended_at or now)
    return {key: one for key, one in after.items() if not _was_nothing(one)}


def _was_nothing(standing: Standing) -> bool:
    """Whether an alarm ended so soon that nobody was told, and nobody need be."""
    ended = standing.ended_at
    return ended is not None and standing.told_at is None and ended - standing.seen_at < SETTLED


def due(memory: Memory, now: datetime) -> tuple[Notice, ...]:
    """Return what is to be told now, the oldest first."""
    found = list(_due(memory.values(), now))
    found.sort(key=lambda notice: (notice.standing.seen_at, notice.standing.alarm.kind.value))
    return tuple(found)


def _due(standings: Iterable[Standing], now: datetime) -> Iterator[Notice]:
    for one in standings:
        news = _news(one, now)
        if news is not None:
            yield Notice(news, one)


def _news(one: Standing, now: datetime) -> News | None:
    if one.ended_at is not None:
        calm = now - one.ended_at >= SETTLED
        told = News.PASSED if one.told_at is None else News.ENDED
        return told if calm else None
    if one.told_at is None:
        return News.BEGAN if now - one.seen_at >= SETTLED else None
    since = now - one.told_at
    if one.alarm.parts - one.told and (one.alarm.kind in _STEPS or since >= _GROWN):
        return News.GREW
    return News.LASTS if one.alarm.repeats and since >= _DAILY else None


def told(memory: Memory, notices: Iterable[Notice], now: datetime) -> dict[Key, Standing]:
    """Return the memory after a mail told these notices."""
    after = dict(memory)
    for notice in notices:
        key = notice.standing.alarm.key
        if notice.news in {News.ENDED, News.PASSED}:
            after.pop(key, None)
        else:
            parts = notice.standing.alarm.parts
            after[key] = replace(notice.standing, told_at=now, told=parts)
    return after


def may_send(sent_at: Collection[datetime], now: datetime, per_hour: int) -> bool:
    """Whether one more mail may go: at most `per_hour` in any hour, then all in one."""
    return len(recent(sent_at, now)) < per_hour


def recent(sent_at: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return the mails of the last hour; one of a clock that was set back is not counted."""
    return tuple(at for at in sent_at if timedelta(0) <= now - at < HOUR)
