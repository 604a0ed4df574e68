"""A way to people that keeps the letters, and fails when told to."""

from __future__ import annotations

from dispatcher.core.letter import Letter
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Sent

Error = Unavailable | Refused | InDoubt


class MemoryAlerts:
    """Passes the contract of the real one (tests/contract/test_alerts.py)."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.down: Error | None = None
        self.refused: tuple[str, ...] = ()

    def send(self, letter: Letter) -> Sent:
        if self.down is not None:
            raise self.down
        self.letters.append(letter)
        return Sent("250 taken", self.refused)

    @property
    def subjects(self) -> list[str]:
        return [letter.subject for letter in self.letters]
