"""Knows how the service is: taken beside the work, told from memory to whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from dispatcher.errors import DispatcherError
from dispatcher.ports import Figures
from dispatcher.service import vitals
from dispatcher.service.desk import Desk
from dispatcher.service.keeper import Keeper
from dispatcher.service.loop import Loops
from dispatcher.service.pulse import Pulses
from dispatcher.service.rulebook import Rulebook

_log = structlog.get_logger(__name__)

# How often the figures are taken (seconds), and at most what part of the time that may take.
_LOOKS: Final = 5.0
_SHARE: Final = 20.0
# How often something is written into the ledger, to see that it can be (seconds).
_WRITES: Final = 60.0
# Older figures say nothing of now.
_STALE: Final = timedelta(minutes=2)
# A mailbox is looked at every 9 minutes at least.
FRESH: Final = timedelta(minutes=15)


class Health:
    """See `dispatcher.ports.Health`. The figures are taken in a thread of their own."""

    def __init__(
        self,
        desk: Desk,
        loops: Loops,
        rules: Rulebook,
        *,
        keeper: Keeper,
        pulses: Pulses,
        mailboxes: Sequence[str],
    ) -> None:
        self._desk = desk
        self._loops = loops
        self._rules = rules
        self._keeper = keeper
        self._pulses = pulses
        self._mailboxes = tuple(mailboxes)
        self._started_at = desk.clock.now()
        self._figures: Figures | None = None
        self._unwritable_since: datetime | None = None
        self._writes_at = desk.clock.monotonic()
        self._told = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to take the figures."""
        threading.Thread(target=self._work, name="figures", daemon=True).start()

    def stop(self) -> None:
        """End soon; from now on the service is not ready. From any thread."""
        self._ended.set()

    # --- the contract

    def figures(self) -> Figures | None:
        """See `Health.figures`."""
        return self._figures

    def dead(self) -> tuple[str, ...]:
        """See `Health.dead`."""
        broken = self._loops.broken or self._keeper.broken
        found = [] if broken is None else ["the work cannot go on, see the log"]
        stuck = self._keeper.stuck()
        return (*found, *(f"{one.part}: no progress for {one.seconds:.0f} s" for one in stuck))

    def unready(self) -> tuple[str, ...]:
        """See `Health.unready`."""
        return (*self.dead(), *self._hindered())

    # --- how it is told

    def _hindered(self) -> Iterator[str]:
        if self._ended.is_set():
            yield "the service ends"
        figures, now = self._figures, self._desk.clock.now()
        if figures is None:
            yield "the service has just started"
            return
        if now - figures.vitals.at > _STALE:
            yield f"ledger: it has not been read since {_moment(figures.vitals.at)}"
        if figures.unwritable_since is not None:
            yield f"ledger: nothing can be written since {_moment(figures.unwritable_since)}"
        refusal = self._rules.state.refusal
        if refusal is not None:
            yield f"rules: the file has mistakes since {_moment(refusal.since_at)}"
        yield from self._unchecked(figures, now)

    def _unchecked(self, figures: Figures, now: datetime) -> Iterator[str]:
        failing = self._loops.failing()
        for box in figures.vitals.mailboxes:
            if box.name in failing:
                yield f"mailbox {box.name}: its checks fail since {_moment(failing[box.name])}"
            elif box.checked_at is None:
                yield f"mailbox {box.name}: no good check yet"
            elif now - box.checked_at > FRESH:
                yield f"mailbox {box.name}: no good check since {_moment(box.checked_at)}"

    # --- how it is taken

    def _work(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            began = self._desk.clock.monotonic()
            self.look()
            # On a large ledger it is looked less often, not harder.
            pause = max(_LOOKS, _SHARE * (self._desk.clock.monotonic() - began))

    def look(self) -> None:
        """Take the figures once; keep the old ones where the ledger does not answer."""
        self._try_writing()
        try:
            taken = vitals.take(
                self._desk.ledger,
                self._desk.rules,
                self._mailboxes,
                now=self._desk.clock.now(),
                started_at=self._started_at,
                pulses=self._pulses,
            )
        except DispatcherError as error:
            self._tell(error)
            return
        self._told = False
        self._figures = Figures(
            taken,
            self._rules.state,
            endings=self._loops.endings(),
            failing=self._loops.failing(),
            unwritable_since=self._unwritable_since,
        )

    def _try_writing(self) -> None:
        now = self._desk.clock.monotonic()
        if self._unwritable_since is None and now < self._writes_at:
            return
        self._writes_at = now + _WRITES
        try:
            with self._desk.ledger.writing() as writer:
                writer.did("figures", self._desk.clock.now())
        except DispatcherError:
            self._unwritable_since = self._unwritable_since or self._desk.clock.now()
        else:
            self._unwritable_since = None

    def _tell(self, error: DispatcherError) -> None:
        """Report the first failure of a row."""
        if not self._told:
            _log.warning("figures_could_not_be_taken", because=str(error))
        self._told = True


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
