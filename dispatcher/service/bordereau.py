"""Makes a site's bordereau and delivers it: lines from the ledger, names from the mailbox."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Final

from dispatcher.core.bordereau import Bordereau, came_at, compose, day_of, of_site, places
from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Site, Target
from dispatcher.errors import Failed, InDoubt, InvariantBroken, Refused, Unavailable
from dispatcher.ports import Copy, Destination, Mailbox, Outcome
from dispatcher.service.decisions import NotAsked
from dispatcher.service.desk import Desk
from dispatcher.service.gate import Wait, wait_at
from dispatcher.service.lanes import Lane, Lanes
from dispatcher.service.names import Names
from dispatcher.service.purge import pages

_DAY: Final = timedelta(days=1)
# After a longer stop the older days are left out: their mails have gone at their term.
_CAUGHT_UP: Final = timedelta(days=7)
# What takes longer lies on a share that hangs (seconds).
_PATIENCE: Final = 15.0
# How often a queue is asked what became of the page (seconds).
_ASK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a bordereau at one target; Wait: it was not given there now.

    `copy` is what lies there. It bears names: whoever keeps `copy` can have it removed at
    its term, and only then can it be told from a file of that name that somebody wrote.
    """

    target: Target
    outcome: Outcome | Wait
    order: str = ""
    copy: Copy | None = None


def bordereau(
    site: FinessET,
    on: date,
    desk: Desk,
    mailboxes: Sequence[Mailbox],
    *,
    since: datetime | None = None,
) -> Bordereau:
    """Return the list of a site's day, read now. Changes nothing in the mailboxes.

    `site` may be a former number. With `since`, when the list before it was made, what is
    of earlier days and came after that is on it too, told as late. A mailbox or a message
    that cannot be read leaves lines without a name; the mailboxes are closed at the end.
    Raises NotAsked for a site that the rules do not have and for a day that has not come,
    Unavailable without the ledger.
    """
    known = _site(site, desk)
    now = desk.clock.now()
    if on > now.astimezone(PARIS).date():
        raise NotAsked("that day has not come", hint="Name today, or a day before it.")
    with closing(Names(desk, mailboxes)) as names:
        return listing(known, on, names, since=since, made_at=now)


def listing(
    site: Site, on: date, names: Names, *, since: datetime | None, made_at: datetime
) -> Bordereau:
    """Return the list of a site's day; see `bordereau`."""
    every = [entry for entry in _of(site, names.desk) if day_of(entry) <= on]
    earlier = [entry for entry in every if day_of(entry) < on]
    late = _late(earlier, since, names.desk)
    entries = [entry for entry in every if day_of(entry) == on or entry.id in late]
    found = names.read(entries)
    return compose(site, on, entries, names=found, made_at=made_at, late=late)


def send(
    page: Bordereau, content: bytes, desk: Desk, *, asked: bool = False
) -> tuple[Sent, ...]:
    """Deliver a drawn bordereau to the site's first folder and its first queue.

    One answer each; `follow` tells how an Accepted one ends. A queue outside its site's
    hours, or that prints when somebody asks, gets nothing unless it is `asked` for: names
    would lie on a tray. A target that hangs is in doubt after 15 seconds. Raises NotAsked
    when the site has neither folder nor queue.
    """
    site = _site(page.site, desk)
    targets = places(site)
    if not targets:
        raise NotAsked(
            "the site has neither a folder nor a queue", hint="Name a file with --to."
        )
    document = Document(page.file_name, content)
    now = desk.clock.now()
    sent = []
    for target in targets:
        wait = None if asked else wait_at(desk.rules, site.finess, target, now)
        order = Order(secrets.token_hex(16), site.finess, target.name, document)
        sent.append((target, wait or order))
    orders = [one for _, one in sent if isinstance(one, Order)]
    # It bears names: before it lies anywhere, it is written down that it is to be deleted.
    pages.remember(desk, [(_lane(one), page.on, intended(one)) for one in orders])
    outcomes = _delivered(orders, desk)
    answered = tuple(
        Sent(target, one)
        if isinstance(one, Wait)
        else Sent(target, outcomes[one.id], one.id, copy_of(one, outcomes[one.id]))
        for target, one in sent
    )
    made = [(one, copy_of(one, outcomes[one.id])) for one in orders]
    pages.remember(desk, [(_lane(one), page.on, copy) for one, copy in made if copy])
    pages.forget(desk, [intended(one) for one in orders if is_undone(outcomes[one.id])])
    return answered


def intended(order: Order) -> Copy:
    """Return the copy that an order may leave, before its end is known."""
    return Copy(order.id, "", order.document.sha256, order.document.name)


def is_undone(outcome: Outcome) -> bool:
    """Whether an order surely left nothing."""
    return isinstance(outcome, Unavailable | Refused)


