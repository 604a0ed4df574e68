"""Reads in cupsd.conf what printing must know: what CUPS keeps, and how soon it writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from dispatcher.ports import Finding

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)")
_BLANK = re.compile(r"\s+")
_DAY = 86400.0
_DIRTY = 30.0
_FOR_EVER = float("inf")


@dataclass(frozen=True, slots=True)
class CupsdConf:
    """Seconds, unless said otherwise; the defaults are CUPS's own (cupsd.conf(5))."""

    history: float = _FOR_EVER
    files: float = _DAY
    dirty: float = _DIRTY
    max_jobs: int = 500

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what a cupsd.conf says; what cannot be read counts as its default."""
        found = {}
        for line in text.splitlines():
            name, _, value = _BLANK.sub(" ", line.partition("#")[0]).strip().partition(" ")
            found[name.lower()] = value.lower()  # the last one counts
        max_jobs = found.get("maxjobs", "")
        return cls(
            history=_span(found.get("preservejobhistory"), _FOR_EVER),
            files=_span(found.get("preservejobfiles"), _DAY),
            dirty=_span(found.get("dirtycleaninterval"), _DIRTY),
            max_jobs=int(max_jobs) if max_jobs.isascii() and max_jobs.isdigit() else 500,
        )

    def keeps_history_for(self, seconds: float) -> bool:
        """Whether a job that ended so long ago is still shown."""
        return self.history > seconds

    def findings(self) -> Iterable[Finding]:
        """Return what IT should change in it, a line each."""
        if self.files:
            yield Finding(
                "problem",
                "CUPS keeps printed documents in its spool",
                "Write `PreserveJobFiles No` in cupsd.conf and restart CUPS.",
            )
        if not self.history:
            yield Finding(
                "warning",
                "CUPS keeps no history of jobs: a lost answer will be in doubt",
                "Write `PreserveJobHistory Yes` in cupsd.conf and restart CUPS.",
            )
        if self.dirty:
            yield Finding(
                "warning",
                "CUPS writes its jobs down late: killed, it forgets jobs that it took",
                "Write `DirtyCleanInterval 0` in cupsd.conf and restart CUPS.",
            )


def _span(value: str | None, default: float) -> float:
    """Return a time, where a word may stand for always or never."""
    if value in {"yes", "on", "true"}:
        return _FOR_EVER
    if value in {"no", "off", "false"}:
        return 0.0
    found = _NUMBER.fullmatch(value or "")
    return float(found[1]) * _UNITS[found[2]] if found else default
