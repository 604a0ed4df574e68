"""How the mailbox proves who it is, and to whom: TLS, STARTTLS, passwords, tokens."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, Limits
from dispatcher.edges.imap.connect import connect
from dispatcher.edges.imap.tls import tls_context
from dispatcher.errors import ConfigInvalid, LoginRefused, Refused, Unavailable
from tests.servers.authority import Authority
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.scripted import Answer, Script, ScriptedServer, Session, then

SHORT = Limits(connect=3.0, command=3.0, silence=3.0, done=1.0, farewell=0.5)
HARD = 'sécret "tres" \\ long µ€'

Open = Callable[[Account], ImapMailbox]


@pytest.fixture
def opening() -> Iterator[Open]:
    """Return a maker of mailboxes that are closed at the end."""
    with ExitStack() as stack:
        yield lambda account: stack.enter_context(
            closing(ImapMailbox(account, SystemClock(), SHORT))
        )


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Return a starter of scripted servers."""
    with ExitStack() as stack:
        yield lambda *scripts: stack.enter_context(ScriptedServer(*scripts))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_no_command_waits_until_the_one_before_is_acknowledged(bal: Bal) -> None:
    """Nagle's delay and a peer's delayed acknowledgement cost 200 ms for a certificate."""
    account = dovecot_account(bal, security="plaintext", port=bal.server.imap_port)
    wire = connect(account, SHORT, tell=lambda _: None)
    assert wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    wire.shutdown()


def plain_account(server: ScriptedServer, **values: object) -> Account:
    account = Account(
        name="lbm",
        host="127.0.0.1",
        port=server.port,
        username="u@x.test",
        security="plaintext",
        password=lambda: "secret",
    )
    return replace(account, **values)  # type: ignore[arg-type]  # tests give what fits


def dovecot_account(bal: Bal, **values: object) -> Account:
    account = Account(
        name="lbm",
        host="localhost",
        port=bal.server.imaps_port,
        username=bal.user,
        ca_file=bal.server.ca_file,
        password=lambda: bal.password,
    )
    return replace(account, **values)  # type: ignore[arg-type]  # tests give what fits


# --- passwords


@pytest.mark.parametrize("security", ["plaintext", "starttls", "tls"])
def test_a_password_with_accents_and_quotes_opens_the_account(
    dovecot: Dovecot, opening: Open, security: str
) -> None:
    bal = dovecot.bal(password=HARD)
    port = dovecot.imaps_port if security == "tls" else dovecot.imap_port
    assert opening(dovecot_account(bal, security=security, port=port)).select().exists == 0


@pytest.mark.parametrize(
    ("password", "line"),
    [
        pytest.param("secret", b'LOGIN "u@x.test" "secret"', id="plain"),
        pytest.param('a "b" \\c', b'LOGIN "u@x.test" "a \\"b\\" \\\\c"', id="quoted"),
        pytest.param("sécret", b'LOGIN "u@x.test" {7}', id="a literal, in UTF-8"),
    ],
)
def test_without_sasl_plain_the_login_command_is_used(
    serve: Callable[..., ScriptedServer], opening: Open, password: str, line: bytes
) -> None:
    def answer(session: Session) -> None:
        if session.line.endswith(b"}"):
            session.send(b"+ go on\r\n")
            tag = session.tag
            assert session.read() == "sécret".encode()
            session.tag = tag
        session.send(b"TAG OK [CAPABILITY IMAP4rev1 IDLE] in\r\n")

    server = serve(Script({1: b"x"}, {"LOGIN": answer}, capabilities=b"IMAP4rev1"))
    mailbox = opening(plain_account(server, password=lambda: password))
    assert mailbox.select().exists == 1
    assert server.said(line) == 1
    assert server.said(b"CAPABILITY") == 1  # the second answer came with the login


def test_a_wrong_password_is_a_refused_login(bal: Bal, opening: Open) -> None:
    mailbox = opening(dovecot_account(bal, password=lambda: "wrong"))
    with pytest.raises(LoginRefused, match="AUTHENTICATIONFAILED") as caught:
        mailbox.select()
    assert caught.value.hint


