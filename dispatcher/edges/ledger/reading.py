"""Queries on the ledger; each fetches messages with their deliveries in two statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby, islice
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    TextClause,
    bindparam,
    func,
    or_,
    select,
    text,
)

from dispatcher.core.audit import Mark, Trace
from dispatcher.core.delivery import Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    SETTLED,
    UNDER_WAY,
    Balance,
    DeliveryState,
    Entry,
    Identity,
    State,
)
from dispatcher.core.message import MessageRef
from dispatcher.core.paris import PARIS
from dispatcher.core.report import Turnover
from dispatcher.core.routing import Kind
from dispatcher.core.vitals import Tally
from dispatcher.edges.ledger import rows
from dispatcher.edges.ledger.schema import (
    AUDIT,
    COUNTER,
    DELIVERY,
    ENTRY,
    EVENT,
    FOREIGN,
    OPENING,
    TRAIL,
)
from dispatcher.edges.ledger.statements import Question, wanted

# SQLite allows 32,766 variables in a statement; groups of this size stay far below.
GROUP: Final = 500

# Literally as in the partial indexes, or SQLite does not use them.
_PRESENT: Final = text("present = 1")
_LACKING: Final = text(
    "present = 1 AND keyword_set = 0 AND state IN ("
    + ", ".join(sorted(f"'{state.value}'" for state in SETTLED))
    + ")"
)

# Built once: building and hashing a statement costs more than running it.
_BY_ID: Final = select(ENTRY).where(ENTRY.c.id == bindparam("id"))
_BY_DELIVERY: Final = select(ENTRY).where(
    ENTRY.c.id
    == select(DELIVERY.c.entry_id).where(DELIVERY.c.id == bindparam("id")).scalar_subquery()
)
_DELIVERIES: Final = (
    select(DELIVERY).where(DELIVERY.c.entry_id == bindparam("id")).order_by(DELIVERY.c.position)
)

_COLUMNS: Final = tuple(column.name for column in ENTRY.columns)
_DELIVERY_COLUMNS: Final = tuple(column.name for column in DELIVERY.columns)

_BY_IDS: Final = Question(
    select(ENTRY).where(ENTRY.c.id.in_(wanted())).order_by(ENTRY.c.received_at, ENTRY.c.seq)
)
_OF_ENTRIES: Final = Question(
    select(DELIVERY)
    .where(DELIVERY.c.entry_id.in_(wanted()))
    .order_by(DELIVERY.c.entry_id, DELIVERY.c.position)
)

_T = TypeVar("_T")
Where = ColumnElement[bool] | Any


def grouped(items: Iterable[_T], size: int = GROUP) -> Iterator[list[_T]]:
    """Yield the items in lists of at most `size`."""
    left = iter(items)
    while group := list(islice(left, size)):
        yield group


def entry(connection: Connection, entry_id: str) -> Entry | None:
    """Return one message."""
    return _one(connection, _BY_ID, entry_id)


def entries_of(connection: Connection, entry_ids: Sequence[str]) -> list[Entry]:
    """Return the messages of these ids."""
    return [entry for _, entry in read(connection, _BY_IDS, entry_ids)]


def owner(connection: Connection, delivery_id: str) -> Entry | None:
    """Return the message that a delivery belongs to."""
    return _one(connection, _BY_DELIVERY, delivery_id)


def _one(connection: Connection, query: Select[Any], key: str) -> Entry | None:
    line = connection.execute(query, {"id": key}).mappings().first()
    if line is None:
        return None
    deliveries = connection.execute(_DELIVERIES, {"id": line["id"]}).mappings().all()
    return rows.entry_of(line, deliveries)


def entries(connection: Connection, *where: Where, limit: int | None = None) -> list[Entry]:
    """Return the messages that meet all conditions, oldest reception first."""
    return [entry for _, entry in numbered(connection, *where, limit=limit)]


def numbered(
    connection: Connection, *where: Where, limit: int | None = None
) -> list[tuple[int, Entry]]:
    """Return the same with the number of each line."""
    query = select(ENTRY).where(*where).order_by(ENTRY.c.received_at, ENTRY.c.seq).limit(limit)
    return with_deliveries(connection, connection.execute(query).fetchall())


def read(
    connection: Connection, question: Question, asked: Sequence[Any]
) -> list[tuple[int, Entry]]:
    """Return the messages that a question on their table finds, with their lines' numbers."""
    found = [line for group in grouped(asked) for line in question.ask(connection, group)]
    return with_deliveries(connection, found)


