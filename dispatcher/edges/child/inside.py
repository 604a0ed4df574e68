"""The child's end: binds itself, says that it is ready, reads questions, writes answers."""

from __future__ import annotations

import gc
import logging
import math
import os
import resource
import signal
from collections.abc import Sequence
from typing import Final

from dispatcher.edges.child import pipes

# How much is read at once.
_PIECE: Final = 1 << 20


def bind(memory: int, *, files: int) -> None:
    """Bind this process.

    `memory` is the most address space in bytes, `files` the most open files.
    """
    logging.disable(logging.CRITICAL)  # a library's warnings can quote what is read
    os.chdir("/")
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, files),
    ):
        resource.setrlimit(what, (limit, limit))


def ready() -> None:
    """Say that this process can be asked. What is loaded by now stays."""
    gc.freeze()
    write([pipes.READY])


def ignore_signals() -> None:
    """Leave it to the parent when to end: it drains on these and then closes the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a terminal tells them all
        signal.signal(number, signal.SIG_IGN)


def allow_seconds(seconds: float) -> None:
    """Let the kernel end this process should it use more CPU time than that from now on.

    The parent ends it by the clock on the wall; this holds when the parent is gone.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def read(size: int) -> bytes | None:
    """Return exactly so many bytes, or None at the end of the pipe."""
    chunk = b""
    left, chunks = size, []
    while left:
        chunk = os.read(0, min(left, _PIECE))
        if not chunk:
            return None
        left -= len(chunk)
        chunks.append(chunk)
    # An ordinary document comes in one piece, which is not copied.
    return chunk if len(chunks) == 1 else b"".join(chunks)


def write(parts: Sequence[bytes]) -> None:
    """Write it all to the parent. Raises OSError when it is gone."""
    pipes.write(1, parts, lambda: None)
