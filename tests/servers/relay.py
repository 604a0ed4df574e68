"""An SMTP server that hands every message on to Dovecot's LMTP: its answer is LMTP's own.

with Relay(dovecot, {"sidep@lbm.example": bal}) as relay:
    relay.port                      # plaintext, on 127.0.0.1
    relay.refusals.append("451 …")  # the next message is answered so, and not handed on
    relay.cuts = 2                  # the next two are handed on, then the line is cut
"""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.dovecot import Bal, Dovecot

_START_SECONDS = 20.0
_LARGEST = 32 * 1024 * 1024


class Relay:
    """The last server before the BALs. Addresses that it does not know are refused."""

    host = "127.0.0.1"

    def __init__(
        self, dovecot: Dovecot, bals: Mapping[str, Bal], *, eight_bit: bool = True
    ) -> None:
        self.refusals: list[str] = []
        self.cuts = 0
        self.taken = 0
        self.port = 0
        self._dovecot = dovecot
        self._bals = {address.lower(): bal for address, bal in bals.items()}
        self._eight_bit = eight_bit
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_SECONDS), "the relay did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        made: list[SMTP] = []

        def accept() -> SMTP:
            made.append(
                SMTP(
                    self,
                    data_size_limit=_LARGEST,
                    enable_SMTPUTF8=self._eight_bit,
                    hostname="relay.example",
                    loop=self._loop,
                )
            )
            return made[-1]

        server = await self._loop.create_server(accept, self.host, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for one in made:
            if isinstance(one.transport, asyncio.Transport):
                one.transport.abort()
        await asyncio.sleep(0)

    # --- what aiosmtpd calls

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name and arguments
        self,
        _server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        return [one for one in responses if self._eight_bit or not one.endswith("8BITMIME")]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and arguments
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address.lower() not in self._bals:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        if not self._eight_bit and not (envelope.original_content or b"").isascii():
            return "554 5.6.3 this server takes 7 bits"
        answer = await asyncio.to_thread(self._hand_on, envelope)
        if self.cuts and answer.startswith("2"):
            self.cuts -= 1
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return answer

    def _hand_on(self, envelope: Envelope) -> str:
        users = [self._bals[address.lower()].user for address in envelope.rcpt_tos]
        raw = envelope.original_content or b""
        try:
            with smtplib.LMTP("127.0.0.1", self._dovecot.lmtp_port) as lmtp:
                lmtp.sendmail(envelope.mail_from or "", users, raw)
        except smtplib.SMTPResponseException as error:
            return f"{error.smtp_code} refused by LMTP"
        except (smtplib.SMTPException, OSError):
            return "451 4.4.1 LMTP does not answer"
        self.taken += 1
        return "250 2.0.0 taken by LMTP"
