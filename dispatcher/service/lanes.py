"""Runs the work for each target apart, so that one that hangs delays no other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from dispatcher.core.finess import FinessET
from dispatcher.ports import Clock

T = TypeVar("T")

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

    def busy(self, lane: Lane) -> bool:
        """Whether earlier work in this lane has not ended."""
        return lane in self._busy

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy

    def run(self, work: Mapping[Lane, Callable[[], T]]) -> Iterator[list[Ended[T]]]:
        """Run the work; yield what ended, in groups, until all ended or patience is over.

        What earlier calls left behind is yielded too, when it ends meanwhile.
        """
        waiting = list(work.items())
        mine = set(work)
        until = self._clock.monotonic() + self._patience
        while waiting or mine & self._busy:
            while waiting and len(mine & self._busy) < self._width:
                self._start(*waiting.pop())
            left = until - self._clock.monotonic()
            group = self._collect(max(0.0, left))
            if not group and left <= 0:
                # The slow ones no longer count against the width: the rest gets its turn.
                mine -= self._busy
                until = self._clock.monotonic() + self._patience
            elif group:
                until = max(until, self._clock.monotonic() + self._patience / 2)
                yield group

    def leftovers(self, patience: float = 0.0) -> list[Ended[T]]:
        """Return what ended since, waiting at most `patience` seconds for a first one."""
        return self._collect(patience) if self._busy else []

    def _start(self, lane: Lane, work: Callable[[], T]) -> None:
        self._busy.add(lane)
        # A daemon: a share that never answers must not keep the program from stopping.
        threading.Thread(target=self._work, args=(lane, work), daemon=True).start()

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
