"""CUPS's jobs and queues as values, and what each of their states means for a delivery."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from dispatcher.core.delivery import IN_LINE, PRINTING, Accepted, Receipt
from dispatcher.edges.cups import wire
from dispatcher.edges.cups.words import printer_message, printer_reasons
from dispatcher.errors import Failed, InDoubt, Refused

# job-state, RFC 8011, 5.3.7.
_HELD, _PROCESSING, _STOPPED, _CANCELED, _ABORTED, _COMPLETED = 4, 5, 6, 7, 8, 9
# printer-state, RFC 8011, 5.4.11.
_QUEUE_IDLE: Final = 3
_QUEUE_STOPPED: Final = 5

_URN: Final = "urn:uuid:"
_REFERENCE: Final = re.compile(r"([0-9]{1,10}):([0-9]{1,12}):([0-9a-f]{32})@(.*)", re.DOTALL)

Verdict = Receipt | Accepted | Failed | Refused | InDoubt


@dataclass(frozen=True, slots=True)
class Reference:
    """What finds a job again. A number alone does not: a killed cupsd gives it away again."""

    job: int
    created: int
    uuid: str
    server: str

    def __str__(self) -> str:
        return f"{self.job}:{self.created}:{self.uuid}@{self.server}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the reference that was written so, or None."""
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return None
        return cls(int(found[1]), int(found[2]), found[3], found[4])


