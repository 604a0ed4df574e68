"""Makes every site's bordereau once a day and follows it to its end, whatever fails."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Final

import structlog

from dispatcher.core.bordereau import Bordereau, places
from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Site, Target
from dispatcher.errors import (
    DispatcherError,
    Failed,
    InDoubt,
    InvariantBroken,
    Refused,
    Unavailable,
)
from dispatcher.ports import Copy, Destination, Ledger, Mailbox, Outcome
from dispatcher.service import distrust
from dispatcher.service.bordereau import (
    deliver,
    due,
    intended,
    listing,
    moment_of,
    newest_moment,
)
from dispatcher.service.desk import Desk
from dispatcher.service.gate import wait_at
from dispatcher.service.lanes import Ended, Lane, Lanes
from dispatcher.service.names import Names
from dispatcher.service.purge import pages

_log = structlog.get_logger(__name__)

_NOON: Final = time(12)
_DAY: Final = timedelta(days=1)
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LAST_PAUSE: Final = timedelta(minutes=30)
# So long (seconds) a list waits for the mailboxes to be read; then it is made without.
_PATIENCE: Final = 1800.0
# After that many tries, half an hour, a list is made without the names it lacks.
_TRIES_FOR_NAMES: Final = 5

Draw = Callable[[Bordereau], bytes]


@dataclass(frozen=True, slots=True)
class _Page:
    """One list on its way to one target. `reference`: it was accepted there."""

    lane: Lane
    on: date
    made_at: datetime
    order: str
    intended_at: datetime
    sha256: str
    count: int = 0
    reference: str | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a list is late at a target, how often it was tried, and when it is tried next."""

    because: str
    tries: int
    again_at: datetime
    intended_at: datetime | None = None


