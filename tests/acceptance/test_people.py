"""What people ask and decide: list, show, explain, check, release, discard, retry, verify."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ELSEWHERE = "990000069"


@pytest.fixture(scope="module")
def scene() -> list[Sending]:
    return scenario.demo(7, 6, list(SITES), NOW)


@pytest.fixture
def pick(scene: list[Sending], secrets: Secrets) -> dict[str, Sending]:
    secrets.add(scene)
    return {sending.case: sending for sending in scene}


def one_held(laboratory: Laboratory, bal: Bal, sending: Sending) -> str:
    bal.deliver(sending.raw)
    laboratory.once()
    (held,) = laboratory.listed("--state", "held")
    assert held["reason"] == sending.truth.reason
    return str(held["id"])


def files(laboratory: Laboratory) -> int:
    return sum(len(laboratory.files(site)) for site in SITES)


def test_a_held_certificate_is_released_to_the_site_that_a_person_names(
    laboratory: Laboratory, bal: Bal, pick: dict[str, Sending]
) -> None:
    sending = next(s for s in pick.values() if s.truth.reason == "finess-mismatch")
    entry = one_held(laboratory, bal, sending)

    ended = laboratory.command("release", entry, "--reason", "vu avec le site")
    assert (ended.status, "--site" in ended.err) == (64, True)
    ended = laboratory.command(
        "release", entry, "--site", "990000903", "--reason", "vu avec le site"
    )
    assert ended.status == 64, "not a site of the rules"
    ended = laboratory.command(
        "release", entry, "--site", ELSEWHERE, "--reason", "vu avec le site"
    )
    assert ended.status == 0, ended.err
    ended = laboratory.command(
        "release", entry, "--site", ELSEWHERE, "--reason", "encore une fois"
    )
    assert ended.status == 1, "the second click does nothing"

    status, numbers = laboratory.once()
    assert (status, numbers["delivered"]) == (0, 1)
    assert (files(laboratory), len(laboratory.files(ELSEWHERE))) == (1, 1)
    shown = laboratory.command("show", entry, "--json").document
    (act,) = shown["decisions"]
    assert (act["verb"], act["reason"]) == ("release", "vu avec le site")
    assert act["by"] == pwd.getpwuid(os.getuid()).pw_name
    assert laboratory.command("verify").status == 0


def test_two_people_who_release_at_once_release_once(
    laboratory: Laboratory, bal: Bal, pick: dict[str, Sending]
) -> None:
    sending = next(s for s in pick.values() if s.truth.reason == "pdf-active-content")
    entry = one_held(laboratory, bal, sending)
    ended: list[int] = []

    def release() -> None:
        status = try_later = 69
        while status == try_later:  # a busy ledger says so, and a person tries again
            status = laboratory.command("release", entry, "--reason", "lu").status
        ended.append(status)

    clicks = [threading.Thread(target=release) for _ in range(3)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert sorted(ended) == [0, 1, 1]
    laboratory.once()
    assert files(laboratory) == 1
    assert len(laboratory.command("show", entry, "--json").document["decisions"]) == 1


def test_a_discarded_certificate_is_expired_and_its_mail_stays_until_its_term(
    laboratory: Laboratory, bal: Bal, pick: dict[str, Sending]
) -> None:
    sending = next(s for s in pick.values() if s.truth.reason == "patient-mismatch")
    entry = one_held(laboratory, bal, sending)
    assert laboratory.command("discard", entry).status == 64, "a reason is needed"
    assert laboratory.command("discard", entry, "--reason", "erreur").status == 0
    (listed,) = laboratory.listed()
    assert listed["state"] == "expired"
    assert len(bal.messages()) == 1
    assert laboratory.command("discard", entry, "--reason", "encore").status == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(("release", "nosuchid", "--reason", "x"), 64, id="an id that is none"),
        pytest.param(("show", "nosuchid"), 64, id="showing an id that is none"),
        pytest.param(("nosuchcommand",), 64, id="a command that is none"),
        pytest.param(("run", "--twice"), 64, id="an option that is none"),
        pytest.param(("list", "--site", "123"), 64, id="a number that is no FINESS"),
        pytest.param(("list", "--state", "lost"), 64, id="a state that is none"),
        pytest.param(("explain",), 64, id="nothing to explain"),
    ],
)
def test_a_mistyped_command_is_a_usage_error(
    laboratory: Laboratory, words: tuple[str, ...], status: int
) -> None:
    laboratory.once()
    ended = laboratory.command(*words)
    assert (ended.status, ended.out) == (status, "")
    assert ended.err


def test_wrong_files_are_a_configuration_error_with_every_problem(
    laboratory: Laboratory,
) -> None:
    laboratory.config.write_text(
        laboratory.config.read_text(encoding="utf-8") + "retnetion: {}\nmetrics: 3\n",
        encoding="utf-8",
    )
    ended = laboratory.command("run", "--once", "--json")
    assert (ended.status, ended.out) == (78, "")
    assert "retnetion" in ended.err
    assert "metrics" in ended.err
    assert "dispatcher.yaml:" in ended.err


def test_explain_says_what_each_source_said_and_where_it_would_go(
    laboratory: Laboratory, pick: dict[str, Sending], tmp_path: Path
) -> None:
    sound = pick["certificate"]
    message = tmp_path / "message.eml"
    message.write_bytes(sound.raw)
    ended = laboratory.command("explain", str(message), "--json")
    assert ended.status == 0, ended.err
    found = ended.document
    assert found["outcome"] == "deliver"
    assert {source["site"] for source in found["sources"].values()} == {sound.truth.site}
    assert found["targets"][0]["place"] == str(laboratory.folder(str(sound.truth.site)))
    assert found["purge_at"]
    told = laboratory.command("explain", str(message))
    assert str(sound.truth.site) in told.out
    held = next(s for s in pick.values() if s.truth.reason == "finess-mismatch")
    message.write_bytes(held.raw)
    ended = laboratory.command("explain", str(message), "--json")
    assert (ended.status, ended.document["reason"]) == (1, "finess-mismatch")


def test_explain_of_a_number_says_where_its_certificates_go(laboratory: Laboratory) -> None:
    ended = laboratory.command("explain", "--finess", "990000010", "--json")
    assert ended.document["routes"]["positif"] == ["dossier"]
    assert laboratory.command("explain", "--finess", "990000903").status == 1


def test_show_reads_the_message_again(
    laboratory: Laboratory, bal: Bal, pick: dict[str, Sending]
) -> None:
    sound = pick["certificate"]
    bal.deliver(sound.raw)
    laboratory.once()
    (listed,) = laboratory.listed()
    shown = laboratory.command("show", listed["id"], "--json").document
    assert shown["message"]["sources"]["body"]["last_name"] is not None
    assert [event["became"] for event in shown["history"]][-1] == "delivered"
    assert {key: shown[key] for key in listed} == listed
    bal.remove(1)
    shown = laboratory.command("show", listed["id"], "--json").document
    assert shown["message"] is None


@pytest.mark.parametrize("letters", ["ascii", "iso-8859-1"])
def test_names_that_a_terminal_cannot_show_end_no_command(
    laboratory: Laboratory, pick: dict[str, Sending], letters: str
) -> None:
    message = laboratory.top / "message.eml"
    sound = pick["certificate"]
    message.write_bytes(sound.raw)
    usual = laboratory.command("explain", str(message), "--json").document
    laboratory.letters = letters
    assert laboratory.command("explain", str(message), "--json").document == usual
    text = laboratory.routing.read_text(encoding="utf-8")
    laboratory.write_routing(text.replace("sites/{finess}", "sites/Œuvres-{finess}"))
    told = laboratory.command("explain", str(message))
    assert (told.status, "\\u0152uvres" in told.out) == (0, True), told.err


def test_check_says_all_is_well_and_what_is_not(laboratory: Laboratory) -> None:
    ended = laboratory.command("check")
    assert ended.status == 0, ended.out
    assert not laboratory.ledger.exists(), "checking makes nothing"
    assert "IDLE" in ended.out
    told = [line.split("site ")[1][:9] for line in ended.out.splitlines() if ", target" in line]
    assert list(dict.fromkeys(told)) == list(SITES), "in the order of the file"
    laboratory.folder("990000010").rmdir()
    (laboratory.top / "lbm.password").write_text("wrong", encoding="utf-8")
    ended = laboratory.command("check")
    assert ended.status == 1
    problems = [line for line in ended.out.splitlines() if line.startswith("problem")]
    assert any("990000010" in line for line in problems)
    assert any("mailbox lbm" in line for line in problems)
    assert laboratory.command("check", "--offline").status == 1


def test_check_reads_passwords_and_certificates_without_the_network(
    laboratory: Laboratory,
) -> None:
    ended = laboratory.command("check", "--offline")
    assert ended.status == 0, ended.out
    (laboratory.top / "lbm.password").write_text("\n", encoding="utf-8")
    ended = laboratory.command("check", "--offline")
    assert (ended.status, "password is empty" in " ".join(ended.out.split())) == (1, True)


@pytest.mark.parametrize("which", ["settings", "routing"])
def test_the_schemas_are_those_that_the_project_ships(
    laboratory: Laboratory, which: str
) -> None:
    ended = laboratory.command_without_config("schema", which)
    name = {"settings": "dispatcher", "routing": "routing"}[which]
    shipped = Path(__file__).parents[2] / "config" / f"{name}.schema.json"
    assert ended.document == json.loads(shipped.read_text(encoding="utf-8"))


# --- verify -------------------------------------------------------------------------------


@pytest.fixture
def delivered(laboratory: Laboratory, bal: Bal, scene: list[Sending]) -> Laboratory:
    sound = [s for s in scene if s.case == "certificate"]
    bal.deliver(*(s.raw for s in sound))
    laboratory.once()
    assert laboratory.command("verify").status == 0
    return laboratory


def test_verify_finds_a_file_that_was_removed_or_changed(delivered: Laboratory) -> None:
    first, second = [path for site in SITES for path in delivered.folder(site).iterdir()][:2]
    first.unlink()
    second.chmod(0o600)
    second.write_bytes(second.read_bytes() + b" ")
    ended = delivered.command("verify")
    assert (ended.status, ended.out.count("copy in target dossier")) == (1, 2)


def test_verify_finds_a_message_that_was_deleted(delivered: Laboratory) -> None:
    delivered.bals["lbm"].remove(2)
    ended = delivered.command("verify")
    assert (ended.status, ended.out.count("no longer in the mailbox")) == (1, 1)


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE entry SET site = '990000069' WHERE site <> '990000069'",
        "UPDATE entry SET file_number = 'X1' WHERE rowid = 1",
        "UPDATE entry SET purge_at = '2031-01-01T00:00:00.000000+00:00' WHERE rowid = 2",
        "UPDATE delivery SET reference = 'x' WHERE rowid = 1",
        "UPDATE counter SET value = value + 1 WHERE name = 'received'",
    ],
    ids=["site", "file number", "term", "reference", "count"],
)
def test_verify_finds_a_ledger_line_that_was_edited(delivered: Laboratory, edit: str) -> None:
    with sqlite3.connect(delivered.ledger) as connection:
        connection.execute(edit)
    connection.close()
    ended = delivered.command("verify")
    assert ended.status == 1, ended.out
    delivered.ledger.rename(delivered.ledger.with_name("edited"))
