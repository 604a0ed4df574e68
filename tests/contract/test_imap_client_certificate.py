"""Logging in with a client certificate, PEM or PKCS#12, and every way in which that fails."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, own_tls
from dispatcher.edges.imap.tls import tls_context
from dispatcher.errors import LoginRefused, Refused
from tests.servers.authority import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import Script, ScriptedServer

PHRASE = "mot de passe très secret"
Open = Callable[[Account], ImapMailbox]
Pair = tuple[Path, Path]


@pytest.fixture
def opening() -> Iterator[Open]:
    """Return a maker of mailboxes that are closed at the end."""
    with ExitStack() as stack:
        yield lambda account: stack.enter_context(closing(ImapMailbox(account, SystemClock())))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.client("bal")


def account(dovecot: Dovecot, **values: object) -> Account:
    usual = Account(
        name="lbm",
        host="localhost",
        port=dovecot.imaps_port,
        username="mtls",
        ca_file=dovecot.ca_file,
    )
    return replace(usual, **values)  # type: ignore[arg-type]  # tests give what fits


def unconnected(**values: object) -> Account:
    usual = Account(name="lbm", host="localhost", port=1, username="u")
    return replace(usual, **values)  # type: ignore[arg-type]  # tests give what fits


# --- a real server


@pytest.mark.parametrize("legacy", [False, True], ids=["AES", "RC2 and 3DES"])
def test_a_pkcs12_file_opens_its_account(
    dovecot: Dovecot, opening: Open, *, legacy: bool
) -> None:
    pair = (dovecot.client_certificate, dovecot.client_key)
    file = dovecot.authority.pkcs12(pair, PHRASE, legacy=legacy)
    wanted = account(dovecot, client_certificate=file, client_passphrase=lambda: PHRASE)
    mailbox = opening(wanted)
    assert mailbox.select().exists == 0
    ends = {one.what: one.ends_at for one in mailbox.endings()}
    # openssl issued both for a year.
    a_year_on = datetime.now(UTC) + timedelta(days=365)  # noqa: TID251 - real certificates
    for ends_at in (ends["client certificate"], ends["server certificate"]):
        assert abs(ends_at - a_year_on) < timedelta(days=1)
    assert len(ends) == 2


def test_an_encrypted_key_opens_its_account_with_its_passphrase(
    dovecot: Dovecot, opening: Open
) -> None:
    wanted = account(
        dovecot,
        client_certificate=dovecot.client_certificate,
        client_key=dovecot.authority.encrypted(dovecot.client_key, PHRASE),
        client_passphrase=lambda: PHRASE,
    )
    assert opening(wanted).select().exists == 0


def test_a_certificate_and_a_password_go_together(dovecot: Dovecot, opening: Open) -> None:
    bal = dovecot.bal()
    certificate, key = dovecot.authority.client(bal.user)
    wanted = account(
        dovecot,
        username=bal.user,
        password=lambda: bal.password,
        client_certificate=certificate,
        client_key=key,
    )
    assert opening(wanted).select().exists == 0
    with pytest.raises(LoginRefused, match="client certificate and password"):
        opening(replace(wanted, password=lambda: "wrong")).select()


@pytest.mark.parametrize(
    ("make", "what", "hint"),
    [
        pytest.param(lambda a, _: a.client("mtls", days=-1), "ended on", "new", id="ended"),
        pytest.param(
            lambda _, p: Authority(p / "other", "other").client("mtls"),
            "client certificate was refused",
            "revoked",
            id="of an authority that the server does not know",
        ),
    ],
)
def test_a_certificate_that_the_server_refuses_is_told_with_what_to_do(  # noqa: PLR0917 - fixtures
    dovecot: Dovecot,
    opening: Open,
    tmp_path: Path,
    make: Callable[[Authority, Path], Pair],
    what: str,
    hint: str,
) -> None:
    certificate, key = make(dovecot.authority, tmp_path)
    wanted = account(dovecot, client_certificate=certificate, client_key=key)
    mailbox = opening(wanted)
    with pytest.raises(LoginRefused, match=what) as caught:
        mailbox.select()
    assert hint in caught.value.hint
    assert "client certificate" in {one.what for one in mailbox.endings()}


def test_a_renewed_certificate_is_taken_at_the_next_login(
    dovecot: Dovecot, opening: Open, tmp_path: Path
) -> None:
    certificate, key = (tmp_path / name for name in ("c.pem", "c.key"))
    for old, path in zip(
        dovecot.authority.client("mtls", days=-1), (certificate, key), strict=True
    ):
        shutil.copy(old, path)
    mailbox = opening(account(dovecot, client_certificate=certificate, client_key=key))
    with pytest.raises(LoginRefused):
        mailbox.select()
    shutil.copy(dovecot.client_certificate, certificate)
    shutil.copy(dovecot.client_key, key)
    assert mailbox.select().exists == 0


# --- a server that demands one in the handshake


def demanding(authority: Authority, clients: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("localhost", "DNS:localhost"))
    context.load_verify_locations(clients.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("case", "what"),
    [
        pytest.param("none", "wants a client certificate|no TLS with", id="none is given"),
        pytest.param("ended", "ended on", id="an ended one"),
        pytest.param("strange", "authority of our client certificate", id="a strange one"),
    ],
)
def test_a_handshake_that_fails_for_our_certificate_says_so(  # noqa: PLR0917 - fixtures
    authority: Authority, opening: Open, version: ssl.TLSVersion, case: str, what: str
) -> None:
    clients = Authority(authority.directory / "clients", "clients")
    pairs = {
        "none": (None, None),
        "ended": clients.client("late", days=-1),
        "strange": authority.client("strange"),
    }
    certificate, key = pairs[case]
    context = demanding(authority, clients)
    context.minimum_version = context.maximum_version = version
    with ScriptedServer(Script({}, tls=context)) as server:
        wanted = unconnected(
            port=server.port,
            ca_file=authority.certificate,
            password=lambda: "secret",
            client_certificate=certificate,
            client_key=key,
        )
        with pytest.raises(Refused, match=what) as caught:
            opening(wanted).select()
        assert "certificate" in caught.value.hint
        assert server.said(b"AUTHENTICATE") == server.said(b"LOGIN") == 0


# --- files that cannot be used: nothing is sent to anybody


def only_certificate(certificate: Path, directory: Path) -> Path:
    path = directory / "only.p12"
    authority = Authority(directory / "a")
    authority._openssl(
        "pkcs12", "-export", "-nokeys", "-in", certificate, "-passout", "pass:x", "-out", path
    )
    return path


def bundled(authority: Authority, pair: Pair, directory: Path) -> Path:
    """Return a PEM file with key, authority and certificate, in the order that is wrong."""
    path = directory / "bundle.pem"
    parts = [pair[1], authority.certificate, pair[0]]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_pem_bundle_may_be_in_any_order(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    own = own_tls.load(unconnected(client_certificate=bundled(authority, pair, tmp_path)))
    assert own is not None
    assert len(own.chain) == 2
    assert tls_context(unconnected(), own).verify_mode == ssl.CERT_REQUIRED


Files = Callable[[Authority, Pair, Path], dict[str, object]]
UNUSABLE = [
    pytest.param(
        lambda a, pair, _: {"client_certificate": a.pkcs12(pair, PHRASE)},
        "no passphrase", "client_passphrase_file", id="PKCS#12, no passphrase",
    ),
    pytest.param(
        lambda a, pair, _: {
            "client_certificate": a.pkcs12(pair, PHRASE), "client_passphrase": lambda: "no",
        },
        "passphrase does not open client_certificate", "correct", id="PKCS#12, a wrong one",
    ),
    pytest.param(
        lambda a, pair, _: {
            "client_certificate": pair[0], "client_key": a.encrypted(pair[1], PHRASE),
        },
        "no passphrase", "client_passphrase_file", id="PEM, no passphrase",
    ),
    pytest.param(
        lambda a, pair, _: {
            "client_certificate": pair[0], "client_key": a.encrypted(pair[1], PHRASE),
            "client_passphrase": lambda: "no",
        },
        "passphrase does not open client_key", "correct", id="PEM, a wrong one",
    ),
    pytest.param(
        lambda a, pair, _: {
            "client_certificate": pair[0], "client_key": a.client("somebody-else")[1],
        },
        "does not belong", "requested", id="the key of another certificate",
    ),
    pytest.param(
        lambda _, pair, __: {"client_certificate": pair[0]},
        "no private key", "client_key", id="PEM without its key",
    ),
    pytest.param(
        lambda _, pair, d: {
            "client_certificate": only_certificate(pair[0], d),
            "client_passphrase": lambda: "x",
        },
        "no certificate together with its private key", "export", id="PKCS#12 without its key",
    ),
    pytest.param(
        lambda a, pair, _: {
            "client_certificate": a.pkcs12(pair, PHRASE), "client_key": pair[1],
            "client_passphrase": lambda: PHRASE,
        },
        "client_key belongs to a PEM", "delete client_key", id="PKCS#12 and a key beside it",
    ),
    pytest.param(
        lambda _, pair, __: {"client_certificate": pair[1], "client_key": pair[1]},
        "no certificate that can be read", "BEGIN CERTIFICATE", id="a key for a certificate",
    ),
    pytest.param(
        lambda _, __, d: {"client_certificate": written(d, b"\x30\x82 no PKCS#12")},
        "neither PEM nor PKCS#12", "unchanged", id="noise",
    ),
    pytest.param(
        lambda _, __, d: {"client_certificate": d / "missing.p12"},
        "cannot be read: ENOENT", "correct", id="a missing file",
    ),
    pytest.param(
        lambda _, pair, d: {
            "client_certificate": pair[0],
            "client_key": written(d, b"-----BEGIN PRIVATE KEY-----\nAA==\n"
                                     b"-----END PRIVATE KEY-----\n"),
        },
        "private key cannot be read", "RSA or EC", id="a damaged key",
    ),
]  # fmt: skip


def written(directory: Path, content: bytes) -> Path:
    path = directory / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("files", "what", "hint"), UNUSABLE)
def test_a_file_that_cannot_be_used_is_refused_with_what_to_do(  # noqa: PLR0917 - fixtures
    authority: Authority, pair: Pair, tmp_path: Path, files: Files, what: str, hint: str
) -> None:
    wanted = unconnected(**files(authority, pair, tmp_path))
    with pytest.raises(Refused, match=what) as caught:
        own_tls.load(wanted)
    assert hint in caught.value.hint
    said = f"{caught.value} {caught.value.hint}"
    assert PHRASE not in said
    assert str(tmp_path) not in said


def test_the_key_is_never_in_a_file_that_has_a_name(
    authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_tls.load(
        unconnected(
            client_certificate=authority.pkcs12(pair, PHRASE), client_passphrase=lambda: PHRASE
        )
    )
    assert own is not None
    assert "PRIVATE" not in repr(own)
    shown: list[tuple[str, bytes]] = []
    real = ssl.SSLContext.load_cert_chain

    def noting(self: ssl.SSLContext, path: str, **more: bytes) -> None:
        shown.append((os.readlink(path), Path(path).read_bytes()))
        real(self, path, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", noting)
    before = os.listdir("/proc/self/fd")
    own.present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    ((target, content),) = shown
    assert target.startswith("/memfd:")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert b"BEGIN PRIVATE KEY" not in content
    assert os.listdir("/proc/self/fd") == before