def test_a_changed_password_is_taken_at_the_next_login(bal: Bal, opening: Open) -> None:
    given = ["wrong", bal.password]
    mailbox = opening(dovecot_account(bal, password=lambda: given.pop(0)))
    with pytest.raises(LoginRefused):
        mailbox.select()
    assert mailbox.select().exists == 0


@pytest.mark.parametrize("mechanism", ["AUTHENTICATE", "LOGIN"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"TAG NO [UNAVAILABLE] later\r\n", Unavailable, id="I4: unavailable"),
        pytest.param(b"TAG NO [INUSE] later\r\n", Unavailable, id="in use"),
        pytest.param(b"TAG NO [LIMIT] later\r\n", Unavailable, id="limit"),
        pytest.param(b"TAG NO [SERVERBUG] later\r\n", Unavailable, id="bug"),
        pytest.param(b"* BYE [UNAVAILABLE] later\r\n", Unavailable, id="bye"),
        pytest.param(Session.end, Unavailable, id="closes"),
        pytest.param(b"TAG NO [AUTHENTICATIONFAILED] no\r\n", LoginRefused, id="I5: failed"),
        pytest.param(b"TAG NO [EXPIRED] no\r\n", LoginRefused, id="expired"),
        pytest.param(b"TAG NO sorry\r\n", LoginRefused, id="no reason"),
        pytest.param(b"TAG BAD what\r\n", LoginRefused, id="bad"),
    ],
)
def test_a_login_that_fails_for_a_while_is_told_from_a_refused_one(  # noqa: PLR0917 - fixtures
    serve: Callable[..., ScriptedServer],
    opening: Open,
    mechanism: str,
    answer: Answer,
    error: type[Exception],
) -> None:
    capabilities = b"IMAP4rev1" + (b" AUTH=PLAIN" if mechanism == "AUTHENTICATE" else b"")
    server = serve(Script({}, {mechanism: answer}, capabilities=capabilities))
    with pytest.raises(error) as caught:
        opening(plain_account(server)).select()
    assert isinstance(caught.value, LoginRefused) is (error is LoginRefused)
    assert server.said(b"SELECT") == 0


@pytest.mark.parametrize(
    ("values", "capabilities"),
    [
        pytest.param({"password": lambda: None}, b"AUTH=PLAIN", id="nothing to log in with"),
        pytest.param({"password": lambda: ""}, b"AUTH=PLAIN", id="an empty password"),
        pytest.param({"password": lambda: "a\r\nb"}, b"AUTH=PLAIN", id="a line end in it"),
        pytest.param({"token": lambda: "a\1b"}, b"AUTH=XOAUTH2", id="a control in a token"),
        pytest.param({"token": lambda: "t"}, b"AUTH=PLAIN", id="no login by token"),
        pytest.param({}, b"LOGINDISABLED", id="no login by password"),
    ],
)
def test_a_login_that_cannot_be_made_sends_no_secret(
    serve: Callable[..., ScriptedServer],
    opening: Open,
    values: dict[str, object],
    capabilities: bytes,
) -> None:
    server = serve(Script({}, capabilities=b"IMAP4rev1 " + capabilities))
    with pytest.raises(Refused) as caught:
        opening(plain_account(server, **values)).select()
    assert caught.value.hint
    assert not isinstance(caught.value, LoginRefused)
    assert server.said(b"LOGIN") == server.said(b"AUTHENTICATE") == 0


# --- tokens


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        pytest.param(b"AUTH=XOAUTH2", b"user=u@x.test\1auth=Bearer t1\1\1", id="XOAUTH2"),
        pytest.param(
            b"AUTH=XOAUTH2 AUTH=OAUTHBEARER",
            b"n,a=u@x.test,\1host=127.0.0.1\1port=PORT\1auth=Bearer t1\1\1",
            id="OAUTHBEARER is preferred",
        ),
    ],
)
def test_a_token_is_fresh_at_each_login(
    serve: Callable[..., ScriptedServer], opening: Open, capability: bytes, expected: bytes
) -> None:
    tokens = iter(["t1", "t2"])
    server = serve(Script({}, {"LOGOUT": Session.end}, capabilities=b"IMAP4rev1 " + capability))
    mailbox = opening(plain_account(server, token=lambda: next(tokens)))
    mailbox.select()
    mailbox.close()
    mailbox.select()
    sent = [
        line for line in server.lines if line.endswith((b"=", b"Q", b"B")) or b" " not in line
    ]
    said = [base64.b64decode(line) for line in sent]
    first = expected.replace(b"PORT", b"%d" % server.port)
    assert said == [first, first.replace(b"t1", b"t2")]


