"""Checks the ledger against itself: the file, the counters, each line, its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, func, select, text

from dispatcher.core import audit
from dispatcher.core.audit import Trace
from dispatcher.core.ledger import DeliveryState, Event, State, state_of
from dispatcher.core.life import folded
from dispatcher.edges.ledger import reading, rows
from dispatcher.edges.ledger.guards import guards
from dispatcher.edges.ledger.schema import ENTRY, EVENT, FOREIGN


def last_event(connection: Connection) -> int:
    """Return the number of the last line of history; 0: there is none."""
    return int(connection.execute(select(func.max(EVENT.c.seq))).scalar() or 0)


def flaws(connection: Connection, secret: bytes) -> tuple[str, ...]:
    """Return one sentence for each contradiction; ids only, never a value of a line."""
    return tuple(_file(connection)) or tuple(_contradictions(connection, secret))


def _contradictions(connection: Connection, secret: bytes) -> list[str]:
    found = [*_guards(connection), *_counters(connection)]
    broken = trail_flaw(connection, secret)
    if broken:
        found.append(f"the audit trail is broken: {broken}")
    after = 0
    while lines := _lines(connection, after):
        found.extend(_lines_flaws(connection, lines, secret))
        after = lines[-1]["seq"]
    return found


def trail_flaw(connection: Connection, secret: bytes) -> str | None:
    """Return where the audit trail is broken, None where it is whole."""
    start, end = (reading.mark(connection, name) for name in ("start", "end"))
    return audit.flaw(secret, _trail(connection), start=start, end=end)


def _trail(connection: Connection) -> Iterator[Trace]:
    after = 0
    while page := reading.traces(connection, after):
        yield from page
        after = page[-1].seq


def _file(connection: Connection) -> Iterator[str]:
    for (said,) in connection.execute(text("PRAGMA integrity_check")):
        if said != "ok":
            yield f"the ledger's file is damaged: {said}"
    for line in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"the ledger's table {line[0]} has a line that belongs to nothing"


def _guards(connection: Connection) -> Iterator[str]:
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    there = {line.name: line.sql for line in connection.execute(query)}
    for name, statement in guards().items():
        if there.get(name) != statement:
            yield f"the database's own check {name} is missing or was changed"


def _counters(connection: Connection) -> Iterator[str]:
    counted = reading.counters(connection)
    lines = connection.execute(select(func.count()).select_from(ENTRY)).scalar_one()
    if counted.get("received") != lines:
        yield f"{counted.get('received')} messages were counted, {lines} are in the ledger"
    there = connection.execute(select(func.count()).select_from(FOREIGN)).scalar_one()
    foreign, gone = counted.get("foreign", 0), counted.get("foreign_gone", 0)
    if foreign != there + gone:
        yield f"{foreign} foreign mails were counted, {there} lie there and {gone} are gone"


def _lines(connection: Connection, after: int) -> Sequence[RowMapping]:
    query = select(ENTRY).where(ENTRY.c.seq > after).order_by(ENTRY.c.seq)
    return connection.execute(query.limit(reading.GROUP)).mappings().all()


def _lines_flaws(
    connection: Connection, lines: Sequence[RowMapping], secret: bytes
) -> Iterator[str]:
    ids = [line["id"] for line in lines]
    deliveries = reading.deliveries_of(connection, ids)
    events = _events_of(connection, ids)
    for line in lines:
        there = deliveries.get(line["id"], [])
        if rows.seal(secret, line, there) != line["seal"]:
            yield f"message {line['id']} was changed without the program"
        yield from _state_flaws(line, there)
        yield from _history_flaws(line, there, events.get(line["id"], []))


def _state_flaws(line: RowMapping, deliveries: Sequence[rows.Line]) -> Iterator[str]:
    if not deliveries or line["state"] == State.PURGED.value:
        return
    follows = state_of([DeliveryState(delivery["state"]) for delivery in deliveries])
    if line["state"] != follows.value:
        yield f"message {line['id']} is {line['state']}, its deliveries say {follows.value}"


def _history_flaws(
    line: RowMapping, deliveries: Sequence[rows.Line], events: Sequence[RowMapping]
) -> Iterator[str]:
    try:
        history: list[Event] = [rows.event_of(event) for event in events]
    except ValueError:
        yield f"message {line['id']}: its history holds a word that is no state"
        return
    told, breaks = folded(history)
    yield from breaks
    stands: Mapping[str | None, str] = {
        None: line["state"],
        **{delivery["id"]: delivery["state"] for delivery in deliveries},
    }
    for subject in [*sorted({*told, *stands} - {None}, key=str), None]:
        if told.get(subject) != stands.get(subject):
            yield f"{subject or line['id']}: its history does not lead to its present state"


def _events_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[RowMapping]]:
    query = select(EVENT).where(EVENT.c.entry_id.in_(ids)).order_by(EVENT.c.seq)
    found: dict[str, list[RowMapping]] = {}
    for line in connection.execute(query).mappings():
        found.setdefault(line["entry_id"], []).append(line)
    return found
