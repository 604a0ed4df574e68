"""A print queue in memory: jobs go on, end, fail or vanish when a test says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.vitals import PlaceHealth
from dispatcher.errors import Failed, InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Finding, Outcome, Removal

End = Literal["going", "done", "aborted", "canceled", "vanished"]


@dataclass
class Job:
    """One job; `title` is the order's id. `spooled`: the queue still has its document."""

    title: str
    end: End = "going"
    because: str = ""
    spooled: bool = True


class MemoryQueue:
    """Every order that it takes is a new sheet of paper, as at a real queue.

    With `keeps_files` the document of an ended job stays in the spool (PreserveJobFiles).
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.down: Unavailable | None = None
        self.lose_next_answer = False
        self.remembers = True
        self.remark = ""
        self.keeps_documents = False
        self.keeps_files = False
        self.removed: list[Copy] = []

    def finish(self, end: End = "done") -> None:
        """Let every job that goes on come to this end."""
        for job in self.jobs:
            if job.end == "going":
                job.end = end
                job.spooled = self.keeps_files

    def hinder(self, because: str) -> None:
        """Let every job that goes on say why it takes time."""
        for job in self.jobs:
            if job.end == "going":
                job.because = because

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return tuple(self._submit(order) for order in orders)

    def _submit(self, order: Order) -> Outcome:
        if self.down is not None:
            return self.down
        self.jobs.append(Job(order.id))
        if self.lose_next_answer:
            self.lose_next_answer = False
            return InDoubt("the answer was lost")
        return Accepted(f"job {len(self.jobs) - 1}")

    def find(self, order: Order) -> Receipt | Accepted | None:
        if self.down is not None:
            raise self.down
        for number, job in enumerate(self.jobs):
            if job.title == order.id and job.end != "vanished":
                return Accepted(f"job {number}", job.because)
        if not self.remembers:
            raise InDoubt("the history is switched off")
        return None

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        return {key: self._what_became_of(reference) for key, reference in orders.items()}

    def _what_became_of(self, reference: str) -> Outcome:
        if self.down is not None:
            return self.down
        job = self.jobs[int(reference.split()[1])]
        match job.end:
            case "going":
                return Accepted(reference, job.because)
            case "done":
                return Receipt(reference, remark=self.remark)
            case "aborted":
                return Failed("the job was aborted")
            case "canceled":
                return Refused("cancelled at the printer")
            case "vanished":
                return InDoubt("the job is no longer known")

    def spool_left(self, references: Sequence[str]) -> tuple[str, ...]:
        if self.down is not None:
            raise self.down
        ended = {f"job {n}" for n, job in enumerate(self.jobs) if job.end != "going"}
        return tuple(one for one in references if self.keeps_documents and one in ended)

    def remove(self, copy: Copy) -> Removal:
        if self.down is not None:
            raise self.down
        if not copy.reference and copy.name:
            titled = [n for n, job in enumerate(self.jobs) if job.title == copy.delivery]
            found = [self.remove(replace(copy, reference=f"job {n}")) for n in titled]
            return Removal.REMOVED if Removal.REMOVED in found else Removal.KEPT
        word, _, number = copy.reference.partition(" ")
        known = word == "job" and number.isdigit() and int(number) < len(self.jobs)
        job = self.jobs[int(number)] if known else None
        if job is None or job.title != copy.delivery or job.end == "vanished":
            return Removal.KEPT
        if job.end == "going":
            raise Unavailable("the job is under way")
        if not job.spooled:
            return Removal.KEPT
        job.spooled = False
        self.removed.append(copy)
        return Removal.REMOVED

    def health(self) -> PlaceHealth:
        return PlaceHealth("" if self.down is None else str(self.down))

    def check(self) -> Iterable[Finding]:
        return [Finding("ok", "memory queue")]
