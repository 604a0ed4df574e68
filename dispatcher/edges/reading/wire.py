"""What the reader beside and its child say to each other.

A batch of messages goes to the child: how many, how long each is, and they themselves. One
answer comes back, with its length before it: a pickle, because nothing but our own code made
it. The child reads messages as the program itself would; PDF files it has others open.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.errors import Unavailable
from dispatcher.ports import ReadMessage

# Before a batch: how long the words about it are. Before an answer: how long it is.
HEAD: Final = struct.Struct("!I")
SIZE: Final = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Words:
    """What is asked about a batch."""

    sizes: tuple[int, ...]
    senders: frozenset[str]
    ask_names: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """No PDF reader could be started: nothing was read to its end."""

    message: str
    hint: str

    def error(self) -> Unavailable:
        """Return it as the error that the port has for it."""
        return Unavailable(self.message, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Fell:
    """The child's last words: where it broke off. Nothing of a message is in them."""

    because: str


Answer = tuple[ReadMessage, ...] | NotNow | Fell


def question(raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool) -> list[bytes]:
    """Return what is sent for a batch."""
    words = pickle.dumps(Words(tuple(map(len, raws)), senders, ask_names))
    return [HEAD.pack(len(words)), words, *raws]


def read_words(payload: bytes) -> Words:
    """Return what is asked."""
    words: Words = pickle.loads(payload)  # noqa: S301 - our parent made it
    return words


def answer(found: Answer) -> list[bytes]:
    """Return what is sent back."""
    payload = pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
    return [SIZE.pack(len(payload)), payload]


def read_answer(payload: bytes | bytearray) -> Answer:
    """Return the answer."""
    found: Answer = pickle.loads(payload)  # noqa: S301 - our own code made it
    return found
