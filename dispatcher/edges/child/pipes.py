"""What both ends of a pipe do alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

# The child's first word, once it has loaded what it needs and bound itself.
READY: Final = b"ready"

# More parts than that in one call are refused (writev(2), IOV_MAX).
_PARTS: Final = 1024


def write(fd: int, parts: Sequence[bytes], until_there_is_room: Callable[[], None]) -> None:
    """Write it all. A pipe that does not block is waited for as told."""
    rest = [memoryview(part) for part in reversed(parts) if part]
    while rest:
        try:
            written = os.writev(fd, rest[: -_PARTS - 1 : -1])
        except BlockingIOError:
            until_there_is_room()
            continue
        while rest and written >= len(rest[-1]):
            written -= len(rest.pop())
        if rest:
            rest[-1] = rest[-1][written:]
