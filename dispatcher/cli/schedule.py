"""Runs recurring work beside the mailboxes; what is due lives in the ledger, not here."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from dispatcher.service.calendar import Calendar
from dispatcher.service.daily import DailyLists
from dispatcher.service.desk import Desk
from dispatcher.service.errand import Errand
from dispatcher.service.loop import Loops
from dispatcher.service.spool import SpoolWatch
from dispatcher.service.watch import check_balance

_log = structlog.get_logger(__name__)

# How often each piece of work looks whether something is to be done (seconds).
_BALANCE: Final = 60
_DUE: Final = 5
_PURGE: Final = 60
_LISTS: Final = 10
_SPOOL: Final = 3600
_FIRST_SPOOL: Final = 60


class Schedule:
    """The running schedule. It lives in memory alone, in UTC.

    Each piece of work has a thread of its own, so that a mail server that is slow to take
    an alert keeps nothing else waiting.
    """

    def __init__(
        self,
        desk: Desk,
        loops: Loops,
        lists: DailyLists | None,
        errands: Iterable[Errand] = (),
    ) -> None:
        self._clock = desk.clock
        self._calendar = Calendar(desk, loops.names)
        self._scheduler = _begun(desk, loops, lists, errands)

    def mind_the_clock(self) -> None:
        """Plan everything anew when the clock was set. To be called every few seconds."""
        if self._calendar.look():
            begin_again(self._scheduler, self._clock.now())

    def stop(self) -> None:
        """Begin nothing more."""
        self._scheduler.shutdown(wait=False)


def _begun(
    desk: Desk, loops: Loops, lists: DailyLists | None, errands: Iterable[Errand]
) -> BackgroundScheduler:
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": _DaemonThreads()},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    scheduler.add_job(check_balance, Every(_BALANCE), [desk.ledger])
    # What a person released waits for nobody's mail: see to it within seconds.
    scheduler.add_job(loops.wake_due, Every(_DUE))
    now = desk.clock.now()
    # Whether one is due lives in the ledger; its own thread looks at every turn as well.
    scheduler.add_job(loops.wake_for_purge, Every(_PURGE), next_run_time=now)
    if lists is not None:
        scheduler.add_job(lists.turn, Every(_LISTS), next_run_time=now)
    soon = now + timedelta(seconds=_FIRST_SPOOL)
    watch = SpoolWatch(desk)
    scheduler.add_job(watch.turn, Every(_SPOOL), next_run_time=soon)
    for errand in errands:
        scheduler.add_job(errand.work, Every(errand.every), next_run_time=now)
    scheduler.add_listener(_report_job, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    scheduler.start()
    return scheduler


def begin_again(scheduler: BackgroundScheduler, now: datetime) -> None:
    """Let every job run now: the clock was set, and they were planned by the old one."""
    for job in scheduler.get_jobs():
        job.modify(next_run_time=now)


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires so many seconds after the last time, or after now when that is over.

    APScheduler's own lists each time that was missed before it runs once: a clock that is
    set ten years ahead would cost gigabytes.
    """

    def __init__(self, seconds: int) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return when to fire next; see `apscheduler.triggers.base.BaseTrigger`."""
        planned = (previous or now) + self._interval
        return planned if now < planned <= now + self._interval else now + self._interval


class _DaemonThreads(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Runs each job in a thread that does not keep the program from ending.

    APScheduler's own pool is joined at exit, by Python itself: a mailbox or a share that
    hangs would hold the service up until it is killed.
    """

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        threading.Thread(target=self._work, args=(job, run_times), daemon=True).start()

    def _work(self, job: Any, run_times: list[datetime]) -> None:
        # What ends a job is among the events, so that the listener tells it.
        store = job._jobstore_alias  # noqa: SLF001 - as its own executors do
        self._run_job_success(job.id, run_job(job, store, run_times, self._logger.name))


def _report_job(event: JobExecutionEvent) -> None:
    error = type(event.exception).__name__ if event.exception else "missed"
    _log.error("scheduled_job_failed", error=error)
