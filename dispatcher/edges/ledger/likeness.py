"""Asks what resembles a whole batch of messages, in a few statements however many they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from sqlalchemy import Connection, select, text

from dispatcher.core.certificate import ContentKey
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry
from dispatcher.edges.ledger import reading
from dispatcher.edges.ledger.schema import ENTRY
from dispatcher.edges.ledger.statements import Question, wanted
from dispatcher.ports import Alike

_BY_RAW: Final = Question(select(ENTRY).where(ENTRY.c.raw_sha256.in_(wanted())))
_BY_DIGEST: Final = Question(
    select(ENTRY).where(
        text("key_digest IS NOT NULL"),  # literally as in the partial index
        ENTRY.c.key_digest.in_(wanted()),
    )
)


_Numbered = tuple[int, Entry]


def alike(
    connection: Connection, raws: Sequence[str], digests: Mapping[ContentKey, str]
) -> Alike:
    """Return what resembles these bytes and contents; `digests` names the emptied lines."""
    same_raw = _by(lambda entry: entry.raw_sha256, _found(connection, _BY_RAW, raws))
    tests = _by(_test_of, _of_tests(connection, digests))
    emptied = _by(
        lambda entry: entry.key_digest, _found(connection, _BY_DIGEST, digests.values())
    )
    content = {
        key: [one for one in tests.get(_test(key), ()) if one[1].sha256 == key.sha256]
        + emptied.get(digest, [])
        for key, digest in digests.items()
    }
    latest = {
        _test(key): [one for one in tests.get(_test(key), ()) if one[1].duplicate_of is None]
        for key in digests
    }
    return Alike(
        {raw: _in_order(same_raw[raw]) for raw in raws if raw in same_raw},
        {key: _in_order(found) for key, found in content.items() if found},
        {test: _in_order(found)[-1] for test, found in latest.items() if found},
    )


def _found(
    connection: Connection, question: Question, asked: Iterable[str]
) -> Iterator[_Numbered]:
    return iter(reading.read(connection, question, list(dict.fromkeys(asked))))


def _of_tests(connection: Connection, keys: Iterable[ContentKey]) -> Iterator[_Numbered]:
    tests = sorted({(key.site.number, key.file_number) for key in keys})
    for group in reading.grouped(tests):
        found = connection.exec_driver_sql(_by_test(len(group)), tuple(chain(*group)))
        yield from reading.with_deliveries(connection, found.fetchall())


@lru_cache(maxsize=64)
def _by_test(count: int) -> str:
    """Return the query for so many tests: one walk down the index for each.

    Of pairs in a list SQLite makes a walk over the whole table, of two lists as many walks as
    their product. A file number may hold what JSON cannot bring to SQLite (NUL).
    """
    columns = ", ".join(f"entry.{column.name}" for column in ENTRY.columns)
    values = ", ".join(["(?, ?)"] * count)
    return (
        f"SELECT {columns} FROM (VALUES {values}) AS wanted CROSS JOIN entry"  # noqa: S608
        " ON entry.site = wanted.column1 AND entry.file_number = wanted.column2"
    )


def _by(
    name: Callable[[Entry], Hashable], found: Iterable[_Numbered]
) -> dict[Hashable, list[_Numbered]]:
    by_name: dict[Hashable, list[_Numbered]] = {}
    for one in found:
        by_name.setdefault(name(one[1]), []).append(one)
    return by_name


def _in_order(found: Iterable[_Numbered]) -> tuple[Entry, ...]:
    by_age = sorted(dict(found).items(), key=lambda one: (one[1].received_at, one[0]))
    return tuple(entry for _, entry in by_age)


def _test(key: ContentKey) -> tuple[FinessET, str]:
    return key.site, key.file_number


def _test_of(entry: Entry) -> tuple[FinessET | None, str | None]:
    return entry.site, entry.file_number
