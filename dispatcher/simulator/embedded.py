"""Runs a small mail server inside the program: SMTP in, IMAP out, nothing kept on disk.

For demonstrations and tests only: pymap keeps no keywords, knows neither QUOTA nor
CONDSTORE, and forgets everything at the end. Listens on the loopback address only.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from argparse import Namespace
from asyncio import AbstractEventLoop, Server, StreamReader, StreamWriter
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import Any, Final, TypeVar
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as SMTPSession
from pymap.backend.dict import Config, Identity, Login
from pymap.concurrent import Subsystem

# SocketInfo is what IMAPServer takes; it comes from a library below and is passed on here.
from pymap.imap import IMAPServer, SocketInfo  # type: ignore[attr-defined]
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials.flag import Flag
from pymap.user import UserMetadata

from dispatcher.simulator.mail import RECIPIENT

HOST: Final = "127.0.0.1"
PASSWORD: Final = "demonstration"  # noqa: S105  # of a server that only this process sees

# More than the 10 MB that a reader may refuse: the refusal is the reader's to make.
_LARGEST: Final = 32 * 1024 * 1024
_LONGEST_COMMAND: Final = 2**20  # a list of thousands of UIDs is one line
_START: Final = 15.0
_STOP: Final = 10.0
_ROUNDS: Final = 5

_T = TypeVar("_T")
_Transports = WeakSet[asyncio.WriteTransport]


class EmbeddedServers:
    """SMTP and IMAP on free loopback ports; each user is an address with an INBOX.

    A context manager: both servers answer once it is entered, and are gone when it is
    left. A message comes out of IMAP exactly as it went into SMTP, without trace fields.
    """

    def __init__(self, users: Mapping[str, str] | None = None) -> None:
        self.users = dict(users or {RECIPIENT: PASSWORD})
        self.host = HOST
        self.username, self.password = next(iter(self.users.items()))
        self.imap_port = 0
        self.smtp_port = 0
        self._loop: AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._mailboxes: _Mailboxes | None = None

    def __enter__(self) -> EmbeddedServers:
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="embedded-mail", daemon=True
        )
        self._thread.start()
        ready.result(_START)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        if self._thread is not None:
            self._thread.join(_STOP)

    def append(
        self,
        raw: bytes,
        *,
        username: str | None = None,
        flags: Iterable[str] = (),
        received_at: datetime | None = None,
    ) -> int:
        """Put a message into a user's INBOX as its owner would; return its UID.

        SMTP carries no flags: this is how a message that was already read gets there.
        """
        mailboxes = self._mailboxes
        if mailboxes is None:
            raise RuntimeError("the servers are not running")
        name = self.username if username is None else username
        return self._call(mailboxes.deliver(name, raw, flags, received_at))

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            raise RuntimeError("the servers are not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START)

    def _run(self, ready: concurrent.futures.Future[None]) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._serve(ready))
            except OSError as error:
                if not ready.done():
                    ready.set_exception(error)

    async def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        # A client that drops its connection is no event; and texts of errors could
        # quote a message.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        for name in ("pymap", "mail.log"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._mailboxes = await _mailboxes(self.users)
        opened: _Transports = WeakSet()
        imap = await _imap(self._mailboxes, opened)
        smtp = await _smtp(self._mailboxes, opened)
        with closing(imap), closing(smtp):
            self.imap_port, self.smtp_port = _port(imap), _port(smtp)
            ready.set_result(None)
            await self._stopped.wait()
            self._mailboxes = None
            await _accept_no_more(imap, smtp)
        await _drop(opened)


def _port(server: Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


class _Config(Config):
    """Settings of pymap that ask nothing of the network around."""

    @property
    def greeting(self) -> bytes:
        # pymap's own asks the resolver for the machine's name, which may take seconds.
        return b"Simulator ready"


class _Plain:
    """Compares passwords as they are: a slow hash protects nothing here."""

    def copy(self, **_settings: object) -> _Plain:
        return self

    def hash(self, value: str) -> str:
        return value

    def verify(self, value: str, digest: str) -> bool:
        return value == digest


class _Mailboxes:
    """The users' mailboxes; also what aiosmtpd calls for each message (`handle_*`)."""

    def __init__(self, login: Login, users: Iterable[str]) -> None:
        self.login = login
        self._names = {name.lower(): name for name in users}

    async def deliver(
        self,
        name: str,
        raw: bytes,
        flags: Iterable[str] = (),
        received_at: datetime | None = None,
    ) -> int:
        flag_set = frozenset(Flag(flag.encode()) for flag in flags)
        message = AppendMessage(raw, received_at, flag_set)
        identity = Identity(name, self.login, None, frozenset())
        async with identity.new_session() as session:
            appended, _ = await session.append_messages("INBOX", [message])
        return next(iter(appended.uids))

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self,
        _server: SMTP,
        _session: SMTPSession,
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        if address.lower() not in self._names:
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: SMTPSession, envelope: Envelope
    ) -> str:
        raw = envelope.original_content or b""
        for address in envelope.rcpt_tos:
            await self.deliver(self._names[address.lower()], raw)
        return "250 2.0.0 taken"