@pytest.mark.parametrize(
    ("mechanism", "end"),
    [
        pytest.param(b"XOAUTH2", b"", id="XOAUTH2"),
        pytest.param(b"OAUTHBEARER", b"AQ==", id="b"),
    ],
)
def test_a_refused_token_ends_the_exchange_as_the_mechanism_says(
    serve: Callable[..., ScriptedServer], opening: Open, mechanism: bytes, end: bytes
) -> None:
    ends: list[bytes] = []

    def answer(session: Session) -> None:
        tag = session.tag
        session.send(b"+ \r\n")
        session.read()
        session.send(b"+ %s\r\n" % base64.b64encode(b'{"status":"invalid_token"}'))
        ends.append(session.read())
        session.tag = tag
        session.send(b"TAG NO [AUTHENTICATIONFAILED] no\r\n")

    server = serve(
        Script({}, {"AUTHENTICATE": answer}, capabilities=b"IMAP4rev1 AUTH=" + mechanism)
    )
    with pytest.raises(LoginRefused) as caught:
        opening(plain_account(server, token=lambda: "t")).select()
    assert "token_command" in caught.value.hint
    assert ends == [end]


# --- client certificates


def test_a_client_certificate_opens_its_account(dovecot: Dovecot, opening: Open) -> None:
    account = Account(
        name="lbm",
        host="localhost",
        port=dovecot.imaps_port,
        username="mtls",
        ca_file=dovecot.ca_file,
        client_certificate=dovecot.client_certificate,
        client_key=dovecot.client_key,
    )
    assert opening(account).select().exists == 0


def test_a_client_certificate_where_none_is_taken_is_refused(
    serve: Callable[..., ScriptedServer], opening: Open, authority: Authority
) -> None:
    certificate, key = authority.client("someone")
    server = serve(Script({}))
    account = plain_account(
        server, password=lambda: None, client_certificate=certificate, client_key=key
    )
    with pytest.raises(Refused, match="EXTERNAL"):
        opening(account).select()


# --- the server's identity (I6)


def server_context(
    authority: Authority, name: str, *names: str, days: int = 30
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server(name, *names, days=days))
    return context


def old_context(authority: Authority) -> ssl.SSLContext:
    context = server_context(authority, "old", "DNS:localhost")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


UNTRUSTED = [
    pytest.param(
        lambda _, p: server_context(Authority(p / "other", "other"), "x", "DNS:localhost"),
        "ca_file",
        id="unknown authority",
    ),
    pytest.param(
        lambda a, _: server_context(a, "elsewhere", "DNS:imap.elsewhere.test"),
        "name",
        id="another name",
    ),
    pytest.param(
        lambda a, _: server_context(a, "late", "DNS:localhost", days=-1), "clock", id="expired"
    ),
    pytest.param(lambda a, _: old_context(a), "TLS 1.2", id="TLS 1.1"),
]


@pytest.mark.parametrize(("make", "hint"), UNTRUSTED)
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_server_that_cannot_be_trusted_sees_no_login(  # noqa: PLR0917 - fixtures
    serve: Callable[..., ScriptedServer],
    opening: Open,
    authority: Authority,
    tmp_path: Path,
    make: Callable[[Authority, Path], ssl.SSLContext],
    hint: str,
    security: str,
) -> None:
    context = make(authority, tmp_path)
    script = Script({}, {"STARTTLS": then(b"TAG OK go\r\n", lambda s: s.upgrade(context))},
                    capabilities=b"IMAP4rev1 STARTTLS AUTH=PLAIN")  # fmt: skip
    server = serve(replace(script, tls=context) if security == "tls" else script)
    account = plain_account(
        server, host="localhost", security=security, ca_file=authority.certificate
    )
    with pytest.raises(Refused) as caught:
        opening(account).select()
    assert hint in caught.value.hint
    assert server.said(b"AUTHENTICATE") == server.said(b"LOGIN") == 0