def with_deliveries(
    connection: Connection, found: Iterable[Row[Any]]
) -> list[tuple[int, Entry]]:
    """Return the messages of these lines, all columns in order, with the lines' numbers."""
    lines = [dict(zip(_COLUMNS, line, strict=True)) for line in found]
    deliveries = deliveries_of(connection, [line["id"] for line in lines])
    return [
        (line["seq"], rows.entry_of(line, deliveries.get(line["id"], ()))) for line in lines
    ]


def deliveries_of(
    connection: Connection, entry_ids: Sequence[str]
) -> dict[str, list[rows.Line]]:
    """Return the deliveries of each of these messages, in their order."""
    found: dict[str, list[rows.Line]] = {}
    for group in grouped(entry_ids):
        for row in _OF_ENTRIES.ask(connection, group):
            line = dict(zip(_DELIVERY_COLUMNS, row, strict=True))
            found.setdefault(line["entry_id"], []).append(line)
    return found


def entries_at(connection: Connection, refs: Iterable[MessageRef]) -> list[Entry]:
    """Return the messages that are known to lie at these places."""
    return [
        entry for where in _at(ENTRY, refs) for entry in entries(connection, where, _PRESENT)
    ]


def foreign_at(
    connection: Connection, refs: Iterable[MessageRef]
) -> dict[MessageRef, Identity]:
    """Return the foreign mail known at these places."""
    return {
        MessageRef(line["mailbox"], line["uidvalidity"], line["uid"]): rows.identity_of(line)
        for where in _at(FOREIGN, refs)
        for line in connection.execute(select(FOREIGN).where(where)).mappings()
    }


def _at(table: Any, refs: Iterable[MessageRef]) -> Iterator[Where]:
    for (mailbox, uidvalidity), run in groupby(
        sorted(set(refs)), key=lambda ref: (ref.mailbox, ref.uidvalidity)
    ):
        for group in grouped(ref.uid for ref in run):
            yield (
                (table.c.mailbox == mailbox)
                & (table.c.uidvalidity == uidvalidity)
                & table.c.uid.in_(group)
            )


def page(
    connection: Connection, last: tuple[datetime, int] | None, *where: Where
) -> list[tuple[int, Entry]]:
    """Return the next messages after the line that `last` names."""
    if last is None:
        return numbered(connection, *where, limit=GROUP)
    # Not `(received_at, seq) > (?, ?)`: for each page SQLite walks anew over all lines that
    # were received in that moment.
    at, number = rows.stored_time(last[0]), last[1]
    same = (ENTRY.c.received_at == at) & (ENTRY.c.seq > number)
    found = numbered(connection, *where, same, limit=GROUP)
    if len(found) < GROUP:
        later = ENTRY.c.received_at > at
        found += numbered(connection, *where, later, limit=GROUP - len(found))
    return found


def has_delivery(kind: Kind) -> Where:
    """Return the condition for a message to have a delivery of this kind."""
    mine = (DELIVERY.c.entry_id == ENTRY.c.id) & (DELIVERY.c.kind == kind.value)
    return select(DELIVERY.c.id).where(mine).exists()


