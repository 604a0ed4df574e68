"""What the inspector and its child say to each other: questions, answers, lengths first."""

from __future__ import annotations

import json
import struct
from dataclasses import astuple, dataclass
from typing import Final

LENGTH: Final = struct.Struct("!I")
# The parent believes no longer one.
LONGEST_ANSWER: Final = 4096

# The child's first word, once it has loaded what it needs and bound itself.
READY: Final = b"ready"


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


def question(
    content: bytes, names: tuple[str, str] | None, *, text_only: bool = False
) -> bytes:
    """Return the payload of a question."""
    return framed(json.dumps([names, text_only]).encode()) + content


def read_question(payload: bytes) -> tuple[bytes, tuple[str, str] | None, bool]:
    """Return the content of a question, its names, and whether the text alone is asked for.

    Trusts the parent.
    """
    end = LENGTH.size + LENGTH.unpack_from(payload)[0]
    names, text_only = json.loads(payload[LENGTH.size : end])
    asked = None if names is None else (str(names[0]), str(names[1]))
    return payload[end:], asked, bool(text_only)


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
