"""Keeps the work on every mailbox going, whatever fails, until it is told to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from dispatcher.errors import (
    ConfigInvalid,
    DispatcherError,
    InvariantBroken,
    LoginRefused,
    Refused,
    Unavailable,
    place_of,
)
from dispatcher.ports import Ending, Mailbox
from dispatcher.service.desk import Desk
from dispatcher.service.pulse import AttendedMailbox, Pulse
from dispatcher.service.round import Round

_log = structlog.get_logger(__name__)

_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 60.0
# The shortest pause after a refused login; the ledger asks for more after a few.
_LOGIN_PAUSE: Final = 15.0
# How often a print job is asked for: while it moves, and while it does not (seconds).
_FIRST_ASK: Final = 2.0
_LAST_ASK: Final = 30.0
# The longest wait for mail: a full check runs all the same (IDLE is only a hint).
_LONGEST_WAIT: Final = 540.0
# One failed check is a hiccup that is over within a second.
_FAILING: Final = 2


class MailboxLoop:
    """The endless work on one mailbox, in one thread."""

    def __init__(
        self, mailbox: Mailbox, desk: Desk, *, keyword: str | None, pulse: Pulse | None = None
    ) -> None:
        self._pulse = pulse or Pulse(desk.clock)
        self._mailbox = AttendedMailbox(mailbox, self._pulse)
        self._desk = desk
        self._round = Round(self._mailbox, desk, keyword=keyword)
        self._stop = threading.Event()
        self._failures = 0
        self._failed_at: datetime | None = None
        self._told = ""
        self._seen = -1
        self._asks_in = _FIRST_ASK
        self.broken: DispatcherError | None = None

    @property
    def name(self) -> str:
        """Name of the mailbox."""
        return self._mailbox.name

    @property
    def failing_since(self) -> datetime | None:
        """When its checks began to fail; None: the last one was good, or failed for once."""
        return self._failed_at if self._failures >= _FAILING else None

    def endings(self) -> tuple[Ending, ...]:
        """See `Mailbox.endings`. From any thread."""
        return self._mailbox.endings()

    def run(self) -> None:
        """Work until `stop`. Returns early only when the program contradicts itself."""
        while not self._stop.is_set():
            pause = self._one_turn()
            if self.broken is not None:
                break
            if pause is None:
                self._wait_for_mail()
            else:
                self._rest(pause)
        self._mailbox.close()

    def _rest(self, seconds: float) -> None:
        self._pulse.beat(seconds)
        self._stop.wait(seconds)

    def stop(self) -> None:
        """Ask the loop to end; it does within seconds, even in IDLE. From any thread."""
        self._stop.set()
        self._mailbox.wake()

    def wake(self) -> None:
        """Make the next turn begin now. From any thread."""
        self._mailbox.wake()

    def wake_if_due(self) -> None:
        """Wake the mailbox when the ledger has a delivery to make now. From any thread."""
        try:
            due = self._desk.ledger.next_due(self.name)
        except Unavailable:
            return
        if due is not None and due <= self._desk.clock.now():
            self._mailbox.wake()

    def wake_if_purge_is_due(self) -> None:
        """Wake the mailbox when something may be past its term. From any thread."""
        try:
            due = self._round.purge_is_due
        except Unavailable:
            return
        if due:
            self._mailbox.wake()

    def drain(self, seconds: float) -> bool:
        """After `run`: record what slow deliveries come to; return whether all ended."""
        try:
            self._round.drain(seconds)
        except DispatcherError as error:
            _log.warning("drain_was_cut_short", mailbox=self.name, because=str(error))
        return self._round.drained

    def _one_turn(self) -> float | None:
        """Make a turn; return how long to pause, None after a good one."""
        try:
            self._round.turn()
            self._round.finish_purge()
            if self._round.purge_is_due:
                self._round.purge()
        except (InvariantBroken, ConfigInvalid) as error:
            # A bug, or a ledger that is gone or damaged: going on would be guessing.
            _log.critical("work_could_not_go_on", mailbox=self.name, because=str(error))
            self.broken = error
            return None
        except LoginRefused as error:
            self._failed(error)
            return max(_LOGIN_PAUSE, self._login_pause())
        except (Unavailable, Refused) as error:
            self._failed(error)
            return self._pause()
        except Exception as error:  # noqa: BLE001 - see below
            # The only one of its kind: a bug met by one mailbox must not stop the others.
            # Neither the text nor the frames go out, they could hold what was read.
            self._mailbox.close()
            self._failed(Unavailable(f"unexpected {type(error).__name__} {place_of(error)}"))
            return self._pause()
        self._recovered()
        return None

    def _login_pause(self) -> float:
        try:
            return self._round.login_pause()
        except Unavailable:
            return _LAST_PAUSE

    def _failed(self, error: DispatcherError) -> None:
        """Report the first failure of a row, and one of another kind; others would repeat it.

        Who was told that the network fails is to hear when it is the password.
        """
        self._failures += 1
        if self._failures == 1:
            self._failed_at, self._told = self._desk.clock.now(), ""
        kind = type(error).__name__
        report = _log.debug if kind == self._told else _log.error
        self._told = kind
        report(
            "mailbox_check_failed",
            mailbox=self.name,
            kind=kind,
            because=str(error),
            hint=error.hint,
        )

    def _recovered(self) -> None:
        if self._failures:
            _log.info("mailbox_check_recovered", mailbox=self.name, failures=self._failures)
        self._failures = 0

    def _pause(self) -> float:
        longest = min(_LAST_PAUSE, _FIRST_PAUSE * (1 << min(self._failures - 1, 10)))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret

    def _wait_for_mail(self) -> None:
        try:
            self._mailbox.wait(self._until_due())
        except (Unavailable, Refused) as error:
            self._failed(error)
            self._rest(self._pause())

    def _until_followed(self) -> float:
        """Return when to ask again: soon while things move, seldom while paper is out."""
        seen = self._round.progress
        quick = seen != self._seen
        self._seen = seen
        self._asks_in = _FIRST_ASK if quick else min(_LAST_ASK, self._asks_in * 1.5)
        return self._asks_in

    def _until_due(self) -> float:
        """Return the seconds to the next try that the ledger plans, within bounds."""
        longest = _LONGEST_WAIT if self._round.complete else self._round.patience
        try:
            if self._round.following:
                return min(longest, self._until_followed())
            due = self._desk.ledger.next_due(self.name)
        except Unavailable:
            return _FIRST_PAUSE
        if due is None:
            return longest
        left = (due - self._desk.clock.now()).total_seconds()
        return min(longest, max(_FIRST_PAUSE, left))


class Loops:
    """All mailboxes, each in a thread of its own."""

    def __init__(self, loops: Sequence[MailboxLoop]) -> None:
        self._loops = loops
        self.threads = [
            threading.Thread(target=loop.run, name=f"mailbox-{loop.name}", daemon=True)
            for loop in loops
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mailboxes."""
        return tuple(loop.name for loop in self._loops)

    def start(self) -> None:
        """Start every mailbox."""
        for thread in self.threads:
            thread.start()

    @property
    def broken(self) -> DispatcherError | None:
        """Why one of them gave up, if one did."""
        for loop, thread in zip(self._loops, self.threads, strict=True):
            if loop.broken is not None:
                return loop.broken
            if thread.ident is not None and not thread.is_alive():
                # It ends by itself only when it is told to, or by a bug outside its turns.
                return InvariantBroken(f"the work on the mailbox {loop.name} has ended")
        return None

    def failing(self) -> dict[str, datetime]:
        """Return the mailboxes whose checks fail, and since when."""
        found = {loop.name: loop.failing_since for loop in self._loops}
        return {name: since for name, since in found.items() if since is not None}

    def endings(self) -> dict[str, tuple[Ending, ...]]:
        """Return what each mailbox's login rests on and when it ends."""
        return {loop.name: loop.endings() for loop in self._loops}

    def wake(self) -> None:
        """Let every mailbox be looked at now."""
        for loop in self._loops:
            loop.wake()

    def wake_due(self) -> None:
        """Wake the mailboxes that have a delivery to make now (a person released one)."""
        for loop in self._loops:
            loop.wake_if_due()

    def wake_for_purge(self) -> None:
        """Wake the mailboxes in which something may be past its term."""
        for loop in self._loops:
            loop.wake_if_purge_is_due()

    def stop(self, seconds: float, now: Callable[[], float]) -> bool:
        """Stop them all within that time; return whether every one ended by itself."""
        until = now() + seconds
        for loop in self._loops:
            loop.stop()
        for thread in self.threads:
            thread.join(max(0.0, until - now()))
        ended = True
        for loop, thread in zip(self._loops, self.threads, strict=True):
            ended = not thread.is_alive() and loop.drain(max(0.0, until - now())) and ended
        return ended
