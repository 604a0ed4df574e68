"""A ledger that is gone, damaged or old: nothing is delivered twice, nothing is lost."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def ten(secrets: Secrets) -> list[Sending]:
    sendings = scenario.certificates(31, 10, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


def lose(laboratory: Laboratory) -> None:
    for path in laboratory.ledger.parent.glob("ledger.sqlite3*"):
        path.unlink()


def test_a_lost_ledger_is_rebuilt_from_mailbox_and_folders(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(*(sending.raw for sending in ten))
    laboratory.once()
    files = {site: laboratory.files(site) for site in SITES}
    lose(laboratory)
    status, numbers = laboratory.once()
    assert (status, numbers["received"], numbers["delivered"]) == (0, 10, 10)
    assert {site: laboratory.files(site) for site in SITES} == files


def test_what_staff_took_away_is_not_delivered_again_after_a_loss(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(*(sending.raw for sending in ten))
    laboratory.once()
    site = str(ten[0].truth.site)
    taken = len(laboratory.files(site))
    for path in laboratory.folder(site).iterdir():
        path.unlink()
    lose(laboratory)
    _, numbers = laboratory.once()
    assert laboratory.files(site) == {}
    assert (numbers["delivered"], numbers["held"]) == (10 - taken, taken)
    held = laboratory.listed("--state", "held")
    assert {entry["reason"] for entry in held} == {"in-doubt"}
    # A person looked: one was there, one has to be delivered again.
    first, *others = held
    assert laboratory.command("release", first["id"], "--reason", "vu au guichet").status == 0
    for entry in others:
        assert laboratory.command("retry", entry["id"], "--reason", "perdu").status == 0
    laboratory.once()
    assert len(laboratory.files(site)) == taken - 1
    assert not laboratory.listed("--state", "held")


def test_what_staff_took_away_is_not_delivered_again_otherwise(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(*(sending.raw for sending in ten))
    laboratory.once()
    for site in SITES:
        for path in laboratory.folder(site).iterdir():
            path.rename(path.with_name("renamed-" + path.name)) if site < "99000004" else (
                path.unlink()
            )
    _, numbers = laboratory.once()
    assert set(numbers.values()) == {0}
    assert not laboratory.files("990000069")


def test_a_ledger_from_last_week_delivers_nothing_twice(
    laboratory: Laboratory,
    bal: Bal,
    ten: list[Sending],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bal.deliver(*(sending.raw for sending in ten[:4]))
    laboratory.once()
    old = tmp_path_factory.mktemp("backup")
    shutil.copytree(laboratory.ledger.parent, old, dirs_exist_ok=True)
    bal.deliver(*(sending.raw for sending in ten[4:]))
    laboratory.once()
    files = {site: laboratory.files(site) for site in SITES}
    lose(laboratory)
    shutil.copytree(old, laboratory.ledger.parent, dirs_exist_ok=True)
    status, numbers = laboratory.once()
    assert (status, numbers["received"], numbers["delivered"]) == (0, 6, 6)
    assert {site: laboratory.files(site) for site in SITES} == files


def test_a_damaged_ledger_is_refused_with_what_to_do(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(ten[0].raw)
    laboratory.once()
    content = laboratory.ledger.read_bytes()
    laboratory.ledger.write_bytes(b"not a database" + content[14:])
    ended = laboratory.command("run", "--once")
    assert ended.status == 78
    assert "ledger" in ended.err
    laboratory.ledger.write_bytes(content)


def test_renumbered_mail_is_known_again(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(*(sending.raw for sending in ten))
    laboratory.once()
    files = {site: laboratory.files(site) for site in SITES}
    before = {entry["id"] for entry in laboratory.listed()}
    uidvalidity = bal.renumber()
    status, numbers = laboratory.once()
    assert (status, set(numbers.values())) == (0, {0})
    assert {site: laboratory.files(site) for site in SITES} == files
    listed = laboratory.listed()
    assert {entry["id"] for entry in listed} == before
    assert {entry["uidvalidity"] for entry in listed} == {uidvalidity}
    assert laboratory.command("verify").status == 0


def test_mail_moved_away_and_back_is_known_again(
    laboratory: Laboratory, bal: Bal, ten: list[Sending]
) -> None:
    bal.deliver(ten[0].raw)
    laboratory.once()
    bal.create("Ailleurs")
    bal.move(1, "Ailleurs")
    laboratory.once()
    assert laboratory.command("verify").status == 1
    bal.move(1, "INBOX", source="Ailleurs")
    status, numbers = laboratory.once()
    assert (status, set(numbers.values())) == (0, {0})
    assert len(laboratory.listed()) == 1
    assert laboratory.command("verify").status == 0
