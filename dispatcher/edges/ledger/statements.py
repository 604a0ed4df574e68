"""Statements of the daily work, compiled once: each time costs more than SQLite takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Executable,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import dialect

_DIALECT: Final = dialect()
_JSON: Final = json.JSONEncoder()

Line = Mapping[str, Any]


class Prepared:
    """A statement whose every value is named, run for many lines at once."""

    def __init__(self, statement: Executable, *, columns: Sequence[str] | None = None) -> None:
        compiled: Any = statement.compile(  # type: ignore[attr-defined]
            dialect=_DIALECT, column_keys=columns
        )
        self.sql: Final = str(compiled)
        self.names: Final = tuple(compiled.positiontup)
        self._values: Final = itemgetter(*self.names)
        self._single: Final = len(self.names) == 1

    def run(self, connection: Connection, lines: Iterable[Line]) -> int:
        """Run it for each line, of which there is one at least; return the lines touched."""
        return connection.exec_driver_sql(
            self.sql, [self.values(one) for one in lines]
        ).rowcount

    def values(self, line: Line) -> tuple[Any, ...]:
        """Return the values of a line in the statement's order."""
        found = self._values(line)
        return (found,) if self._single else found


class Question:
    """A query for a list, which goes as one value, `wanted`: the statement stays the same.

    Only for lists of ids and digests: SQLite's JSON cuts a text off at a NUL.
    """

    def __init__(self, query: Select[Any]) -> None:
        self._sql = str(query.compile(dialect=_DIALECT))

    def ask(self, connection: Connection, asked: Sequence[str]) -> Sequence[Row[Any]]:
        """Return the lines found."""
        return connection.exec_driver_sql(self._sql, (_JSON.encode(asked),)).fetchall()


def wanted() -> Select[Any]:
    """Return what a `Question` asks for, as a list to look in (sqlite.org/json1.html)."""
    return select(func.json_each(bindparam("wanted")).table_valued("value").c.value)


@lru_cache(maxsize=16)
def insert_into(table: Table, *, but: str = "") -> Prepared:
    """Return the statement for new lines; the column `but` is given by the database."""
    columns = [column.name for column in table.columns if column.name != but]
    return Prepared(insert(table), columns=columns)


@lru_cache(maxsize=64)
def update_of(table: Table, names: tuple[str, ...]) -> Prepared:
    """Return the change of these columns where the column `id` is `key_`."""
    columns: dict[str, Any] = {name: bindparam(name) for name in names}
    return Prepared(update(table).where(table.c.id == bindparam("key_")).values(columns))


@lru_cache(maxsize=4)
def delete_at(table: Table) -> Prepared:
    """Return the removal of what lies at a place."""
    place = ("mailbox", "uidvalidity", "uid")
    return Prepared(delete(table).where(*(table.c[one] == bindparam(one) for one in place)))
