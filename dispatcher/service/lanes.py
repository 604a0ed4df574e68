"""Runs the work for each target apart, so that one that hangs delays no other."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from dispatcher.core.finess import FinessET
from dispatcher.ports import Clock

T = TypeVar("T")

# A thread without work ends after this time (seconds).
_REST: Final = 5.0
# What ends within such a time of each other is handed out together (seconds): it is recorded
# in one commit.
_LULL: Final = 0.02

Lane = tuple[FinessET, str]
"""A site and the name of one of its targets."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """What one lane's work came to: a result, or the exception that ended it."""

    lane: Lane
    result: T | None
    error: BaseException | None


class Lanes(Generic[T]):
    """At most one piece of work at a time in each lane, each in a thread of its own.

    Work that does not end within `patience` seconds keeps its lane busy; what becomes of
    it is handed out by a later call. Used by one thread; the work runs in others.
    """

    def __init__(self, clock: Clock, *, patience: float = 2.0, width: int = 16) -> None:
        self._clock = clock
        self._patience = patience
        self._width = width
        self._ended: queue.SimpleQueue[Ended[T]] = queue.SimpleQueue()
        self._busy: set[Lane] = set()
        self._crew = _Crew()

    def busy(self, lane: Lane) -> bool:
        """Whether earlier work in this lane has not ended."""
        return lane in self._busy

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy

    def run(self, work: Mapping[Lane, Callable[[], T]]) -> Iterator[list[Ended[T]]]:
        """Run the work; yield what ended, in groups, until all ended or patience is over.

        A group is what ended without a lull, so that its receipts share a commit. What earlier
        calls left behind is yielded too, when it ends meanwhile.
        """
        waiting = list(work.items())
        mine = set(work)
        until = self._clock.monotonic() + self._patience
        group: list[Ended[T]] = []
        while waiting or mine & self._busy:
            while waiting and len(mine & self._busy) < self._width:
                self._start(*waiting.pop())
            left = until - self._clock.monotonic()
            fresh = self._collect(_LULL if group else max(0.0, left))
            group += fresh
            if fresh:
                until = max(until, self._clock.monotonic() + self._patience / 2)
            elif group:
                yield group
                group = []
            elif left <= 0:
                # The slow ones no longer count against the width: the rest gets its turn.
                mine -= self._busy
                until = self._clock.monotonic() + self._patience
        if group:
            yield group

    def leftovers(self, patience: float = 0.0) -> list[Ended[T]]:
        """Return what ended since, waiting at most `patience` seconds for a first one."""
        return self._collect(patience) if self._busy else []

    def _start(self, lane: Lane, work: Callable[[], T]) -> None:
        self._busy.add(lane)
        self._crew.do(partial(self._work, lane, work))

    def _work(self, lane: Lane, work: Callable[[], T]) -> None:
        try:
            self._ended.put(Ended(lane, work(), None))
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            self._ended.put(Ended(lane, None, error))

    def _collect(self, patience: float) -> list[Ended[T]]:
        group: list[Ended[T]] = []
        try:
            group.append(
                self._ended.get(timeout=patience) if patience else self._ended.get_nowait()
            )
            while True:
                group.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        self._busy -= {ended.lane for ended in group}
        return group


class _Crew:
    """Threads that take one piece of work after the other, as many as there is work at once.

    Each is a daemon: a share that never answers must not keep the program from stopping.
    One that has nothing to do for a while ends.
    """

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait, less the work that was given to them

    def do(self, work: Callable[[], None]) -> None:
        """Begin work at once: by a thread that waits, or by a new one."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._given.put(work)
                return
        threading.Thread(target=self._serve, args=(work,), name="lane", daemon=True).start()

    def _serve(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            work = self._next()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            self._idle += 1
        with contextlib.suppress(queue.Empty):
            return self._given.get(timeout=_REST)
        with self._lock:
            try:
                # Something may have been given to this thread in the very moment.
                return self._given.get_nowait()
            except queue.Empty:
                self._idle -= 1
                return None