def test_a_trusted_server_is_accepted_by_name_and_by_starttls(
    serve: Callable[..., ScriptedServer], opening: Open, authority: Authority
) -> None:
    context = server_context(authority, "localhost", "DNS:localhost")
    upgrade = then(b"TAG OK go\r\n", lambda s: s.upgrade(context))
    server = serve(Script({}, {"STARTTLS": upgrade}, capabilities=b"IMAP4rev1 STARTTLS"))
    account = plain_account(
        server, host="localhost", security="starttls", ca_file=authority.certificate
    )
    assert opening(account).select().exists == 0
    # What was offered in clear counts for nothing (RFC 3501, 6.2.1).
    assert server.said(b"CAPABILITY") == 3


def test_an_authority_of_ones_own_is_the_only_one(authority: Authority) -> None:
    account = Account(name="lbm", host="h", port=1, username="u", ca_file=authority.certificate)
    context = tls_context(account)
    assert context.cert_store_stats()["x509_ca"] == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("content", [None, "not a certificate"], ids=["missing", "garbage"])
def test_an_authority_that_cannot_be_read_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    account = Account(name="lbm", host="h", port=1, username="u", ca_file=path)
    with pytest.raises(Refused, match="ca_file") as caught:
        tls_context(account)
    assert caught.value.hint


def test_tls_to_a_port_that_speaks_none_is_refused(
    serve: Callable[..., ScriptedServer], opening: Open
) -> None:
    server = serve(Script({}))
    with pytest.raises(Refused, match="TLS"):
        opening(plain_account(server, host="localhost", security="tls")).select()


def test_a_server_silent_in_the_handshake_is_unavailable_in_time(
    serve: Callable[..., ScriptedServer],
) -> None:
    server = serve(Script({}, {"": Session.hang}))
    account = plain_account(server, host="localhost", security="tls")
    limits = replace(SHORT, connect=0.4)
    began = time.monotonic()
    with (
        closing(ImapMailbox(account, SystemClock(), limits)) as mailbox,
        pytest.raises(Unavailable),
    ):
        mailbox.select()
    assert time.monotonic() - began < 14


# --- no downgrade (I7)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script({}), id="STARTTLS is not offered"),
        pytest.param(
            Script({}, {"STARTTLS": b"TAG NO not now\r\n"}, capabilities=b"IMAP4rev1 STARTTLS"),
            id="STARTTLS is refused",
        ),
        pytest.param(
            Script({}, {"STARTTLS": b"TAG BAD what\r\n"}, capabilities=b"IMAP4rev1 STARTTLS"),
            id="STARTTLS is bad",
        ),
        pytest.param(
            Script(
                {},
                {"STARTTLS": b"TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"},
                capabilities=b"IMAP4rev1 STARTTLS",
            ),
            id="bytes are slipped in before TLS",
        ),
        pytest.param(
            Script({}, {"": b"* PREAUTH welcome\r\n"}, capabilities=b"IMAP4rev1 STARTTLS"),
            id="PREAUTH",
        ),
    ],
)
def test_starttls_never_falls_back_to_clear_text(
    serve: Callable[..., ScriptedServer], opening: Open, authority: Authority, script: Script
) -> None:
    server = serve(script)
    account = plain_account(
        server, host="localhost", security="starttls", ca_file=authority.certificate
    )
    with pytest.raises(Refused):
        opening(account).select()
    assert server.said(b"AUTHENTICATE") == server.said(b"LOGIN") == server.said(b"SELECT") == 0


def test_a_preauth_greeting_is_refused_without_a_word(
    serve: Callable[..., ScriptedServer], opening: Open
) -> None:
    server = serve(Script({}, {"": b"* PREAUTH welcome\r\n"}))
    with pytest.raises(Refused, match="PREAUTH"):
        opening(plain_account(server)).select()
    assert server.lines == []


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"])
def test_plaintext_goes_to_loopback_addresses_only(opening: Open, host: str) -> None:
    account = Account(
        name="lbm", host=host, port=143, username="u", security="plaintext",
        password=lambda: "secret",
    )  # fmt: skip
    with pytest.raises(Refused, match="loopback"):
        opening(account).select()


