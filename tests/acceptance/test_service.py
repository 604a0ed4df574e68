"""The service as systemd and people see it: starting, waiting, stopping, telling."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal, Dovecot

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def three(secrets: Secrets) -> list[Sending]:
    sendings = scenario.certificates(21, 3, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


def count(laboratory: Laboratory) -> int:
    return sum(len(laboratory.files(site)) for site in SITES)


def test_mail_that_arrives_in_idle_is_delivered_and_term_ends_it_in_time(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    process = laboratory.start()
    try:
        bal.deliver(three[0].raw)
        until(lambda: count(laboratory) == 1, "the first certificate")
        bal.deliver(three[1].raw)
        until(lambda: count(laboratory) == 2, "one that arrives while it waits")
        bal.deliver(three[2].raw)
        until(lambda: count(laboratory) == 3, "another one")
    finally:
        status, seconds = stop(process)
    assert status == 0
    assert seconds < 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_service_that_waits_stops_at_once(laboratory: Laboratory, number: int) -> None:
    process = laboratory.start()
    until(lambda: laboratory.ledger.exists() and has_looked(laboratory), "a first look")
    status, seconds = stop(process, number)
    assert (status, seconds < 10) == (0, True)


def test_the_readers_begin_with_the_service(laboratory: Laboratory) -> None:
    """So that the first certificate of the day does not wait for them."""
    process = laboratory.start()
    try:
        until(lambda: len(readers_of(process.pid)) == 2, "both readers, without any mail")
    finally:
        status, _ = stop(process)
    assert status == 0


def readers_of(pid: int) -> list[int]:
    """Return the processes that read messages or PDF files for this one, however far below."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for one in lists for child in one.read_text("ascii").split()]
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    found = [
        c for c, line in lines.items() if b"edges.pdf.child" in line or b"edges.reading" in line
    ]
    return found + [below for child in found for below in readers_of(child)]


def has_looked(laboratory: Laboratory) -> bool:
    return laboratory.status()["mailboxes"][0]["last_good_contact"] is not None


def test_a_second_service_says_who_holds_the_ledger(laboratory: Laboratory) -> None:
    process = laboratory.start()
    try:
        until(lambda: laboratory.ledger.exists() and has_looked(laboratory), "a first look")
        ended = laboratory.command("run", "--once")
        assert ended.status == 75
        assert str(process.pid) in ended.err
        assert laboratory.status()["service"]["running"]
    finally:
        stop(process)
    assert not laboratory.status()["service"]["running"]


def test_a_service_started_before_its_server_delivers_when_it_comes(
    laboratory: Laboratory, bal: Bal, dovecot: Dovecot, three: list[Sending]
) -> None:
    bal.deliver(three[0].raw)
    dovecot.stop()
    try:
        process = laboratory.start()
    finally:
        dovecot.start()
    try:
        until(lambda: count(laboratory) == 1, "a certificate after the server came")
        dovecot.kill()
        dovecot.start()
        bal.deliver(three[1].raw)
        until(lambda: count(laboratory) == 2, "one after the server was killed", deadline=60)
    finally:
        stop(process)


