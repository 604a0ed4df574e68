"""Looks at routing.yaml in a thread of its own: on a hint, on request, and every 30 seconds."""

from __future__ import annotations

import threading
from typing import Final, Protocol

from dispatcher.ports import Clock, Supervisor
from dispatcher.service.pulse import Pulse
from dispatcher.service.rulebook import SETTLED, Rulebook

# Hints get lost: a directory made anew, a network mount (seconds between two looks).
_LOOK: Final = 30.0
# Between two looks at a file that is being changed, or asked for (seconds).
_AGAIN: Final = SETTLED / 4
# Who asks by a signal is answered within this time, whatever the file does (seconds).
_ANSWER: Final = 10.0


class Hints(Protocol):
    """What hears of changes of the file; see `edges.watch`."""

    def start(self) -> None:
        """Begin to listen."""
        ...

    def renew(self) -> None:
        """Make sure that it still listens at the right place."""
        ...

    def stop(self) -> None:
        """Stop listening."""
        ...


class RulesWatch:
    """The only one that changes the rulebook while the service runs."""

    def __init__(
        self, rules: Rulebook, pulse: Pulse, *, clock: Clock, supervisor: Supervisor
    ) -> None:
        self._rules = rules
        self._pulse = pulse
        self._clock = clock
        self._supervisor = supervisor
        self._wakes = threading.Event()
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._hints: Hints | None = None

    def start(self, hints: Hints | None = None) -> None:
        """Begin to look; `hints` call `hint`."""
        self._hints = hints
        if hints is not None:
            hints.start()
        threading.Thread(target=self._work, name="rules", daemon=True).start()

    def hint(self) -> None:
        """Look soon. From any thread."""
        self._wakes.set()

    def ask(self) -> None:
        """Read the file now, changed or not, and say so to the supervisor. From any thread."""
        self._asked.set()
        self._wakes.set()

    def stop(self) -> None:
        """End soon. From any thread."""
        self._ended.set()
        self._wakes.set()
        if self._hints is not None:
            self._hints.stop()

    def _work(self) -> None:
        settled = True
        while not self._ended.is_set():
            self._pulse.beat(_LOOK)
            if settled:
                self._wakes.wait(_LOOK)
            else:
                self._ended.wait(_AGAIN)
            self._wakes.clear()
            self._pulse.beat()
            if self._asked.is_set():
                self._answer()
            settled = self._look()

    def _look(self) -> bool:
        if self._hints is not None:
            self._hints.renew()
        return self._rules.look()

    def _answer(self) -> None:
        """Take the file on request, as soon as it stays the same between two looks."""
        self._asked.clear()
        self._supervisor.reloading(self._clock.monotonic())
        until = self._clock.monotonic() + _ANSWER
        while not self._rules.reload(rest=self._ended.wait) and not self._ended.is_set():
            if self._clock.monotonic() > until:
                break
        self._supervisor.ready("the rules file was read anew")