@pytest.mark.parametrize("host", ["a..b", "x" * 80 + ".test"])
def test_a_host_that_is_no_name_is_unavailable_with_a_hint(opening: Open, host: str) -> None:
    account = Account(name="lbm", host=host, port=993, username="u", password=lambda: "s")
    with pytest.raises(Unavailable) as caught:
        opening(account).select()
    assert caught.value.hint


def test_a_port_where_nobody_listens_is_unavailable(opening: Open) -> None:
    with ScriptedServer(Script({})) as server:
        account = plain_account(server)
    with pytest.raises(Unavailable, match="ECONNREFUSED"):
        opening(account).select()


@pytest.mark.parametrize("keyword", ["\\Deleted", "\\Seen", "two words", "a(b", "é", "", "a]"])
def test_a_keyword_that_is_none_is_a_mistake_of_the_settings(keyword: str) -> None:
    with pytest.raises(ConfigInvalid):
        Account(name="lbm", host="h", port=1, username="u", keyword=keyword)


def test_no_secret_is_in_an_accounts_repr() -> None:
    account = Account(name="l", host="h", port=1, username="u", password=lambda: "s")
    assert "password" not in repr(account)


# --- the real server


@pytest.mark.parametrize("name", ["Certificats reçus", 'a "b" \\ & c', "Été/2021"])
def test_a_mailbox_may_have_any_name(bal: Bal, opening: Open, name: str) -> None:
    bal.create(name)
    uid = bal.append(b"Subject: x\r\n\r\n", mailbox=name)
    mailbox = opening(dovecot_account(bal, folder=name))
    assert mailbox.select().exists == 1
    assert mailbox.uids() == (uid,)


def test_a_mailbox_that_does_not_exist_is_refused_with_a_hint(bal: Bal, opening: Open) -> None:
    with pytest.raises(Refused) as caught:
        opening(dovecot_account(bal, folder="Nulle part")).select()
    assert "folder" in caught.value.hint


def test_a_kicked_connection_is_replaced(bal: Bal, opening: Open) -> None:
    mailbox = opening(dovecot_account(bal))
    mailbox.select()
    bal.server.kick(bal)
    uid = bal.append(b"Subject: x\r\n\r\n")
    assert mailbox.select().exists == 1
    assert mailbox.uids() == (uid,)


def test_a_connection_kicked_in_idle_ends_the_wait(bal: Bal, opening: Open) -> None:
    mailbox = opening(dovecot_account(bal))
    mailbox.select()
    kicking = threading.Timer(0.3, bal.server.kick, [bal])
    kicking.start()
    began = time.monotonic()
    mailbox.wait(60)
    kicking.join()
    assert time.monotonic() - began < 20
    assert mailbox.select().exists == 0


def test_mail_that_comes_between_select_and_idle_is_never_missed(
    bal: Bal, opening: Open
) -> None:
    mailbox = opening(dovecot_account(bal))
    for count in range(1, 7):
        mailbox.select()
        bringing = threading.Timer(0.001 * count, bal.append, [b"Subject: x\r\n\r\n"])
        bringing.start()
        began = time.monotonic()
        mailbox.wait(60)
        bringing.join()
        assert time.monotonic() - began < 20, count
        assert mailbox.select().exists == count


class LaterClock(SystemClock):
    """A clock that runs ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead  # noqa: TID251 - this is a clock


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(timedelta(0), "ok"), (timedelta(days=310), "warning")],
    ids=["far", "near"],
)
def test_a_check_tells_when_the_servers_certificate_ends(
    bal: Bal, ahead: timedelta, level: str
) -> None:
    with closing(ImapMailbox(dovecot_account(bal), LaterClock(ahead), SHORT)) as mailbox:
        (finding,) = (f for f in mailbox.check() if "ends on" in f.what)
    assert finding.level == level
