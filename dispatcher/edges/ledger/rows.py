"""Turns messages into lines of the database and back, and seals each line."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import Enum
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

_JSON: Final = json.JSONEncoder(default=repr)

_E = TypeVar("_E", bound=Enum)

# `seq` is given by the database and only breaks ties; everything else is sealed.
_SEALED_ENTRY: Final = tuple(
    sorted(column.name for column in ENTRY.columns if column.name not in {"seq", "seal"})
)
_SEALED_DELIVERY: Final = tuple(sorted(column.name for column in DELIVERY.columns))


def stored_time(at: datetime) -> str:
    """Return a time as the ledger stores it: UTC, microseconds, sortable as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def read_time(text: str) -> datetime:
    """Return the aware time that `stored_time` wrote."""
    return datetime.fromisoformat(text)


def entry_line(entry: Entry) -> dict[str, str | int | None]:
    """Return the columns of a message, without its seal."""
    return {
        "id": entry.id,
        "mailbox": entry.ref.mailbox,
        "uidvalidity": entry.ref.uidvalidity,
        "uid": entry.ref.uid,
        "size": entry.identity.size,
        "internal_at": stored_time(entry.identity.internal_at),
        "received_at": stored_time(entry.received_at),
        "state": entry.state.value,
        "reason": _word(entry.reason),
        "detail": entry.detail,
        "site": _number(entry.site),
        "file_number": entry.file_number,
        "result": _word(entry.result),
        "analysis": entry.analysis,
        "sampled_at": _stored(entry.sampled_at),
        "purge_at": _stored(entry.purge_at),
        "sha256": entry.sha256,
        "raw_sha256": entry.raw_sha256,
        "replaces": entry.replaces,
        "duplicate_of": entry.duplicate_of,
        "present": int(entry.present),
        "keyword_set": int(entry.keyword_set),
        "rules": entry.rules,
        "message_id": entry.message_id,
        "kept_until": _stored(entry.kept_until),
        "purge_begun_at": _stored(entry.purge_begun_at),
        "removal": _word(entry.removal),
        "removed_at": _stored(entry.removed_at),
        "emptied_at": _stored(entry.emptied_at),
        "key_digest": entry.key_digest,
        "warned_at": _stored(entry.warned_at),
        "warned": entry.warned,
    }


def delivery_lines(entry: Entry) -> list[dict[str, str | int | None]]:
    """Return the columns of a message's deliveries, in their order."""
    return [
        {
            "id": delivery.id,
            "entry_id": entry.id,
            "position": position,
            "site": _number(delivery.site),
            "target": delivery.target,
            "kind": delivery.kind.value,
            "state": delivery.state.value,
            "reason": _word(delivery.reason),
            "reference": delivery.reference,
            "attempts": delivery.attempts,
            "next_try_at": _stored(delivery.next_try_at),
            "because": delivery.because,
            "copy": delivery.copy,
            "asked": int(delivery.asked),
            "made_at": _stored(delivery.made_at),
            "removal": _word(delivery.removal),
            "removed_at": _stored(delivery.removed_at),
            "rules": delivery.rules,
        }
        for position, delivery in enumerate(entry.deliveries)
    ]


def event_line(event: Event) -> dict[str, str | int | None]:
    """Return the columns of a line of the history."""
    return {
        "at": stored_time(event.at),
        "entry_id": event.entry,
        "delivery_id": event.delivery,
        "was": _word(event.was),
        "became": event.became.value,
        "because": event.because,
    }


def seal(secret: bytes, entry: Line, deliveries: Iterable[Line]) -> str:
    """Return the keyed digest of a line and its deliveries, as they are stored.

    It finds an edit made without the program, however small; it is no defence against
    one who reads the secret in the same file.
    """
    content = [
        [entry[name] for name in _SEALED_ENTRY],
        [[delivery[name] for name in _SEALED_DELIVERY] for delivery in deliveries],
    ]
    return hmac.digest(secret, _JSON.encode(content).encode(), "sha256").hex()


def entry_of(line: RowMapping, deliveries: Sequence[RowMapping]) -> Entry:
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


def _delivery_of(line: RowMapping) -> Delivery:
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


def _word(value: Enum | None) -> str | None:
    return None if value is None else str(value.value)


def _number(site: FinessET | None) -> str | None:
    return None if site is None else site.number


def _stored(at: datetime | None) -> str | None:
    return None if at is None else stored_time(at)


def _time(text: str | None) -> datetime | None:
    return None if text is None else read_time(text)


def _site(number: str | None) -> FinessET | None:
    return None if number is None else FinessET(number)


def _enum(kind: type[_E], word: str | None) -> _E | None:
    return None if word is None else kind(word)
