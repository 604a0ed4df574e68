"""The embedded servers as a mail client sees them, and the sender as a server sees it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Literal

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from dispatcher.simulator import cases, embedded, faults, foreign, scenario, sender
from dispatcher.simulator.cases import Sending
from dispatcher.simulator.embedded import EmbeddedServers
from dispatcher.simulator.mailers import MAILERS
from dispatcher.simulator.sender import Server

Security = Literal["plaintext", "starttls", "tls"]

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
SITES = tuple(scenario.SITES)


@pytest.fixture
def servers() -> Iterator[EmbeddedServers]:
    with EmbeddedServers() as running:
        yield running


@contextlib.contextmanager
def logged_in(servers: EmbeddedServers, username: str | None = None) -> Iterator[IMAPClient]:
    name = servers.username if username is None else username
    with IMAPClient(servers.host, servers.imap_port, ssl=False, timeout=20) as client:
        client.login(name, servers.users[name])
        client.select_folder("INBOX")
        yield client


def inbox(servers: EmbeddedServers, username: str | None = None) -> list[bytes]:
    """Return the messages in the order of their uids."""
    with logged_in(servers, username) as client:
        found = client.fetch(client.search("ALL"), ["BODY.PEEK[]"])
        return [bytes(found[uid][b"BODY[]"]) for uid in sorted(found)]


def smtp(servers: EmbeddedServers) -> Server:
    return Server(servers.host, servers.smtp_port)


@functools.cache
def mixed(seed: int = 1) -> tuple[Sending, ...]:
    """Return one certificate of every mailer, and all foreign mail."""
    rng = Random(seed)
    sent = [
        cases.certificate(replace(cases.case(rng, SITES, NOW, odd=True), size=None), mailer)
        for mailer in MAILERS
    ]
    return (*sent, *foreign.all_kinds(rng, NOW, recipient=scenario.RECIPIENT))


# --- the servers -------------------------------------------------------------------------


def test_what_is_sent_over_smtp_comes_out_of_imap_byte_for_byte(
    servers: EmbeddedServers,
) -> None:
    sent = mixed()
    outcomes = sender.send_all(sent, smtp(servers), connections=3)
    assert [(one.code, one.attempts) for one in outcomes] == [(250, 1)] * len(sent)
    assert sorted(inbox(servers)) == sorted(one.raw for one in sent)


def test_one_connection_keeps_the_order(servers: EmbeddedServers) -> None:
    sent = mixed()
    sender.send_all(sent, smtp(servers), connections=1)
    assert inbox(servers) == [one.raw for one in sent]


def test_a_message_over_ten_megabytes_is_taken(servers: EmbeddedServers) -> None:
    sent = faults.named("too-large").build(cases.case(Random(1), SITES, NOW))
    (outcome,) = sender.send_all(sent, smtp(servers))
    assert outcome.accepted
    assert inbox(servers) == [sent[0].raw]


def test_a_line_that_begins_with_a_dot_survives(servers: EmbeddedServers) -> None:
    raw = b"Subject: points\r\n\r\n.\r\n..\r\n.fin\r\n"
    sender.send_all([replace(mixed()[-1], raw=raw)], smtp(servers))
    assert inbox(servers) == [raw]


def test_the_servers_start_within_a_second_of_work() -> None:
    began = time.process_time()
    with EmbeddedServers() as servers, logged_in(servers):
        assert time.process_time() - began < 1


def test_idle_announces_what_smtp_delivers(servers: EmbeddedServers) -> None:
    with logged_in(servers) as client:
        client.idle()
        sender.send_all(mixed()[:1], smtp(servers))
        seen: list[tuple[object, ...]] = []
        deadline = time.monotonic() + 10
        while (1, b"EXISTS") not in seen and time.monotonic() < deadline:
            seen += client.idle_check(timeout=1)
        client.idle_done()
    assert (1, b"EXISTS") in seen


class Wire(asyncio.Transport):
    """A transport that keeps what is written, one entry a write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


