"""Makes and settles deliveries: intent on disk first, effect second, proof third."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.core.certificate import Document, HoldReason
from dispatcher.core.delivery import IN_LINE, PRINTING, Accepted, Order, Receipt
from dispatcher.core.ledger import (
    UNDER_WAY,
    Delivery,
    DeliveryState,
    Entry,
    NewDelivery,
    State,
)
from dispatcher.core.routing import Kind, Target
from dispatcher.errors import Failed, InDoubt, InvariantBroken, Refused, Unavailable
from dispatcher.ports import Destination, Outcome, Writer
from dispatcher.service.desk import Desk
from dispatcher.service.gate import target_of, wait_for
from dispatcher.service.hindrance import Overdue
from dispatcher.service.lanes import Ended, Lane, Lanes
from dispatcher.service.outcomes import outcome
from dispatcher.service.separators import Separators

_log = structlog.get_logger(__name__)

_FIRST_RETRY: Final = timedelta(seconds=5)
_LAST_RETRY: Final = timedelta(minutes=5)
# A destination that gave up (a job aborted) is tried this often in all.
_MOST_ATTEMPTS: Final = 3
# Documents under way at one print queue; the rest waits here, the oldest first.
_MOST_IN_QUEUE: Final = 10

Answer = Outcome | None
"""Outcome of a delivery; of a search also None: it was not made."""


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery with the document it needs, fetched for this attempt only.

    Following what a destination works on needs no document. `rules` is the digest of those
    by which it goes: where its effect is, or may be.
    """

    entry: Entry
    delivery: Delivery
    document: Document | None = field(default=None, repr=False)
    intended_at: datetime | None = None
    rules: str = ""

    @property
    def lane(self) -> Lane:
        """Where it runs."""
        return _lane(self.entry, self.delivery)

    @property
    def order(self) -> Order:
        """What the destination gets."""
        if self.document is None:
            raise InvariantBroken(f"delivery {self.delivery.id} has no document")
        return Order(self.delivery.id, *self.lane, self.document, intended_at=self.intended_at)


Act = Callable[[Destination, Sequence[Job]], tuple[Answer, ...]]
Record = Callable[[Writer, Job, Answer], Entry]


