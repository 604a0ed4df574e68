"""Tells the supervisor that the service is alive: as long as every part makes progress."""

from __future__ import annotations

import sys
import threading
from typing import Final

import structlog

from dispatcher.errors import (
    ConfigInvalid,
    DispatcherError,
    InvariantBroken,
    Unavailable,
    place_in,
)
from dispatcher.ports import Supervisor
from dispatcher.service.desk import Desk
from dispatcher.service.pulse import Pulses, Stuck

_log = structlog.get_logger(__name__)

# The longest step that is legal (seconds): a FETCH may take 300, a batch of documents that
# each use up their reader's time some 100. Under a supervisor its own patience counts.
_STEP: Final = 480.0
# Looks in that time, and the longest time between two (seconds).
_LOOKS: Final = 8
_LONGEST: Final = 10.0
# How often the numbers are told (seconds).
_TELLS: Final = 60.0


class Keeper:
    """Looks after the parts in a thread of its own.

    The ledger is a part too: it is alive when a transaction can be begun, which a full
    disk does not prevent and a lock that is never given back does.
    """

    def __init__(self, desk: Desk, pulses: Pulses, supervisor: Supervisor) -> None:
        self._desk = desk
        self._pulses = pulses
        self._supervisor = supervisor
        self._ledger = pulses.add("ledger")
        self._step = supervisor.patience or _STEP
        self._between = min(_LONGEST, self._step / _LOOKS)
        self._looked_at = desk.clock.monotonic()
        self._told_at = -_TELLS
        self._reported: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self.broken: DispatcherError | None = None

    def stuck(self) -> tuple[Stuck, ...]:
        """Return the parts that make no progress now. From any thread; asks nobody."""
        return self._pulses.stuck(self._step)

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._work, name="keeper", daemon=True).start()

    def stop(self) -> None:
        """End soon. From any thread."""
        self._ended.set()

    def look(self) -> None:
        """Look once: feed the supervisor's watchdog, or say who is stuck."""
        overslept = self._overslept()
        self._ask_ledger()
        stuck = () if overslept else self.stuck()
        if stuck:
            self._supervisor_is_told(stuck)
        else:
            self._supervisor.alive()
            self._tell_numbers()
        self._report(stuck)
        self._looked_at = self._desk.clock.monotonic()

    def _work(self) -> None:
        while self.broken is None and not self._ended.wait(self._between):
            self.look()

    def _overslept(self) -> bool:
        """Whether this look comes so late that the whole machine must have stood still."""
        return self._desk.clock.monotonic() - self._looked_at > self._step

    def _ask_ledger(self) -> None:
        try:
            with self._desk.ledger.writing():
                pass
        except (ConfigInvalid, InvariantBroken) as error:
            _log.critical("work_could_not_go_on", mailbox=None, because=str(error))
            self.broken = error
        except Unavailable:
            return
        else:
            self._ledger.beat()

    def _supervisor_is_told(self, stuck: tuple[Stuck, ...]) -> None:
        if self._supervisor.patience is not None:
            self._supervisor.stuck("no progress: " + ", ".join(one.part for one in stuck))

    def _tell_numbers(self) -> None:
        now = self._desk.clock.monotonic()
        if now - self._told_at < _TELLS:
            return
        self._told_at = now
        try:
            balance = self._desk.ledger.balance()
        except DispatcherError:
            return  # whoever needs the ledger says so
        self._supervisor.status(
            f"{balance.pending} pending, {balance.held} held, {balance.delivered} delivered"
        )

    def _report(self, stuck: tuple[Stuck, ...]) -> None:
        for one in stuck:
            if one.part not in self._reported:
                _log.critical(
                    "part_made_no_progress",
                    part=one.part,
                    seconds=round(one.seconds),
                    place=_place(one.thread),
                )
        now = frozenset(one.part for one in stuck)
        for part in self._reported - now:
            _log.info("part_went_on", part=part)
        self._reported = now


def _place(thread: int | None) -> str:
    """Return where a thread stands now, by its innermost function of ours."""
    frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001
    return place_in(frame)
