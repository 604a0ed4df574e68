"""One CUPS queue as a destination: submits once, follows to the end, settles what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from dispatcher.core.delivery import MAYBE_TWICE, Accepted, Order, Receipt
from dispatcher.core.routing import Printing
from dispatcher.core.vitals import PlaceHealth
from dispatcher.edges.cups.absence import Restart, View
from dispatcher.edges.cups.checks import findings, health
from dispatcher.edges.cups.jobs import Job, Reference, half_known, verdict
from dispatcher.edges.cups.server import CupsServer, Unreachable
from dispatcher.edges.cups.settings import CupsdConf
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Finding, Outcome, Removal

_HIDDEN = "Write `JobPrivateValues default` in cupsd.conf, in its <Policy>, and restart CUPS."


class CupsQueue:
    """See `dispatcher.ports.Destination`. A job's title is its order's id and nothing else."""

    def __init__(self, server: CupsServer, queue: str, printing: Printing) -> None:
        self._server = server
        self._queue = queue
        self._printing = printing
        # The restarts of cupsd that each job surely had not begun before.
        self._unbegun: dict[str, frozenset[Restart]] = {}

    # --- making --------------------------------------------------------------------------

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """Submit each order unless a job of it is there; see `Destination.deliver`.

        A job that CUPS gave up or a person cancelled, made before the order was intended,
        does not count: whoever orders again wants another one.
        """
        if not orders:
            return ()
        try:
            view = self._server.look(self._queue)
        except Unavailable as error:
            return (error,) * len(orders)
        made: dict[str, Outcome] = {}
        down: Unavailable | None = None
        for order in orders:
            if order.id not in made:
                made[order.id] = down or self._deliver(order, view)
            outcome = made[order.id]
            # The others need not wait for a server that has just been silent.
            down = outcome if isinstance(outcome, Unreachable) else down
        return tuple(made[order.id] for order in orders)

    def _deliver(self, order: Order, view: View) -> Outcome:
        try:
            jobs = view.titled(order.id)
            there = self._whole(jobs, order.intended_at, view)
            if there is not None:
                return self._taken(there, view)
            self._must_accept(view)
            self._remove(jobs)
            options = options_of(self._printing)
            job = self._server.submit(self._queue, order.id, options, order.document.content)
            return self._taken(job, view, fresh=True)
        except (Unavailable, Refused, InDoubt) as error:
            return error

    def _must_accept(self, view: View) -> None:
        """Raise Unavailable when the queue takes no job: it waits for this queue alone."""
        if view.queue is None:
            raise Unavailable(
                f"CUPS has no queue {self._queue}", hint="Create it, or correct routing.yaml."
            )
        if not view.queue.accepting:
            raise Unavailable(
                f"the queue {self._queue} rejects jobs", hint=f"cupsaccept {self._queue}"
            )

    def _taken(self, job: Job, view: View, *, fresh: bool = False) -> Receipt | Accepted:
        """Return the outcome of a job that is there; its end is told by `follow`."""
        reference = job.reference(self._server.name)
        if reference is None or (fresh and job.empty):
            raise InDoubt(
                "CUPS took the job and hides it from the service's user",
                hint=_HIDDEN,
            )
        if fresh:
            self._unbegun[reference.uuid] = view.restarts()
        twice = self._maybe_twice(job, view)
        if job.completed_well:
            return Receipt(str(reference), already_there=not fresh, remark=twice)
        return Accepted(str(reference), twice)

    # --- finding -------------------------------------------------------------------------

    def find(self, order: Order) -> Receipt | Accepted | None:
        """Return the job of this order; see `Destination.find`.

        An order without `intended_at` is never surely absent.
        """
        view = self._server.look(self._queue)
        jobs = view.titled(order.id)
        there = self._whole(jobs, order.intended_at, view)
        if there is not None:
            return self._taken(there, view)
        if self._was_empty(order, jobs, view):
            return None
        why = view.why_not_absent(order.intended_at, None)
        if why is not None:
            why = view.why_not_absent(order.intended_at, self._conf())
        if why is not None:
            raise InDoubt(
                f"no job of this delivery in CUPS, but {why}",
                hint="Look at the printer; `retry` prints, `discard` closes.",
            )
        return None

    def _was_empty(self, order: Order, jobs: Sequence[Job], view: View) -> bool:
        """Remove empty jobs; return whether one of them is all that this attempt made.

        The document may have been sent, printed and forgotten if cupsd restarted since.
        """
        empty = [job for job in jobs if job.empty]
        since = view.on_server(order.intended_at)
        sure = [
            job
            for job in empty
            if job.created is not None and view.runs_since(job.created)
            and since is not None and job.made_since(since)
        ]  # fmt: skip
        if empty and not sure:
            raise InDoubt(
                "CUPS has a job of this delivery without its document, and may have restarted",
                hint="Look at the printer; `retry` prints, `discard` closes.",
            )
        self._remove(empty)
        return bool(sure)

    def _whole(self, jobs: Sequence[Job], at: datetime | None, view: View) -> Job | None:
        """Return the job that makes this delivery, if one of these does.

        Raises InDoubt when cupsd died over one that this attempt may have made.
        """
        since = view.on_server(at)
        whole = [job for job in jobs if not job.empty and not job.half]
        good = [job for job in whole if not job.ended or job.completed_well]
        if good:
            return good[-1]
        if any(job.half and (since is None or job.made_since(since)) for job in jobs):
            raise half_known()
        # One that ended badly is an earlier attempt, unless it was made since the intent.
        ours = [job for job in whole if since is not None and job.made_since(since)]
        return ours[-1] if ours else None

    def _remove(self, jobs: Sequence[Job]) -> None:
        """Remove what would print beside the job to come, or lie in the spool for ever."""
        for job in jobs:
            if (job.empty or job.half) and self._server.remove(job) is not None:
                raise InDoubt("a job of this delivery got its document while it was removed")

    def _conf(self) -> CupsdConf | None:
        text = self._server.settings()
        return CupsdConf.read(text) if text is not None else None

    # --- following -----------------------------------------------------------------------

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        """Return what became of each job, asking once for all; see `Destination.follow`."""
        references = {order: Reference.read(text) for order, text in orders.items()}
        numbers = [reference.job for reference in references.values() if reference]
        if not orders:
            return {}
        try:
            view = self._server.look(self._queue, first=min(numbers, default=1))
        except Unavailable as error:
            return dict.fromkeys(orders, error)
        return {order: self._followed(order, ref, view) for order, ref in references.items()}

    def _followed(self, order: str, reference: Reference | None, view: View) -> Outcome:
        if reference is None:
            return InDoubt("the ledger holds no reference of this job that can be read")
        job = next((job for job in view.jobs if job.is_of(reference, order)), None)
        if job is None:
            return _vanished(reference, view)
        outcome = verdict(job, view.queue, reference)
        twice = self._maybe_twice(job, view)
        if job.ended:
            self._unbegun.pop(reference.uuid, None)
        if twice and isinstance(outcome, Accepted):
            return Accepted(outcome.reference, f"{outcome.because}; {twice}")
        if twice and isinstance(outcome, Receipt):
            return Receipt(outcome.reference, remark=twice)
        return outcome

    def _maybe_twice(self, job: Job, view: View) -> str:
        """Return words when CUPS may have begun a job, been restarted, and begun it again.

        Of a job that had begun when it was first looked at after a restart, CUPS does not
        tell whether it had begun before too.
        """
        if job.uuid is None or job.created is None:
            return ""
        if job.processing is None:
            self._unbegun[job.uuid] = view.restarts()
            return ""
        risky = view.restarts() - self._unbegun.get(job.uuid, frozenset())
        within = (job.created <= one.at <= (job.completed or one.at) for one in risky)
        return MAYBE_TWICE if any(within) else ""

    # --- looking after -------------------------------------------------------------------

    def spool_left(self, references: Sequence[str]) -> tuple[str, ...]:
        """Return those references whose job has ended and whose document CUPS still keeps.

        Raises Unavailable.
        """
        read = {text: Reference.read(text) for text in references}
        numbers = [reference.job for reference in read.values() if reference]
        if not numbers:
            return ()
        view = self._server.look(self._queue, first=min(numbers))
        kept = {(j.number, j.uuid) for j in view.jobs if j.ended and j.documents}
        return tuple(t for t, ref in read.items() if ref and (ref.job, ref.uuid) in kept)

    def remove(self, copy: Copy) -> Removal:
        """See `Destination.remove`: what is ours is the document in CUPS's spool.

        With it goes the job's place in CUPS's history. Unavailable while the job goes on.
        """
        if not copy.reference and copy.name:
            return self._remove_titled(copy.delivery)
        reference = Reference.read(copy.reference)
        if reference is None:
            raise Refused(
                "the ledger holds no reference of this job that can be read",
                hint="Look into CUPS's spool for a job with this title, and remove it.",
            )
        view = self._server.look(self._queue, first=reference.job, watch=False)
        job = next((job for job in view.jobs if job.number == reference.job), None)
        if job is None or job.uuid not in {reference.uuid, None}:
            return Removal.KEPT
        if job.uuid is None or job.title is None:
            raise _hidden()
        if not job.is_of(reference, copy.delivery):
            return Removal.CHANGED
        return self._purged(job)

    def _remove_titled(self, title: str) -> Removal:
        """Remove what an order left of which no job is known: each that bears its title."""
        jobs = self._server.look(self._queue, watch=False).titled(title)
        found = [self._purged(job) for job in jobs]
        return Removal.REMOVED if Removal.REMOVED in found else Removal.KEPT

    def _purged(self, job: Job) -> Removal:
        if not job.ended:
            raise Unavailable("the job has not ended in CUPS", hint="`lpstat -o` shows it.")
        if not job.documents:
            return Removal.KEPT
        if self._server.purge(job) is not None:
            raise Unavailable(
                "CUPS did not remove an ended job", hint="Its error_log says why."
            )
        return Removal.REMOVED

    def check(self) -> Iterable[Finding]:
        """Return what IT should know of the server and the queue; see `Destination.check`."""
        return findings(self._server, self._queue, options_of(self._printing))

    def health(self) -> PlaceHealth:
        """See `Destination.health`: paper, toner, a stopped queue, a server that is down."""
        return health(self._server, self._queue)


def options_of(printing: Printing) -> dict[str, str]:
    """Return the CUPS options of a print target; values are strings, as pycups wants them."""
    named = {
        "copies": str(printing.copies),
        "sides": printing.sides,
        "media": printing.media,
        "InputSlot": printing.tray,
        # Said either way: a queue may have banners of its own by default.
        "job-sheets": "standard,none" if printing.banner else "none,none",
    }
    chosen = {name: value for name, value in named.items() if value is not None}
    return {**chosen, **dict(printing.options)}


def _vanished(reference: Reference, view: View) -> Outcome:
    hidden = any(j.number == reference.job and j.uuid is None for j in view.jobs)
    if hidden:
        return _hidden()
    return InDoubt(
        f"CUPS does not know job {reference.job} any more",
        hint="Look at the printer; `retry` prints again, `release` or `discard` closes.",
    )


def _hidden() -> Unavailable:
    return Unavailable(
        "CUPS hides its jobs from the service's user",
        hint="Write `JobPrivateValues none` in cupsd.conf, in its <Policy>.",
    )
