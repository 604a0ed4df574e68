"""From nothing to a delivered certificate by `init`: with options, and by answering."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.simulator import scenario
from tests.acceptance.laboratory import DEADLINE, PROGRAM
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal
from tests.servers.supervisor import environment

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SITE = "990000010"


class Desk:
    """Where an administrator types. `state` and `folder` exist, the rest is made by `init`."""

    def __init__(self, top: Path, bal: Bal) -> None:
        self.bal = bal
        self.etc = top / "etc"
        self.state = top / "state"
        self.folder = top / "sites" / SITE
        self.state.mkdir(mode=0o700)
        self.folder.mkdir(parents=True)

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=DEADLINE, check=False, env=environment(),
        )  # fmt: skip

    def options(self, password: str | None = None) -> list[object]:
        """Return options that answer everything."""
        file = self.state.parent / "given.password"
        file.touch(mode=0o600)
        file.write_text(password or self.bal.password, encoding="utf-8")
        return [
            "init", "--dir", self.etc, "--state", self.state, "--no-input",
            "--host", "127.0.0.1", "--port", self.bal.server.imap_port,
            "--security", "plaintext", "--username", self.bal.user, "--password-file", file,
            "--since", "all", "--lbm", "LBM: «Exemple» #1", "--finess", SITE,
            "--folder", self.folder,
        ]  # fmt: skip

    def modes(self) -> dict[str, int]:
        return {one.name: stat.S_IMODE(one.stat().st_mode) for one in self.etc.iterdir()}

    def typed(self, *answers: tuple[str, str], tls: bool = False) -> tuple[int, str]:
        """Run `init` on a terminal; type each answer when its question is there.

        Returns the exit status and what was shown.
        """
        server = self.bal.server
        port = server.imaps_port if tls else server.imap_port
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*PROGRAM, "init", "--dir", str(self.etc), "--state", str(self.state),
             "--port", str(port), "--security", "tls" if tls else "plaintext"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=environment(),
        ) as process:  # fmt: skip
            os.close(theirs)
            try:
                shown = ""
                for question, answer in answers:
                    shown += _read_until(ours, question)
                    os.write(ours, f"{answer}\n".encode())
                shown += _read_until(ours, None)
                return process.wait(DEADLINE), shown
            finally:
                process.kill()
                os.close(ours)


def _read_until(terminal: int, question: str | None) -> str:
    """Return what is shown up to a question's colon, or to the end."""
    shown = ""
    until = time.monotonic() + DEADLINE
    while question is None or not re.search(rf"{re.escape(question)}.*: $", shown):
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"{question!r} was not asked: {shown!r}"
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other end is closed: it has ended
            chunk = b""
        if not chunk:
            assert question is None, f"{question!r} was not asked: {shown!r}"
            break
        shown += chunk.decode()
    return shown


@pytest.fixture
def desk(tmp_path: Path, bal: Bal) -> Desk:
    return Desk(tmp_path, bal)


def test_options_answer_everything_and_the_first_certificate_is_delivered(
    desk: Desk, secrets: Secrets
) -> None:
    ended = desk.run(*desk.options())
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "logged in" in ended.stdout
    assert [line for line in ended.stdout.splitlines() if line.startswith("  ")] != []
    assert desk.modes() == {"dispatcher.yaml": 0o640, "routing.yaml": 0o640}
    (sending,) = scenario.certificates(41, 1, [SITE], NOW)
    secrets.add([sending])
    desk.bal.deliver(sending.raw)
    ended = desk.run("run", "--once", "--config", desk.etc / "dispatcher.yaml")
    assert ended.returncode == 0, ended.stderr
    assert [one.read_bytes() for one in desk.folder.iterdir()] == [sending.truth.document]


