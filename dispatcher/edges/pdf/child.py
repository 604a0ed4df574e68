"""The child process: reads one PDF after another, bound in memory, time and files."""

from __future__ import annotations

import gc
import logging
import math
import os
import resource
import signal
import sys
from typing import Final

from dispatcher.edges.pdf import wire

# Optional libraries of pypdf that a look at structure and text does without: less to load,
# less memory, less code that a bad file can reach.
_WITHOUT: Final = ("PIL", "fontTools", "cryptography", "Crypto", "brotli", "brotlicffi")

_FILES: Final = 16


def main(memory: int, seconds: float) -> None:
    """Answer questions until the parent closes the pipe or dies.

    `memory` is the most address space in bytes, `seconds` the CPU time a document may use.
    """
    # The parent drains on these and then closes the pipe; a terminal sends them to all.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for name in _WITHOUT:
        sys.modules[name] = None  # type: ignore[assignment] # the documented way to forbid it
    from dispatcher.edges.pdf.structure import (  # noqa: PLC0415
        examine,
        examine_text,
        lower_limits,
    )

    logging.disable(logging.CRITICAL)  # pypdf's warnings can quote the document
    os.chdir("/")
    lower_limits()
    _bind(memory)
    gc.freeze()  # what is loaded now stays
    _send(wire.READY)
    while (received := _receive()) is not None:
        _allow_seconds(seconds)
        content, names, text_only = received
        if text_only and names is not None:
            found = examine_text(content, names)
        else:
            found = examine(content, names)
        _send(wire.answer(found))


def _bind(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _allow_seconds(seconds: float) -> None:
    """Let the kernel end this process should a document take more CPU time than that.

    The parent does so by the clock on the wall; this holds when the parent is gone.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _receive() -> tuple[bytes, tuple[str, str] | None, bool] | None:
    """Return a document, the names asked for and whether its text alone is; None at the end."""
    lengths = _read(wire.LENGTHS.size)
    if lengths is None:
        return None
    words, size = wire.LENGTHS.unpack(lengths)
    asked, content = _read(words), _read(size)
    return None if asked is None or content is None else (content, *wire.read_question(asked))


def _read(size: int) -> bytes | None:
    """Return exactly so many bytes, or None at the end of the pipe."""
    chunk = b""
    left, chunks = size, []
    while left:
        chunk = os.read(0, min(left, 1 << 20))
        if not chunk:
            return None
        left -= len(chunk)
        chunks.append(chunk)
    # An ordinary document comes in one piece, which is not copied.
    return chunk if len(chunks) == 1 else b"".join(chunks)


def _send(payload: bytes) -> None:
    left = memoryview(wire.framed(payload))
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
