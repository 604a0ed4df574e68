"""Describes one IMAP account, and how long and how much its server may take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from dispatcher.errors import ConfigInvalid

Security = Literal["tls", "starttls", "plaintext"]

# A keyword is an atom without a backslash, so never a system flag (RFC 3501, 9, flag-keyword).
_KEYWORD: Final = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')


def _none() -> None:
    """There is no secret."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that connects to the server. With a name it is logged in to (Basic)."""

    host: str
    port: int
    username: str | None = None
    password: Callable[[], str | None] = field(default=_none, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """One account and the mailbox in it that is read.

    `password`, `client_passphrase` and `token` are called at each login, so that a changed
    secret is taken; the first two return None where there is none. With a token the login
    is OAUTHBEARER or XOAUTH2; with a client certificate and neither token nor password it is
    EXTERNAL. `client_certificate` is PEM or PKCS#12; PEM may leave its key to `client_key`.
    `ca_file` replaces the system's authorities. `poll_interval` is in seconds, sizes are in
    bytes.
    """

    name: str
    host: str
    port: int
    username: str
    security: Security = "tls"
    ca_file: Path | None = None
    password: Callable[[], str | None] = field(default=_none, repr=False)
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_passphrase: Callable[[], str | None] = field(default=_none, repr=False)
    proxy: Proxy | None = None
    token: Callable[[], str] | None = field(default=None, repr=False)
    folder: str = "INBOX"
    watch: Literal["idle", "poll"] = "idle"
    poll_interval: float = 60.0
    keyword: str | None = "SidepDispatched"
    max_message_size: int = 10 * 1024 * 1024
    fetch_batch: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse a keyword that the server could take for something else."""
        if self.keyword is not None and not _KEYWORD.fullmatch(self.keyword):
            raise ConfigInvalid(
                (f"mailbox {self.name}: settled_keyword is no IMAP keyword; use letters only",)
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the server may take, in seconds of wall time, and how much it may send.

    `connect` runs from the name look-up to the greeting. `silence` is the longest wait for
    the next byte. A FETCH may take `command` and a second more for each `fetch_rate` bytes
    asked for, at most `fetch`. `idle` is under the 10 minutes after which firewalls and
    some servers forget a quiet connection (RFC 2177 allows 29).
    """

    connect: float = 15.0
    command: float = 30.0
    silence: float = 45.0
    fetch: float = 300.0
    fetch_rate: int = 32 * 1024
    idle: float = 8.5 * 60
    done: float = 10.0
    farewell: float = 2.0
    noise: float = 0.25
    answer: int = 64 * 1024 * 1024

    def fetching(self, size: int) -> float:
        """Return how many seconds a FETCH of `size` bytes may take."""
        return min(self.command + size / self.fetch_rate, max(self.fetch, self.command))
