"""Sends messages over SMTP, several at a time, byte for byte, trying again when told to."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import aiosmtplib

from dispatcher.simulator.cases import Sending

_TIMEOUT: Final = 60.0
_FIRST_PAUSE: Final = 0.2
_LAST_PAUSE: Final = 10.0
_CLOSING: Final = 421  # RFC 5321, 3.8: the server closes the channel after this reply
_HELO: Final = "simulator.invalid"


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send. `plaintext` is for loopback addresses; certificates are verified."""

    host: str
    port: int
    security: Literal["plaintext", "starttls", "tls"] = "plaintext"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message at the server: its last code and how many attempts.

    `code` 0: the connection failed, so the server may or may not have taken it.
    """

    sending: Sending
    code: int
    attempts: int

    @property
    def accepted(self) -> bool:
        """Whether the server took responsibility for it (RFC 5321, 4.2.1: 2yz)."""
        return 200 <= self.code <= 299  # noqa: PLR2004  # the classes of reply codes


Progress = Callable[[Sent], None]


def send_all(
    sendings: Sequence[Sending],
    server: Server,
    *,
    connections: int = 4,
    attempts: int = 5,
    progress: Progress | None = None,
) -> list[Sent]:
    """Send everything and return the outcomes in the order of `sendings`.

    A 4yz reply or a lost connection is tried again, with pauses that double, up to
    `attempts` times with the same bytes; a 5yz is final. Raises no network error.
    """
    return asyncio.run(
        send(sendings, server, connections=connections, attempts=attempts, progress=progress)
    )


async def send(
    sendings: Sequence[Sending],
    server: Server,
    *,
    connections: int = 4,
    attempts: int = 5,
    progress: Progress | None = None,
) -> list[Sent]:
    """Do what `send_all` does, in a running loop."""
    outcomes: dict[int, Sent] = {}
    waiting = deque(_lanes(sendings))

    async def work() -> None:
        line = _Line(server, attempts)
        try:
            while waiting:
                for place, sending in waiting.popleft():
                    outcomes[place] = await line.send(sending)
                    if progress is not None:
                        progress(outcomes[place])
        finally:
            await line.close()

    await asyncio.gather(*(work() for _ in range(max(1, connections))))
    return [outcomes[place] for place in range(len(sendings))]


def _lanes(sendings: Sequence[Sending]) -> list[list[tuple[int, Sending]]]:
    """Group by lane: what must arrive in order goes through one connection."""
    lanes: dict[str, list[tuple[int, Sending]]] = {}
    for place, sending in enumerate(sendings):
        lanes.setdefault(sending.lane, []).append((place, sending))
    return list(lanes.values())


class _Line:
    """One connection, opened when needed and again after a failure."""

    def __init__(self, server: Server, attempts: int) -> None:
        self._server = server
        self._attempts = attempts
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, sending: Sending) -> Sent:
        pause = _FIRST_PAUSE
        outcome = Sent(sending, 0, 0)
        for attempt in range(1, self._attempts + 1):
            if attempt > 1:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            outcome = replace(outcome, code=await self._try(sending), attempts=attempt)
            if outcome.code and not 400 <= outcome.code <= 499:  # noqa: PLR2004
                break
        return outcome

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.quit(timeout=2)
        except (aiosmtplib.SMTPException, OSError):
            client.close()

    async def _try(self, sending: Sending) -> int:
        """Return the reply's code; 0 when there was none."""
        try:
            client = await self._connected()
            await client.sendmail(
                sending.sender,
                [sending.recipient],
                sending.raw,
                mail_options=_options(client, sending.raw),
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return error.recipients[0].code
        except aiosmtplib.SMTPResponseException as error:
            if error.code == _CLOSING:
                self._drop()
            return error.code
        except (aiosmtplib.SMTPException, OSError):
            self._drop()
            return 0
        return 250

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is None or not self._client.is_connected:
            server = self._server
            client = aiosmtplib.SMTP(
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                # The machine's own name may take the resolver seconds.
                local_hostname=_HELO,
                use_tls=server.security == "tls",
                start_tls=server.security == "starttls",
                tls_context=_context(server),
                timeout=_TIMEOUT,
            )
            try:
                await client.connect()
                await client.ehlo()
            except (aiosmtplib.SMTPException, OSError):
                client.close()
                raise
            self._client = client
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _context(server: Server) -> ssl.SSLContext | None:
    if server.security == "plaintext":
        return None
    return ssl.create_default_context(cafile=server.ca_file)


def _options(client: aiosmtplib.SMTP, raw: bytes) -> list[str]:
    """Return what to announce for 8-bit messages (RFC 6152, RFC 6531).

    A server that offers neither gets the bytes all the same, as careless mailers do:
    converting them would take away what the message is there to show.
    """
    options = []
    head = raw.partition(b"\r\n\r\n")[0]
    if not raw.isascii() and client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    if not head.isascii() and _is_utf8(head) and client.supports_extension("smtputf8"):
        options.append("SMTPUTF8")
    return options


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
