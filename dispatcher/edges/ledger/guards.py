"""The database's own checks, made from the core's tables of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, TypeVar

from dispatcher.core.ledger import ALLOWED, DELIVERY_ALLOWED, INITIAL, DeliveryState

_S = TypeVar("_S", bound=Enum)


def words(values: Iterable[Enum]) -> str:
    """Return stored words as an SQL list, in a fixed order."""
    return ", ".join(sorted(f"'{value.value}'" for value in values))


def guards() -> Mapping[str, str]:
    """Return each trigger's name and the statement that makes it.

    They hold against any client of the file, also one who edits it by hand: no forbidden
    transition, no line removed, no history changed, one message in one place.
    """
    made = {
        "entry_begins": _begins("entry", INITIAL),
        "entry_follows": _follows("entry", ALLOWED),
        "delivery_begins": _begins("delivery", [DeliveryState.DECIDED]),
        "delivery_follows": _follows("delivery", DELIVERY_ALLOWED),
        "entry_place_is_free": _place_is_free("entry", "INSERT", "foreign_mail"),
        "entry_new_place_is_free": _place_is_free(
            "entry", "UPDATE OF mailbox, uidvalidity, uid, present", "foreign_mail"
        ),
        "foreign_place_is_free": _place_is_free("foreign_mail", "INSERT", "entry"),
    }
    for table in ("event", "audit"):
        made[f"{table}_stays"] = _never(table, "UPDATE", "history is never changed")
    for table in ("event", "entry", "delivery"):
        made[f"{table}_remains"] = _never(table, "DELETE", "no line is ever removed")
    # The oldest lines of the trail go at their term; where it begins is moved up before.
    begins = "(SELECT seq FROM trail WHERE name = 'start')"
    made["audit_remains"] = (
        f"BEFORE DELETE ON audit WHEN OLD.seq > {begins} {_abort('no line is ever removed')}"
    )
    return {name: f"CREATE TRIGGER {name} {body}" for name, body in made.items()}


def _begins(table: str, initial: Iterable[Enum]) -> str:
    return (
        f"BEFORE INSERT ON {table} WHEN NEW.state NOT IN ({words(initial)}) "
        f"{_abort(f'a {table} cannot begin so')}"
    )


def _follows(table: str, allowed: Mapping[_S, frozenset[_S]]) -> str:
    pairs = " OR ".join(
        f"(OLD.state = '{before.value}' AND NEW.state IN ({words(after)}))"
        for before, after in allowed.items()
        if after
    )
    return (
        f"BEFORE UPDATE OF state ON {table} WHEN NEW.state IS NOT OLD.state "
        f"AND NOT ({pairs}) {_abort(f'forbidden transition of a {table}')}"
    )


_AND: Final = {"entry": " AND entry.present = 1", "foreign_mail": ""}
_WHEN: Final = {"entry": "NEW.present = 1 AND ", "foreign_mail": ""}


def _place_is_free(table: str, action: str, other: str) -> str:
    same = " AND ".join(
        f"{other}.{column} = NEW.{column}" for column in ("mailbox", "uidvalidity", "uid")
    )
    taken = f"EXISTS (SELECT 1 FROM {other} WHERE {same}{_AND[other]})"  # noqa: S608 - ours
    free = _abort("one place holds one message")
    return f"BEFORE {action} ON {table} WHEN {_WHEN[table]}{taken} {free}"


def _never(table: str, action: str, why: str) -> str:
    return f"BEFORE {action} ON {table} {_abort(why)}"


def _abort(why: str) -> str:
    return f"BEGIN SELECT RAISE(ABORT, '{why}'); END"
