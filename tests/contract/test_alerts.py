"""The way to the people who are told: what each promises, and the real one's faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.core.letter import Letter, letter
from dispatcher.edges.smtp import SmtpAccount, SmtpAlerts
from dispatcher.errors import InDoubt, LoginRefused, Refused, Unavailable
from dispatcher.ports import Alerts
from tests.fakes.memory_alerts import Error, MemoryAlerts
from tests.servers.authority import Authority
from tests.servers.post import Post

AT = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
LETTER = letter(
    "[SI-DEP LBM] ALERTE : relève arrêtée",
    ["Aucune relève réussie depuis 9 h.", ".", "x" * 1200, "…"],
    AT,
)
IT, DESK = "it@lbm.example", "desk@lbm.example"


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.server("post", "DNS:localhost", "IP:127.0.0.1")


def account(post: Post, **changes: object) -> SmtpAccount:
    plain = SmtpAccount(post.host, post.port, "plaintext", "sidep@lbm.example", (IT, DESK))
    return replace(plain, **changes)  # type: ignore[arg-type]  # the names are the fields'


def real(
    post: Post, *, answer: float = 60.0, whole: float = 120.0, **changes: object
) -> Alerts:
    return SmtpAlerts(account(post, **changes), answer=answer, whole=whole)


# --- what each promises


@pytest.fixture(params=["memory", "smtp"])
def both(request: pytest.FixtureRequest, post: Post) -> tuple[Alerts, Post | MemoryAlerts]:
    memory = MemoryAlerts()
    return (memory, memory) if request.param == "memory" else (real(post), post)


def subjects(where: Post | MemoryAlerts) -> list[str]:
    return where.subjects() if isinstance(where, Post) else where.subjects


def fail(where: Post | MemoryAlerts, kind: str) -> None:
    """Let every mail from now on meet this."""
    if isinstance(where, MemoryAlerts):
        errors: dict[str, Error] = {
            "later": Unavailable("x"),
            "never": Refused("x"),
            "doubt": InDoubt("x"),
        }
        where.down = errors[kind]
    elif kind == "doubt":
        where.cut_at = "end"
    else:
        where.answers["DATA"] = {"later": "451 4.3.0 later", "never": "554 5.6.0 no"}[kind]


def mend(where: Post | MemoryAlerts) -> None:
    if isinstance(where, MemoryAlerts):
        where.down = None
    else:
        where.cut_at = None
        where.answers.clear()


def test_a_letter_is_taken_and_the_answer_is_told(
    both: tuple[Alerts, Post | MemoryAlerts],
) -> None:
    alerts, where = both
    assert alerts.send(LETTER).answer.startswith("250")
    assert subjects(where) == [LETTER.subject]


@pytest.mark.parametrize(
    ("kind", "error"), [("later", Unavailable), ("never", Refused), ("doubt", InDoubt)]
)
def test_a_failure_says_what_to_do_next_and_the_next_letter_goes(
    both: tuple[Alerts, Post | MemoryAlerts], kind: str, error: type[Exception]
) -> None:
    alerts, where = both
    fail(where, kind)
    with pytest.raises(error):
        alerts.send(LETTER)
    before = subjects(where)
    mend(where)
    alerts.send(LETTER)
    assert subjects(where) == [*before, LETTER.subject]


# --- the mail on the wire


def test_a_mail_is_pure_ascii_and_reads_as_it_was_written(post: Post) -> None:
    real(post).send(LETTER)
    (message,), (raw,) = post.letters, post.raw
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert message["Subject"] == LETTER.subject
    assert message.get_content().replace("\r\n", "\n") == LETTER.text
    assert message["Auto-Submitted"] == "auto-generated"
    assert post.recipients == [(IT, DESK)]


def test_a_mail_sent_again_is_the_same_mail(post: Post) -> None:
    post.cut_at = "end"
    with pytest.raises(InDoubt):
        real(post).send(LETTER)
    post.cut_at = None
    real(post).send(LETTER)
    first, second = post.letters
    assert first["Message-ID"] == second["Message-ID"]
    real(post).send(letter(LETTER.subject, [LETTER.text], AT))
    assert post.letters[-1]["Message-ID"] != first["Message-ID"]


def test_a_recipient_that_is_refused_keeps_no_other_from_being_told(post: Post) -> None:
    post.unknown = {DESK}
    assert real(post).send(LETTER).refused == (DESK,)
    assert post.recipients == [(IT,)]
    post.unknown = {IT, DESK}
    with pytest.raises(Refused, match="recipients"):
        real(post).send(LETTER)


# --- faults


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        pytest.param("MAIL", "451 4.3.0 later", Unavailable, id="sender, later"),
        pytest.param("MAIL", "550 5.7.1 no", Refused, id="sender, never"),
        pytest.param("RCPT", "450 4.2.0 later", Unavailable, id="recipient, later"),
        pytest.param("RCPT", "550 5.1.1 no", Refused, id="recipient, never"),
        pytest.param("DATA", "452 4.3.1 full", Unavailable, id="data, later"),
        pytest.param("DATA", "552 5.3.4 large", Refused, id="data, never"),
    ],
)
def test_an_answer_below_500_means_later_and_above_never(
    post: Post, command: str, answer: str, error: type[Exception]
) -> None:
    post.answers[command] = answer
    with pytest.raises(error) as caught:
        real(post).send(LETTER)
    assert answer[:3] in str(caught.value)
    assert post.letters == []


@pytest.mark.parametrize(
    ("at", "error"),
    [("greeting", Unavailable), ("RCPT", Unavailable), ("end", InDoubt)],
)
def test_a_server_that_falls_silent_is_left_in_time(
    post: Post, at: str, error: type[Exception]
) -> None:
    post.silent_at = at
    began = time.monotonic()
    with pytest.raises(error):
        real(post, answer=0.5, whole=30.0).send(LETTER)
    assert time.monotonic() - began < 25


def test_a_mail_as_a_whole_has_a_deadline(post: Post) -> None:
    post.silent_at = "MAIL"
    with pytest.raises(Unavailable):
        real(post, answer=600.0, whole=0.5).send(LETTER)


@pytest.mark.parametrize("at", ["greeting", "MAIL", "RCPT"])
def test_a_line_that_is_cut_before_the_mail_has_sent_nothing(post: Post, at: str) -> None:
    post.cut_at = at
    with pytest.raises(Unavailable):
        real(post).send(LETTER)
    assert post.letters == []


def test_a_server_that_is_down_is_unavailable(post: Post) -> None:
    alerts = real(post)
    post.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        alerts.send(LETTER)
    post.start()
    alerts.send(LETTER)
    assert post.subjects() == [LETTER.subject]


# --- TLS and login


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_under_tls_the_account_logs_in_and_sends(
    security: str, pair: tuple[Path, Path], authority: Authority
) -> None:
    with Post(security=security, certificate=pair, account=("box", "s3cret")) as post:  # type: ignore[arg-type]
        alerts = real(
            post,
            security=security,
            ca_file=authority.certificate,
            username="box",
            password=lambda: "s3cret",
        )
        alerts.send(LETTER)
        assert (post.subjects(), post.logins) == ([LETTER.subject], ["box"])


def test_a_wrong_password_is_a_refused_login(
    pair: tuple[Path, Path], authority: Authority
) -> None:
    with Post(security="starttls", certificate=pair, account=("box", "s3cret")) as post:
        alerts = real(
            post,
            security="starttls",
            ca_file=authority.certificate,
            username="box",
            password=lambda: "other",
        )
        with pytest.raises(LoginRefused) as caught:
            alerts.send(LETTER)
        assert "other" not in str(caught.value)
        assert post.letters == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_an_unknown_authority_is_refused(security: str, pair: tuple[Path, Path]) -> None:
    with Post(security=security, certificate=pair) as post:  # type: ignore[arg-type]
        with pytest.raises(Refused, match="not trusted"):
            real(post, security=security).send(LETTER)
        assert post.letters == []


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    other = authority.server("elsewhere", "DNS:elsewhere.example")
    with (
        Post(security="tls", certificate=other) as post,
        pytest.raises(Refused, match="not trusted"),
    ):
        real(post, security="tls", ca_file=authority.certificate).send(LETTER)


def test_tls_1_1_is_refused(pair: tuple[Path, Path], authority: Authority) -> None:
    with Post(security="tls", certificate=pair, old_tls=True) as post:
        with pytest.raises((Refused, Unavailable)):
            real(post, security="tls", ca_file=authority.certificate).send(LETTER)
        assert post.letters == []


def test_without_the_tls_that_was_asked_for_nothing_is_sent_in_clear(
    post: Post, authority: Authority
) -> None:
    with pytest.raises(Refused, match="nothing was sent in clear"):
        real(
            post,
            security="starttls",
            ca_file=authority.certificate,
            username="box",
            password=lambda: "s3cret",
        ).send(LETTER)
    assert (post.letters, post.logins) == ([], [])


def test_an_authority_file_that_is_none_says_so(post: Post, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(Refused, match="ca_file"):
        real(post, security="tls", ca_file=path).send(LETTER)


def test_the_same_text_twice_is_two_mails_when_it_is_told_on_two_days() -> None:
    once, again = (letter("s", ["t"], AT, salt=day) for day in ("1", "2"))
    assert once.mark != again.mark
    assert isinstance(once, Letter)
