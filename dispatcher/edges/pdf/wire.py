"""What the inspector and its child say to each other: questions, answers, lengths first."""

from __future__ import annotations

import json
import struct
from dataclasses import astuple, dataclass
from typing import Final

LENGTH: Final = struct.Struct("!I")
# Before a question: how long its words are, and its document.
LENGTHS: Final = struct.Struct("!II")
# The parent believes no longer one.
LONGEST_ANSWER: Final = 4096


class Garbled(Exception):
    """What came is not in this protocol."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the child found: words of ours only, never text out of the document."""

    problem: str | None
    why: str
    pages: int | None = None
    named: bool | None = None


def framed(payload: bytes) -> bytes:
    """Return the payload with its length before it."""
    return LENGTH.pack(len(payload)) + payload


def unframed(got: bytes) -> bytes | None:
    """Return the payload of an answer, or None while more of it is to come.

    Raises Garbled when it is too long, or more comes than was said.
    """
    if len(got) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack_from(got)
    if length > LONGEST_ANSWER or len(got) > LENGTH.size + length:
        raise Garbled
    return got[LENGTH.size :] if len(got) == LENGTH.size + length else None


def question(size: int, names: tuple[str, str] | None, *, text_only: bool = False) -> bytes:
    """Return what is sent before a document of so many bytes."""
    words = json.dumps([names, text_only]).encode()
    return LENGTHS.pack(len(words), size) + words


def read_question(words: bytes) -> tuple[tuple[str, str] | None, bool]:
    """Return the names asked for, and whether the text alone is. Trusts the parent."""
    names, text_only = json.loads(words)
    asked = None if names is None else (str(names[0]), str(names[1]))
    return asked, bool(text_only)


def answer(found: Answer) -> bytes:
    """Return the payload of an answer."""
    return json.dumps(astuple(found)).encode()


def read_answer(payload: bytes) -> Answer:
    """Return the answer, or raise Garbled: a child that read a bad file is not believed."""
    try:
        problem, why, pages, named = json.loads(payload)
    except (ValueError, TypeError, RecursionError):
        raise Garbled from None
    if (
        isinstance(problem, str | None)
        and isinstance(why, str)
        and type(pages) in {int, type(None)}
        and isinstance(named, bool | None)
    ):
        return Answer(problem, why, pages, named)
    raise Garbled
