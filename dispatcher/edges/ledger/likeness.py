"""Asks what resembles a whole batch of messages, in a few statements however many they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Select, bindparam, select, text

from dispatcher.core.certificate import ContentKey
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry
from dispatcher.edges.ledger import reading
from dispatcher.edges.ledger.schema import ENTRY
from dispatcher.ports import Alike

# Built once: building and hashing a statement costs more than running it.
_WANTED: Final[BindParameter[Any]] = bindparam("wanted", expanding=True)
_BY_RAW: Final = select(ENTRY).where(ENTRY.c.raw_sha256.in_(_WANTED))
# Not pairs of both: SQLite walks over the whole table for those. What is of another test with
# the same number is left out later.
_BY_TEST: Final = select(ENTRY).where(
    ENTRY.c.site.in_(bindparam("sites", expanding=True)),
    ENTRY.c.file_number.in_(bindparam("numbers", expanding=True)),
)
_BY_DIGEST: Final = select(ENTRY).where(
    text("key_digest IS NOT NULL"),  # literally as in the partial index
    ENTRY.c.key_digest.in_(_WANTED),
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
    connection: Connection, query: Select[Any], wanted: Iterable[str]
) -> Iterator[_Numbered]:
    for group in reading.grouped(dict.fromkeys(wanted)):
        yield from reading.read_numbered(connection, query, {"wanted": group})


def _of_tests(connection: Connection, keys: Iterable[ContentKey]) -> Iterator[_Numbered]:
    for group in reading.grouped(keys):
        sites = sorted({key.site.number for key in group})
        numbers = sorted({key.file_number for key in group})
        values = {"sites": sites, "numbers": numbers}
        yield from reading.read_numbered(connection, _BY_TEST, values)


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
