"""Turns messages into lines of the database and back, and seals each line."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import Enum
from functools import lru_cache
from itertools import compress
from operator import attrgetter, is_not, itemgetter
from typing import Any, Final, TypeVar

from sqlalchemy import RowMapping

from dispatcher.core.audit import Deed, Trace, What
from dispatcher.core.certificate import HoldReason, Result
from dispatcher.core.delivery import Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    Delivery,
    DeliveryState,
    Entry,
    Event,
    Identity,
    Place,
    State,
)
from dispatcher.core.message import MessageRef
from dispatcher.core.routing import Kind
from dispatcher.edges.ledger.schema import DELIVERY, ENTRY
from dispatcher.errors import InvariantBroken

Line = Mapping[Any, Any]  # columns by name, ours or the database's
Columns = dict[str, str | int | None]
_Store = Callable[[Any], str | int]

_JSON: Final = json.JSONEncoder(default=repr)

_E = TypeVar("_E", bound=Enum)

# `seq` is given by the database and only breaks ties; everything else is sealed.
_sealed_entry: Final = itemgetter(
    *sorted(column.name for column in ENTRY.columns if column.name not in {"seq", "seal"})
)
_sealed_delivery: Final = itemgetter(*sorted(column.name for column in DELIVERY.columns))


def stored_time(at: datetime) -> str:
    """Return a time as the ledger stores it: UTC, microseconds, sortable as text."""
    return _in_utc(at.astimezone(UTC))


# One moment is on several lines. Only in UTC: elsewhere an hour that comes twice is one.
@lru_cache(maxsize=256)
def _in_utc(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def read_time(text: str) -> datetime:
    """Return the aware time that `stored_time` wrote."""
    return datetime.fromisoformat(text)


# How fields are stored that are not texts or numbers already.
_STORED: Final[Mapping[str, _Store]] = {
    # `_value_` is the same as `value`, which is looked up by way of a descriptor in Python.
    **dict.fromkeys(("state", "reason", "result", "removal", "kind"), attrgetter("_value_")),
    **dict.fromkeys(("received_at", "sampled_at", "purge_at", "kept_until"), stored_time),
    **dict.fromkeys(("purge_begun_at", "removed_at", "emptied_at", "warned_at"), stored_time),
    **dict.fromkeys(("next_try_at", "made_at"), stored_time),
    **dict.fromkeys(("present", "keyword_set", "asked"), int),
    "site": attrgetter("number"),
}


class _Fields:
    """The fields of a value that are columns of the same name."""

    def __init__(self, kind: type[Entry | Delivery], *, but: Collection[str] = ()) -> None:
        self._names = tuple(one.name for one in fields(kind) if one.name not in but)
        self._values = attrgetter(*self._names)
        self._stores = tuple(map(_STORED.get, self._names))
        self._converted = tuple((n, _STORED[n]) for n in self._names if n in _STORED)

    def columns(self, value: Entry | Delivery) -> Columns:
        """Return all of them as they are stored."""
        line = dict(zip(self._names, self._values(value), strict=True))
        for name, store in self._converted:
            if line[name] is not None:
                line[name] = store(line[name])
        return line

    def differing(self, before: Entry | Delivery, after: Entry | Delivery) -> Columns:
        """Return those that differ. Most are the very same object in both."""
        if after is before:
            return {}
        were, are = self._values(before), self._values(after)
        others = map(is_not, were, are)
        return {
            name: value if store is None or value is None else store(value)
            for name, store, was, value in compress(
                zip(self._names, self._stores, were, are, strict=True), others
            )
            if value != was
        }


_ENTRY: Final = _Fields(Entry, but={"ref", "identity", "deliveries"})
_DELIVERY: Final = _Fields(Delivery)


@dataclass(frozen=True, slots=True)
class Lines:
    """The columns of a message and of its deliveries, in their order."""

    entry: Columns
    deliveries: tuple[Columns, ...]


def lines_of(entry: Entry) -> Lines:
    """Return the columns of a message, without its seal, and of its deliveries."""
    line = _ENTRY.columns(entry)
    line.update(_place(entry))
    return Lines(line, _added(entry, 0))


def changes(before: Entry, after: Entry) -> Lines:
    """Return the columns that differ, and all those of deliveries that were added.

    The deliveries that a message has stay with it, in their order.
    """
    line = _ENTRY.differing(before, after)
    if after.ref is not before.ref or after.identity is not before.identity:
        line.update(_place(after))
    changed = tuple(map(_DELIVERY.differing, before.deliveries, after.deliveries))
    return Lines(line, changed + _added(after, len(changed)))


def applied(lines: Lines, changed: Lines) -> Lines:
    """Return the lines with these changes."""
    there = len(lines.deliveries)
    deliveries = (
        line | change if change else line
        for line, change in zip(lines.deliveries, changed.deliveries, strict=False)
    )
    return Lines(lines.entry | changed.entry, (*deliveries, *changed.deliveries[there:]))


def _added(entry: Entry, there: int) -> tuple[Columns, ...]:
    return tuple(
        _DELIVERY.columns(delivery) | {"entry_id": entry.id, "position": position}
        for position, delivery in enumerate(entry.deliveries[there:], there)
    )


def _place(entry: Entry) -> Columns:
    return {
        "mailbox": entry.ref.mailbox,
        "uidvalidity": entry.ref.uidvalidity,
        "uid": entry.ref.uid,
        "size": entry.identity.size,
        "internal_at": stored_time(entry.identity.internal_at),
    }


def event_line(event: Event) -> dict[str, str | int | None]:
    """Return the columns of a line of the history."""
    return {
        "at": stored_time(event.at),
        "entry_id": event.entry,
        "delivery_id": event.delivery,
        "was": None if event.was is None else event.was.value,
        "became": event.became.value,
        "because": event.because,
    }


def seal(secret: bytes, entry: Line, deliveries: Iterable[Line]) -> str:
    """Return the keyed digest of a line and its deliveries, as they are stored.

    It finds an edit made without the program, however small; it is no defence against
    one who reads the secret in the same file.
    """
    content = [_sealed_entry(entry), [_sealed_delivery(one) for one in deliveries]]
    return hmac.digest(secret, _JSON.encode(content).encode(), "sha256").hex()


def entry_of(line: Line, deliveries: Sequence[Line]) -> Entry:
    """Return the message of a line; raises InvariantBroken for a word nobody knows."""
    try:
        return Entry(
            id=line["id"],
            ref=MessageRef(line["mailbox"], line["uidvalidity"], line["uid"]),
            identity=Identity(line["size"], read_time(line["internal_at"])),
            received_at=read_time(line["received_at"]),
            state=State(line["state"]),
            reason=_enum(HoldReason, line["reason"]),
            detail=line["detail"],
            site=_site(line["site"]),
            file_number=line["file_number"],
            result=_enum(Result, line["result"]),
            analysis=line["analysis"],
            sampled_at=_time(line["sampled_at"]),
            purge_at=_time(line["purge_at"]),
            sha256=line["sha256"],
            raw_sha256=line["raw_sha256"],
            replaces=line["replaces"],
            duplicate_of=line["duplicate_of"],
            present=bool(line["present"]),
            keyword_set=bool(line["keyword_set"]),
            rules=line["rules"],
            message_id=line["message_id"],
            kept_until=_time(line["kept_until"]),
            purge_begun_at=_time(line["purge_begun_at"]),
            removal=_enum(Removal, line["removal"]),
            removed_at=_time(line["removed_at"]),
            emptied_at=_time(line["emptied_at"]),
            key_digest=line["key_digest"],
            warned_at=_time(line["warned_at"]),
            warned=line["warned"],
            deliveries=tuple(_delivery_of(delivery) for delivery in deliveries),
        )
    except ValueError:
        # `from None`: the library's sentence repeats the value it could not read.
        raise InvariantBroken(
            f"line {line['id']} of the ledger holds a value that this program never wrote",
            hint="Run `sidep-dispatcher verify`: the ledger was edited without the program.",
        ) from None


def _delivery_of(line: Line) -> Delivery:
    return Delivery(
        id=line["id"],
        target=line["target"],
        kind=Kind(line["kind"]),
        state=DeliveryState(line["state"]),
        reference=line["reference"],
        attempts=line["attempts"],
        next_try_at=_time(line["next_try_at"]),
        because=line["because"],
        site=_site(line["site"]),
        reason=_enum(HoldReason, line["reason"]),
        copy=line["copy"],
        asked=bool(line["asked"]),
        made_at=_time(line["made_at"]),
        removal=_enum(Removal, line["removal"]),
        removed_at=_time(line["removed_at"]),
        rules=line["rules"],
    )


def event_of(line: RowMapping) -> Event:
    """Return a line of the history; raises ValueError for a word nobody knows."""
    states: type[State | DeliveryState] = (
        State if line["delivery_id"] is None else DeliveryState
    )
    return Event(
        at=read_time(line["at"]),
        entry=line["entry_id"],
        delivery=line["delivery_id"],
        was=_enum(states, line["was"]),
        became=states(line["became"]),
        because=line["because"],
    )


def trace_line(trace: Trace) -> dict[str, str | int | None]:
    """Return the columns of a line of the audit trail."""
    deed = trace.deed
    return {
        "seq": trace.seq,
        "id": trace.id,
        "at": stored_time(deed.at),
        "verb": deed.verb,
        "what": deed.what.value,
        "entry_id": deed.entry,
        "place": deed.where,
        "rule": deed.rule,
        "answer": deed.answer,
        "by": deed.by,
        "reason": deed.reason,
        "digest": trace.digest,
    }


def trace_of(line: RowMapping) -> Trace:
    """Return a line of the audit trail; raises ValueError for a word nobody knows."""
    deed = Deed(
        line["verb"],
        What(line["what"]),
        read_time(line["at"]),
        entry=line["entry_id"],
        where=line["place"],
        rule=line["rule"],
        answer=line["answer"],
        by=line["by"],
        reason=line["reason"],
    )
    return Trace(line["seq"], line["id"], deed, line["digest"])


def place_of(line: RowMapping) -> Place:
    """Return what is remembered of a mailbox."""
    since = line["since"]
    return Place(
        line["mailbox"],
        line["uidvalidity"],
        line["uidnext"],
        read_time(line["checked_at"]),
        None if since is None else date.fromisoformat(since),
    )


def identity_of(line: Any) -> Identity:  # a row or a mapping of one
    """Return what the server said of a message."""
    return Identity(line["size"], read_time(line["internal_at"]))


def _time(text: str | None) -> datetime | None:
    return None if text is None else read_time(text)


def _site(number: str | None) -> FinessET | None:
    return None if number is None else FinessET(number)


def _enum(kind: type[_E], word: str | None) -> _E | None:
    return None if word is None else kind(word)
