"""Stops a purge that looks like a mistake, until a person has looked at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from dispatcher.ports import Ledger, Writer

# Below this many messages a share says nothing.
_FEW: Final = 20
# A clock this far ahead of the last purge and of every date that the server shows was
# moved; a service that was only switched off meets newer mail.
_JUMP: Final = timedelta(days=7)
# Within one life of the program the clock may run away from elapsed time by this much.
_DRIFT: Final = timedelta(hours=2)
# A clock this far behind the last purge was moved back.
_BACK: Final = timedelta(hours=1)


class Brake(Enum):
    """Why nothing is deleted. Stored and shown as these words."""

    FIRST_PURGE = "first-purge"
    LARGE_SHARE = "large-share"
    MAILBOX_SHRANK = "mailbox-shrank"
    CLOCK_AHEAD = "clock-ahead"
    CLOCK_BEHIND = "clock-behind"


# The danger is over when the clock is right again; the others wait for a person.
OF_THE_CLOCK: Final = frozenset({Brake.CLOCK_AHEAD, Brake.CLOCK_BEHIND})

TOLD: Final = {
    Brake.FIRST_PURGE: "the first purge would delete much, or what is older than this ledger",
    Brake.LARGE_SHARE: "more than `retention.max_share` of the mailbox would be deleted",
    Brake.MAILBOX_SHRANK: "half of the mailbox vanished without this program",
    Brake.CLOCK_AHEAD: "this machine's clock is far ahead of what the server shows",
    Brake.CLOCK_BEHIND: "this machine's clock is behind the last purge",
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a purge finds before it begins. `elapsed_at`: the time it should be now.

    That is by the elapsed time since this program last believed the clock; None: it has
    not yet. `shown_at` is the newest date of arrival that the server has shown.
    """

    now: datetime
    born_at: datetime
    due: int
    oldest_at: datetime | None
    listed: int
    ours: int
    max_share: float
    confirmed: bool = False
    last_at: datetime | None = None
    shown_at: datetime | None = None
    elapsed_at: datetime | None = None
    vanished: int = 0
    vanished_before: int = 0


def of_the_clock(found: Circumstances) -> Brake | None:
    """Return what is wrong with the clock."""
    if found.last_at is not None and found.now < found.last_at - _BACK:
        return Brake.CLOCK_BEHIND
    if found.elapsed_at is not None and found.now > found.elapsed_at + _DRIFT:
        proven = found.shown_at is not None and found.shown_at > found.now - _DRIFT
        return None if proven else Brake.CLOCK_AHEAD
    since = found.last_at or found.born_at
    shown = [at for at in (since, found.shown_at) if at is not None]
    return Brake.CLOCK_AHEAD if found.now > max(shown) + _JUMP else None


def tripped(found: Circumstances) -> Iterator[Brake]:
    """Yield every brake that these circumstances call for."""
    clock = of_the_clock(found)
    if clock is not None:
        yield clock
    if not found.confirmed and _is_first(found):
        yield Brake.FIRST_PURGE
    if found.listed >= _FEW and found.due > found.max_share * found.listed:
        yield Brake.LARGE_SHARE
    lost = found.vanished - found.vanished_before
    if found.ours + lost >= _FEW and lost * 2 > found.ours + lost:
        yield Brake.MAILBOX_SHRANK


def _is_first(found: Circumstances) -> bool:
    if found.oldest_at is not None and found.oldest_at < found.born_at:
        return True
    return found.last_at is None and found.due > _FEW


@dataclass(frozen=True, slots=True)
class Braked:
    """What the ledger remembers of a purge that was stopped."""

    brakes: frozenset[Brake]
    since: datetime
    mails: int = 0
    copies: int = 0

    @property
    def only_asks(self) -> bool:
        """Whether it is no alarm: the first purge of an old mailbox waits for a yes."""
        return Brake.FIRST_PURGE in self.brakes


def read(ledger: Ledger, mailbox: str) -> Braked | None:
    """Return what stops the purge of a mailbox; None: nothing."""
    text = ledger.memo(_name(mailbox))
    if text is None:
        return None
    found = json.loads(text)
    return Braked(
        frozenset(Brake(word) for word in found["brakes"]),
        datetime.fromisoformat(found["since"]),
        found["mails"],
        found["copies"],
    )


def write(writer: Writer, mailbox: str, braked: Braked | None) -> None:
    """Remember what stops the purge of a mailbox, or that nothing does."""
    text = None
    if braked is not None:
        text = json.dumps(
            {
                "brakes": sorted(brake.value for brake in braked.brakes),
                "since": braked.since.astimezone(UTC).isoformat(),
                "mails": braked.mails,
                "copies": braked.copies,
            }
        )
    writer.note(_name(mailbox), text)


def _name(mailbox: str) -> str:
    return f"brake {mailbox}"


class ClockWatch:
    """Compares the calendar with elapsed time, as long as this program lives."""

    def __init__(self) -> None:
        self._believed: tuple[datetime, float] | None = None

    def elapsed_at(self, last_at: datetime | None, monotonic: float) -> datetime | None:
        """Return the time that it should be by elapsed time; None: nothing to go by."""
        if self._believed is None:
            return None
        at, then = self._believed
        if last_at is not None and last_at > at + _DRIFT:
            # Another process purged meanwhile, and a person may have confirmed the clock.
            self.believe(last_at, monotonic)
            return None
        return at + timedelta(seconds=monotonic - then)

    def believe(self, now: datetime, monotonic: float) -> None:
        """Take the calendar for true at this moment."""
        self._believed = (now, monotonic)