class Dispatch:
    """The deliveries of one mailbox's messages. Used by one thread."""

    def __init__(self, desk: Desk, *, patience: float = 2.0) -> None:
        self._desk = desk
        self._lanes: Lanes[tuple[Answer, ...]] = Lanes(desk.clock, patience=patience)
        self._under_way: dict[Lane, tuple[Sequence[Job], Record]] = {}
        self._resting: dict[Lane, datetime] = {}
        self._going: Counter[Lane] = Counter()
        self._overdue = Overdue(desk.ledger, desk.clock)
        self._separators = Separators(desk)
        # Lanes in which older prints wait in turn; None: to be asked for.
        self._in_turn: frozenset[Lane] | None = None

    @property
    def idle(self) -> bool:
        """Whether no delivery is under way."""
        return self._lanes.idle

    def line_up(self, mailbox: str, *, anew: bool) -> None:
        """Find out where prints wait in turn, so that what comes now goes behind them.

        `anew` when some may have been added without this object knowing.
        """
        if not anew and self._in_turn == frozenset():
            return
        far = self._desk.clock.now() + _LAST_RETRY
        self._in_turn = frozenset(
            _lane(entry, delivery)
            for entry in self._desk.ledger.due(mailbox, far)
            for delivery in entry.deliveries
            if delivery.state is DeliveryState.DECIDED and delivery.kind is Kind.PRINT
        )

    def free(self, entry: Entry, delivery: Delivery, *, new: bool = False) -> bool:
        """Whether the lane of a delivery takes work now; `new`: it has just been decided."""
        lane = _lane(entry, delivery)
        if new and self._in_turn and lane in self._in_turn:
            return False
        rests_until = self._resting.get(lane)
        if self._lanes.busy(lane) or self._going[lane] >= _MOST_IN_QUEUE:
            return False
        now = self._desk.clock.now()
        # A clock that was set back must not let it rest for longer.
        return rests_until is None or not now < rests_until <= now + _LAST_RETRY

    def startable(self, entry: Entry, *, new: bool = False) -> tuple[Delivery, ...]:
        """Return the deliveries that are to be made and may begin now."""
        return tuple(
            delivery
            for delivery in entry.deliveries
            if delivery.state is DeliveryState.DECIDED and self.free(entry, delivery, new=new)
        )

    def open_questions(self, entry: Entry) -> tuple[Delivery, ...]:
        """Return the deliveries that nobody recorded the end of and nobody is making."""
        flying = {job.delivery.id for jobs, _ in self._under_way.values() for job in jobs}
        return tuple(
            delivery
            for delivery in entry.deliveries
            if delivery.state in UNDER_WAY
            and not is_followed(delivery)
            and delivery.id not in flying
            and self.free(entry, delivery)
        )

    def put_off(self, writer: Writer, entry: Entry, *, new: bool = False) -> None:
        """Plan the deliveries whose lane takes no work now for when it may."""
        soon = self._desk.clock.now() + _FIRST_RETRY
        for delivery in entry.deliveries:
            decided = delivery.state is DeliveryState.DECIDED
            if decided and not self.free(entry, delivery, new=new):
                lane = _lane(entry, delivery)
                writer.plan(delivery.id, max(soon, self._resting.get(lane, soon)))
                if delivery.kind is Kind.PRINT:
                    self._in_turn = (self._in_turn or frozenset()) | {lane}

    def begin(self, writer: Writer, entry: Entry, document: Document) -> list[Job]:
        """As `intend`, for a message that has just come: it goes behind older prints."""
        return self.intend(writer, entry, document, new=True)

    def intend(
        self, writer: Writer, entry: Entry, document: Document, *, new: bool = False
    ) -> list[Job]:
        """Record the intent for every delivery of `entry` that may begin now."""
        self.put_off(writer, entry, new=new)
        jobs = []
        now = self._desk.clock.now()
        # What has just been decided goes by the rules that decided it, a later try by those
        # in force: a folder that was put right in routing.yaml is to be used.
        rules = self._desk.rules_of(entry.rules) if new else self._desk.rules
        for delivery in self.startable(entry, new=new):
            job = Job(entry, delivery, document, now, rules.digest)
            wait = wait_for(rules, job.lane[0], delivery, now)
            if wait is not None:
                writer.move(
                    job.delivery.id,
                    DeliveryState.WAITING,
                    because=wait.because,
                    next_try_at=wait.until,
                )
                continue
            writer.move(job.delivery.id, DeliveryState.DELIVERING, rules=rules.digest)
            self._going[job.lane] += job.delivery.kind is Kind.PRINT
            jobs.append(job)
        return jobs

    def doubt(self, writer: Writer, entry: Entry, document: Document) -> list[Job]:
        """Record that nobody knows how these deliveries ended, before anybody looks."""
        began_at = self._beginnings(entry)
        jobs = [
            Job(entry, delivery, document, began_at.get(delivery.id), delivery.rules)
            for delivery in self.open_questions(entry)
        ]
        for job in jobs:
            if job.delivery.state is DeliveryState.DELIVERING:
                writer.move(
                    job.delivery.id,
                    DeliveryState.IN_DOUBT,
                    because="the end of the delivery was not recorded",
                )
        return jobs

    def _beginnings(self, entry: Entry) -> dict[str | None, datetime]:
        """Return when the last attempt at each delivery was intended, by the history."""
        return {
            event.delivery: event.at
            for event in self._desk.ledger.history(entry.id)
            if event.became is DeliveryState.DELIVERING
        }

    def deliver(self, jobs: Sequence[Job]) -> list[Entry]:
        """Make deliveries whose intent is recorded; return the messages as they are now."""
        return self._run(jobs, _deliver, self._delivered)

    def settle(self, jobs: Sequence[Job]) -> list[Entry]:
        """Find out what became of deliveries in doubt; return the messages as they are now."""
        return self._run(jobs, _find, self._settled)

    def follow(self, entries: Iterable[Entry]) -> list[Entry]:
        """Ask what became of deliveries that their destinations work on.

        Returns the messages of which something changed, as they are now. Bounds how many
        may be under way at each destination, so that a morning's backlog comes in turn.
        """
        jobs = [
            Job(entry, delivery, rules=delivery.rules)
            for entry in entries
            for delivery in entry.deliveries
            if is_followed(delivery)
        ]
        self._going = Counter(job.lane for job in jobs)
        self._overdue.look((job.entry, job.delivery) for job in jobs)
        ready = [job for job in jobs if not self._lanes.busy(job.lane)]
        before = {job.entry.id: job.entry for job in ready}
        after = self._run(ready, _follow, self._followed)
        ended = {d.id for entry in after for d in entry.deliveries if not is_followed(d)}
        self._going = Counter(job.lane for job in jobs if job.delivery.id not in ended)
        return [entry for entry in after if entry != before.get(entry.id)]

    def leftovers(self, patience: float = 0.0) -> list[Entry]:
        """Record what slow deliveries came to since; return the messages as they are now."""
        return self._record(self._lanes.leftovers(patience))

    def _run(
        self,
        jobs: Sequence[Job],
        act: Act,
        record: Record,
    ) -> list[Entry]:
        by_lane: dict[Lane, list[Job]] = defaultdict(list)
        for job in jobs:
            by_lane[job.lane].append(job)
        work = {lane: self._work(lane, mine, act) for lane, mine in by_lane.items()}
        self._under_way.update({lane: (mine, record) for lane, mine in by_lane.items()})
        try:
            return [entry for group in self._lanes.run(work) for entry in self._record(group)]
        finally:
            self._forget_unbegun(by_lane)

    def _forget_unbegun(self, lanes: Iterable[Lane]) -> None:
        """Forget work that a failing ledger kept from beginning; tell which lanes hang."""
        for lane in lanes:
            if not self._lanes.busy(lane):
                self._under_way.pop(lane, None)
                continue
            site, target = lane
            _log.warning("target_did_not_answer", site=str(site), target=target)

    def _work(
        self,
        lane: Lane,
        jobs: Sequence[Job],
        act: Act,
    ) -> Callable[[], tuple[Answer, ...]]:
        found = {job.rules: self._desk.destination(*lane, job.rules) for job in jobs}
        separate = self._separator(lane, jobs) if act is _deliver else None

        def work() -> tuple[Answer, ...]:
            if separate is not None:
                separate()
            answers: dict[str, Answer] = {}
            for rules, destination in found.items():
                mine = [job for job in jobs if job.rules == rules]
                said = _gone(mine) if destination is None else act(destination, mine)
                answers |= {one.delivery.id: what for one, what in zip(mine, said, strict=True)}
            return tuple(answers[job.delivery.id] for job in jobs)

        return work

    def _separator(self, lane: Lane, jobs: Sequence[Job]) -> Callable[[], None] | None:
        ids = {job.delivery.id for job in jobs}
        return self._separators.before(lane, ids, (job.entry.ref.mailbox for job in jobs))

    def _record(self, group: Iterable[Ended[tuple[Answer, ...]]]) -> list[Entry]:
        ended = [(self._under_way.pop(one.lane), one) for one in group]
        if not ended:
            return []
        recorded: list[tuple[Job, Entry]] = []
        with self._desk.ledger.writing() as writer:
            writer.recall(job.entry.id for (jobs, _), _ in ended for job in jobs)
            for (jobs, record), one in ended:
                for job, answer in zip(jobs, _answers(one, len(jobs)), strict=True):
                    recorded.append((job, record(writer, job, answer)))
        for job, entry in recorded:
            self._count(job, entry)
        return [entry for _, entry in recorded]

    def _count(self, job: Job, entry: Entry) -> None:
        """Tell the meter what an attempt came to, after its commit."""
        word = outcome(job.delivery, entry)
        if self._desk.meter is None or word is None:
            return
        seconds = (self._desk.clock.now() - entry.received_at).total_seconds()
        self._desk.meter.ended(*job.lane, job.delivery.kind, outcome=word, seconds=seconds)

    def _delivered(self, writer: Writer, job: Job, answer: Answer) -> Entry:
        match answer:
            case Receipt():
                if self._resting.pop(job.lane, None) is not None:
                    _log.info("target_recovered", **_names(job))
                return self._proven(writer, job, answer)
            case Accepted():
                self._resting.pop(job.lane, None)
                return self._taken(writer, job, answer)
            case Unavailable():
                return self._postponed(writer, job, answer)
            case Refused():
                return self._refused(writer, job, answer)
            case _:
                _log.warning("delivery_became_doubtful", **_names(job), because=str(answer))
                return writer.move(job.delivery.id, DeliveryState.IN_DOUBT, because=str(answer))

    def _settled(self, writer: Writer, job: Job, answer: Answer) -> Entry:
        match answer:
            case Receipt():
                return self._proven(writer, job, answer)
            case Accepted():
                return self._taken(writer, job, answer)
            case Unavailable():
                # Still in doubt: asked again when the lane has rested.
                self._rest(job, answer)
                return job.entry
            case None if not job.entry.keyword_set:
                _log.info("delivery_was_not_made", **_names(job))
                return writer.move(
                    job.delivery.id,
                    DeliveryState.DECIDED,
                    because="looked for at the destination and not found",
                )
            case _:
                # The server's keyword says that it was delivered once, the destination
                # does not show it: somebody took it, or somebody else set the keyword.
                because = str(answer) if answer else "delivered before, and no longer there"
                _log.warning("message_held", **_names(job), reason=HoldReason.IN_DOUBT.value)
                return writer.move(
                    job.delivery.id,
                    DeliveryState.HELD,
                    because=because,
                    reason=HoldReason.IN_DOUBT,
                )

    def _followed(self, writer: Writer, job: Job, answer: Answer) -> Entry:
        match answer:
            case Receipt():
                return self._proven(writer, job, answer)
            case Accepted() if answer.because == job.delivery.because:
                return job.entry
            case Accepted():
                return self._taken(writer, job, answer)
            case Failed():
                return self._gave_up(writer, job, answer)
            case Unavailable():
                self._rest(job, answer)
                return self._out_of_sight(writer, job, str(answer))
            case Refused():
                # A person ended it at the destination: not repeated, not sent elsewhere.
                return self._held(writer, job, HoldReason.TARGET_REFUSED, str(answer))
            case _:
                writer.move(job.delivery.id, DeliveryState.IN_DOUBT, because=str(answer))
                return self._held(writer, job, HoldReason.IN_DOUBT, str(answer))

    def _taken(self, writer: Writer, job: Job, accepted: Accepted) -> Entry:
        if job.delivery.reference != accepted.reference:
            _log.info("delivery_was_accepted", **_names(job))
        elif accepted.because not in {"", PRINTING, IN_LINE}:
            _log.warning("delivery_was_hindered", **_names(job), because=accepted.because)
        return writer.accepted(job.delivery.id, accepted.reference, accepted.because)

    def _out_of_sight(self, writer: Writer, job: Job, because: str) -> Entry:
        """Record that nobody knows for now how far it is: `status` tells."""
        if because == job.delivery.because or job.delivery.reference is None:
            return job.entry
        return writer.accepted(job.delivery.id, job.delivery.reference, because)

    def _gave_up(self, writer: Writer, job: Job, error: Failed) -> Entry:
        """Try again a few times; then its fallback takes over, or a person."""
        if job.delivery.attempts >= _MOST_ATTEMPTS:
            return self._refused(writer, job, Refused(str(error), hint=error.hint))
        _log.warning("delivery_failed", **_names(job), because=str(error))
        return writer.move(
            job.delivery.id,
            DeliveryState.DECIDED,
            because=str(error),
            next_try_at=self._desk.clock.now() + _pause(job.delivery.attempts),
        )

    def _held(self, writer: Writer, job: Job, reason: HoldReason, because: str) -> Entry:
        _log.warning("message_held", **_names(job), reason=reason.value, because=because)
        return writer.move(job.delivery.id, DeliveryState.HELD, because=because, reason=reason)

    def _proven(self, writer: Writer, job: Job, receipt: Receipt) -> Entry:
        _log.info("certificate_delivered", **_names(job), already_there=receipt.already_there)
        return writer.move(
            job.delivery.id,
            DeliveryState.DELIVERED,
            because=receipt.remark,
            reference=receipt.reference,
        )

    def _postponed(self, writer: Writer, job: Job, error: Unavailable) -> Entry:
        self._rest(job, error)
        return writer.move(
            job.delivery.id,
            DeliveryState.DECIDED,
            because=str(error),
            next_try_at=self._desk.clock.now() + _pause(job.delivery.attempts),
        )

    def _rest(self, job: Job, error: Unavailable) -> None:
        if job.lane not in self._resting:
            _log.warning(
                "target_became_unavailable", **_names(job), because=str(error), hint=error.hint
            )
        pause = _pause(job.delivery.attempts)
        self._resting[job.lane] = self._desk.clock.now() + pause

    def wake(self) -> None:
        """Let every lane take work again, whatever it answered before."""
        now = self._desk.clock.now()
        self._resting = dict.fromkeys(self._resting, now)

    def _refused(self, writer: Writer, job: Job, error: Refused) -> Entry:
        fallback = self._fallback(job)
        if fallback is not None:
            _log.warning("delivery_was_diverted", **_names(job), because=str(error))
            return writer.divert(
                job.delivery.id,
                NewDelivery(fallback.name, fallback.kind, job.rules),
                str(error),
            )
        reason = HoldReason.TARGET_REFUSED
        _log.warning(
            "message_held",
            **_names(job),
            reason=reason.value,
            because=str(error),
            hint=error.hint,
        )
        return writer.move(
            job.delivery.id, DeliveryState.HELD, because=str(error), reason=reason
        )

    def _fallback(self, job: Job) -> Target | None:
        site, name = job.lane
        rules = self._desk.rules_of(job.rules)
        target = target_of(rules, site, name)
        if target is None or target.fallback is None:
            return None
        return target_of(rules, site, target.fallback)


