"""A mail server that keeps what it takes, and fails when a test says so.

with Post() as post:                 # plaintext on 127.0.0.1; `tls` or `starttls` on demand
    post.port
    post.letters                     # what it took, the oldest first
    post.answers["DATA"] = "451 …"   # until taken back: what it says at a command
    post.silent_at = "RCPT"          # it says nothing more from there on
    post.cut_at = "end"              # it hangs up: "greeting", "DATA", "end" (after the dot)
"""

from __future__ import annotations

import asyncio
import email
import ssl
import threading
import warnings
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

_START_SECONDS = 60.0
Security = Literal["plaintext", "starttls", "tls"]


class Post:
    """One mail server. With `account` it takes mail after that login alone."""

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        security: Security = "plaintext",
        certificate: tuple[Path, Path] | None = None,
        account: tuple[str, str] | None = None,
        old_tls: bool = False,
        port: int = 0,
    ) -> None:
        self.letters: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[tuple[str, ...]] = []
        self.logins: list[str] = []
        self.answers: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.silent_at: str | None = None
        self.cut_at: str | None = None
        self.port = port
        self.security = security
        self.account = account
        self.context = None if certificate is None else _context(certificate, old_tls=old_tls)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen, on the same port as before."""
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name="post", daemon=True)
        self._thread.start()
        assert self._ready.wait(_START_SECONDS), "the mail server did not start"

    def stop(self) -> None:
        """Be down; what was taken stays."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)
        self._thread = None

    def subjects(self) -> list[str]:
        """Return the subjects of what it took."""
        return [str(one["Subject"]) for one in list(self.letters)]

    def texts(self) -> list[str]:
        """Return the texts of what it took."""
        return [one.get_content() for one in list(self.letters)]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        made: list[SMTP] = []

        def accept() -> SMTP:
            made.append(_Line(self, self._loop))
            return made[-1]

        implicit = self.context if self.security == "tls" else None
        server = await self._loop.create_server(accept, self.host, self.port, ssl=implicit)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for one in made:
            if isinstance(one.transport, asyncio.Transport):
                one.transport.abort()
        await asyncio.sleep(0)

    # --- what aiosmtpd calls

    async def meet(self, server: SMTP, command: str) -> str | None:
        """Fail at a command when a test said so; return another answer than usual."""
        if self.cut_at == command:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        if self.silent_at == command:
            await asyncio.Event().wait()
        return self.answers.get(command)

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: object
    ) -> AuthResult:
        """Look at a name and a password."""
        assert isinstance(given, LoginPassword)
        said = (given.login.decode(), given.password.decode())
        if said == self.account:
            self.logins.append(said[0])
        return AuthResult(success=said == self.account, handled=False, auth_data=given.login)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name and arguments
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if self.account is not None and not session.authenticated:
            return "530 5.7.0 log in first"
        envelope.mail_from = address
        return await self.meet(server, "MAIL") or "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and arguments
        self,
        server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        answer = await self.meet(server, "RCPT")
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        answer = await self.meet(server, "DATA")
        if answer is None:
            raw = envelope.original_content or b""
            self.raw.append(raw)
            message = email.message_from_bytes(raw, policy=default)
            assert isinstance(message, EmailMessage)
            self.letters.append(message)
            self.recipients.append(tuple(envelope.rcpt_tos))
        await self.meet(server, "end")
        return answer or "250 2.0.0 queued as 42"


class _Line(SMTP):
    """One connection."""

    def __init__(self, post: Post, loop: asyncio.AbstractEventLoop | None) -> None:
        starttls = post.security == "starttls"
        super().__init__(
            post,
            hostname="post.example",
            loop=loop,
            tls_context=post.context if starttls else None,
            require_starttls=starttls,
            # aiosmtpd does not count TLS from the first byte as TLS.
            auth_require_tls=starttls,
            authenticator=post.authenticate,
        )
        self._post = post

    async def _handle_client(self) -> None:
        await self._post.meet(self, "greeting")
        await super()._handle_client()


def _context(certificate: tuple[Path, Path], *, old_tls: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if old_tls:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(*certificate)
    return context