class DailyLists:
    """The list of every site and day, at each of its places; what is made stands in the ledger.

    `mailboxes` makes connections of their own, `wake` lets the mailboxes be looked at now.
    `turn` is called again and again, by one thread at a time; it never waits long for a
    destination. `stop` may be called by any thread.
    """

    def __init__(
        self,
        desk: Desk,
        mailboxes: Callable[[], Sequence[Mailbox]],
        *,
        draw: Draw,
        at: time,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._draw = draw
        self._at = at
        self._wake = wake
        self._lanes: Lanes[Outcome] = Lanes(desk.clock)
        self._flying: dict[Lane, _Page] = {}
        self._accepted: dict[Lane, _Page] = {}
        self._troubles: dict[Lane, _Trouble] = {}
        self._placeless: set[FinessET] = set()
        self._doubted_at = distrust.begun_at(desk.ledger)
        self._woken: tuple[datetime, float] | None = None
        self._stopping = threading.Event()
        self._turning = threading.Lock()

    def turn(self) -> None:
        """Make and deliver what is due, and ask what became of accepted pages.

        Raises Unavailable without the ledger; nothing is lost by that.
        """
        if self._stopping.is_set() or not self._turning.acquire(blocking=False):
            return
        try:
            self._take(self._lanes.leftovers())
            self._follow()
            self._make()
        finally:
            self._turning.release()

    def stop(self, seconds: float) -> None:
        """Let nothing new begin; return when the turn has ended, or after that time."""
        self._stopping.set()
        if self._turning.acquire(timeout=max(0.0, seconds)):
            self._turning.release()

    # --- making

    def _make(self) -> None:
        wanted = list(self._due())
        if not wanted:
            return
        work: dict[Lane, Callable[[], Outcome]] = {}
        with closing(Names(self._desk, self._mailboxes())) as names:
            if not self._mail_was_read(names.mailboxes):
                return
            for site, on, targets in wanted:
                if self._stopping.is_set():
                    break
                work.update(self._made(site, on, targets, names))
        self._run(work)

    def _due(self) -> Iterator[tuple[Site, date, list[Target]]]:
        """Yield what is to be made now: the places of one site that lack the same day."""
        now = self._desk.clock.now()
        for site in self._desk.rules.sites.values():
            days: dict[date, list[Target]] = {}
            for target in self._open_places(site, now):
                lane = (site.finess, target.name)
                on = due(last_day(self._desk.ledger, lane), now, self._at)
                if on is not None:
                    days.setdefault(on, []).append(target)
            yield from ((site, on, targets) for on, targets in sorted(days.items()))

    def _open_places(self, site: Site, now: datetime) -> Iterator[Target]:
        found = [target for target in places(site) if not _asked_for(self._desk, site, target)]
        if not found and site.finess not in self._placeless:
            self._placeless.add(site.finess)
            _log.warning("bordereau_found_no_place", site=str(site.finess))
        for target in found:
            lane = (site.finess, target.name)
            self._remember(lane, now)
            trouble = self._troubles.get(lane)
            resting = trouble is not None and now < trouble.again_at <= now + _LAST_PAUSE
            if lane in self._flying or lane in self._accepted or resting:
                continue
            if wait_at(self._desk.rules, site.finess, target, now) is None:
                yield target

    def _remember(self, lane: Lane, now: datetime) -> None:
        """Record where the lists of a new place begin: with today's, however long it waits.

        A ledger that was lost or set back does not know which lists are on paper: what had
        come by then is told on the next one.
        """
        last = last_day(self._desk.ledger, lane)
        first = last or now.astimezone(PARIS).date() - _DAY
        if self._doubted_at is not None:
            made = newest_moment(self._doubted_at, self._at)
            first = max(first, made.astimezone(PARIS).date())
        if last is None or last < first:
            with self._desk.ledger.writing() as writer:
                writer.did(_day_errand(lane), moment_of(first, _NOON))

    def _mail_was_read(self, mailboxes: Sequence[Mailbox]) -> bool:
        """Whether every mailbox was looked at since the time of day came, or long had to be.

        Otherwise what lay there by then would be missing on the list, after a stop above all.
        """
        moment = newest_moment(self._desk.clock.now(), self._at)
        seen = [self._desk.ledger.place(mailbox.name) for mailbox in mailboxes]
        if all(place is not None and place.checked_at >= moment for place in seen):
            return True
        now = self._desk.clock.monotonic()
        if self._woken is None or self._woken[0] != moment:
            self._woken = (moment, now)
            self._wake()
        return now - self._woken[1] >= _PATIENCE

    def _made(
        self, site: Site, on: date, targets: Iterable[Target], names: Names
    ) -> Mapping[Lane, Callable[[], Outcome]]:
        lanes = [(site.finess, target.name) for target in targets]
        befores = [made for lane in lanes if (made := last_made(self._desk.ledger, lane))]
        with self._desk.ledger.writing():
            # Inside a transaction: whatever another thread has written is on this list,
            # what it writes later has a later time.
            made_at = self._desk.clock.now()
        since = min(befores, default=None)
        page = listing(site, on, names, since=since, made_at=made_at)
        tries = [trouble.tries for lane in lanes if (trouble := self._troubles.get(lane))]
        if page.unread and names.failed and min(tries, default=0) < _TRIES_FOR_NAMES:
            error = Unavailable("a mailbox did not answer, and names would be missing")
            for lane in lanes:
                self._put_off(lane, error)
            return {}
        document = Document(page.file_name, self._draw(page))
        orders = {lane: self._order(lane, page, document) for lane in lanes}
        # It bears names: before it lies anywhere, it is written down that it is to be deleted.
        pages.remember(
            self._desk, [(lane, on, intended(order)) for lane, order in orders.items()]
        )
        return {lane: self._begun(lane, page, order) for lane, order in orders.items()}

    def _order(self, lane: Lane, page: Bordereau, document: Document) -> Order:
        trouble = self._troubles.get(lane)
        # After a lost answer the page of that attempt counts, and is looked for.
        intended_at = (trouble.intended_at if trouble else None) or page.made_at
        return Order(_order_id(lane, page.on), *lane, document, intended_at)

    def _begun(self, lane: Lane, page: Bordereau, order: Order) -> Callable[[], Outcome]:
        self._flying[lane] = _Page(
            lane,
            page.on,
            page.made_at,
            order.id,
            order.intended_at or page.made_at,
            order.document.sha256,
            count=len(page.lines),
        )
        return partial(deliver, order, self._desk.page_destination(*lane))

    # --- following

    def _follow(self) -> None:
        ready = {
            lane: page for lane, page in self._accepted.items() if lane not in self._flying
        }
        work = {}
        for lane, page in ready.items():
            destination = self._desk.page_destination(*lane)
            self._flying[lane] = self._accepted.pop(lane)
            work[lane] = partial(_followed, destination, page)
        self._run(work)

    def _run(self, work: Mapping[Lane, Callable[[], Outcome]]) -> None:
        try:
            for group in self._lanes.run(work):
                self._take(group)
        finally:
            # What a failing ledger kept from beginning or from its record is due again.
            for lane in work:
                if not self._lanes.busy(lane):
                    self._flying.pop(lane, None)

    def _take(self, group: Iterable[Ended[Outcome]]) -> None:
        ended = [(self._flying.pop(one.lane), _outcome(one)) for one in group]
        for page, outcome in ended:
            self._recorded(page, outcome)

    def _recorded(self, page: _Page, outcome: Outcome) -> None:
        following = page.reference is not None
        match outcome:
            case Receipt(reference=reference):
                self._lies_there(page, reference)
                self._ended(page)
                _log.info("bordereau_delivered", count=page.count, **_names(page))
            case Accepted():
                self._goes_on(page, outcome)
            case Failed():
                self._put_off(page.lane, outcome)
            case Unavailable() if following:
                self._accepted[page.lane] = page
            case Refused() | InDoubt() if following:
                # Cancelled by a person, or nobody can tell whether paper came out: once
                # more might be a second page each time.
                self._ended(page)
                _log.error("bordereau_was_given_up", because=str(outcome), **_names(page))
            case InDoubt():
                self._put_off(page.lane, outcome, intended_at=page.intended_at)
            case _:
                pages.forget(self._desk, [Copy(page.order, "", page.sha256)])
                self._put_off(page.lane, outcome)

    def _lies_there(self, page: _Page, reference: str) -> None:
        """Record by what the purge finds it, and that it is there from now on."""
        copy = Copy(page.order, reference, page.sha256)
        pages.remember(self._desk, [(page.lane, page.on, copy)])

    def _goes_on(self, page: _Page, accepted: Accepted) -> None:
        if accepted.because and accepted.because != page.because:
            _log.warning("bordereau_was_hindered", because=accepted.because, **_names(page))
        if page.reference is None:
            self._lies_there(page, accepted.reference)
        self._accepted[page.lane] = replace(
            page, reference=accepted.reference, because=accepted.because
        )

    def _ended(self, page: _Page) -> None:
        self._troubles.pop(page.lane, None)
        with self._desk.ledger.writing() as writer:
            writer.did(_day_errand(page.lane), moment_of(page.on, _NOON))
            writer.did(_made_errand(page.lane), page.made_at)

    def _put_off(
        self, lane: Lane, error: DispatcherError, *, intended_at: datetime | None = None
    ) -> None:
        """Plan the next try; each new reason is told once."""
        before = self._troubles.get(lane)
        tries = before.tries if before else 0
        pause = min(_LAST_PAUSE, _FIRST_PAUSE * (1 << min(tries, 10)))
        because = str(error)
        if before is None or before.because != because:
            site, target = lane
            _log.warning(
                "bordereau_was_put_off",
                site=str(site),
                target=target,
                because=because,
                hint=error.hint,
            )
        again_at = self._desk.clock.now() + pause
        self._troubles[lane] = _Trouble(because, tries + 1, again_at, intended_at)


def last_day(ledger: Ledger, lane: Lane) -> date | None:
    """Return the day of the newest list that the service made for a place; None: none yet."""
    at = ledger.last_did(_day_errand(lane))
    return None if at is None else at.astimezone(PARIS).date()


def last_made(ledger: Ledger, lane: Lane) -> datetime | None:
    """Return when the newest list of a place was made; None: none yet."""
    return ledger.last_did(_made_errand(lane))


def before(site: FinessET, on: date, desk: Desk, at: time | None) -> datetime | None:
    """Return when the list before that of `on` was made, for one made by hand.

    Of a list long gone the ledger does not know it any more: then it is the time of day at
    which it was due. None: the service makes no lists, so that no day has a last one.
    """
    known = desk.rules.site_of(site)
    if at is None or known is None:
        return None
    moments = []
    for target in places(known):
        lane = (known.finess, target.name)
        day, made = last_day(desk.ledger, lane), last_made(desk.ledger, lane)
        if day is not None and made is not None:
            moments.append(made if day < on else moment_of(on - _DAY, at))
    return min(moments, default=None)


def _asked_for(desk: Desk, site: Site, target: Target) -> bool:
    """Whether a place takes pages only when a person asks."""
    wait = wait_at(desk.rules, site.finess, target, desk.clock.now())
    return wait is not None and wait.until is None


def _outcome(ended: Ended[Outcome]) -> Outcome:
    if ended.result is not None:
        return ended.result
    if isinstance(ended.error, InvariantBroken) or not isinstance(ended.error, Exception):
        raise ended.error or InvariantBroken("a lane ended with nothing")
    # An edge that broke its contract: nobody knows how far it came.
    return InDoubt(f"the target broke down ({type(ended.error).__name__})")


def _followed(destination: Destination | None, page: _Page) -> Outcome:
    if destination is None:
        return InDoubt("the target is no longer in routing.yaml")
    answers = destination.follow({page.order: page.reference or ""})
    return answers.get(page.order, InDoubt("the destination says nothing of it"))


def _order_id(lane: Lane, on: date) -> str:
    """Return the id of a list: the same after a kill, so that a queue prints it once.

    A digest of what anybody may know; nothing in it is a patient's.
    """
    site, target = lane
    return hashlib.sha256(f"bordereau {site} {target} {on}".encode()).hexdigest()[:32]


def _day_errand(lane: Lane) -> str:
    return f"bordereau-day {lane[0]} {lane[1]}"


def _made_errand(lane: Lane) -> str:
    return f"bordereau-made {lane[0]} {lane[1]}"


def _names(page: _Page) -> dict[str, str]:
    site, target = page.lane
    return {"site": str(site), "target": target, "day": page.on.isoformat()}
