"""What the cases measured: series of numbers with their units, kept as JSON."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

KEPT_IN: Final = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Series:
    """One thing measured several times. `goal` says in words what is wanted of the median."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: str = ""
    reached: bool | None = None

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Result:
    """What one case came to. `setting` says in words how it was run; `points` is for plots."""

    case: str
    title: str
    setting: str
    series: tuple[Series, ...]
    points: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    def keep(self) -> None:
        """Write it where the page finds it, and print it."""
        KEPT_IN.mkdir(parents=True, exist_ok=True)
        path = KEPT_IN / f"{self.case}.json"
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        sys.stdout.write(f"{self.title} ({self.setting})\n")
        for one in self.series:
            sys.stdout.write(
                f"  {one.name:44} {min(one.values):9.3g} {one.median:9.3g}"
                f" {max(one.values):9.3g} {one.unit:12} {one.goal} {verdict(one)}\n"
            )
        sys.stdout.flush()


def verdict(one: Series) -> str:
    """Return whether the goal was reached, in a word."""
    return {True: "reached", False: "MISSED", None: ""}[one.reached]


def kept(case: str) -> Result | None:
    """Return what was last kept of a case."""
    path = KEPT_IN / f"{case}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    found["series"] = tuple(
        Series(**{**one, "values": tuple(one["values"])}) for one in found["series"]
    )
    return Result(**found)


def at_least(name: str, unit: str, values: Sequence[float], goal: float) -> Series:
    """Return a series whose median is to be at least the goal."""
    reached = statistics.median(values) >= goal
    return Series(name, unit, tuple(values), f"at least {goal:g} {unit}".rstrip(), reached)


def at_most(name: str, unit: str, values: Sequence[float], goal: float) -> Series:
    """Return a series whose median is to be at most the goal."""
    reached = statistics.median(values) <= goal
    return Series(name, unit, tuple(values), f"at most {goal:g} {unit}".rstrip(), reached)
