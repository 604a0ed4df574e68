"""What each change does to a message in the ledger: the message after it, and its history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    ENDED,
    INITIAL,
    UNDER_WAY,
    Delivery,
    DeliveryState,
    Entry,
    Event,
    Identity,
    NewDelivery,
    NewEntry,
    State,
    delivery_may_follow,
    may_follow,
    state_of,
)
from dispatcher.core.message import MessageRef
from dispatcher.errors import InvariantBroken, NotNow, Refused

_T = TypeVar("_T")


def _changing(kind: type[_T]) -> Callable[..., _T]:
    """Return `dataclasses.replace` for one class, in half its time: each message needs five."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type] # a dataclass
    values, places = attrgetter(*names), {name: place for place, name in enumerate(names)}

    def changed(one: _T, **new: Any) -> _T:
        found = [*values(one)]
        for name, value in new.items():
            found[places[name]] = value
        return kind(*found)

    return changed


_entry_with: Final = _changing(Entry)
_delivery_with: Final = _changing(Delivery)

# What history says of a message that a person let go.
RELEASED: Final = "released"

_COPIED: Final = tuple(
    field.name
    for field in fields(NewEntry)
    if field.name not in {"identity", "received_at", "sampled_at", "purge_at", "deliveries"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change: the message as it is after it, and the lines that history gains."""

    entry: Entry
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked of one delivery, with the moment it happens (see `ports.Writer.move`)."""

    to: DeliveryState
    at: datetime
    because: str = ""
    reason: HoldReason | None = None
    reference: str | None = None
    next_try_at: datetime | None = None
    rules: str | None = None


def utc(at: datetime) -> datetime:
    """Return the same moment in UTC; a time without a zone is a bug."""
    if at.tzinfo is None:
        raise InvariantBroken("a time without a zone was to be recorded")
    return at.astimezone(UTC)


def begin(new: NewEntry, ids: Sequence[str], at: datetime) -> Step:
    """Return the first step of a message. `ids`: its own, then one for each delivery.

    Raises InvariantBroken when its state does not fit what it brings: pending has a site
    and deliveries of different targets, held a reason, a duplicate its first.
    """
    fault = _misfit(new)
    if fault:
        raise InvariantBroken(f"a message cannot begin so: {fault}")
    entry_id, *delivery_ids = ids
    after = Entry(
        id=entry_id,
        identity=_in_utc(new.identity),
        received_at=utc(new.received_at),
        sampled_at=_utc_or_none(new.sampled_at),
        purge_at=_utc_or_none(new.purge_at),
        deliveries=_begun(new, delivery_ids),
        **{name: getattr(new, name) for name in _COPIED},
    )
    because = f"{new.reason.value}: {new.detail}" if new.reason else new.detail
    return _step(None, after, at, because)


def _misfit(new: NewEntry) -> str:
    targets = [delivery.target for delivery in new.deliveries]
    pending = new.state is State.PENDING
    wrong = {
        f"in state {new.state.value}": new.state not in INITIAL,
        "with the same target twice": len(set(targets)) != len(targets),
        "pending without a delivery": pending and not targets,
        "pending without a site": pending and new.site is None,
        "with deliveries, and not pending": bool(targets) and not pending,
        "held without a reason": new.state is State.HELD and new.reason is None,
        "with a reason, and not held": new.state is not State.HELD and new.reason is not None,
        "a duplicate of nothing": new.state is State.DUPLICATE and new.duplicate_of is None,
        "with a first, and no duplicate": (
            new.state is not State.DUPLICATE and new.duplicate_of is not None
        ),
    }
    return next((what for what, is_so in wrong.items() if is_so), "")


def move(entry: Entry, delivery_id: str, turn: Turn) -> Step:
    """Move one delivery; to `delivering` counts one attempt, to `held` needs a reason."""
    delivery = _delivery(entry, delivery_id)
    if not delivery_may_follow(delivery.state, turn.to):
        raise InvariantBroken(
            f"delivery {delivery_id}: {delivery.state.value} -> {turn.to.value} is forbidden"
        )
    if (turn.reason is not None) is not (turn.to is DeliveryState.HELD):
        raise InvariantBroken(
            f"delivery {delivery_id}: a reason belongs to `held`, and only there"
        )
    moved = _delivery_with(
        delivery,
        state=turn.to,
        attempts=delivery.attempts + (turn.to is DeliveryState.DELIVERING),
        because=turn.because,
        reason=turn.reason,
        reference=_reference(delivery, turn),
        next_try_at=_utc_or_none(turn.next_try_at),
        made_at=utc(turn.at) if turn.to is DeliveryState.DELIVERED else delivery.made_at,
        rules=delivery.rules if turn.rules is None else turn.rules,
    )
    return _follow(entry, _with(entry, [moved]), turn.at, turn.because)


def _reference(delivery: Delivery, turn: Turn) -> str | None:
    """A new attempt does not follow what an earlier one left behind."""
    if turn.reference is None and turn.to is DeliveryState.DELIVERING:
        return None
    return turn.reference if turn.reference is not None else delivery.reference


def divert(entry: Entry, delivery_id: str, fallback: Delivery, turn: Turn) -> Step:
    """Discard a delivery in favour of its fallback, added unless the message has it.

    A fallback that was itself discarded before is not tried again: the delivery is held,
    because two targets that refuse would otherwise pass the message on for ever.
    """
    there = [
        delivery
        for delivery in entry.deliveries
        if delivery.target == fallback.target and delivery.site == entry.site
    ]
    if there and all(delivery.state is DeliveryState.DISCARDED for delivery in there):
        held = replace(turn, to=DeliveryState.HELD, reason=HoldReason.TARGET_REFUSED)
        return move(entry, delivery_id, held)
    delivery = _delivery(entry, delivery_id)
    if not delivery_may_follow(delivery.state, DeliveryState.DISCARDED):
        raise InvariantBroken(
            f"delivery {delivery_id}: {delivery.state.value} cannot be diverted"
        )
    added = () if there else (replace(fallback, site=entry.site),)
    deliveries = _with(entry, [_discarded(delivery, turn.because)])
    return _follow(entry, (*deliveries, *added), turn.at, turn.because)


def hold(entry: Entry, reason: HoldReason, detail: str, at: datetime) -> Step:
    """Hold a message as a whole; its unmade deliveries are held with it."""
    unmade = [
        delivery
        for delivery in entry.deliveries
        if delivery.state not in ENDED and delivery.state is not DeliveryState.HELD
    ]
    if not unmade:
        raise InvariantBroken(f"message {entry.id}: {entry.state.value} cannot be held")
    held = [
        replace(
            delivery,
            state=DeliveryState.HELD,
            because=detail,
            reason=reason,
            next_try_at=None,
        )
        for delivery in unmade
    ]
    after = replace(
        entry,
        deliveries=_with(entry, held),
        state=State.HELD,
        reason=reason,
        detail=detail,
    )
    return _step(entry, after, at, f"{reason.value}: {detail}")


def release(entry: Entry, site: FinessET, new: Sequence[Delivery], at: datetime) -> Step:
    """Give a held message a site and deliveries that are to be made.

    Deliveries there and not made are discarded; those made stay, and one that was made
    for the same site and target is not made again (design: the delivery key).
    """
    if entry.state is not State.HELD:
        raise InvariantBroken(f"message {entry.id}: {entry.state.value} cannot be released")
    if not new or len({delivery.target for delivery in new}) != len(new):
        raise InvariantBroken(f"message {entry.id}: released to no target, or to one twice")
    kept = _all_discarded(entry, RELEASED)
    made = {d.target for d in kept if d.state is DeliveryState.DELIVERED and d.site == site}
    added = tuple(replace(d, site=site) for d in new if d.target not in made)
    return _follow(replace(entry, site=site), (*kept, *added), at, RELEASED)


def discard(entry: Entry, at: datetime, because: str = "discarded") -> Step:
    """End a held or pending message: expired, or delivered as far as it was delivered."""
    if entry.state not in {State.HELD, State.PENDING}:
        raise InvariantBroken(f"message {entry.id}: {entry.state.value} cannot be discarded")
    deliveries = _all_discarded(entry, because)
    if not deliveries:
        after = replace(entry, state=State.EXPIRED, reason=None, detail="")
        return _step(entry, after, at, because)
    return _follow(entry, deliveries, at, because)


def accepted(
    entry: Entry, delivery_id: str, reference: str, *, because: str, at: datetime
) -> Step:
    """Record that the destination works on a delivery; one in doubt is so found again."""
    delivery = _delivery(entry, delivery_id)
    if delivery.state not in UNDER_WAY:
        raise InvariantBroken(f"delivery {delivery_id} is {delivery.state.value}, not begun")
    taken = replace(
        delivery, state=DeliveryState.DELIVERING, reference=reference, because=because
    )
    return _follow(entry, _with(entry, [taken]), at, because)


def reprinted(entry: Entry, target: str, new_id: str, at: datetime) -> Step:
    """Add one more copy for a target of a delivered message, at a person's wish."""
    same = [d for d in entry.deliveries if d.target == target]
    made = [d for d in same if d.state is DeliveryState.DELIVERED]
    if entry.purge_begun_at is not None or entry.state is not State.DELIVERED or not made:
        raise InvariantBroken(f"message {entry.id}: nothing was delivered to print again")
    again = Delivery(
        new_id,
        target,
        made[-1].kind,
        DeliveryState.DECIDED,
        site=made[-1].site,
        copy=1 + max(d.copy for d in same),
        asked=True,
        rules=made[-1].rules,
    )
    return _follow(entry, (*entry.deliveries, again), at, "a person asked for another copy")


def asked(entry: Entry, delivery_id: str, at: datetime) -> Step:
    """Let a delivery that waits, for hours or for a person, be made now at a person's wish."""
    delivery = _delivery(entry, delivery_id)
    if delivery.state not in {DeliveryState.WAITING, DeliveryState.HELD}:
        raise InvariantBroken(f"delivery {delivery_id} is {delivery.state.value}, not waiting")
    wanted = replace(
        delivery,
        state=DeliveryState.DECIDED,
        asked=True,
        because="",
        reason=None,
        next_try_at=None,
    )
    return _follow(entry, _with(entry, [wanted]), at, "a person asked for it")


def planned(entry: Entry, delivery_id: str, at: datetime | None) -> Entry:
    """Set the next try of a decided delivery; None: at once."""
    delivery = _delivery(entry, delivery_id)
    if delivery.state is not DeliveryState.DECIDED:
        raise InvariantBroken(f"delivery {delivery_id} is {delivery.state.value}, not decided")
    return replace(
        entry, deliveries=_with(entry, [replace(delivery, next_try_at=_utc_or_none(at))])
    )


def expected(entry: Entry, state: State) -> None:
    """Raise Refused when a message is not where a person saw it before deciding."""
    if entry.state is not state:
        raise Refused(
            f"message {entry.id} is {entry.state.value} by now",
            hint="Somebody or the service was faster; look again with `show`.",
        )


def marked(entry: Entry) -> Entry:
    """Return the message with its keyword set."""
    return _entry_with(entry, keyword_set=True)


def relocated(entry: Entry, ref: MessageRef, identity: Identity) -> Entry:
    """Return the message at another place; whether the keyword went along is not known.

    One that was thought gone for good lies there after all: it is to be deleted anew.
    """
    return replace(
        entry,
        ref=ref,
        identity=_in_utc(identity),
        present=True,
        keyword_set=False,
        purge_begun_at=None,
        removal=None,
        removed_at=None,
    )


def folded(events: Iterable[Event]) -> tuple[Mapping[str | None, str], tuple[str, ...]]:
    """Fold the history of one message: the last state of it (None) and of each delivery.

    With it, one sentence for each line that does not follow from the line before it.
    """
    states: dict[str | None, State | DeliveryState] = {}
    breaks = []
    for event in events:
        if event.was is not states.get(event.delivery):
            breaks.append(f"{event.delivery or event.entry}: its history has a gap")
        states[event.delivery] = event.became
    return {subject: state.value for subject, state in states.items()}, tuple(breaks)


def _follow(entry: Entry, deliveries: tuple[Delivery, ...], at: datetime, because: str) -> Step:
    """Let the message's state follow from its deliveries, and its reason from its state."""
    state = state_of([delivery.state for delivery in deliveries])
    after = _entry_with(entry, deliveries=deliveries, state=state)
    if state is State.HELD:
        after = replace(after, reason=_reason(entry, deliveries))
        if entry.state is not State.HELD:
            after = replace(after, detail=because)
    elif entry.state is State.HELD:
        after = replace(after, reason=None, detail="")
    return _step(entry, after, at, because)


def _reason(entry: Entry, deliveries: Iterable[Delivery]) -> HoldReason | None:
    """Keep the reason while a held delivery bears it, else take the first that one bears."""
    reasons = [d.reason for d in deliveries if d.state is DeliveryState.HELD]
    return entry.reason if entry.reason in reasons else reasons[0]


def changed(before: Entry, after: Entry, at: datetime, because: str) -> Step:
    """Return a step whose change was worked out elsewhere, checked against the tables."""
    return _step(before, after, at, because)


def _step(before: Entry | None, after: Entry, at: datetime, because: str) -> Step:
    """Check every difference against the tables and write it into the history."""
    at = utc(at)
    were = {d.id: d.state for d in before.deliveries} if before else {}
    events = []
    for delivery in after.deliveries:
        was = were.get(delivery.id)
        if was is delivery.state:
            continue
        if was is not None and not delivery_may_follow(was, delivery.state):
            raise InvariantBroken(
                f"delivery {delivery.id}: {was.value} -> {delivery.state.value} is forbidden"
            )
        events.append(Event(at, after.id, delivery.id, was, delivery.state, because))
    stood = before.state if before else None
    if stood is not after.state:
        if stood is not None and not may_follow(stood, after.state):
            raise InvariantBroken(
                f"message {after.id}: {stood.value} -> {after.state.value} is forbidden"
            )
        events.append(Event(at, after.id, None, stood, after.state, because))
    return Step(after, tuple(events))


def _begun(new: NewEntry, ids: Sequence[str]) -> tuple[Delivery, ...]:
    return tuple(
        begun(delivery, delivery_id, new.site, rules=new.rules)
        for delivery, delivery_id in zip(new.deliveries, ids, strict=True)
    )


def begun(
    new: NewDelivery, delivery_id: str, site: FinessET | None = None, *, rules: str = ""
) -> Delivery:
    """Return a delivery as it begins: decided, never tried. `rules`: where it names none."""
    return Delivery(
        delivery_id,
        new.target,
        new.kind,
        DeliveryState.DECIDED,
        site=site,
        rules=new.rules or rules,
    )


def _delivery(entry: Entry, delivery_id: str) -> Delivery:
    for delivery in entry.deliveries:
        if delivery.id == delivery_id:
            return delivery
    raise InvariantBroken(f"message {entry.id} has no delivery {delivery_id}")


def _with(entry: Entry, changed: Iterable[Delivery]) -> tuple[Delivery, ...]:
    by_id = {delivery.id: delivery for delivery in changed}
    return tuple(by_id.get(delivery.id, delivery) for delivery in entry.deliveries)


def _discarded(delivery: Delivery, because: str) -> Delivery:
    return replace(
        delivery,
        state=DeliveryState.DISCARDED,
        because=because,
        reason=None,
        next_try_at=None,
    )


def _all_discarded(entry: Entry, because: str) -> tuple[Delivery, ...]:
    """Discard what is not made; nothing, while the effect of one may be under way."""
    if any(delivery.state in UNDER_WAY for delivery in entry.deliveries):
        raise NotNow(
            f"message {entry.id}: a delivery of it is under way",
            hint="Try again when that delivery has ended; `show` tells.",
        )
    return tuple(d if d.state in ENDED else _discarded(d, because) for d in entry.deliveries)


def _in_utc(identity: Identity) -> Identity:
    return Identity(identity.size, utc(identity.internal_at))


def _utc_or_none(at: datetime | None) -> datetime | None:
    return None if at is None else utc(at)
