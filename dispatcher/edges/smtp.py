"""Sends alerts and reports by SMTP (RFC 5321), under TLS with name and chain checked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import aiosmtplib

from dispatcher.core.letter import Letter
from dispatcher.errors import DispatcherError, InDoubt, LoginRefused, Refused, Unavailable
from dispatcher.ports import Sent

# The longest that one answer of the server may take, and all of a mail (seconds). RFC 5321,
# 4.5.3.2, allows minutes; an alert that takes longer is tried again.
_ANSWER: Final = 15.0
_ALL: Final = 60.0
# What the library raises where the server offers no STARTTLS, or no login.
_NOT_OFFERED: Final = (aiosmtplib.SMTPException, aiosmtplib.SMTPNotSupported)
_TRANSIENT: Final = range(400, 500)


@dataclass(frozen=True, slots=True)
class SmtpAccount:
    """The server and the account that sends. `security` is tls, starttls or plaintext.

    `password` reads it afresh; without a `username` nobody logs in.
    """

    host: str
    port: int
    security: str
    sender: str
    recipients: tuple[str, ...]
    ca_file: Path | None = None
    username: str | None = None
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)


class SmtpAlerts:
    """See `ports.Alerts`. One connection for each mail; safe to share between threads."""

    def __init__(
        self, account: SmtpAccount, *, answer: float = _ANSWER, whole: float = _ALL
    ) -> None:
        self._account = account
        self._answer = answer
        self._whole = whole

    def send(self, letter: Letter) -> Sent:
        """See `Alerts.send`."""
        exchange = _Exchange(self._account, self._answer)
        try:
            return asyncio.run(asyncio.wait_for(exchange.send(letter), self._whole))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise exchange.trouble(error) from error


class _Exchange:
    """One mail: how far it came decides what an error means."""

    def __init__(self, account: SmtpAccount, answer: float) -> None:
        self._account = account
        self._step = "connect"
        self._client = aiosmtplib.SMTP(
            hostname=account.host,
            port=account.port,
            # No look-up of our own name in the DNS.
            local_hostname=socket.gethostname() or "localhost",
            timeout=answer,
            use_tls=account.security == "tls",
            # Never left to the library's own choice, which upgrades without our context.
            start_tls=account.security == "starttls",
            tls_context=None if account.security == "plaintext" else tls_context(account),
        )

    async def send(self, letter: Letter) -> Sent:
        """Send it, and say what the server answered."""
        account, client = self._account, self._client
        try:
            await client.connect()
            self._step = "hello"
            await self._log_in()
            self._step = "sender"
            await client.mail(account.sender)
            self._step = "recipients"
            refused = await self._name_recipients()
            self._step = "data"
            answer = await client.data(bytes(message_of(letter, account)))
            await self._take_leave()
            return Sent(f"{answer.code} {_clean(answer.message)}", refused)
        finally:
            await self._hang_up()

    async def _take_leave(self) -> None:
        """Say QUIT (RFC 5321, 4.1.1.10); the mail is taken, whatever becomes of that."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self._client.execute_command(b"QUIT")

    async def _hang_up(self) -> None:
        """Drop the connection at once: under TLS the library would wait for the server."""
        transport = self._client.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        self._client.close()
        for _ in range(2):  # the loop closes the socket in its next rounds
            await asyncio.sleep(0)

    async def _log_in(self) -> None:
        if self._account.username is None:
            return
        self._step = "login"
        await self._client.login(self._account.username, self._account.password() or "")

    async def _name_recipients(self) -> tuple[str, ...]:
        """Name every recipient; return those that the server does not take."""
        refused: list[str] = []
        last: aiosmtplib.SMTPRecipientRefused | None = None
        for recipient in self._account.recipients:
            try:
                await self._client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused.append(recipient)
                last = error
        if last is not None and len(refused) == len(self._account.recipients):
            raise last
        return tuple(refused)

    def trouble(self, error: Exception) -> DispatcherError:
        """Return what an error means for the letter."""
        certificate = _certificate_error(error)
        if certificate is not None:
            return Refused(
                f"the mail server's TLS certificate is not trusted ({certificate.verify_code})",
                hint="set `alerts.smtp.host` to the name it bears, `ca_file` to its authority",
            )
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return self._answered(error)
        if self._step == "data":
            return InDoubt("the mail server broke off before it said whether it has the mail")
        if isinstance(error, ValueError | ssl.SSLError) or type(error) in _NOT_OFFERED:
            return self._unfit()
        return Unavailable(
            f"the mail server does not answer (at {self._step}: {type(error).__name__})",
            hint="is `alerts.smtp.host` up, and may this machine reach its port?",
        )

    def _unfit(self) -> DispatcherError:
        if self._step == "login":
            return Refused(
                "the mail server offers no login that this program knows",
                hint="take out `alerts.smtp.username`, or ask for PLAIN or LOGIN under TLS",
            )
        return Refused(
            "no TLS with this mail server; nothing was sent in clear",
            hint="choose `security: tls` or `starttls` as the server has it; TLS 1.2 or later",
        )

    def _answered(self, error: aiosmtplib.SMTPResponseException) -> DispatcherError:
        said = f"{error.code} {_clean(error.message)}"
        if error.code in _TRANSIENT or error.code < 0:
            return Unavailable(f"the mail server said later (at {self._step}): {said}")
        if self._step == "login":
            return LoginRefused(
                f"the mail server refused the login: {said}",
                hint="correct `alerts.smtp.username` or its password",
            )
        hints = {
            "sender": "correct `alerts.from`: this account may not send as that address",
            "recipients": "correct `alerts.to`",
        }
        return Refused(
            f"the mail server refused the mail (at {self._step}): {said}",
            hint=hints.get(self._step, "ask whoever runs the mail server"),
        )


def tls_context(account: SmtpAccount) -> ssl.SSLContext:
    """Return what TLS demands: version 1.2, the name, the chain. Raises Refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and demands a chain
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if account.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=account.ca_file)
    except OSError as error:  # also what OpenSSL says of its content
        raise Refused(
            "alerts.smtp.ca_file cannot be used", hint="give authorities as a PEM file"
        ) from error
    return context


def message_of(letter: Letter, account: SmtpAccount) -> EmailMessage:
    """Return the mail: pure ASCII on the wire, so that every server takes it (RFC 2045)."""
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = account.sender
    message["To"] = ", ".join(account.recipients)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(letter.written_at)
    message["Message-ID"] = f"<{letter.mark}@{account.sender.rpartition('@')[2]}>"
    # RFC 3834, 5: no holiday answers.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte="quoted-printable")
    return message


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the certificate's error in a chain of errors; the library wraps it."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _clean(text: str) -> str:
    """Return a server's text fit for one line of a log: printable ASCII, and short."""
    kept = "".join(c if " " <= c <= "~" else "?" for c in text.replace("\n", " "))
    return kept[:120].strip()
