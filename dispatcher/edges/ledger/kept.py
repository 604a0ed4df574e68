"""The versions of the rules that the ledger keeps, and which of them is in force."""

from __future__ import annotations

import json
import zlib
from typing import Final

from sqlalchemy import Connection, delete, func, insert, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from dispatcher.core import life
from dispatcher.core.ledger import DeliveryState
from dispatcher.core.rulebook import (
    CHANGES_KEPT,
    VERSIONS_KEPT,
    Change,
    Origin,
    Refusal,
    RulesState,
)
from dispatcher.edges.ledger import rows
from dispatcher.edges.ledger.schema import (
    DELIVERY,
    RULES_CHANGE,
    RULES_REFUSAL,
    RULES_VERSION,
)

_VERSION: Final = upsert(RULES_VERSION).on_conflict_do_nothing(index_elements=["digest"])
_REFUSAL: Final = upsert(RULES_REFUSAL).on_conflict_do_update(
    index_elements=["one"],
    set_={
        n: getattr(upsert(RULES_REFUSAL).excluded, n)
        for n in ("since_at", "digest", "problems")
    },
)


def take(connection: Connection, change: Change, content: bytes) -> None:
    """See `ports.Writer.take_rules`. Rules repeat themselves: they are kept compressed."""
    line = {
        "at": rows.stored_time(change.at),
        "digest": change.digest,
        "origin": change.origin.value,
        "by": change.by,
        "reason": change.reason,
    }
    packed = zlib.compress(content)
    connection.execute(_VERSION, [{"digest": change.digest, "content": packed}])
    connection.execute(insert(RULES_CHANGE), [line])
    if change.origin is not Origin.SET_ASIDE:
        refuse(connection, None)
    _forget(connection)


def _forget(connection: Connection) -> None:
    """Forget what is old, but never a version by which a copy still has to be found."""
    newest = select(RULES_CHANGE.c.seq).order_by(RULES_CHANGE.c.seq.desc())
    last = newest.limit(CHANGES_KEPT).subquery()
    connection.execute(delete(RULES_CHANGE).where(RULES_CHANGE.c.seq.not_in(select(last))))
    latest = func.max(RULES_CHANGE.c.seq)
    digests = select(RULES_CHANGE.c.digest).group_by(RULES_CHANGE.c.digest)
    recent = digests.order_by(latest.desc()).limit(VERSIONS_KEPT).subquery()
    needed = select(DELIVERY.c.rules).where(
        DELIVERY.c.state != DeliveryState.DISCARDED.value, DELIVERY.c.removal.is_(None)
    )
    stays = or_(RULES_VERSION.c.digest.in_(select(recent)), RULES_VERSION.c.digest.in_(needed))
    connection.execute(delete(RULES_VERSION).where(~stays))


def refuse(connection: Connection, refusal: Refusal | None) -> None:
    """See `ports.Writer.refuse_rules`."""
    if refusal is None:
        connection.execute(delete(RULES_REFUSAL))
        return
    line = {
        "one": 1,
        "since_at": rows.stored_time(life.utc(refusal.since_at)),
        "digest": refusal.digest,
        "problems": json.dumps(refusal.problems),
    }
    connection.execute(_REFUSAL, [line])


def state(connection: Connection) -> RulesState | None:
    """See `ports.Ledger.rules_state`."""
    query = select(RULES_CHANGE).where(RULES_CHANGE.c.origin != Origin.SET_ASIDE.value)
    newest = query.order_by(RULES_CHANGE.c.seq.desc()).limit(1)
    line = connection.execute(newest).mappings().first()
    if line is None:
        return None
    return RulesState(line["digest"], rows.read_time(line["at"]), _refusal(connection))


def _refusal(connection: Connection) -> Refusal | None:
    line = connection.execute(select(RULES_REFUSAL)).mappings().first()
    if line is None:
        return None
    problems = tuple(json.loads(line["problems"]))
    return Refusal(rows.read_time(line["since_at"]), line["digest"], problems)


def history(connection: Connection) -> tuple[Change, ...]:
    """See `ports.Ledger.rules_history`."""
    lines = connection.execute(select(RULES_CHANGE).order_by(RULES_CHANGE.c.seq)).mappings()
    return tuple(
        Change(
            rows.read_time(line["at"]),
            line["digest"],
            Origin(line["origin"]),
            by=line["by"],
            reason=line["reason"],
        )
        for line in lines
    )


def content(connection: Connection, digest: str) -> bytes | None:
    """See `ports.Ledger.rules_content`."""
    query = select(RULES_VERSION.c.content).where(RULES_VERSION.c.digest == digest)
    found = connection.execute(query).scalar()
    return None if found is None else zlib.decompress(found)
