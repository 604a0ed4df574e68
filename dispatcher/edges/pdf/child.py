"""The child process: reads one PDF after another, bound in memory, time and files."""

from __future__ import annotations

import resource
import sys
from typing import Final

from dispatcher.edges.child import inside
from dispatcher.edges.pdf import wire

# Optional libraries of pypdf that a look at structure and text does without: less to load,
# less memory, less code that a bad file can reach.
_WITHOUT: Final = ("PIL", "fontTools", "cryptography", "Crypto", "brotli", "brotlicffi")

_FILES: Final = 16


def main(memory: int, seconds: float) -> None:
    """Answer questions until the parent closes the pipe or dies.

    `memory` is the most address space in bytes, `seconds` the CPU time a document may use.
    """
    inside.ignore_signals()
    for name in _WITHOUT:
        sys.modules[name] = None  # type: ignore[assignment] # the documented way to forbid it
    from dispatcher.edges.pdf.structure import (  # noqa: PLC0415
        examine,
        examine_text,
        lower_limits,
    )

    lower_limits()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    inside.bind(memory, files=_FILES)
    inside.ready()
    while (received := _receive()) is not None:
        inside.allow_seconds(seconds)
        content, names, text_only = received
        if text_only and names is not None:
            found = examine_text(content, names)
        else:
            found = examine(content, names)
        inside.write([wire.framed(wire.answer(found))])


def _receive() -> tuple[bytes, tuple[str, str] | None, bool] | None:
    """Return a document, the names asked for and whether its text alone is; None at the end."""
    lengths = inside.read(wire.LENGTHS.size)
    if lengths is None:
        return None
    words, size = wire.LENGTHS.unpack(lengths)
    asked, content = inside.read(words), inside.read(size)
    return None if asked is None or content is None else (content, *wire.read_question(asked))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