class _WholeReplies(StreamWriter):
    """Sends what was written only when it is drained, which pymap does after each reply.

    pymap writes a line in crumbs; a client that polls in IDLE would meet half of one.
    """

    def __init__(
        self,
        writer: StreamWriter,
        protocol: asyncio.StreamReaderProtocol,
        reader: StreamReader,
    ) -> None:
        super().__init__(writer.transport, protocol, reader, asyncio.get_running_loop())
        self._crumbs: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._crumbs.append(bytes(data))

    async def drain(self) -> None:
        whole, self._crumbs = b"".join(self._crumbs), []
        super().write(whole)
        await super().drain()


class _Smtp(SMTP):
    """aiosmtpd, which notes its connections so that they can be ended."""

    def __init__(
        self, mailboxes: _Mailboxes, opened: _Transports, loop: AbstractEventLoop
    ) -> None:
        super().__init__(
            mailboxes,
            data_size_limit=_LARGEST,
            enable_SMTPUTF8=True,
            hostname="simulator.invalid",
            ident="simulator",
            loop=loop,
        )
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._opened.add(transport)
        super().connection_made(transport)


async def _mailboxes(users: Mapping[str, str]) -> _Mailboxes:
    # What pymap's own command line would have read.
    arguments = Namespace(passlib_cfg=None, proxy_protocol=None, inherited_sockets=None)
    config = _Config(
        arguments,
        host=HOST,
        port=0,
        tls_enabled=False,
        hash_context=_Plain(),
        cpu_subsystem=Subsystem.for_asyncio(),
        reject_dnsbl=False,
        demo_data=False,
        demo_user="",
        demo_password="",
    )
    config.apply_context()
    login = Login(config)
    for name, password in users.items():
        user = UserMetadata(config, name, password=password)
        await Identity(name, login, None, frozenset()).set(user)
    return _Mailboxes(login, users)


async def _imap(mailboxes: _Mailboxes, opened: _Transports) -> Server:
    loop = asyncio.get_running_loop()
    serve = IMAPServer(mailboxes.login, mailboxes.login.config)

    def accept() -> asyncio.StreamReaderProtocol:
        async def connected(reader: StreamReader, writer: StreamWriter) -> None:
            opened.add(writer.transport)
            whole = _WholeReplies(writer, protocol, reader)
            await serve(reader, whole, SocketInfo.get(writer, None))

        reader = StreamReader(limit=_LONGEST_COMMAND, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, connected, loop=loop)
        return protocol

    return await loop.create_server(accept, HOST, 0)


async def _smtp(mailboxes: _Mailboxes, opened: _Transports) -> Server:
    loop = asyncio.get_running_loop()

    def accept() -> SMTP:
        return _Smtp(mailboxes, opened, loop)

    return await loop.create_server(accept, HOST, 0)


async def _accept_no_more(*servers: Server) -> None:
    """Let the connections that were just accepted be made; take no other.

    asyncio forgets the socket of a connection whose server is closed between the two.
    """
    for server in servers:
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
    await _some_rounds()


async def _drop(opened: _Transports) -> None:
    """End every connection, whatever its client is waiting for."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for transport in tuple(opened):
        transport.abort()
    await _some_rounds()


async def _some_rounds() -> None:
    """Let the loop run what is already due, and what that makes due."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
