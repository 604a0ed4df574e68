"""The log: lines for a journal or a terminal, and the guard that each of them passes."""

from __future__ import annotations

from dispatcher.edges.log.guard import KEYS, Shape, guard
from dispatcher.edges.log.lines import configure, guard_crashes

__all__ = ["KEYS", "Shape", "configure", "guard", "guard_crashes"]