def test_a_person_answers_and_the_password_is_shown_nowhere(desk: Desk) -> None:
    status, shown = desk.typed(
        ("How the BAL", "password"),
        ("A name", "bal"),
        ("IMAP server", "127.0.0.1"),
        ("CA file", ""),
        ("Login name", desk.bal.user),
        ("Leave mail", "all"),
        ("Name of the laboratory", "LBM Exemple"),
        ("FINESS EJ", ""),
        ("FINESS ET", SITE),
        ("Name of that site", "Site République"),
        ("Its folder", str(desk.folder)),
        ("Password", desk.bal.password),
    )
    assert status == 0, shown
    assert "logged in" in shown
    assert desk.bal.password not in shown
    kept = desk.etc / "bal.password"
    assert kept.read_text(encoding="utf-8") == desk.bal.password + "\n"
    assert stat.S_IMODE(kept.stat().st_mode) & stat.S_IRWXO == 0
    assert desk.bal.password not in (desk.etc / "dispatcher.yaml").read_text(encoding="utf-8")


def test_a_pkcs12_file_is_logged_in_with_and_its_passphrase_is_shown_nowhere(
    desk: Desk,
) -> None:
    authority = desk.bal.server.authority
    file = authority.pkcs12(authority.client(desk.bal.user), "une phrase à nous")
    status, shown = desk.typed(
        ("How the BAL", "certificate"),
        ("A name", "bal"),
        ("IMAP server", "localhost"),
        ("CA file", str(desk.bal.server.ca_file)),
        ("Login name", ""),
        ("Leave mail", "all"),
        ("Certificate file", str(file)),
        ("Name of the laboratory", "LBM Exemple"),
        ("FINESS EJ", ""),
        ("FINESS ET", SITE),
        ("Name of that site", "Site République"),
        ("Its folder", str(desk.folder)),
        ("Passphrase", "une phrase à nous"),
        tls=True,
    )
    assert status == 0, shown
    assert "logged in by client certificate (EXTERNAL)" in shown
    assert "une phrase" not in shown
    kept = desk.etc / "bal.client_passphrase"
    assert kept.read_text(encoding="utf-8") == "une phrase à nous\n"
    assert stat.S_IMODE(kept.stat().st_mode) & stat.S_IRWXO == 0


@pytest.mark.parametrize("name", ["dispatcher.yaml", "routing.yaml"])
def test_nothing_is_ever_overwritten(desk: Desk, name: str) -> None:
    desk.etc.mkdir()
    (desk.etc / name).write_text("mine", encoding="utf-8")
    ended = desk.run(*desk.options())
    assert ended.returncode == 64
    assert {one.name: one.read_text(encoding="utf-8") for one in desk.etc.iterdir()} == {
        name: "mine"
    }


@pytest.mark.parametrize(
    ("option", "value", "status"),
    [
        pytest.param("--finess", "99000001", 78, id="a FINESS of eight digits"),
        pytest.param("--folder", "relative", 78, id="a relative folder"),
        pytest.param("--username", "", 78, id="no user name"),
        pytest.param("--since", "tomorrow", 64, id="no day"),
        pytest.param("--client-certificate", "/x.pem", 64, id="two ways to log in"),
    ],
)
def test_a_wrong_answer_leaves_nothing_behind(
    desk: Desk, option: str, value: str, status: int
) -> None:
    ended = desk.run(*desk.options(), option, value)
    assert ended.returncode == status, ended.stderr
    assert not desk.etc.exists() or list(desk.etc.iterdir()) == []
    assert ".new" not in ended.stderr


def test_a_login_that_fails_is_told_and_what_was_answered_is_kept(desk: Desk) -> None:
    ended = desk.run(*desk.options(password="wrong"))
    assert ended.returncode == 1
    assert "refused" in ended.stdout
    assert set(desk.modes()) == {"dispatcher.yaml", "routing.yaml"}


def test_an_answer_that_is_missing_is_named(desk: Desk) -> None:
    words = desk.options()
    at = words.index("--host")
    ended = desk.run(*words[:at], *words[at + 2 :])
    assert (ended.returncode, "--host" in ended.stderr) == (64, True)
