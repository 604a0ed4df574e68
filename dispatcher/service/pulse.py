"""Collects signs of life: who of the service's parts makes progress, and who does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dispatcher.core.ledger import Identity
from dispatcher.ports import Clock, Ending, Fetched, Finding, Mailbox, Quota, Selected, Shown

Silence = Callable[[], float]
"""Answers for how many seconds a part has owed its next sign of life; 0: it owes none."""


class Pulse:
    """Signs of life of one part. Beaten by the part's own thread, read by any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic()
        self.thread: int | None = None

    def beat(self, rest: float = 0.0) -> None:
        """Say that a step was made, and that the next begins within `rest` seconds."""
        self.thread = threading.get_ident()
        self._until = self._clock.monotonic() + rest

    def silence(self) -> float:
        """Return the seconds since the last sign of life, rest that was announced left out."""
        return max(0.0, self._clock.monotonic() - self._until)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A part that owes a sign of life for too long. `thread` is known where it has one."""

    part: str
    seconds: float
    thread: int | None = None


class Pulses:
    """The parts of a service."""

    def __init__(self, clock: Clock, others: Mapping[str, Silence] | None = None) -> None:
        """`others` are parts that tell their silence themselves."""
        self._clock = clock
        self._pulses: dict[str, Pulse] = {}
        self._others = dict(others or {})

    def add(self, part: str) -> Pulse:
        """Return the pulse of one more part, which is alive now."""
        return self._pulses.setdefault(part, Pulse(self._clock))

    def stuck(self, step: float) -> tuple[Stuck, ...]:
        """Return the parts that made no step for longer than one may take (seconds)."""
        return tuple(one for one in self._all() if one.seconds > step)

    def silences(self) -> dict[str, float]:
        """Return for how many seconds each part has owed a sign of life; 0: it owes none."""
        return {one.part: one.seconds for one in self._all()}

    def _all(self) -> Iterator[Stuck]:
        for part, pulse in self._pulses.items():
            yield Stuck(part, pulse.silence(), pulse.thread)
        for part, silence in self._others.items():
            yield Stuck(part, silence())


class AttendedMailbox:
    """A mailbox whose every answer is a sign of life; see `dispatcher.ports.Mailbox`.

    So a turn over a long backlog, a step for each message, is never taken for standing
    still, and one call that does not return is.
    """

    def __init__(self, mailbox: Mailbox, pulse: Pulse) -> None:
        self._mailbox = mailbox
        self._beat = pulse.beat
        self.name = mailbox.name

    def select(self, *, read_only: bool = False) -> Selected:
        """See `Mailbox.select`."""
        self._beat()
        return self._mailbox.select(read_only=read_only)

    def uids(self, first: int = 1) -> tuple[int, ...]:
        """See `Mailbox.uids`."""
        self._beat()
        return self._mailbox.uids(first)

    def identities(self, uids: Sequence[int]) -> Mapping[int, Identity]:
        """See `Mailbox.identities`."""
        self._beat()
        return self._mailbox.identities(uids)

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
        """See `Mailbox.fetch`."""
        self._beat()
        for fetched in self._mailbox.fetch(uids):
            self._beat()
            yield fetched
            # The caller may have worked on many before it asks for this next one.
            self._beat()

    def too_large(self, uid: int) -> bool:
        """See `Mailbox.too_large`."""
        return self._mailbox.too_large(uid)

    def headers(self, uid: int) -> bytes | None:
        """See `Mailbox.headers`."""
        self._beat()
        return self._mailbox.headers(uid)

    def shown(self, uids: Sequence[int]) -> Mapping[int, Shown]:
        """See `Mailbox.shown`."""
        self._beat()
        return self._mailbox.shown(uids)

    def removes(self) -> bool:
        """See `Mailbox.removes`."""
        self._beat()
        return self._mailbox.removes()

    def remove(self, uids: Sequence[int]) -> frozenset[int]:
        """See `Mailbox.remove`."""
        self._beat()
        return self._mailbox.remove(uids)

    def newest(self) -> datetime | None:
        """See `Mailbox.newest`."""
        self._beat()
        return self._mailbox.newest()

    def quota(self) -> Quota | None:
        """See `Mailbox.quota`."""
        self._beat()
        return self._mailbox.quota()

    def endings(self) -> tuple[Ending, ...]:
        """See `Mailbox.endings`. No sign of life: others call it."""
        return self._mailbox.endings()

    def add_keyword(self, uids: Sequence[int]) -> None:
        """See `Mailbox.add_keyword`."""
        self._beat()
        self._mailbox.add_keyword(uids)

    def wait(self, seconds: float) -> None:
        """See `Mailbox.wait`: a rest, and a new step after it."""
        self._beat(seconds)
        self._mailbox.wait(seconds)
        self._beat()

    def wake(self) -> None:
        """See `Mailbox.wake`. No sign of life: others call it."""
        self._mailbox.wake()

    def check(self) -> Iterable[Finding]:
        """See `Mailbox.check`."""
        return self._mailbox.check()

    def close(self) -> None:
        """See `Mailbox.close`."""
        self._beat()
        self._mailbox.close()
