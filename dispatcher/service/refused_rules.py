"""Remembers in the ledger that a new rules file was refused, so that `status` can tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatcher.errors import Unavailable
from dispatcher.ports import Clock, Ledger

_MEMO: Final = "rules refused"
# A file of another kind altogether has a problem on every line.
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class RefusedRules:
    """Since when the old rules stay in force, and what is wrong with the new file."""

    since_at: datetime
    problems: tuple[str, ...]


def read(ledger: Ledger) -> RefusedRules | None:
    """Return what the service remembered last; None: the file's rules are in force."""
    text = ledger.memo(_MEMO)
    if text is None:
        return None
    found = json.loads(text)
    return RefusedRules(datetime.fromisoformat(found["since"]), tuple(found["problems"]))


def remember(ledger: Ledger, clock: Clock, problems: Sequence[str]) -> bool:
    """Remember what is wrong with the file, or that nothing is; the first time stays.

    False: the ledger does not answer now; to be called again.
    """
    told = tuple(problems[:_MOST])
    try:
        before = read(ledger)
        if told == (() if before is None else before.problems):
            return True
        since = clock.now() if before is None else before.since_at
        value = {"since": since.isoformat(), "problems": told}
        with ledger.writing() as writer:
            writer.note(_MEMO, json.dumps(value) if told else None)
    except Unavailable:
        return False
    return True