def test_a_reply_goes_out_whole_so_that_idle_never_shows_half_a_line() -> None:
    """Pymap writes crumbs, and imapclient in IDLE raises on a line without its end."""

    async def reply() -> list[bytes]:
        wire, reader = Wire(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        plain = asyncio.StreamWriter(wire, protocol, reader, loop)
        writer = embedded._WholeReplies(plain, protocol, reader)
        for crumb in (b"* 1 FETCH", b" (FLAGS ())", b"\r\n"):
            writer.write(crumb)
        assert wire.written == []
        await writer.drain()
        writer.close()
        return wire.written

    assert asyncio.run(reply()) == [b"* 1 FETCH (FLAGS ())\r\n"]


def test_an_owner_can_put_mail_with_flags_and_a_date(servers: EmbeddedServers) -> None:
    uid = servers.append(b"Subject: x\r\n\r\n", flags=[r"\Flagged", r"\Seen"], received_at=NOW)
    with logged_in(servers) as client:
        client.normalise_times = False
        found = client.fetch([uid], ["FLAGS", "INTERNALDATE"])[uid]
    assert {b"\\Flagged", b"\\Seen"} <= set(found[b"FLAGS"])
    assert found[b"INTERNALDATE"] == NOW


def test_each_user_has_a_mailbox_of_their_own() -> None:
    users = {"un@lbm.example": "mot de passe", "deux@lbm.example": "autre"}
    first, second = mixed()[:2]
    with EmbeddedServers(users) as servers:
        assert (servers.username, servers.password) == ("un@lbm.example", "mot de passe")
        sendings = [
            replace(first, recipient="un@lbm.example"),
            replace(second, recipient="DEUX@lbm.example"),
        ]
        sender.send_all(sendings, smtp(servers))
        assert inbox(servers, "un@lbm.example") == [first.raw]
        assert inbox(servers, "deux@lbm.example") == [second.raw]


def test_mail_for_somebody_else_is_refused_for_good(servers: EmbeddedServers) -> None:
    stranger = replace(mixed()[0], recipient="personne@ailleurs.example")
    (outcome,) = sender.send_all([stranger], smtp(servers))
    assert (outcome.code, outcome.attempts, outcome.accepted) == (550, 1, False)


def test_a_wrong_password_is_refused(servers: EmbeddedServers) -> None:
    with (
        IMAPClient(servers.host, servers.imap_port, ssl=False, timeout=20) as client,
        pytest.raises(LoginError),
    ):
        client.login(servers.username, "un autre mot")


def test_nothing_is_left_when_the_servers_stop() -> None:
    with EmbeddedServers() as servers:
        # A client that is still there, one of them in IDLE, must not keep them alive.
        idle = IMAPClient(servers.host, servers.imap_port, ssl=False, timeout=20)
        idle.login(servers.username, servers.password)
        idle.select_folder("INBOX")
        idle.idle()
        ports = (servers.imap_port, servers.smtp_port)
        half = socket.create_connection((servers.host, servers.smtp_port))
    assert not [one for one in threading.enumerate() if one.name == "embedded-mail"]
    for port in ports:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((servers.host, port), timeout=5).close()
    half.close()
    idle.shutdown()


def test_a_fault_inside_the_block_stops_the_servers_and_is_shown() -> None:
    with pytest.raises(LookupError), EmbeddedServers():
        raise LookupError
    assert not [one for one in threading.enumerate() if one.name == "embedded-mail"]


def test_nothing_of_a_message_is_logged_or_printed(
    servers: EmbeddedServers,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = mixed()
    sender.send_all(sent, smtp(servers))
    inbox(servers)
    # This test's own IMAP client may log what it likes: it is not part of the servers.
    logged = [one for one in caplog.records if not one.name.startswith("imapclient")]
    printed = "".join([*capfd.readouterr(), *(one.getMessage() for one in logged)])
    secrets = [one.truth.last_name for one in sent if one.truth.last_name]
    secrets += [one.truth.file_number for one in sent if one.truth.file_number]
    assert [secret for secret in secrets if len(secret) > 2 and secret in printed] == []
    assert "[Projet SI-DEP]" not in printed


# --- the sender --------------------------------------------------------------------------


class Peer:
    """A server whose replies to DATA are told beforehand; then it takes everything."""

    def __init__(self, *replies: str, drop: int = 0) -> None:
        self.replies = list(replies)
        self.drop = drop
        self.taken: list[bytes] = []
        self.options: list[list[str]] = []

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.options.append(envelope.mail_options)
        if self.drop:
            self.drop -= 1
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            return "250 never seen"
        if self.replies:
            return self.replies.pop(0)
        assert envelope.original_content is not None
        self.taken.append(envelope.original_content)
        return "250 OK"


@contextlib.asynccontextmanager
async def listening(peer: Peer, security: Security = "plaintext") -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    made: list[SMTP] = []

    def accept() -> SMTP:
        made.append(SMTP(peer, hostname="peer.example", enable_SMTPUTF8=True, loop=loop))
        return made[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        yield Server("127.0.0.1", server.sockets[0].getsockname()[1], security=security)
    finally:
        server.close()
        for one in made:
            if isinstance(one.transport, asyncio.Transport):
                one.transport.abort()
        await asyncio.sleep(0)


def exchange(
    peer: Peer,
    sent: Sequence[Sending],
    *,
    attempts: int = 4,
    security: Security = "plaintext",
    progress: sender.Progress | None = None,
) -> list[sender.Sent]:
    """Send to that peer over two connections and return the outcomes."""

    async def both() -> list[sender.Sent]:
        async with listening(peer, security) as server:
            return await sender.send(
                sent, server, connections=2, attempts=attempts, progress=progress
            )

    return asyncio.run(both())


def small(count: int) -> list[Sending]:
    one = mixed()[-1]
    return [
        replace(one, raw=f"Subject: n\r\n\r\n{n}\r\n".encode(), lane="same")
        for n in range(count)
    ]


def test_a_temporary_refusal_is_tried_again_with_the_same_bytes() -> None:
    peer = Peer("451 4.7.1 later", "452 4.2.2 full")
    (outcome,) = exchange(peer, small(1))
    assert (outcome.code, outcome.attempts) == (250, 3)
    assert peer.taken == [small(1)[0].raw]


def test_a_permanent_refusal_is_final() -> None:
    peer = Peer("554 5.6.0 no")
    (outcome,) = exchange(peer, small(1))
    assert (outcome.code, outcome.attempts, peer.taken) == (554, 1, [])


def test_attempts_are_counted_out() -> None:
    (outcome,) = exchange(Peer(*["451 later"] * 9), small(1), attempts=2)
    assert (outcome.code, outcome.attempts, outcome.accepted) == (451, 2, False)


def test_a_connection_lost_after_the_final_dot_is_made_anew() -> None:
    peer = Peer(drop=1)
    outcomes = exchange(peer, small(2))
    assert [(one.code, one.attempts) for one in outcomes] == [(250, 2), (250, 1)]
    assert peer.taken == [one.raw for one in small(2)]


def test_messages_of_one_lane_stay_in_order_through_a_retry() -> None:
    peer = Peer("451 later")
    exchange(peer, small(6))
    assert peer.taken == [one.raw for one in small(6)]


def test_outcomes_come_in_the_order_of_the_messages_and_progress_is_told() -> None:
    sent = [replace(one, lane=str(n)) for n, one in enumerate(small(7))]
    peer = Peer()
    told: list[sender.Sent] = []

    outcomes = exchange(peer, sent, progress=told.append)
    assert [one.sending for one in outcomes] == sent
    assert len(told) == 7


def test_nobody_there_is_an_outcome_not_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = Server("127.0.0.1", taken.getsockname()[1])
        (outcome,) = sender.send_all(small(1), server, attempts=2)
    assert (outcome.code, outcome.attempts) == (0, 2)


def test_starttls_that_is_not_offered_sends_nothing() -> None:
    peer = Peer()
    (outcome,) = exchange(peer, small(1), attempts=1, security="starttls")
    assert outcome.code == 0
    assert peer.taken == []


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(b"Subject: x", [], id="ascii"),
        pytest.param("Subject: é".encode(), ["BODY=8BITMIME", "SMTPUTF8"], id="raw UTF-8"),
        pytest.param(b"Subject: \xe9", ["BODY=8BITMIME"], id="raw Latin-1"),
    ],
)
def test_eight_bit_messages_are_announced(head: bytes, expected: list[str]) -> None:
    peer = Peer()
    exchange(peer, [replace(small(1)[0], raw=head + b"\r\n\r\nx\r\n")])
    options = [option for option in peer.options[0] if not option.startswith("SIZE=")]
    assert options == expected
    assert peer.taken == [head + b"\r\n\r\nx\r\n"]


def test_the_password_does_not_show_in_a_repr() -> None:
    assert "secret" not in repr(Server("h", 1, username="u", password="secret"))