def with_delivery(connection: Connection, mailbox: str, *where: Where) -> tuple[Entry, ...]:
    """Return the messages of a mailbox with a delivery that meets the conditions."""
    owners = select(DELIVERY.c.entry_id).where(*where).distinct()
    ids = connection.execute(owners).scalars().all()
    found = [
        entry
        for group in grouped(ids)
        for entry in numbered(connection, ENTRY.c.id.in_(group))
        if entry[1].ref.mailbox == mailbox
    ]
    found.sort(key=lambda one: (one[1].received_at, one[0]))
    return tuple(entry for _, entry in found)


def is_due(now: datetime) -> Where:
    """Return the condition for a delivery to be made by now."""
    return (DELIVERY.c.state == DeliveryState.DECIDED.value) & or_(
        DELIVERY.c.next_try_at.is_(None), DELIVERY.c.next_try_at <= rows.stored_time(now)
    )


def is_opening(now: datetime) -> Where:
    """Return the condition for a delivery that waited for an hour that has come."""
    return (DELIVERY.c.state == DeliveryState.WAITING.value) & (
        DELIVERY.c.next_try_at <= rows.stored_time(now)
    )


def remarked(connection: Connection, words: str) -> tuple[str, ...]:
    """Return the messages with a delivery whose `because` holds these words, oldest first."""
    query = (
        select(ENTRY.c.id)
        .join_from(DELIVERY, ENTRY, ENTRY.c.id == DELIVERY.c.entry_id)
        .where(func.instr(DELIVERY.c.because, words) > 0)
        .group_by(ENTRY.c.id)
        .order_by(ENTRY.c.received_at, ENTRY.c.seq)
    )
    return tuple(connection.execute(query).scalars())


def is_under_way() -> Where:
    """Return the condition for a delivery whose end nobody recorded."""
    return DELIVERY.c.state.in_(sorted(state.value for state in UNDER_WAY))


def next_due(connection: Connection, mailbox: str) -> datetime | None:
    """Return the earliest next try or opening; one never tried was due at its reception."""
    query = (
        select(func.min(func.coalesce(DELIVERY.c.next_try_at, ENTRY.c.received_at)))
        .join_from(DELIVERY, ENTRY, ENTRY.c.id == DELIVERY.c.entry_id)
        .where(
            or_(
                DELIVERY.c.state == DeliveryState.DECIDED.value,
                (DELIVERY.c.state == DeliveryState.WAITING.value)
                & DELIVERY.c.next_try_at.is_not(None),
            ),
            ENTRY.c.mailbox == mailbox,
        )
    )
    found = connection.execute(query).scalar()
    return None if found is None else rows.read_time(found)


def known(connection: Connection, mailbox: str, uidvalidity: int) -> dict[int, Identity]:
    """Return every uid known to lie there, ours and foreign."""
    found: dict[int, Identity] = {}
    for table, also in ((FOREIGN, ()), (ENTRY, (_PRESENT,))):
        query = select(table.c.uid, table.c.size, table.c.internal_at).where(
            table.c.mailbox == mailbox, table.c.uidvalidity == uidvalidity, *also
        )
        for line in connection.execute(query).mappings():
            found[line["uid"]] = rows.identity_of(line)
    return found


def openings(connection: Connection, mailbox: str, uidvalidity: int) -> Mapping[int, int]:
    """Return how many times reading began, for uids that were never read to the end."""
    query = select(OPENING.c.uid, OPENING.c.count).where(
        OPENING.c.mailbox == mailbox, OPENING.c.uidvalidity == uidvalidity
    )
    return dict(connection.execute(query).all())


def lacking_keyword(connection: Connection, mailbox: str, uidvalidity: int) -> tuple[int, ...]:
    """Return the uids of settled messages whose keyword is not recorded yet."""
    query = (
        select(ENTRY.c.uid)
        .where(ENTRY.c.mailbox == mailbox, ENTRY.c.uidvalidity == uidvalidity, _LACKING)
        .order_by(ENTRY.c.uid)
    )
    return tuple(connection.execute(query).scalars())


def counters(connection: Connection) -> dict[str, int]:
    """Return the counters that are kept apart from the lines."""
    return dict(connection.execute(select(COUNTER.c.name, COUNTER.c.value)).all())


