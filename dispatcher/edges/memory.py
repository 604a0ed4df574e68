"""Has memory that documents took go back to the system when they are gone."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

# Pieces of this many bytes and more are the system's own, and go back at once (mallopt(3)):
# what holds a batch. By itself glibc raises the limit with the largest piece that it saw, and
# keeps what is below. Not less: to have each document's memory mapped anew costs a fifth of the
# CPU.
LARGE: Final = 1024 * 1024
_M_MMAP_THRESHOLD: Final = -3
# One heap for all threads: of several, each keeps its own gaps, and threads here take turns.
_HEAPS: Final = 1
_M_ARENA_MAX: Final = -8

# The same for a process that is going to be started, as its environment.
ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": str(LARGE)}


def give_back_large_pieces() -> None:
    """Do so from now on, in this process. Does nothing where the system's library differs."""
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)
        library.mallopt(_M_ARENA_MAX, _HEAPS)
