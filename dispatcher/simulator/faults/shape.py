"""What a fault is: a name, how its messages are made, what must become of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dispatcher.simulator.cases import Case, Sending, sending
from dispatcher.simulator.mail import Letter

Change = Callable[[Case, Letter], Letter]
RawChange = Callable[[bytes], bytes]


def _always(_about: Case) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name. `reason` is the word that holding it must give, if it is held.

    `build` makes its messages from a case; each says in its own truth what it expects.
    `must` tells people the same in words. `needs` is what else has to be arranged at the
    other end; a fault that needs something is made only when it is asked for by its name.
    `fits` tells whether it can be made from a case, `messages` how many `build` makes.
    """

    name: str
    build: Callable[[Case], tuple[Sending, ...]]
    reason: str | None = None
    must: str = ""
    needs: str = ""
    fits: Callable[[Case], bool] = _always
    messages: int = 1

    @property
    def expected(self) -> str:
        """What the dispatcher must do with it, in words."""
        return self.must or (f"hold: {self.reason}" if self.reason else "hold")


def held(name: str, reason: str | None, change: Change) -> Fault:
    """Build a single message that must be held. No reason: whichever the reader gives."""

    def build(about: Case) -> tuple[Sending, ...]:
        document = about.document()
        letter = change(about, about.letter(document))
        return (sending(about, letter, about.truth("held", document, reason), name=name),)

    return Fault(name, build, reason)


def held_as_bytes(name: str, reason: str, change: RawChange) -> Fault:
    """Build a message that must be held for what its bytes say beyond any letter."""
    made = held(name, reason, lambda _about, letter: letter)

    def build(about: Case) -> tuple[Sending, ...]:
        (one,) = made.build(about)
        return (one.with_raw(change(one.raw)),)

    return Fault(name, build, reason)


DELIVER: Final = "deliver"