def _lane(order: Order) -> Lane:
    return order.site, order.target


def copy_of(order: Order, outcome: Outcome) -> Copy | None:
    """Return the copy that an order left at its target; None: surely none, or in doubt."""
    if not isinstance(outcome, Receipt | Accepted):
        return None
    return Copy(order.id, outcome.reference, order.document.sha256)


def follow(
    sent: Sequence[Sent], site: FinessET, desk: Desk, seconds: float
) -> tuple[Sent, ...]:
    """Return what became of accepted pages, asking for at most that long.

    What is still Accepted then lies in its queue, and says why.
    """
    until = desk.clock.monotonic() + seconds
    pause = threading.Event()
    while True:
        sent = tuple(_followed(one, site, desk) for one in sent)
        going = any(isinstance(one.outcome, Accepted) for one in sent)
        if not going or desk.clock.monotonic() >= until:
            return tuple(sent)
        pause.wait(_ASK)


def deliver(order: Order, destination: Destination | None) -> Outcome:
    """Deliver one page; the outcome is returned, never raised."""
    if destination is None:
        return Refused("this installation cannot deliver to it", hint="See `check`.")
    (outcome,) = destination.deliver([order])
    return outcome


def due(last_made: date | None, now: datetime, at: time) -> date | None:
    """Return the day whose bordereau is to be made now, None when there is none.

    `at` is the time of day in Paris, `last_made` the day of the newest one made. Days that
    passed while the program stood still come one at a time, the oldest first, at most a
    week of them. Without any made before, only today's can be due; one of a day more than a
    week ahead was made by a clock that was wrong, and does not count.
    """
    today = now.astimezone(PARIS).date()
    newest = newest_moment(now, at).astimezone(PARIS).date()
    if last_made is None or last_made > today + _CAUGHT_UP:
        return newest if newest == today else None
    if last_made >= newest:
        return None
    return max(last_made + _DAY, newest - _CAUGHT_UP + _DAY)


def newest_moment(now: datetime, at: time) -> datetime:
    """Return, in UTC, when the time of day `at` in Paris came last."""
    today = now.astimezone(PARIS).date()
    # Compared in UTC: two times of one zone would be compared by their digits alone.
    moment = moment_of(today, at)
    return moment if now >= moment else moment_of(today - _DAY, at)


def moment_of(on: date, at: time) -> datetime:
    """Return, in UTC, when it is `at` on that day in Paris."""
    return datetime.combine(on, at, tzinfo=PARIS).astimezone(UTC)


def _site(number: FinessET, desk: Desk) -> Site:
    known = desk.rules.site_of(number)
    if known is None:
        raise NotAsked("that site is not in routing.yaml", hint="`check` lists its sites.")
    return known


def _of(site: Site, desk: Desk) -> list[Entry]:
    numbers = sorted({site.finess, *site.aliases})
    every = (entry for number in numbers for entry in desk.ledger.entries(site=number))
    return [entry for entry in every if of_site(entry, site)]


def _late(earlier: Iterable[Entry], since: datetime | None, desk: Desk) -> frozenset[str]:
    """Return the ids of those that no list up to the one made at `since` can bear."""
    if since is None:
        return frozenset()
    came = {entry.id: came_at(desk.ledger.history(entry.id)) for entry in earlier}
    # At the very moment of that list: on two lists rather than on none.
    return frozenset(key for key, at in came.items() if at is not None and at >= since)


def _delivered(orders: Sequence[Order], desk: Desk) -> dict[str, Outcome]:
    """Deliver each order in a lane of its own; return the outcomes by the orders' ids."""
    lanes: Lanes[Outcome] = Lanes(desk.clock, patience=_PATIENCE)
    by_lane: dict[Lane, Order] = {(order.site, order.target): order for order in orders}
    found: dict[str, Outcome] = {
        order.id: InDoubt("it does not answer", hint="Look there before you send it again.")
        for order in orders
    }
    work = {
        lane: partial(deliver, order, desk.page_destination(*lane))
        for lane, order in by_lane.items()
    }
    for ended in (one for group in lanes.run(work) for one in group):
        if ended.result is None:
            raise ended.error or InvariantBroken("a lane ended with nothing")
        found[by_lane[ended.lane].id] = ended.result
    return found


def _followed(sent: Sent, site: FinessET, desk: Desk) -> Sent:
    destination = desk.page_destination(site, sent.target.name)
    if not isinstance(sent.outcome, Accepted) or destination is None:
        return sent
    answers = destination.follow({sent.order: sent.outcome.reference})
    outcome = answers.get(sent.order, InDoubt("the destination says nothing of it"))
    # A server that is silent for a moment changes nothing of what it took.
    going = isinstance(outcome, Unavailable) and not isinstance(outcome, Failed)
    return sent if going else replace(sent, outcome=outcome)
