"""Exceptions raised on purpose, classed by what the caller must do next."""

from __future__ import annotations

from types import FrameType


class DispatcherError(Exception):
    """Base of every error this program raises on purpose.

    `hint` is one sentence an operator can act on. Neither the message nor the hint may
    bear patient data: no name, file number, subject or file name. Both reach the journal.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Unavailable(DispatcherError):
    """The effect did not happen; the same thing may work later."""


class NotNow(Unavailable):
    """Our own side is not ready: the ledger, its lock, a delivery that is under way.

    Exit status 75, where a server or a share that does not answer means 69.
    """


class Refused(DispatcherError):
    """The effect did not happen; nothing changes until a person acts."""


class LoginRefused(Refused):
    """The server refused the login itself: name, password, certificate or token.

    Whoever tries again must do so seldom, or the account is locked out: at most 3 times,
    then once in 5 minutes.
    """


class Failed(Unavailable):
    """The destination took it and gave up (a job aborted): try again a few times only."""


class InDoubt(DispatcherError):
    """The effect may or may not have happened. Never retried without looking first."""


class ConfigInvalid(DispatcherError):
    """The configuration is wrong: every problem at once (exit status 78).

    Each problem reads `file:line:column: what is wrong; what to write instead`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class InvariantBroken(DispatcherError):
    """The program contradicts itself: a bug. It stops rather than guess."""


def place_of(error: BaseException) -> str:
    """Return the innermost place of ours in a traceback, as `in module:function:line`.

    All that may be told of an unexpected error: its text could quote what was being read.
    """
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = _named(trace.tb_frame, trace.tb_lineno) or place
        trace = trace.tb_next
    return place


def place_in(frame: FrameType | None) -> str:
    """Return the innermost place of ours on a stack; see `place_of`."""
    while frame is not None:
        place = _named(frame, frame.f_lineno)
        if place:
            return place
        frame = frame.f_back
    return ""


def _named(frame: FrameType, line: int) -> str:
    module = frame.f_globals.get("__name__", "")
    if not module.startswith("dispatcher."):
        return ""
    return f"in {module}:{frame.f_code.co_name}:{line}"
