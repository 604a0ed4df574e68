"""What a process and its children use, by proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """Yield a process and everything below it that still lives."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _text(task).split():
            yield from tree(int(child))


def memory(pid: int) -> float:
    """Return the resident memory of a process tree in MB; what they share counts for each."""
    pages = (_text(Path(f"/proc/{one}/statm")).split() for one in tree(pid))
    return sum(int(found[1]) for found in pages if found) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu(pid: int) -> float:
    """Return the seconds of CPU of a process tree, and of its children that ended."""
    total = 0
    for one in tree(pid):
        fields = _text(Path(f"/proc/{one}/stat")).rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) if fields else 0
    return total / _TICKS


def switches(pid: int) -> int:
    """Return how often the threads of a process tree were woken so far."""
    texts = (
        _text(status)
        for one in tree(pid)
        for status in Path(f"/proc/{one}/task").glob("*/status")
    )
    lines = (line for text in texts for line in text.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
