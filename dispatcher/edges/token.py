"""Runs the command that prints a fresh access token for a login (settings `token_command`)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Final

from dispatcher.errors import Unavailable

# A command that takes longer would hang the login that it is for.
_SECONDS: Final = 30.0
_HINT: Final = "Run the token_command by hand as the service's user and look at what it says."


def run(command: Sequence[str], *, seconds: float = _SECONDS) -> str:
    """Return what the command prints, without white space around it.

    Raises Unavailable when it cannot be run, fails, is too slow or prints nothing usable.
    Neither its output nor its arguments appear in the error: both may be secrets.
    """
    try:
        ended = subprocess.run(  # noqa: S603 - the administrator's own command, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            text=True,
            env=dict(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"token_command took over {seconds:g} s", hint=_HINT) from None
    except (OSError, UnicodeDecodeError) as error:
        # `from None`: the chained error would print the command line.
        raise Unavailable(f"token_command: {type(error).__name__}", hint=_HINT) from None
    token = ended.stdout.strip()
    if ended.returncode != 0:
        raise Unavailable(f"token_command ended with {ended.returncode}", hint=_HINT)
    if not token or any(c.isspace() or not c.isprintable() for c in token):
        raise Unavailable("token_command printed no token of one line", hint=_HINT)
    return token
