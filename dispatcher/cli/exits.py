"""Exit statuses of the contract (the numbers of sysexits.h)."""

from __future__ import annotations

from enum import IntEnum

from dispatcher.errors import ConfigInvalid, DispatcherError, InvariantBroken, NotNow
from dispatcher.registry.source import NotARegister
from dispatcher.service.decisions import NotAsked, NotPossible


class Exit(IntEnum):
    """What the process tells its caller."""

    DONE = 0
    ATTENTION = 1  # done, and something is held, failed or different
    USAGE = 64
    UNREACHABLE = 69
    TRY_LATER = 75
    CONFIG = 78


def of(error: DispatcherError) -> Exit:
    """Return the exit status for an error that ended a command."""
    match error:
        case ConfigInvalid():
            return Exit.CONFIG
        case NotAsked() | NotARegister():
            return Exit.USAGE
        case NotPossible() | InvariantBroken():
            return Exit.ATTENTION
        case NotNow():
            return Exit.TRY_LATER
        case _:
            return Exit.UNREACHABLE
