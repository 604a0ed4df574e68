"""Runs the command that prints a fresh access token for a login (settings `token_command`)."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from dispatcher.errors import Unavailable

# A command that takes longer would hang the login that it is for.
_SECONDS: Final = 30.0
_LARGEST: Final = 64 * 1024
_HINT: Final = "Run the token_command by hand as the service's user and look at what it says."


def run(command: Sequence[str], *, hidden: str, seconds: float = _SECONDS) -> str:
    """Return what the command prints, without white space around it.

    It sees no variable of the environment whose name begins with `hidden`, in whatever
    case: the service's other passwords may stand there.

    Raises Unavailable when it cannot be started, fails, is too slow or prints nothing
    usable. Neither its output nor its arguments appear in the error: both may be secrets.
    What it says on standard error goes nowhere. When it is too slow, whatever it started
    ends with it.
    """
    deadline = time.monotonic() + seconds
    try:
        process = subprocess.Popen(  # noqa: S603 - the administrator's own command, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(hidden),
        )
    except OSError as error:
        # `from None`: the chained error would print the command line.
        name = error.strerror or type(error).__name__
        raise _failed(f"cannot be started: {name.lower()}") from None
    with process:
        try:
            printed = _printed(process, deadline)
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise _failed(f"took over {seconds:g} s and was ended") from None
        finally:
            _end(process)
    if status:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise _failed(how)
    return _token(printed)


def _environment(hidden: str) -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(hidden.upper())
    }


def _printed(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Read standard output to its end; at most what a token may take is kept."""
    assert process.stdout is not None  # noqa: S101 - asked for as a pipe
    printed = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(process.stdout.fileno(), _LARGEST)
            if not chunk:
                return bytes(printed)
            if len(printed) <= _LARGEST:
                printed += chunk
    raise TimeoutError


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command with what it started, if it has not ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _token(printed: bytes) -> str:
    try:
        token = printed.decode().strip()
    except UnicodeDecodeError:
        raise _failed("printed something else than text") from None
    if not token:
        raise _failed("printed nothing")
    if len(printed) > _LARGEST or any(c.isspace() or not c.isprintable() for c in token):
        raise _failed("printed more than one token on one line")
    return token


def _failed(how: str) -> Unavailable:
    return Unavailable(f"token_command {how}", hint=_HINT)