def balance(connection: Connection) -> Balance:
    """Return the counts; a purged line counts as what it was."""
    query = select(ENTRY.c.state, func.count()).group_by(ENTRY.c.state)
    counts: dict[str, int] = dict(connection.execute(query).all())
    purged = counts.get(State.PURGED.value, 0)
    copies = select(func.count()).where(
        ENTRY.c.state == State.PURGED.value, ENTRY.c.duplicate_of.is_not(None)
    )
    purged_copies = connection.execute(copies).scalar_one()
    counted = counters(connection)
    return Balance(
        received=counted.get("received", 0),
        delivered=counts.get(State.DELIVERED.value, 0) + purged - purged_copies,
        held=counts.get(State.HELD.value, 0),
        pending=counts.get(State.PENDING.value, 0),
        duplicate=counts.get(State.DUPLICATE.value, 0) + purged_copies,
        expired=counts.get(State.EXPIRED.value, 0),
        foreign=counted.get("foreign", 0),
    )


def tallies(connection: Connection) -> list[Tally]:
    """Return how many deliveries stand where, by site, target and kind."""
    by = (DELIVERY.c.site, DELIVERY.c.target, DELIVERY.c.kind, DELIVERY.c.state)
    query = select(*by, func.count()).group_by(*by)
    return [
        Tally(FinessET(site), target, Kind(kind), DeliveryState(state), count)
        for site, target, kind, state, count in connection.execute(query)
    ]


# --- what happened, counted

_HOUR: Final = len("2026-11-27T09")


def arrivals(connection: Connection, since: datetime) -> dict[FinessET, dict[date, int]]:
    """Return how many messages of each site were received on each day in Paris."""
    # Paris is whole hours away from UTC, so that an hour lies in one of its days.
    hour = func.substr(ENTRY.c.received_at, 1, _HOUR)
    query = (
        select(ENTRY.c.site, hour, func.count())
        .where(ENTRY.c.site.is_not(None), ENTRY.c.received_at >= rows.stored_time(since))
        .group_by(ENTRY.c.site, hour)
    )
    found: dict[FinessET, dict[date, int]] = {}
    for site, begins, count in connection.execute(query):
        on = datetime.fromisoformat(f"{begins}:00+00:00").astimezone(PARIS).date()
        days = found.setdefault(FinessET(site), {})
        days[on] = days.get(on, 0) + count
    return found


def turnover(connection: Connection, since: datetime, until: datetime) -> Iterator[Turnover]:
    """Yield what came to which state in that time, messages and deliveries."""
    during = (EVENT.c.at >= rows.stored_time(since)) & (EVENT.c.at < rows.stored_time(until))
    began = EVENT.c.was.is_(None)
    messages = (
        select(ENTRY.c.site, EVENT.c.became, began, func.count(EVENT.c.entry_id.distinct()))
        .join_from(EVENT, ENTRY, ENTRY.c.id == EVENT.c.entry_id)
        .where(during, EVENT.c.delivery_id.is_(None))
        .group_by(ENTRY.c.site, EVENT.c.became, began)
    )
    for site, became, first, count in connection.execute(messages):
        yield Turnover(_site(site), None, State(became), bool(first), count)
    deliveries = (
        select(
            DELIVERY.c.site, DELIVERY.c.kind, EVENT.c.became, began,
            func.count(EVENT.c.delivery_id.distinct()),
        )
        .join_from(EVENT, DELIVERY, DELIVERY.c.id == EVENT.c.delivery_id)
        .where(during)
        .group_by(DELIVERY.c.site, DELIVERY.c.kind, EVENT.c.became, began)
    )  # fmt: skip
    for site, kind, became, first, count in connection.execute(deliveries):
        yield Turnover(_site(site), Kind(kind), DeliveryState(became), bool(first), count)


def _site(number: str | None) -> FinessET | None:
    return None if number is None else FinessET(number)