@dataclass(frozen=True, slots=True)
class Job:
    """One job as CUPS shows it. None: CUPS hides it, or it does not apply yet.

    Times are whole seconds on the server's clock. `hold_until` is job-hold-until: CUPS
    writes `indefinite` for a job that somebody, or the printer's backend, holds.
    """

    number: int
    uuid: str | None
    title: str | None
    state: int
    created: int | None
    processing: int | None
    completed: int | None
    kilobytes: int
    sheets: int
    documents: int
    hold_until: str | None = None

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """Return the job that the worker told of."""
        sheets = _number(said, "job-media-sheets-completed") or 0
        return cls(
            number=int(said["job-id"]),
            uuid=_uuid(said.get("job-uuid")),
            title=_text(said.get("job-name")) or _text(said.get(wire.MARK)),
            state=_number(said, "job-state") or 0,
            created=_number(said, "time-at-creation"),
            processing=_number(said, "time-at-processing"),
            completed=_number(said, "time-at-completed"),
            kilobytes=_number(said, "job-k-octets") or 0,
            sheets=max(sheets, _number(said, "job-impressions-completed") or 0),
            documents=_number(said, "number-of-documents") or 0,
            hold_until=_text(said.get("job-hold-until")),
        )

    @property
    def ended(self) -> bool:
        """Whether CUPS will do nothing more with it."""
        return self.state >= _CANCELED

    @property
    def completed_well(self) -> bool:
        """Whether CUPS says that it was printed, and there was something to print."""
        return self.state == _COMPLETED and bool(self.kilobytes or self.sheets)

    @property
    def tried_again(self) -> bool:
        """Whether the printer failed and CUPS only waits before it tries again.

        So it does by itself where a queue's error policy is `retry-job`, Debian's own
        (cupsd.conf: JobRetryInterval, JobRetryLimit).
        """
        return self.state == _HELD and self.hold_until == "no-hold"

    @property
    def empty(self) -> bool:
        """Whether it waits for a document that never came (RFC 8011, 4.2.4)."""
        return not self.ended and not self.kilobytes and not self.documents

    @property
    def half(self) -> bool:
        """Whether cupsd died over it: it has the document, and no record of taking it.

        The printer may have had it before cupsd died; after its restart the job is held.
        """
        return not self.ended and not self.kilobytes and bool(self.documents)

    def made_since(self, moment: float) -> bool:
        """Whether it may have been made since then; its time is rounded down."""
        return self.created is None or self.created + 1 >= moment

    def reference(self, server: str) -> Reference | None:
        """Return what finds it again, or None where CUPS hides that."""
        if self.uuid is None or self.created is None:
            return None
        return Reference(self.number, self.created, self.uuid, server)

    def is_of(self, reference: Reference, title: str) -> bool:
        """Whether this is the job that was meant: number, uuid, title and time of making."""
        return (
            (self.number, self.uuid) == (reference.job, reference.uuid)
            and self.created == reference.created
            and self.title in {title, None}
        )


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as CUPS shows it; `now` is the server's time in whole seconds.

    `message` is printer-state-message: what its backend said last, in English.
    """

    state: int
    reasons: tuple[str, ...]
    accepting: bool
    now: int | None
    message: str = ""

    @classmethod
    def read(cls, said: Mapping[str, Any] | None) -> Self | None:
        """Return the queue that the worker told of; None: there is none."""
        if said is None:
            return None
        reasons = said.get("printer-state-reasons", ())
        return cls(
            state=_number(said, "printer-state") or 0,
            reasons=tuple(map(str, (reasons,) if isinstance(reasons, str) else reasons)),
            accepting=bool(said.get("printer-is-accepting-jobs", True)),
            now=_number(said, "printer-up-time"),
            message=_text(said.get("printer-state-message")) or "",
        )

    @property
    def stopped(self) -> bool:
        """Whether nothing is printed until somebody resumes the queue."""
        return self.state == _QUEUE_STOPPED

    def trouble(self) -> str:
        """Return in words what keeps it from printing; empty: nothing is known."""
        words = printer_reasons(self.reasons)
        if not words and self.state != _QUEUE_IDLE:  # an idle one's is an old story
            words = printer_message(self.message)
        if self.stopped and "paused" not in self.reasons:
            words = ", ".join(filter(None, (words, "the queue is paused")))
        return words


def verdict(job: Job, queue: QueueState | None, reference: Reference) -> Verdict:
    """Return what a job's state means for the delivery that it makes."""
    if job.completed_well:
        return Receipt(str(reference))
    if job.state == _COMPLETED:
        return Failed("CUPS says completed, and nothing was printed")
    # RFC 8011 knows cancelling by a user, an operator, or at the device; CUPS does not tell
    # them apart reliably, and each is a person's doing: never printed again unasked.
    if job.state == _CANCELED:
        return Refused("cancelled at the printer or in CUPS", hint="`retry` prints it again.")
    if job.state == _ABORTED and job.sheets:
        hint = "Look at the printer; `retry` prints again, `discard` closes."
        return InDoubt(f"CUPS gave up after {job.sheets} page(s) had come out", hint=hint)
    if job.state == _ABORTED:
        return Failed("CUPS or the printer's filter gave the job up", hint=_see_log(queue))
    if job.half:
        return half_known()
    if job.empty:
        return InDoubt("CUPS has lost the document of this job", hint="Look at the printer.")
    return Accepted(str(reference), because(job, queue))


def half_known() -> InDoubt:
    """Return the doubt about a job that cupsd died over."""
    return InDoubt(
        "CUPS was killed while it took this job, which may have been printed",
        hint="Look at the printer; `retry` prints, `discard` closes.",
    )


def because(job: Job, queue: QueueState | None) -> str:
    """Return in words why a job has not come out yet."""
    trouble = queue.trouble() if queue is not None else "the queue does not exist any more"
    if job.tried_again:
        return _joined("the printer failed, CUPS tries again by itself", trouble)
    if job.state == _HELD:
        return _joined("held in CUPS until somebody releases it", trouble)
    if job.state in {_PROCESSING, _STOPPED}:
        return trouble or PRINTING
    if queue is not None and not queue.accepting:
        trouble = _joined(trouble, "the queue rejects new jobs")
    return trouble or IN_LINE


def _joined(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _see_log(queue: QueueState | None) -> str:
    words = queue.trouble() if queue is not None else ""
    return _joined(words, "CUPS's error_log says why.")


def _number(said: Mapping[str, Any], key: str) -> int | None:
    value = said.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _uuid(value: object) -> str | None:
    text = _text(value)
    if text is None or not text.startswith(_URN):
        return None
    bare = text.removeprefix(_URN).replace("-", "").lower()
    return bare if re.fullmatch("[0-9a-f]{32}", bare) else None
