"""One SMTP connection of the pretend SI-DEP: opened when needed, and again after a failure."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import aiosmtplib

from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.simulator.cases import Sending

_TIMEOUT: Final = 60.0
_FIRST_PAUSE: Final = 0.2
_LAST_PAUSE: Final = 10.0
_CLOSING: Final = 421  # RFC 5321, 3.8: the server closes the channel after this reply
_HELO: Final = "simulator.invalid"

Security = Literal["plaintext", "starttls", "tls"]


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send. `plaintext` is for loopback addresses; certificates are verified.

    The client certificate is a PEM file, with its key in it or in a file of its own.
    """

    host: str
    port: int
    security: Security = "plaintext"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message at the server: its last code and how many attempts.

    `code` 0: the connection failed, so the server may or may not have taken it. `doubtful`
    counts the attempts whose connection was lost after the message went out: the mailbox
    may hold it that many times more. `reencoded`: sent in ASCII, the relay took no other.
    """

    sending: Sending
    code: int
    attempts: int
    doubtful: int = 0
    reencoded: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the server took responsibility for it (RFC 5321, 4.2.1: 2yz)."""
        return 200 <= self.code <= 299  # noqa: PLR2004  # the classes of reply codes


class Door:
    """What the connections to one server share: they open one by one.

    A login that was refused is not tried again: the account could be locked.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._opening = asyncio.Lock()
        self._refused: int | None = None

    async def open(self) -> aiosmtplib.SMTP:
        """Return a connection that has said EHLO and is logged in."""
        async with self._opening:
            if self._refused is not None:
                raise aiosmtplib.SMTPAuthenticationError(self._refused, "refused before")
            try:
                return await _connected(self.server)
            except aiosmtplib.SMTPAuthenticationError as error:
                self._refused = error.code
                raise


class Line:
    """One connection at a time. `send` raises no network error."""

    def __init__(self, door: Door, attempts: int) -> None:
        self._door = door
        self._attempts = attempts
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, sending: Sending) -> Sent:
        """Send one message; 4yz and lost connections are tried again with the same bytes."""
        pause = _FIRST_PAUSE
        outcome = Sent(sending, 0, 0)
        for attempt in range(1, self._attempts + 1):
            if attempt > 1:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            outcome = await self._try(replace(outcome, code=0, attempts=attempt))
            if outcome.code and not 400 <= outcome.code <= 499:  # noqa: PLR2004
                break
        return outcome

    async def close(self) -> None:
        """Take leave of the server, if it is still there."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.quit(timeout=2)
        except (aiosmtplib.SMTPException, OSError):
            client.close()

    async def _try(self, outcome: Sent) -> Sent:
        try:
            client = await self._opened()
            raw, reencoded = _for_relay(client, outcome.sending)
            outcome = replace(outcome, reencoded=reencoded)
            await self._envelope(client, outcome.sending, raw)
        except aiosmtplib.SMTPResponseException as error:
            return replace(outcome, code=await self._answered(error.code))
        except (aiosmtplib.SMTPException, OSError):
            self._drop()
            return outcome
        try:
            await client.data(raw)
        except aiosmtplib.SMTPResponseException as error:
            return replace(outcome, code=await self._answered(error.code))
        except (aiosmtplib.SMTPException, OSError):
            # The server may have taken it: the final dot may have reached it (RFC 1047).
            self._drop()
            return replace(outcome, doubtful=outcome.doubtful + 1)
        return replace(outcome, code=250)

    async def _envelope(self, client: aiosmtplib.SMTP, sending: Sending, raw: bytes) -> None:
        options = _options(client, raw)
        if client.supports_extension("size"):
            options.insert(0, f"SIZE={len(raw)}")
        await client.mail(sending.sender, options=options)
        await client.rcpt(sending.recipient)

    async def _answered(self, code: int) -> int:
        """Make the connection fit for another message after a refusal."""
        if code == _CLOSING or self._client is None:
            self._drop()
            return code
        try:
            await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self._drop()
        return code

    async def _opened(self) -> aiosmtplib.SMTP:
        if self._client is None or not self._client.is_connected:
            self._client = await self._door.open()
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


async def probe(server: Server) -> None:
    """Connect, log in and leave. Raises Unavailable or Refused with what to look at."""
    try:
        client = await _connected(server)
    except aiosmtplib.SMTPAuthenticationError as error:
        raise LoginRefused(
            f"the SMTP server refused the login ({error.code})",
            hint="look at the user name and the password; it was tried once",
        ) from error
    except ssl.SSLError as error:
        raise Refused(
            f"TLS with the SMTP server failed: {error.reason}", hint="look at --ca-file"
        ) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Unavailable(
            f"the SMTP server does not answer as expected: {type(error).__name__}",
            hint="look at --smtp and --security",
        ) from error
    try:
        await client.quit(timeout=2)
    except (aiosmtplib.SMTPException, OSError):
        client.close()


async def _connected(server: Server) -> aiosmtplib.SMTP:
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
    return client


def _context(server: Server) -> ssl.SSLContext | None:
    if server.security == "plaintext":
        return None
    context = ssl.create_default_context(cafile=server.ca_file)
    if server.client_certificate is not None:
        context.load_cert_chain(server.client_certificate, server.client_key)
    return context


# --- what a relay takes ------------------------------------------------------------------


def _for_relay(client: aiosmtplib.SMTP, sending: Sending) -> tuple[bytes, bool]:
    """Return the bytes to send, and whether they are another encoding of the letter.

    Without 8BITMIME a message of 8 bits may not be sent (RFC 6152, 3), nor a header in
    UTF-8 without SMTPUTF8 (RFC 6531, 3.4): the letter is written anew in ASCII. A header in
    another charset has no lawful way; where 8BITMIME is offered it goes as careless mailers
    send it, and what has no letter behind it goes as it is.
    """
    raw = sending.raw
    lawful = raw.isascii() or (
        client.supports_extension("8bitmime")
        and (client.supports_extension("smtputf8") or not _says_utf8(raw))
    )
    if lawful or sending.seven_bit is None:
        return raw, False
    return sending.seven_bit, True


def _options(client: aiosmtplib.SMTP, raw: bytes) -> list[str]:
    """Return what to announce for 8-bit messages (RFC 6152, RFC 6531)."""
    options = []
    if not raw.isascii() and client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    if _says_utf8(raw) and client.supports_extension("smtputf8"):
        options.append("SMTPUTF8")
    return options


def _says_utf8(raw: bytes) -> bool:
    """Whether the header holds UTF-8 beyond ASCII."""
    head = raw.partition(b"\r\n\r\n")[0]
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return not head.isascii()
