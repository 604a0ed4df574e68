"""Whether a job that CUPS does not show was surely never made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dispatcher.edges.cups.jobs import Job, QueueState
from dispatcher.edges.cups.settings import CupsdConf


@dataclass(frozen=True, slots=True, order=True)
class Restart:
    """One start of cupsd, at a whole second on its own clock.

    `event` is its notify-sequence-number (RFC 3995, 8.1): cupsd can be killed twice in one
    second, and after the second time it tells of the last start alone.
    """

    at: int
    event: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """What one subscription tells: from `since` on it saw, and the server started `at` these.

    `printer-config-change-time` does not tell of restarts: CUPS keeps it over them.
    """

    since: int
    at: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What CUPS showed at one moment.

    `ahead` is the least that its clock is ahead of ours, in seconds; None: unknown.
    """

    jobs: tuple[Job, ...]
    queue: QueueState | None
    starts: tuple[Start, ...]
    ahead: float | None

    def titled(self, title: str) -> tuple[Job, ...]:
        """Return the jobs that bear this title, the last made last."""
        return tuple(sorted((j for j in self.jobs if j.title == title), key=_age))

    def runs_since(self, moment: float) -> bool:
        """Whether cupsd has surely run without a break since then (on its own clock)."""
        # Whole seconds, rounded down: a start may have been nearly one later.
        return any(
            max((start.since, *(one.at for one in start.at))) + 1 <= moment
            for start in self.starts
        )

    def restarts(self) -> frozenset[Restart]:
        """Return every start of cupsd that is known to be before this."""
        return frozenset(one for start in self.starts for one in start.at)

    def on_server(self, at: datetime | None) -> float | None:
        """Return the earliest that a moment of ours can have been on the server's clock."""
        if at is None or self.ahead is None:
            return None
        return at.timestamp() + self.ahead

    def why_not_absent(self, at: datetime | None, conf: CupsdConf | None) -> str | None:
        """Return why a job made since `at` could be missing here; None: it was never made."""
        since = self.on_server(at)
        if since is None:
            return "it is not known when it was submitted"
        if self.queue is None:
            return "the queue does not exist any more, and its jobs went with it"
        if self.queue.now is not None and since > self.queue.now + 1:
            return "the clock was set back since"
        if any(job.title is None and (job.created or since) + 1 >= since for job in self.jobs):
            return "CUPS hides the titles of newer jobs"
        if not self.runs_since(since):
            return "CUPS was restarted since, or may have been"
        if not self._keeps_since(since, conf):
            return "CUPS may have forgotten finished jobs since"
        return None

    def _keeps_since(self, since: float, conf: CupsdConf | None) -> bool:
        """Whether a job made since then would still be in the history.

        A job that ended before it and is still there shows it: CUPS forgets the oldest
        first (MaxJobs), and those that ended first (PreserveJobHistory in seconds).
        """
        if any(
            j.ended and j.completed is not None and j.completed + 1 <= since for j in self.jobs
        ):
            return True
        now = self.queue.now if self.queue is not None else None
        return (
            conf is not None
            and now is not None
            and conf.keeps_history_for(now + 1 - since)
            and (conf.max_jobs == 0 or len(self.jobs) < conf.max_jobs)
        )


def _age(job: Job) -> tuple[int, int]:
    return job.created or 0, job.number
