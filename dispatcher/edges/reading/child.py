"""The child process: reads one batch of messages after another, bound in memory and time.

It is a program of its own, and so makes its own inspector.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Final

from dispatcher.edges.child import inside
from dispatcher.edges.pdf.inspector import PdfInspector
from dispatcher.edges.reading import wire
from dispatcher.edges.reading.here import ReadHere
from dispatcher.errors import Unavailable, place_of
from dispatcher.ports import Question

# Its own pipes, and those of its PDF readers.
_FILES: Final = 64


def main(memory: int, seconds: float, seconds_each: float, pdf_readers: int) -> None:
    """Answer until the parent closes the pipe or dies.

    `memory` is the most address space in bytes; `seconds`, and `seconds_each` for each of
    its messages, is the CPU time that a batch may use.
    """
    inside.ignore_signals()
    inspector = PdfInspector(pdf_readers)
    reader = ReadHere(inspector)
    inside.bind(memory, files=_FILES)
    try:
        with contextlib.suppress(Unavailable):  # said when a document needs it
            inspector.inspect([Question(b"")] * pdf_readers)
        inside.ready()
        while (received := _receive()) is not None:
            words, raws = received
            inside.allow_seconds(seconds + seconds_each * len(raws))
            found = _answer(reader, words, raws)
            del received, raws  # before as much is written down again
            inside.write(wire.answer(found))
            if isinstance(found, wire.Fell):
                return
    finally:
        inspector.close()


def _answer(reader: ReadHere, words: wire.Words, raws: Sequence[bytes]) -> wire.Answer:
    try:
        return reader.read(raws, words.senders, ask_names=words.ask_names)
    except Unavailable as error:
        return wire.NotNow(str(error), error.hint)
    except Exception as error:  # noqa: BLE001 - a text of it could quote the message
        return wire.Fell(f"{type(error).__name__} {place_of(error)}")


def _receive() -> tuple[wire.Words, list[bytes]] | None:
    """Return what is asked and the messages, all of them; None at the end.

    Nothing is answered before: a parent that writes and a child that does would wait for
    each other.
    """
    head = inside.read(wire.HEAD.size)
    if head is None:
        return None
    asked = inside.read(*wire.HEAD.unpack(head))
    if asked is None:
        return None
    words = wire.read_words(asked)
    raws = []
    for size in words.sizes:
        raw = inside.read(size)
        if raw is None:
            return None
        raws.append(raw)
    return words, raws


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
