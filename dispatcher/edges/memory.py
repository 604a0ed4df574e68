"""Has memory that documents took go back to the system when they are gone."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

# Pieces of this many bytes and more are the system's own, and go back at once (mallopt(3)).
# By itself glibc raises the limit with the largest piece that it saw, and keeps what is below:
# after a morning's documents some 40 MB.
LARGE: Final = 64 * 1024
_M_MMAP_THRESHOLD: Final = -3

# The same for a process that is going to be started, as its environment.
ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": str(LARGE)}


def give_back_large_pieces() -> None:
    """Do so from now on, in this process. Does nothing where the system's library differs."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE)
