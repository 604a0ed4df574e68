"""Reaching the mailbox through an HTTP proxy, and every way in which that fails."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, Limits, Proxy
from dispatcher.errors import LoginRefused, Refused, Unavailable
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.http_proxy import HttpProxy

Open = Callable[[Account], ImapMailbox]


@pytest.fixture
def opening() -> Iterator[Open]:
    """Return a maker of mailboxes that are closed at the end."""
    with ExitStack() as stack:
        yield lambda account: stack.enter_context(closing(ImapMailbox(account, SystemClock())))


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy() as running:
        yield running


def account(bal: Bal, by: HttpProxy, **values: object) -> Account:
    usual = Account(
        name="lbm",
        host="localhost",
        port=bal.server.imaps_port,
        username=bal.user,
        ca_file=bal.server.ca_file,
        password=lambda: bal.password,
        proxy=Proxy(by.host, by.port),
    )
    return replace(usual, **values)  # type: ignore[arg-type]  # tests give what fits


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_mail_is_read_through_the_proxy(
    bal: Bal, proxy: HttpProxy, opening: Open, security: str
) -> None:
    server: Dovecot = bal.server
    port = server.imaps_port if security == "tls" else server.imap_port
    uid = bal.append(b"Subject: x\r\n\r\n")
    mailbox = opening(account(bal, proxy, security=security, port=port))
    mailbox.select()
    assert [one.uid for one in mailbox.fetch([uid])] == [uid]
    assert proxy.asked == [f"CONNECT localhost:{port}"]


def test_mail_is_announced_through_the_proxy_and_a_cut_is_mended(
    bal: Bal, proxy: HttpProxy, opening: Open
) -> None:
    mailbox = opening(account(bal, proxy))
    mailbox.select()
    proxy.cut()
    bal.append(b"Subject: x\r\n\r\n")
    assert mailbox.select().exists == 1
    assert len(proxy.asked) == 2


def test_the_proxys_login_is_given_and_taken_anew_at_each_connection(
    bal: Bal, proxy: HttpProxy, opening: Open
) -> None:
    proxy.login = "lbm", "clé:secrète"
    words = ["wrong", "clé:secrète"]
    wanted = Proxy(proxy.host, proxy.port, "lbm", lambda: words.pop(0))
    mailbox = opening(account(bal, proxy, proxy=wanted))
    with pytest.raises(LoginRefused, match="proxy refused our name and password") as caught:
        mailbox.select()
    assert "proxy_password" in caught.value.hint
    assert mailbox.select().exists == 0
    assert proxy.tried == [("lbm", "wrong"), proxy.login]


ANSWERS = [
    pytest.param(b"403 Forbidden", Refused, r"lets nobody through.*403", "allow", id="403"),
    pytest.param(b"407 No", Refused, r"wants a login \(407\)", "proxy_username", id="407"),
    pytest.param(b"502 Bad", Unavailable, r"cannot reach the server \(502\)", "host", id="502"),
    pytest.param(b"503 Off", Unavailable, r"cannot reach the server \(503\)", "host", id="503"),
    pytest.param(b"405 What", Refused, r"refuses to connect us \(405\)", "proxy", id="405"),
    pytest.param(b"302 There", Refused, r"refuses to connect us \(302\)", "proxy", id="302"),
]


@pytest.mark.parametrize(("status", "error", "what", "hint"), ANSWERS)
def test_a_proxy_that_says_no_is_told_with_what_to_do(  # noqa: PLR0917 - fixtures
    bal: Bal,
    proxy: HttpProxy,
    opening: Open,
    status: bytes,
    error: type[Exception],
    what: str,
    hint: str,
) -> None:
    proxy.answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(error, match=what) as caught:
        opening(account(bal, proxy)).select()
    assert type(caught.value) is error
    assert hint in getattr(caught.value, "hint", "")


@pytest.mark.parametrize(
    ("answer", "error", "what"),
    [
        pytest.param(
            b"* OK IMAP4rev1 ready\r\n", Refused, "no HTTP proxy", id="an IMAP server"
        ),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", Refused, "no HTTP proxy", id="no status"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 20_000, Refused, "no HTTP proxy", id="no end"),
        pytest.param(b"", Unavailable, "without an answer", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", Unavailable, "without an answer", id="half"),
    ],
)
def test_what_is_no_proxy_is_told_apart(  # noqa: PLR0917 - fixtures
    bal: Bal,
    proxy: HttpProxy,
    opening: Open,
    answer: bytes,
    error: type[Exception],
    what: str,
) -> None:
    proxy.answer = answer
    with pytest.raises(error, match=what) as caught:
        opening(account(bal, proxy)).select()
    assert getattr(caught.value, "hint", "")


def test_a_silent_proxy_is_unavailable_in_time(bal: Bal, proxy: HttpProxy) -> None:
    proxy.silent = True
    limits = Limits(connect=0.5)
    with (
        closing(ImapMailbox(account(bal, proxy), SystemClock(), limits)) as mailbox,
        pytest.raises(Unavailable, match="no answer in time"),
    ):
        mailbox.select()


def test_a_proxy_that_cannot_be_reached_is_unavailable(
    bal: Bal, proxy: HttpProxy, opening: Open
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    wanted = account(bal, proxy, proxy=Proxy("127.0.0.1", port))
    with pytest.raises(Unavailable, match=r"of the proxy: ECONNREFUSED") as caught:
        opening(wanted).select()
    assert "proxy" in caught.value.hint
    with pytest.raises(Unavailable, match=r"proxy's name could not be looked up") as caught:
        opening(replace(wanted, proxy=Proxy("no..name", 3128))).select()
    assert "`proxy`" in caught.value.hint


def test_a_proxy_cannot_take_the_servers_place(
    bal: Bal, proxy: HttpProxy, opening: Open
) -> None:
    proxy.leads_to = bal.server.imaps_port
    # It connects us, but not to a server of that name; only the proxy looks the name up.
    with pytest.raises(Refused, match="another name"):
        opening(account(bal, proxy, host="imap.elsewhere.test")).select()
    assert proxy.asked == [f"CONNECT imap.elsewhere.test:{bal.server.imaps_port}"]


def test_nothing_goes_through_a_proxy_in_clear(
    bal: Bal, proxy: HttpProxy, opening: Open
) -> None:
    with pytest.raises(Refused, match="loopback"):
        opening(account(bal, proxy, security="plaintext")).select()
    assert proxy.asked == []