def test_one_missing_folder_delays_its_own_site_only_and_goes_on_when_it_comes(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    away = str(three[0].truth.site)
    laboratory.folder(away).rename(laboratory.top / "unmounted")
    bal.deliver(*(sending.raw for sending in three))
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"], numbers["pending"]) == (1, 2, 1)
    (waiting,) = laboratory.listed("--state", "pending")
    assert (waiting["site"], waiting["deliveries"][0]["state"]) == (away, "decided")
    assert not laboratory.folder(away).exists(), "a missing folder is never made"

    (laboratory.top / "unmounted").rename(laboratory.folder(away))
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"], numbers["pending"]) == (0, 1, 0)
    assert list(laboratory.files(away).values()) == [three[0].truth.document]


def test_a_message_that_the_server_cannot_read_keeps_no_other_from_its_site_or_its_end(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    uids = bal.append_all([sending.raw for sending in three])
    with bal.damaged(uids[1]):
        status, numbers = laboratory.once()
        assert (status, numbers["delivered"]) == (75, 2)
        (mailbox,) = laboratory.status()["mailboxes"]
        assert mailbox["last_purge"] is not None, "what is past its term goes all the same"
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"]) == (0, 1)
    assert count(laboratory) == 3


def test_a_clock_ten_years_ahead_and_back_loses_no_certificate(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    laboratory.set_clock("+0")
    process = laboratory.start()
    away = str(three[1].truth.site)
    try:
        bal.deliver(three[0].raw)
        until(lambda: count(laboratory) == 1, "a certificate")
        laboratory.folder(away).rename(laboratory.top / "unmounted")
        laboratory.set_clock("+11y")
        until(lambda: laboratory.logged("clock_was_set") == 1, "the step ahead")
        bal.deliver(three[1].raw)
        until(lambda: laboratory.logged("target_became_unavailable") > 0, "a try in 2037")
        laboratory.set_clock("+0")
        until(lambda: laboratory.logged("clock_was_set") == 2, "the step back")
        (laboratory.top / "unmounted").rename(laboratory.folder(away))
        bal.deliver(three[2].raw)
        until(lambda: count(laboratory) == 3, "all, none of them deleted")
    finally:
        status, seconds = stop(process)
    assert (status, seconds < 10) == (0, True)
    assert laboratory.logged("part_made_no_progress") == 0


def test_hup_takes_new_rules_and_refuses_broken_ones(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    good = laboratory.routing.read_text(encoding="utf-8")
    site = str(three[0].truth.site)
    laboratory.write_routing("\n".join(line for line in good.splitlines() if site not in line))
    process = laboratory.start()
    try:
        bal.deliver(three[0].raw)
        until(lambda: len(laboratory.listed("--state", "held")) == 1, "a hold: unknown site")
        laboratory.write_routing(good + "nonsense: 1\n")
        process.send_signal(signal.SIGHUP)
        bal.deliver(three[1].raw)
        until(lambda: count(laboratory) == 1, "a delivery under the old rules")
        until(lambda: refused_since(laboratory) is not None, "the refusal, by the service")
        rules = laboratory.status()["rules"]
        assert "nonsense" in rules["refused"]["problems"][0]
        assert rules["since"] < rules["refused"]["since"]
        assert laboratory.command("status").status == 1
        laboratory.write_routing(good)
        process.send_signal(signal.SIGHUP)
        (held,) = laboratory.listed("--state", "held")
        ended = laboratory.command("retry", held["id"])
        assert ended.status == 0, ended.err
        until(lambda: count(laboratory) == 2, "the held one, under the new rules")
        assert laboratory.status()["rules"]["refused"] is None
    finally:
        stop(process)


def refused_since(laboratory: Laboratory) -> str | None:
    """Return since when the service refuses the file; what `status` itself sees has no time."""
    refused = laboratory.status()["rules"]["refused"]
    since: str | None = None if refused is None else refused["since"]
    return since


def test_a_service_restarted_while_the_file_is_broken_goes_on_with_the_last_good_rules(
    laboratory: Laboratory, bal: Bal, three: list[Sending]
) -> None:
    process = laboratory.start()
    try:
        bal.deliver(three[0].raw)
        until(lambda: count(laboratory) == 1, "a delivery")
        good = laboratory.status()["rules"]["digest"]
        laboratory.write_routing("version: 1\nsites: {\n")
        until(lambda: refused_since(laboratory) is not None, "the refusal, by the service")
        since = refused_since(laboratory)
    finally:
        process.kill()
        process.wait()
    assert laboratory.command("run", "--once").status == 78, "by hand somebody reads it"
    process = laboratory.start()
    try:
        bal.deliver(three[1].raw)
        until(lambda: count(laboratory) == 2, "a delivery after the restart")
        rules = laboratory.status()["rules"]
        assert (rules["digest"], rules["refused"]["since"]) == (good, since)
    finally:
        stop(process)


def test_a_service_whose_first_rules_are_broken_does_not_start(laboratory: Laboratory) -> None:
    laboratory.write_routing("version: 1\nsites: {\n")
    ended = laboratory.command("run")
    assert ended.status == 78
    assert "routing.yaml:3:1: " in ended.err


def test_a_server_that_refuses_the_password_is_told_and_not_stormed(
    laboratory: Laboratory,
) -> None:
    (laboratory.top / "lbm.password").write_text("wrong", encoding="utf-8")
    ended = laboratory.command("run", "--once", "--json")
    assert ended.status == 69
    assert "login" in ended.err.lower()
    assert set(ended.document.values()) == {0}


def test_two_mailboxes_are_each_on_their_own(
    laboratory: Laboratory, dovecot: Dovecot, bal: Bal, three: list[Sending]
) -> None:
    other = dovecot.bal()
    laboratory.bals["second"] = other
    laboratory.write_settings()
    (laboratory.top / "lbm.password").write_text("wrong", encoding="utf-8")
    other.deliver(three[0].raw)
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"]) == (69, 1)
    (laboratory.top / "lbm.password").write_text(bal.password, encoding="utf-8")
    bal.deliver(three[0].raw, three[1].raw)
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"], numbers["duplicate"]) == (0, 1, 1)