# --- deletion at the term

_FULL: Final = text("emptied_at IS NULL")


def past_term(connection: Connection, mailbox: str, now: datetime) -> list[Entry]:
    """Return the messages whose term has come and whose line is not empty."""
    return entries(connection, *_past_term(mailbox, now))


def backlog(connection: Connection, mailbox: str, now: datetime) -> tuple[int, datetime | None]:
    """Return how many messages are past their term, and the first of their terms."""
    query = select(func.count(), func.min(ENTRY.c.purge_at)).where(*_past_term(mailbox, now))
    count, first = connection.execute(query).one()
    return int(count), None if first is None else rows.read_time(first)


def _past_term(mailbox: str, now: datetime) -> tuple[ColumnElement[bool] | TextClause, ...]:
    return ENTRY.c.mailbox == mailbox, _FULL, ENTRY.c.purge_at <= rows.stored_time(now)


def undelivered(connection: Connection, mailbox: str, until: datetime) -> list[Entry]:
    """Return pending and held messages whose term comes until then."""
    states = [State.PENDING.value, State.HELD.value]
    return entries(
        connection,
        ENTRY.c.state.in_(states),
        ENTRY.c.mailbox == mailbox,
        ENTRY.c.purge_at <= rows.stored_time(until),
    )


def lying(connection: Connection, mailbox: str) -> int:
    """Return how many of our messages lie in the mailbox."""
    query = select(func.count()).where(ENTRY.c.mailbox == mailbox, _PRESENT)
    return int(connection.execute(query).scalar_one())


def vanished(connection: Connection, mailbox: str) -> int:
    """Return how many messages are not in the mailbox, though nobody recorded their removal."""
    query = select(func.count()).where(
        ENTRY.c.mailbox == mailbox, _FULL, ENTRY.c.present == 0, ENTRY.c.removal.is_(None)
    )
    return int(connection.execute(query).scalar_one())


def changed_copies(connection: Connection) -> list[Entry]:
    """Return the messages of which a copy was left because it was changed."""
    owners = select(DELIVERY.c.entry_id).where(
        text(f"removal = '{Removal.CHANGED.value}'")  # literally as in the partial index
    )
    ids = connection.execute(owners.distinct()).scalars().all()
    return [e for group in grouped(ids) for e in entries(connection, ENTRY.c.id.in_(group))]


def with_old_key(connection: Connection, received_before: datetime) -> list[str]:
    """Return the empty lines that still find a duplicate, and need not any more."""
    query = select(ENTRY.c.id).where(
        ENTRY.c.key_digest.is_not(None),
        ENTRY.c.received_at <= rows.stored_time(received_before),
    )
    return list(connection.execute(query).scalars())


# --- the audit trail


def mark(connection: Connection, name: str) -> Mark:
    """Return where the trail begins ("start") or ends ("end")."""
    query = select(TRAIL.c.seq, TRAIL.c.digest).where(TRAIL.c.name == name)
    line = connection.execute(query).one_or_none()
    return Mark() if line is None else Mark(line.seq, line.digest)


def trail_begins(connection: Connection, at: datetime) -> Mark:
    """Return the last line before the first one of that time or later."""
    first = connection.execute(
        select(func.min(AUDIT.c.seq)).where(AUDIT.c.at >= rows.stored_time(at))
    ).scalar()
    if first is None:
        return mark(connection, "end")
    query = select(AUDIT.c.seq, AUDIT.c.digest).where(AUDIT.c.seq == first - 1)
    line = connection.execute(query).one_or_none()
    return mark(connection, "start") if line is None else Mark(line.seq, line.digest)


def traces(connection: Connection, after: int, *where: Where) -> list[Trace]:
    """Return the next lines of the trail."""
    query = select(AUDIT).where(AUDIT.c.seq > after, *where).order_by(AUDIT.c.seq)
    return [rows.trace_of(line) for line in connection.execute(query.limit(GROUP)).mappings()]
