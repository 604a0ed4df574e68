"""A recurring piece of work, as the wiring hands it to the schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Errand:
    """Work that looks by itself whether something is due, and how often it looks (seconds)."""

    work: Callable[[], None]
    every: int
