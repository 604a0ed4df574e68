"""The logins of the MSSanté world, from the settings to a delivered certificate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.cases import Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.http_proxy import HttpProxy

SITE = "990000010"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
PHRASE = "mot de passe"


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy() as running:
        running.login = "lbm", PHRASE
        yield running


def private(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return path


def log_in_by(laboratory: Laboratory, bal: Bal, *keys: str) -> None:
    """Write settings whose one mailbox is reached by TLS and opened as these keys say."""
    lines = [
        "host: localhost",
        f"port: {bal.server.imaps_port}",
        f"ca_file: {bal.server.ca_file}",
        *keys,
    ]
    text = "".join(f"    {line}\n" for line in lines)
    laboratory.config.write_text(
        f"mailboxes:\n  lbm:\n{text}routing: routing.yaml\n"
        f"ledger: sqlite:///{laboratory.ledger}\nlog: {{level: debug}}\n"
        "retention: {negative: 10 years, positive: 10 years, unreadable: 10 years}\n",
        encoding="utf-8",
    )


def by_pkcs12(laboratory: Laboratory, bal: Bal) -> list[str]:
    authority = bal.server.authority
    file = authority.pkcs12(authority.client(bal.user), PHRASE)
    word = private(laboratory.top / "phrase", PHRASE)
    return [f"client_certificate: {file}", f"client_passphrase_file: {word}"]


def by_pem_and_password(laboratory: Laboratory, bal: Bal) -> list[str]:
    certificate, key = bal.server.authority.client(bal.user)
    key.chmod(0o600)
    word = private(laboratory.top / "word", bal.password)
    return [
        f"client_certificate: {certificate}", f"client_key: {key}",
        f"username: {bal.user}", f"password_file: {word}",
    ]  # fmt: skip


def by_token(laboratory: Laboratory, bal: Bal) -> list[str]:
    command = laboratory.top / "token"
    command.write_text(f"#!{sys.executable}\nprint({bal.server.token(bal)!r})\n")
    command.chmod(0o700)
    return [f"username: {bal.user}", f"token_command: {command}"]


def through(proxy: HttpProxy, laboratory: Laboratory) -> list[str]:
    word = private(laboratory.top / "proxy-word", PHRASE)
    return [
        f"proxy: http://127.0.0.1:{proxy.port}",
        "proxy_username: lbm",
        f"proxy_password_file: {word}",
    ]


Profile = Callable[[Laboratory, Bal], list[str]]
PROFILES = [by_pkcs12, by_pem_and_password, by_token]


@pytest.fixture
def sent(secrets: Secrets) -> Sending:
    """Return a certificate for the site; nothing of it may be logged."""
    (one,) = scenario.certificates(41, 1, [SITE], NOW)
    secrets.add([one])
    return one


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_delivers_through_a_proxy(  # noqa: PLR0917 - fixtures
    laboratory: Laboratory, bal: Bal, proxy: HttpProxy, profile: Profile, sent: Sending
) -> None:
    log_in_by(laboratory, bal, *profile(laboratory, bal), *through(proxy, laboratory))
    bal.deliver(sent.raw)
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"]) == (0, 1)
    assert len(laboratory.files(SITE)) == 1
    assert set(proxy.asked) == {f"CONNECT localhost:{bal.server.imaps_port}"}


STEPS = (
    "the proxy's name 127.0.0.1 is 127.0.0.1",
    "the proxy answers at 127.0.0.1",
    "the proxy connected us to localhost",
    "TLSv1.3, name and chain of the server are right",
    "the server certificate ends on",
    "its authority test-authority is trusted by ca_file",
    "logged in by client certificate (EXTERNAL)",
    "the client certificate ends on",
    "the server offers IDLE",
    "the server offers UIDPLUS",
    "the server offers QUOTA",
    "opened to read (EXAMINE), 1 messages",
    "nothing speaks against the keyword",
    "of its quota of 200 MiB is used",
)


def test_check_goes_step_by_step_and_changes_nothing(
    laboratory: Laboratory, bal: Bal, proxy: HttpProxy, sent: Sending
) -> None:
    log_in_by(laboratory, bal, *by_pkcs12(laboratory, bal), *through(proxy, laboratory))
    uid = bal.append(sent.raw)
    before = (bal.flags(), bal.uidvalidity())
    ended = laboratory.command("check")
    assert ended.status == 0, ended.out
    said = [line for line in ended.out.splitlines() if "mailbox lbm: " in line]
    assert len(said) == len(STEPS)
    for line, step in zip(said, STEPS, strict=True):
        assert step in line
        assert line.startswith("ok")
    assert (bal.flags(), bal.uidvalidity()) == before
    assert before[0] == {uid: frozenset()}
    assert PHRASE not in ended.out + ended.err


def test_check_ends_at_the_step_that_fails_and_says_what_to_do(
    laboratory: Laboratory, bal: Bal, proxy: HttpProxy
) -> None:
    proxy.login = "lbm", "another word"
    log_in_by(laboratory, bal, *by_pkcs12(laboratory, bal), *through(proxy, laboratory))
    ended = laboratory.command("check")
    assert ended.status == 1
    said = [line for line in ended.out.splitlines() if "mailbox lbm: " in line]
    assert len(said) == 3
    assert "the proxy refused our name and password (407)" in said[-1]
    assert "correct proxy_username and proxy_password" in ended.out


def test_a_password_that_changed_is_taken_at_the_next_login(
    laboratory: Laboratory, dovecot: Dovecot, bal: Bal, sent: Sending
) -> None:
    """C2: the new password lies in the file; the connection with the old one breaks."""
    process = laboratory.start()
    try:
        until(lambda: laboratory.ledger.exists() and has_looked(laboratory), "a first look")
        dovecot.set_password(bal, "un nouveau mot")
        private(laboratory.top / "lbm.password", "un nouveau mot")
        dovecot.kick(bal)
        bal.deliver(sent.raw)
        until(lambda: len(laboratory.files(SITE)) == 1, "the certificate, by a new login")
    finally:
        stop(process)


def has_looked(laboratory: Laboratory) -> bool:
    return laboratory.status()["mailboxes"][0]["last_good_contact"] is not None
