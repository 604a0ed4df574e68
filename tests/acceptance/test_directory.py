"""`directory`: what IT asks of the public registers, as commands, without a network."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher import rules
from dispatcher.cli.options import DEFAULT_CONFIG
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import DEADLINE, PROGRAM, Ended, Laboratory
from tests.acceptance.privacy import Secrets
from tests.registers import (
    bal_row,
    directory_text,
    ej_row,
    et_row,
    finess_text,
)
from tests.servers.dovecot import Bal

EJ = "990000903"
MAIRIE, GARE, PORT = "990000010", "990000028", "990000036"
OURS = "sidep@labo.mssante.fr"
GARE_BAL = "gare@labo.mssante.fr"

ROUTING = f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "{EJ}"}}
sites:
  "{MAIRIE}": {{name: Site Mairie, deliver: [{{name: dossier, folder: /srv/sidep/mairie}}]}}
  "{GARE}": {{name: Site Gare, deliver: [{{name: dossier, folder: /srv/sidep/gare}}]}}
"""


class Office:
    """Files of the registers and of a laboratory whose mail server nobody may ask."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.config = top / "dispatcher.yaml"
        (top / "lbm.password").write_text("x", encoding="utf-8")
        (top / "lbm.password").chmod(0o400)
        self.config.write_text(
            f"mailboxes:\n  lbm: {{host: imap.invalid, username: {OURS.title()}, "
            f"password_file: lbm.password}}\nledger: sqlite:///{top}/state/ledger.sqlite3\n",
            encoding="utf-8",
        )
        self.write("routing.yaml", ROUTING)
        self.finess = self.write(
            "finess.csv", finess_text(et_row(MAIRIE, EJ), et_row(GARE, EJ))
        )
        self.mssante = self.write(
            "mssante.txt", directory_text(bal_row(OURS, EJ), bal_row("jean@pro.fr", kind="PER"))
        )

    def write(self, name: str, text: str) -> Path:
        path = self.top / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *words: str | Path, columns: int = 160) -> Ended:
        """Run a `directory` command."""
        ended = subprocess.run(
            [*PROGRAM, "directory", *map(str, words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
            cwd=self.top,
            env={"PATH": os.environ["PATH"], "COLUMNS": str(columns)},
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def registers(self) -> tuple[str | Path, ...]:
        return ("--finess", self.finess, "--mssante", self.mssante)

    def check(self, *more: str | Path, columns: int = 160) -> Ended:
        config = ("--config", self.config)
        return self.run("check", *self.registers(), *config, *more, columns=columns)

    def why(self, site: str, *more: str | Path) -> Ended:
        return self.run("why", site, *self.registers(), "--config", self.config, *more)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    top = tmp_path / "office"
    top.mkdir()
    return Office(top)


def names(office: Office) -> set[str]:
    return {path.name for path in office.top.iterdir()}


# --- check -------------------------------------------------------------------------------


def test_a_laboratory_whose_sites_are_served_is_well_and_nothing_is_written(
    office: Office,
) -> None:
    before = names(office)
    ended = office.check()
    assert (ended.status, "Nothing is wrong." in ended.out) == (0, True), ended.out
    assert office.check("--json").document["wrong"] is False
    assert names(office) == before, "neither ledger nor anything else"


def test_a_local_bal_that_is_not_read_here_is_told_in_every_form(office: Office) -> None:
    office.mssante = office.write(
        "mssante.txt",
        directory_text(bal_row(OURS, EJ), bal_row(GARE_BAL, f"1{GARE}", "@SIDEp")),
    )
    ended = office.check("--json", "--csv", office.top / "table.csv")
    assert ended.status == 1, ended.err
    found = ended.document
    assert found["legal_body"] == {"finess": EJ, "name": None}
    gare = next(site for site in found["sites"] if site["finess"] == GARE)
    assert (gare["bal"], gare["route"], gare["ours"]) == (GARE_BAL, "P1", False)
    assert (gare["routed"], gare["declared"]) == (True, True)
    assert gare["look_at"] == ["goes-elsewhere"]
    assert [(r["level"], r["flaw"], r["site"]) for r in found["remarks"]] == [
        ("problem", "goes-elsewhere", GARE)
    ]
    table = (office.top / "table.csv").read_text(encoding="utf-8-sig")
    rows = {row["finess"]: row for row in csv.DictReader(io.StringIO(table), delimiter=";")}
    assert (rows[GARE]["bal"], rows[GARE]["look_at"]) == (GARE_BAL, "goes-elsewhere")
    assert (rows[MAIRIE]["bal"], rows[MAIRIE]["route"]) == (OURS, "P2")
    printed = office.check("--csv", "-")
    assert printed.out.removeprefix("\ufeff").replace("\r\n", "\n") == table
    assert office.check("--bal", GARE_BAL).status == 0, "named by hand: it is read here"


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(office: Office, columns: int) -> None:
    office.mssante = office.write("mssante.txt", directory_text(bal_row(OURS, MAIRIE)))
    ended = office.check(columns=columns)
    assert ended.status == 1
    assert max(map(len, ended.out.splitlines())) <= columns
    assert f" {GARE} " in ended.out
    assert "silent" in ended.out


def test_oddities_are_told_beside_the_answer(office: Office) -> None:
    office.finess = office.write(
        "finess.csv", finess_text(et_row(MAIRIE, EJ), et_row(GARE, EJ), "structureet;99000")
    )
    ended = office.check("--json")
    assert (ended.status, ended.document["wrong"]) == (0, False)
    assert ended.document["oddities"] == [
        {
            "file": "finess.csv",
            "oddity": "unreadable-number",
            "sentence": "not a FINESS number: the row counts for no site",
            "count": 1,
            "lines": [4],
        }
    ]
    ended = office.check()
    assert "finess.csv" in ended.err
    assert "finess.csv" not in ended.out


def test_half_a_register_never_passes_for_a_good_answer(office: Office) -> None:
    text = office.mssante.read_text(encoding="utf-8")
    office.write("mssante.txt", text[:-45])
    ended = office.check("--json")
    assert (ended.status, ended.document["wrong"]) == (1, True)
    assert ended.document["remarks"] == []
    assert [one["oddity"] for one in ended.document["oddities"]] == ["cut-off"]
    told = office.check()
    assert (told.status, "Nothing is wrong" in told.out) == (1, False)
    assert "download it again" in told.err


# --- why ---------------------------------------------------------------------------------


def test_why_says_it_in_sentences(office: Office) -> None:
    office.mssante = office.write(
        "mssante.txt", directory_text(bal_row(OURS, EJ, "Secrétariat"), bal_row("j@x.fr", GARE))
    )
    ended = office.why(MAIRIE)
    assert ended.status == 1
    assert "has the mention @SIDEP" in ended.out
    assert f"Passed over: {OURS}" in ended.out
    assert "There is no ledger" in ended.out
    found = office.why(MAIRIE, "--json").document
    assert (found["why"], found["history"]) == ("not-stamped", None)
    assert office.why(GARE, "--bal", "j@x.fr").status == 0
    unknown = office.why(PORT)
    assert (unknown.status, "not in the FINESS register" in unknown.out) == (1, True)
    office.mssante = office.write("mssante.txt", directory_text(bal_row(OURS, EJ)))
    swapped = office.why(EJ)
    assert (swapped.status, "number of a legal body (EJ)" in swapped.out) == (1, True)
    assert "its ET number" not in swapped.out


def test_why_adds_what_came_from_the_site(
    laboratory: Laboratory, bal: Bal, office: Office, secrets: Secrets
) -> None:
    now = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    scene = scenario.certificates(11, 2 * len(SITES), list(SITES), now)
    secrets.add(scene)
    # A link in the folder's place is refused: the site's certificates are held.
    laboratory.folder(GARE).rmdir()
    laboratory.folder(GARE).symlink_to(office.top)
    for sending in scene:
        bal.deliver(sending.raw)
    laboratory.once()
    mine = [entry for entry in laboratory.listed() if entry["site"] == GARE]
    office.config = laboratory.config
    ended = office.why(GARE, "--json")
    assert ended.document["history"] == {
        "received": 2,
        "last_received_at": max(entry["received_at"] for entry in mine),
        "held": 2,
        "failing": 0,
    }
    told = office.why(GARE)
    assert "2 message(s) of this site have come" in told.out
    assert secrets.found_in(told.out + ended.out + told.err) == set()


# --- diff --------------------------------------------------------------------------------


def test_diff_tells_who_gets_another_bal(office: Office) -> None:
    later = office.write(
        "later.txt",
        directory_text(bal_row(OURS, EJ), bal_row(GARE_BAL, GARE), bal_row("k@x.fr", PORT)),
    )
    line = ("--finess", office.finess, "--config", office.config)
    ended = office.run("diff", office.mssante, later, *line, "--json")
    assert ended.status == 1, ended.err
    (change,) = ended.document["changes"]
    assert (change["finess"], change["moves_mail"]) == (GARE, True)
    assert (change["before"]["bal"], change["after"]["bal"]) == (OURS, GARE_BAL)
    assert [bal["bal"] for bal in change["new"]] == [GARE_BAL]
    told = office.run("diff", office.mssante, later, *line)
    assert (told.status, GARE_BAL in told.out, PORT in told.out) == (1, True, False)
    same = office.run("diff", office.mssante, office.mssante, *line)
    assert (same.status, "no site's choice" in same.out) == (0, True)


# --- init --------------------------------------------------------------------------------


def test_init_prints_a_routing_that_the_program_takes(office: Office) -> None:
    bodies = office.write("bodies.csv", finess_text(ej_row(EJ, "SELAS L'EXEMPLE : 1")))
    ended = office.run("init", "--ej", EJ, *office.registers(), "--finess", bodies)
    assert (ended.status, ended.err) == (0, "")
    found = rules.load(office.write("routing.yaml", ended.out))
    assert (found.lbm, [str(number) for number in found.sites]) == (
        "SELAS L'EXEMPLE : 1",
        [MAIRIE, GARE],
    )
    assert OURS in ended.out
    assert office.check().status == 0


# --- mistakes ----------------------------------------------------------------------------


def test_mistakes_are_usage_errors_that_say_what_to_do(office: Office) -> None:
    good = ("--finess", office.finess, "--mssante", office.mssante)
    swapped = ("--finess", office.mssante, "--mssante", office.finess)
    config = ("--config", office.config)
    for words, says in (
        (("check", *swapped, *config), "behind --mssante"),
        (("check", *good, *config, "--ej", "123"), "not a FINESS number"),
        (("check", *good, *config, "--json", "--csv", "-"), "standard output"),
        (("check", *good, *config, "--csv", office.top), "cannot be written"),
        (("init", "--finess", office.finess, "--ej", MAIRIE), f"legal body is {EJ}"),
    ):
        ended = office.run(*words)
        assert (ended.status, ended.out) == (64, ""), words
        assert says in ended.err, words
        assert "Traceback" not in ended.err


def test_a_settings_file_that_was_named_must_be_there(office: Office) -> None:
    ended = office.run("check", *office.registers(), "--config", office.top / "no.yaml")
    assert (ended.status, ended.out) == (78, "")


def test_the_registers_can_be_asked_before_anything_is_installed(office: Office) -> None:
    if DEFAULT_CONFIG.exists():
        pytest.skip("the program is installed on this machine")
    ended = office.run("check", *office.registers(), "--ej", EJ, "--json")
    assert ended.status == 0
    assert {site["routed"] for site in ended.document["sites"]} == {None}
    ended = office.run("check", *office.registers())
    assert (ended.status, "--ej" in ended.err) == (64, True)
    assert json.loads(office.run("why", GARE, *office.registers(), "--json").out)["bal"] == OURS
