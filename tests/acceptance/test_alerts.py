"""The program as a process tells people by a real mail server, and none of them a patient."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from dispatcher.core.paris import PARIS
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.contract.test_beacon import Web, web
from tests.fakes.office import NOW
from tests.servers.dovecot import Bal
from tests.servers.post import Post

__all__ = ["web"]
# Looks come every 15 seconds, and what is told has lasted for 45.
PATIENCE = 300.0


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        yield server


def told(post: Post, word: str, kind: str) -> bool:
    """Whether a mail said this of that kind."""
    lines = [line for text in post.texts() for line in text.splitlines()]
    return any(line.startswith(word) and f"[{kind}]" in line for line in lines)


def settings(post: Post, more: str = "") -> str:
    return (
        f"alerts:\n  smtp: {{host: 127.0.0.1, port: {post.port}, security: plaintext}}\n"
        f"  from: sidep@lbm.example\n  to: [it@lbm.example]\n{more}"
    )


@pytest.mark.slow
def test_what_is_held_is_told_once_over_a_restart_and_then_its_recovery(
    laboratory: Laboratory, bal: Bal, post: Post
) -> None:
    site = next(iter(SITES))
    sending = scenario.certificates(5, 1, [site], NOW)[0]
    laboratory.write_settings(settings(post))
    routing = laboratory.routing.read_text("utf-8")
    laboratory.write_routing(
        "\n".join(line for line in routing.splitlines() if f'"{site}"' not in line)
    )
    bal.deliver(sending.raw)
    service = laboratory.start()
    try:
        until(lambda: told(post, "ALERTE", "held"), "held is told", deadline=PATIENCE)
    finally:
        stop(service)
    (alarm,) = laboratory.status()["alarms"]
    (entry,) = laboratory.listed()
    assert (alarm["kind"], entry["id"] in alarm["text"]) == ("held", True)
    service = laboratory.start()
    try:
        ended = laboratory.command("discard", entry["id"], "--reason", "seen with the site")
        assert ended.status == 0, ended.err
        until(lambda: told(post, "RÉTABLI", "held"), "held is over", deadline=PATIENCE)
    finally:
        stop(service)
    assert [subject.split(" : ")[0] for subject in post.subjects()] == [
        "[SI-DEP LBM Exemple] ALERTE",
        "[SI-DEP LBM Exemple] RÉTABLI",
    ]
    for secret in (entry["file_number"], sending.truth.last_name):
        assert secret
        assert not any(secret in text for text in [*post.texts(), *post.subjects()])


def test_a_test_alert_says_what_the_server_answered(laboratory: Laboratory, post: Post) -> None:
    laboratory.write_settings(settings(post))
    ended = laboratory.command("alert", "test")
    assert (ended.status, ended.out) == (0, "taken: 250 2.0.0 queued as 42\n")
    assert post.subjects() == ["[SI-DEP LBM Exemple] Essai des alertes"]
    post.answers["DATA"] = "554 5.6.0 not this"
    ended = laboratory.command("alert", "test")
    assert ended.status == 69
    assert "554 5.6.0 not this" in ended.err
    post.stop()
    assert laboratory.command("alert", "test").status == 69


def test_without_a_mail_server_a_test_alert_is_a_mistake_of_the_settings(
    laboratory: Laboratory,
) -> None:
    ended = laboratory.command("alert", "test")
    assert ended.status == 78
    assert "alerts.smtp" in ended.err


def test_alerts_into_the_watched_mailbox_end_with_78_and_their_place(
    laboratory: Laboratory, post: Post
) -> None:
    text = settings(post).replace("from: sidep@lbm.example", f"from: {SIDEP}")
    laboratory.write_settings(text)
    ended = laboratory.command("alert", "test")
    assert ended.status == 78
    assert "dispatcher.yaml:" in ended.err
    assert "the address of a watched mailbox or of SI-DEP" in ended.err


SIDEP = "noreply.sidep@enovacom.easycrypt.fr"


@pytest.mark.slow
def test_the_dead_mans_switch_is_called_while_the_mailbox_is_read(
    laboratory: Laboratory,
    web: Web,
) -> None:
    laboratory.write_settings(f"alerts: {{ping_url: {web.url('/ping')}}}\n")
    service = laboratory.start()
    try:
        until(lambda: bool(web.calls), "the switch is called", deadline=PATIENCE)
    finally:
        stop(service)
    assert set(web.calls) == {"/ping"}


def test_a_report_is_printed_as_table_json_and_csv(laboratory: Laboratory, bal: Bal) -> None:
    sendings = scenario.certificates(5, 3, list(SITES), NOW)
    bal.deliver(*(sending.raw for sending in sendings))
    laboratory.once()
    # A report's week is one of Paris: late on a Sunday in UTC it is the next.
    today = datetime.now(PARIS)  # noqa: TID251 - the program's own clock
    year, week, _ = today.isocalendar()
    ended = laboratory.command("report", "--week", f"{year}-W{week:02d}", "--json")
    assert ended.status == 0, ended.err
    found = ended.document
    assert (found["total"]["received"], found["total"]["delivered"]) == (3, 3)
    assert len(found["sites"]) == len(SITES)
    csv = laboratory.command("report", "--week", found["period"], "--csv").out
    assert len(csv.splitlines()) == 1 + len(SITES)
    assert laboratory.command("report").status == 0
    for wrong in (("--week", "48"), ("--date", "27/11/2026"), ("--json", "--csv")):
        assert laboratory.command("report", *wrong).status == 64