def is_followed(delivery: Delivery) -> bool:
    """Whether a destination works on it and can be asked by its reference."""
    return delivery.state is DeliveryState.DELIVERING and delivery.reference is not None


def settled(entries: Iterable[Entry]) -> list[Entry]:
    """Return those messages that have come to their good end."""
    return [entry for entry in entries if entry.state in {State.DELIVERED, State.DUPLICATE}]


def _gone(jobs: Sequence[Job]) -> tuple[Answer, ...]:
    return (Unavailable("the target is no longer in routing.yaml"),) * len(jobs)


def _deliver(destination: Destination, jobs: Sequence[Job]) -> tuple[Answer, ...]:
    return destination.deliver([job.order for job in jobs])


def _find(destination: Destination, jobs: Sequence[Job]) -> tuple[Answer, ...]:
    return tuple(_found(destination, job.order) for job in jobs)


def _follow(destination: Destination, jobs: Sequence[Job]) -> tuple[Answer, ...]:
    asked = {job.delivery.id: job.delivery.reference or "" for job in jobs}
    answers = destination.follow(asked)
    silence = InDoubt("the destination says nothing of it")
    return tuple(answers.get(job.delivery.id, silence) for job in jobs)


def _found(destination: Destination, order: Order) -> Answer:
    try:
        return destination.find(order)
    except (Unavailable, Refused, InDoubt) as error:
        return error


def _answers(ended: Ended[tuple[Answer, ...]], count: int) -> tuple[Answer, ...]:
    if ended.result is not None:
        return ended.result
    if isinstance(ended.error, InvariantBroken) or not isinstance(ended.error, Exception):
        raise ended.error or InvariantBroken("a lane ended with nothing")
    # An edge that broke its contract: nobody knows how far it came.
    _log.error(
        "target_broke_down",
        site=str(ended.lane[0]),
        target=ended.lane[1],
        error=type(ended.error).__name__,
    )
    return (InDoubt(f"the target broke down ({type(ended.error).__name__})"),) * count


def _pause(attempts: int) -> timedelta:
    return min(_LAST_RETRY, _FIRST_RETRY * (1 << min(attempts, 10)))


def _lane(entry: Entry, delivery: Delivery) -> Lane:
    site = delivery.site or entry.site
    if site is None:
        raise InvariantBroken(f"message {entry.id} has deliveries and no site")
    return site, delivery.target


def _names(job: Job) -> dict[str, str]:
    site, target = job.lane
    return {"id": job.entry.id, "site": str(site), "target": target}
