"""The pretend SI-DEP against servers that cut, refuse, ask for a login or take 7 bits only."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dispatcher.errors import LoginRefused, Unavailable
from dispatcher.simulator import cases, faults, scenario, sender
from dispatcher.simulator.cases import Sending
from dispatcher.simulator.sender import Clockwork, Rate, Sent, Server, Slowest
from tests.servers.dovecot import Dovecot
from tests.servers.relay import Relay

NOW = datetime(2026, 11, 3, 10, 30, tzinfo=ZoneInfo("Europe/Paris"))


def built(name: str) -> Sending:
    about = cases.case(Random(4), list(scenario.SITES), NOW)
    return faults.named(name).build(about)[0]


def small(count: int) -> list[Sending]:
    one = built("sent-again")
    return [
        replace(one, raw=f"Message-ID: <{n}@x>\r\n\r\n{n}\r\n".encode(), lane=str(n))
        for n in range(count)
    ]


# A server that offers PLAIN and LOGIN is asked by both before the login counts as refused.
MECHANISMS = 2


class Peer:
    """A server that may want a login, and may cut the line after the final dot."""

    def __init__(self, *, cuts: int = 0, password: str | None = None) -> None:
        self.cuts = cuts
        self.taken: list[bytes] = []
        self.logins = 0
        self._password = password

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        loop, made = asyncio.get_running_loop(), list[SMTP]()

        def accept() -> SMTP:
            with warnings.catch_warnings():
                # That a login without TLS is a bad idea: it stays on this machine.
                warnings.simplefilter("ignore", UserWarning)
                made.append(
                    SMTP(
                        self,
                        hostname="peer.example",
                        loop=loop,
                        authenticator=self._log_in,
                        auth_require_tls=False,
                        auth_required=self._password is not None,
                    )
                )
            return made[-1]

        server = await loop.create_server(accept, "127.0.0.1", 0)
        try:
            yield Server("127.0.0.1", server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for one in made:
                if isinstance(one.transport, asyncio.Transport):
                    one.transport.abort()
            await asyncio.sleep(0)

    def _log_in(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: object
    ) -> AuthResult:
        self.logins += 1
        assert isinstance(given, LoginPassword)
        right = self._password is not None and given.password == self._password.encode()
        return AuthResult(success=right, handled=False)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert envelope.original_content is not None
        self.taken.append(envelope.original_content)
        if self.cuts:
            self.cuts -= 1
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return "250 OK"


def exchange(peer: Peer, sent: Sequence[Sending], password: str | None = None) -> list[Sent]:
    async def both() -> list[Sent]:
        async with peer.listening() as server:
            username = None if password is None else "u"
            let_in = replace(server, username=username, password=password)
            return await sender.send(sent, let_in, connections=3)

    return asyncio.run(both())


# --- lost lines --------------------------------------------------------------------------


def test_a_line_lost_after_the_final_dot_is_a_doubt_and_the_same_bytes_go_again() -> None:
    peer = Peer(cuts=1)
    (outcome,) = exchange(peer, small(1))
    assert (outcome.code, outcome.attempts, outcome.doubtful) == (250, 2, 1)
    assert peer.taken == [small(1)[0].raw] * 2, "with the same Message-ID"


def test_nobody_there_is_no_doubt() -> None:
    async def attempt() -> list[Sent]:
        async with Peer().listening() as server:
            pass
        return await sender.send(small(1), server, attempts=2)

    (outcome,) = asyncio.run(attempt())
    assert (outcome.code, outcome.doubtful) == (0, 0)


# --- logins ------------------------------------------------------------------------------


def test_a_login_is_made_and_mail_is_taken() -> None:
    peer = Peer(password="right")
    outcomes = exchange(peer, small(3), password="right")
    assert [one.code for one in outcomes] == [250] * 3


def test_a_refused_login_is_tried_once_however_many_messages_wait() -> None:
    peer = Peer(password="right")
    outcomes = exchange(peer, small(12), password="wrong")
    assert {one.code for one in outcomes} == {535}
    assert peer.logins == MECHANISMS, "the account must not be locked"
    assert peer.taken == []


def test_a_probe_says_whether_we_are_let_in() -> None:
    async def probed(password: str) -> None:
        async with Peer(password="right").listening() as server:
            await sender.probe(replace(server, username="u", password=password))

    asyncio.run(probed("right"))
    with pytest.raises(LoginRefused, match="535"):
        asyncio.run(probed("wrong"))


def test_a_probe_of_nobody_says_so() -> None:
    async def probed() -> None:
        async with Peer().listening() as server:
            pass
        await sender.probe(server)

    with pytest.raises(Unavailable, match="does not answer"):
        asyncio.run(probed())


# --- what a relay takes, through a real Dovecot ------------------------------------------


def test_a_relay_of_seven_bits_gets_the_letter_in_ascii(dovecot: Dovecot) -> None:
    bal = dovecot.bal()
    sent = [built("encoding-raw"), built("encoding-raw-western"), built("encoding-default")]
    with Relay(dovecot, {sent[0].recipient: bal}, eight_bit=False) as relay:
        outcomes = sender.send_all(sent, Server(relay.host, relay.port), connections=1)
    assert [(one.code, one.reencoded) for one in outcomes] == [
        (250, True),
        (250, True),
        (250, False),
    ]
    kept = list(bal.messages().values())
    assert all(raw.isascii() for raw in kept)
    for one, raw in zip(sent, kept, strict=True):
        assert one.message_id.encode() in raw


def test_a_relay_of_eight_bits_gets_the_very_bytes(dovecot: Dovecot) -> None:
    bal = dovecot.bal()
    sent = [built("encoding-raw"), built("encoding-raw-western")]
    with Relay(dovecot, {sent[0].recipient: bal}) as relay:
        outcomes = sender.send_all(sent, Server(relay.host, relay.port), connections=1)
    assert [(one.code, one.reencoded) for one in outcomes] == [(250, False)] * 2
    for one, raw in zip(sent, bal.messages().values(), strict=True):
        assert raw.endswith(one.raw), "behind the trace fields of LMTP"


def test_an_address_that_the_relay_does_not_know_is_reported_at_once(dovecot: Dovecot) -> None:
    with Relay(dovecot, {}) as relay:
        (outcome,) = sender.send_all([built("sent-again")], Server(relay.host, relay.port))
    assert (outcome.code, outcome.attempts, outcome.accepted) == (550, 1, False)


# --- order and pace ----------------------------------------------------------------------


def test_messages_of_one_lane_wait_for_each_other_and_others_do_not() -> None:
    peer = Peer()
    sent = [replace(one, lane=str(n % 2)) for n, one in enumerate(small(20))]
    exchange(peer, sent)
    for lane in "01":
        wanted = [one.raw for one in sent if one.lane == lane]
        assert [raw for raw in peer.taken if raw in wanted] == wanted


def test_messages_are_made_only_as_they_are_sent() -> None:
    made: list[int] = []
    ahead: list[int] = []

    def making() -> Iterator[Sending]:
        for number, one in enumerate(small(9)):
            made.append(number)
            yield one

    async def both() -> None:
        async with Peer().listening() as server:
            await sender.stream(
                making(),
                server,
                lambda place, _sent: ahead.append(len(made) - place),
                connections=2,
            )

    asyncio.run(both())
    assert len(made) == 9
    assert max(ahead) <= 4, "never much more than what is on its way"


def test_once_stopped_no_other_message_goes_out_and_none_is_cut_short() -> None:
    peer, told = Peer(), []

    async def both() -> None:
        stop = asyncio.Event()

        def note(_place: int, sent: Sent) -> None:
            told.append(sent)
            stop.set()

        async with peer.listening() as server:
            # Without the stop the second message would go out after an hour.
            pace = Rate(1 / 3600)
            await sender.stream(small(9), server, note, connections=2, pace=pace, stop=stop)

    asyncio.run(both())
    assert [one.code for one in told] == [250]
    assert len(peer.taken) == 1


def test_a_rate_gives_each_message_its_turn() -> None:
    one = built("sent-again")
    assert [Rate(4.0).wait_for(n, one, 0.5) for n in (0, 2, 6)] == [-0.5, 0.0, 1.0]


def test_a_day_at_speed_sends_each_message_at_its_hour() -> None:
    start = datetime(2026, 11, 2, 7, 30, tzinfo=UTC)
    one = replace(built("sent-again"), written_at=start + timedelta(hours=2))
    assert Clockwork(start, 3600.0).wait_for(0, one, 0.0) == 2.0
    assert Clockwork(start, 3600.0).wait_for(0, one, 5.0) == -3.0
    assert Slowest(Clockwork(start, 3600.0), Rate(1.0)).wait_for(9, one, 0.0) == 9.0
