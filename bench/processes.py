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
    """Return the memory of a process tree in MB (PSS: what two share counts half for each)."""
    texts = (_text(Path(f"/proc/{one}/smaps_rollup")) for one in tree(pid))
    lines = (line for text in texts for line in text.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


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
