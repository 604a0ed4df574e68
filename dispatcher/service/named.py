"""Says in an error which mailbox did not answer, where several are asked in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dispatcher.errors import NotNow, Refused, Unavailable


@contextmanager
def naming(mailbox: str) -> Iterator[None]:
    """Raise what the block raises with the mailbox's name before it."""
    try:
        yield
    except NotNow:
        raise
    except (Unavailable, Refused) as error:
        raise type(error)(f"mailbox {mailbox}: {error}", hint=error.hint) from error
