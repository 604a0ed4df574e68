"""Sends messages over SMTP, several at a time, in their order and at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final, Protocol, TypeVar

from dispatcher.simulator.cases import Sending
from dispatcher.simulator.smtp_line import Door, Line, Security, Sent, Server, probe

__all__ = ["Security", "Sent", "Server", "probe", "send", "send_all", "stream"]

CONNECTIONS: Final = 4
ATTEMPTS: Final = 5

_T = TypeVar("_T")
Progress = Callable[[Sent], None]


class Pace(Protocol):
    """When messages may go out."""

    def wait_for(self, number: int, sending: Sending, elapsed: float) -> float:
        """Return how many more seconds message `number`, from 0, has to wait.

        `elapsed` are the seconds since the first message was asked for.
        """


class AtOnce:
    """As fast as the server takes them."""

    def wait_for(self, _number: int, _sending: Sending, _elapsed: float) -> float:
        """Return 0."""
        return 0.0


class Rate:
    """So many messages a second, evenly."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second

    def wait_for(self, number: int, _sending: Sending, elapsed: float) -> float:
        """Return the seconds to the message's turn."""
        return number / self._per_second - elapsed


class Clockwork:
    """At the time that each message bears, counted from `start`, so many times faster."""

    def __init__(self, start: datetime, speed: float) -> None:
        self._start = start
        self._speed = speed

    def wait_for(self, _number: int, sending: Sending, elapsed: float) -> float:
        """Return the seconds to the message's hour."""
        if sending.written_at is None:
            return 0.0
        return (sending.written_at - self._start).total_seconds() / self._speed - elapsed


class Slowest:
    """Whichever of several paces is the slowest."""

    def __init__(self, *paces: Pace) -> None:
        self._paces = paces

    def wait_for(self, number: int, sending: Sending, elapsed: float) -> float:
        """Return the longest of their waits."""
        return max(pace.wait_for(number, sending, elapsed) for pace in self._paces)


def send_all(
    sendings: Sequence[Sending],
    server: Server,
    *,
    connections: int = CONNECTIONS,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
) -> list[Sent]:
    """Send everything and return the outcomes in the order of `sendings`.

    A 4yz reply or a lost connection is tried again, with pauses that double, up to
    `attempts` times with the same bytes; a 5yz is final. Raises no network error.
    """
    return asyncio.run(
        send(sendings, server, connections=connections, attempts=attempts, progress=progress)
    )


async def send(
    sendings: Sequence[Sending],
    server: Server,
    *,
    connections: int = CONNECTIONS,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
) -> list[Sent]:
    """Do what `send_all` does, in a running loop."""
    outcomes: dict[int, Sent] = {}

    def note(place: int, sent: Sent) -> None:
        outcomes[place] = sent
        if progress is not None:
            progress(sent)

    await stream(sendings, server, note, connections=connections, attempts=attempts)
    return [outcomes[place] for place in range(len(sendings))]


async def stream(
    sendings: Iterable[Sending],
    server: Server,
    note: Callable[[int, Sent], None],
    *,
    connections: int = CONNECTIONS,
    attempts: int = ATTEMPTS,
    pace: Pace | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Send messages as they are made, and tell the end of each with its place.

    They go out in their order, over several connections; those of one lane each after the
    end of the one before. Once `stop` is set no other message goes out; what is under way
    comes to its end, and the rest is not told of.
    """
    waiting = iter(enumerate(sendings))
    door, lanes, clock = Door(server), _Lanes(), asyncio.get_running_loop().time
    turns, began = pace or AtOnce(), clock()
    stopped = stop or asyncio.Event()

    async def work() -> None:
        line = Line(door, attempts)
        try:
            async for place, sending in _each(waiting):
                async with lanes.after(sending.lane):
                    wait = turns.wait_for(place, sending, clock() - began)
                    if await _is_set_within(stopped, wait):
                        return
                    note(place, await line.send(sending))
        finally:
            await line.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, connections)):
            group.create_task(work())


async def _each(waiting: Iterator[_T]) -> AsyncIterator[_T]:
    """Take one after the other; making a message takes a while, so others act between."""
    for one in waiting:
        yield one
        await asyncio.sleep(0)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until the event; whether it is set."""
    if seconds > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


class _Lanes:
    """Lets the messages of one lane go one after the other, as they were taken."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def after(self, lane: str) -> AsyncIterator[None]:
        """Wait until those taken before on this lane are through."""
        before, through = self._last.get(lane), asyncio.Event()
        self._last[lane] = through
        try:
            if before is not None:
                await before.wait()
            yield
        finally:
            through.set()
            if self._last.get(lane) is through:
                del self._last[lane]
