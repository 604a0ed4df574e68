"""Logging in with a token: the command that prints it, and a real server that checks it."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from dispatcher.edges import token
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox
from dispatcher.edges.imap.claims import life_of
from dispatcher.errors import LoginRefused, Refused, Unavailable
from dispatcher.settings import PREFIX
from tests.acceptance.laboratory import until
from tests.servers.dovecot import Bal, Dovecot

Open = Callable[[Account], ImapMailbox]
run = partial(token.run, hidden=PREFIX)


@pytest.fixture
def opening() -> Iterator[Open]:
    """Return a maker of mailboxes that are closed at the end."""
    with ExitStack() as stack:
        yield lambda account: stack.enter_context(closing(ImapMailbox(account, SystemClock())))


def account(bal: Bal, given: Callable[[], str]) -> Account:
    return Account(
        name="lbm",
        host="localhost",
        port=bal.server.imaps_port,
        username=bal.user,
        ca_file=bal.server.ca_file,
        token=given,
    )


# --- a server that checks tokens


@pytest.mark.parametrize(
    ("mechanisms", "used"),
    [
        pytest.param("plain xoauth2", "XOAUTH2", id="XOAUTH2"),
        pytest.param("plain xoauth2 oauthbearer", "OAUTHBEARER", id="both"),
    ],
)
def test_the_servers_best_mechanism_is_used(opening: Open, mechanisms: str, used: str) -> None:
    with Dovecot(mechanisms) as server:
        bal = server.bal()
        mailbox = opening(account(bal, lambda: server.token(bal)))
        assert mailbox.select().exists == 0
        assert any(used in finding.what for finding in mailbox.check())
        # A fresh one for each login needs nobody's care.
        assert [one.what for one in mailbox.endings()] == ["server certificate"]


def test_a_token_that_lasts_is_one_more_thing_to_renew(bal: Bal, opening: Open) -> None:
    given = bal.server.token(bal, ends_in=40 * 86_400)
    mailbox = opening(account(bal, lambda: given))
    mailbox.select()
    (ending,) = (one for one in mailbox.endings() if one.what == "token")
    life = life_of(given)
    assert life is not None
    assert ending.ends_at == life.ends_at
    (finding,) = (one for one in mailbox.check() if "the token ends" in one.what)
    assert finding.level == "warning"
    assert "token_command" in finding.hint


@pytest.mark.parametrize(
    ("make", "what"),
    [
        pytest.param(lambda b: b.server.token(b, ends_in=-60), "token that ended at", id="old"),
        pytest.param(lambda b: b.server.token(b, key=b"other"), "was refused", id="forged"),
        pytest.param(lambda _: "opaque", "by token was refused", id="opaque"),
    ],
)
def test_a_token_that_the_server_refuses_is_a_refused_login(
    bal: Bal, opening: Open, make: Callable[[Bal], str], what: str
) -> None:
    given = make(bal)
    with pytest.raises(LoginRefused, match=what) as caught:
        opening(account(bal, lambda: given)).select()
    assert given not in str(caught.value)
    assert caught.value.hint


def test_a_server_that_takes_no_token_is_not_given_one(opening: Open) -> None:
    with Dovecot("plain") as server:
        with pytest.raises(Refused, match="no login by XOAUTH2") as caught:
            opening(account(server.bal(), lambda: "t")).select()
        assert "OAUTHBEARER" in caught.value.hint


@pytest.mark.parametrize(
    "given",
    ["", "a.b", "a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.W10.c", "a.eyJleHAiOjFlMzB9.c"],
)
def test_what_is_no_jwt_has_no_end(given: str) -> None:
    assert life_of(given) is None


# --- the command


def script(path: Path, body: str) -> list[str]:
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path), "an-argument-that-is-secret"]


def test_the_command_prints_a_new_token_at_each_login(tmp_path: Path) -> None:
    body = "p = sys.argv[0] + '.n'\nopen(p, 'a').write('x')\nprint(len(open(p).read()))"
    command = script(tmp_path / "token", body)
    assert [run(command) for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param("print('s3cret'); sys.exit(3)", "ended with status 3", id="it fails"),
        pytest.param("os.kill(os.getpid(), 9)", "killed by signal 9", id="it is killed"),
        pytest.param("pass", "printed nothing", id="it is silent"),
        pytest.param("print('  ')", "printed nothing", id="white space"),
        pytest.param("print('s3cret\\ns3cret')", "more than one token", id="two lines"),
        pytest.param("print('s3cret of ours')", "more than one token", id="a sentence"),
        pytest.param("print('s3cret' * 20_000)", "more than one token", id="far too much"),
        pytest.param("os.write(1, b'\\xff\\xfe')", "something else than text", id="bytes"),
        pytest.param("print('s3cret', file=sys.stderr)", "printed nothing", id="wrong stream"),
    ],
)
def test_a_command_that_gives_no_token_is_told_without_its_output(
    tmp_path: Path, body: str, what: str
) -> None:
    with pytest.raises(Unavailable, match=what) as caught:
        run(script(tmp_path / "token", body))
    said = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert "s3cret" not in said
    assert "argument" not in said
    assert "by hand" in caught.value.hint


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(0o600, "permission denied", id="not executable"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(
    tmp_path: Path, mode: int | None, what: str
) -> None:
    path = tmp_path / "token"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    with pytest.raises(Unavailable, match=f"cannot be started: {what}"):
        run([str(path)])


@pytest.mark.parametrize("prints", [True, False], ids=["after printing", "silently"])
def test_a_command_that_is_too_slow_is_ended_with_what_it_started(
    tmp_path: Path, *, prints: bool
) -> None:
    pids = tmp_path / "pids"
    said = "print('half', flush=True)\n" if prints else ""
    body = (
        f"{said}child = os.fork()\n"
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(600)"
    )
    with pytest.raises(Unavailable, match="took over 5 s and was ended"):
        run(script(tmp_path / "token", body), seconds=5)
    started = [int(pid) for pid in pids.read_text().split()]
    until(lambda: not any(map(alive, started)), "the end of what it started")


def alive(pid: int) -> bool:
    """Whether a process still does anything: a zombie, whose parent is gone, does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_command_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="took over 3 s"):
        run(script(tmp_path / "token", "while True: os.write(1, b'x' * 65536)"), seconds=3)


def test_the_command_sees_no_terminal_and_no_input(tmp_path: Path) -> None:
    body = "print(len(sys.stdin.read()) or os.isatty(0) or 'alone')"
    assert run(script(tmp_path / "token", body)) == "alone"


def test_the_command_does_not_see_the_services_other_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDEP_DISPATCHER__ALERTS__SMTP__PASSWORD", "s3cret")
    monkeypatch.setenv("Sidep_Dispatcher__Mailboxes__Gare__Password", "s3cret")
    monkeypatch.setenv("MSSANTE_REALM", "its-own")
    body = "assert 's3cret' not in os.environ.values()\nprint(os.environ['MSSANTE_REALM'])"
    assert run(script(tmp_path / "token", body)) == "its-own"
