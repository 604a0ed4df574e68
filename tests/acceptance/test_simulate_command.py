"""What `simulate` refuses, tells and writes; `demo --serve` as a trainer meets it."""

from __future__ import annotations

import imaplib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from dispatcher.cli import relay
from dispatcher.cli.rehearsal_views import ADVICE
from dispatcher.core.certificate import HoldReason
from dispatcher.simulator import faults, region
from dispatcher.simulator.embedded import PASSWORD, EmbeddedServers
from tests.acceptance.laboratory import DEADLINE, PROGRAM, Ended, command

EVERYBODY = ("--without-contact", "100", "--ej", region.LEGAL_BODY)


@dataclass(frozen=True)
class Bench:
    """The region's registers in a directory, and the embedded servers."""

    top: Path
    servers: EmbeddedServers

    def simulate(self, *words: str, smtp: str | None = None) -> Ended:
        place = smtp or f"{self.servers.host}:{self.servers.smtp_port}"
        registers = ("--finess", str(self.top / "f.csv"), "--mssante", str(self.top / "m.txt"))
        return command("simulate", *registers, "--smtp", place, *words)

    def messages(self, bal: str) -> int:
        """Return how many messages lie in a BAL."""
        with imaplib.IMAP4(self.servers.host, self.servers.imap_port) as session:
            session.login(bal, PASSWORD)
            _, counts = session.select(readonly=True)
            return int(counts[0] or b"0")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    top, shown = tmp_path_factory.mktemp("bench"), region.region()
    (top / "f.csv").write_text(region.finess_file(shown, date(2026, 11, 1)), encoding="utf-8")
    (top / "m.txt").write_text(region.directory_file(shown), encoding="utf-8")
    with EmbeddedServers(dict.fromkeys(shown.bals, PASSWORD)) as servers:
        yield Bench(top, servers)


# --- never by mistake to a real laboratory -----------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "stays"),
    [
        pytest.param("127.0.0.1", 2525, True, id="loopback"),
        pytest.param("127.9.9.9", 2525, True, id="anywhere in 127"),
        pytest.param("::1", 2525, True, id="IPv6 loopback"),
        pytest.param("localhost", 2525, True, id="its name"),
        pytest.param("127.0.0.1", 25, False, id="the machine's own mail server"),
        pytest.param("localhost", 587, False, id="its submission port"),
        pytest.param("10.0.0.5", 2525, False, id="the network"),
        pytest.param("0.0.0.0", 2525, False, id="any address"),  # noqa: S104 - not bound
        pytest.param("127.0.0.1.example.org", 2525, False, id="a name that begins alike"),
        pytest.param(
            "localhost.example.org", 2525, False, id="a name that begins with localhost"
        ),
        pytest.param("smtp.operateur.example", 2525, False, id="an operator"),
    ],
)
def test_only_the_loopback_keeps_mail_here(host: str, port: int, stays: bool) -> None:
    assert relay.stays_here(host, port) is stays


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("smtp.operateur.example:587", (), id="no consent"),
        pytest.param(
            "smtp.operateur.example:587", ("--yes-send-to", "other"), id="for another"
        ),
        pytest.param("127.0.0.1:25", ("--yes-send-to", "localhost"), id="another spelling"),
    ],
)
def test_another_server_is_refused_before_anything_is_read(
    place: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    nothing = str(tmp_path / "absent")
    ended = command(
        *("simulate", "--patients", "1", "--finess", nothing, "--mssante", nothing),
        *("--smtp", place, *words),
    )
    assert ended.status == 64
    assert "--yes-send-to" in ended.err


def test_a_server_that_was_named_twice_still_wants_tls(bench: Bench) -> None:
    host = "smtp.operateur.invalid"
    ended = bench.simulate("--patients", "1", "--yes-send-to", host, smtp=f"{host}:587")
    assert ended.status == 78
    assert "plaintext is for loopback addresses only" in ended.err


# --- options and files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        pytest.param((), 64, "--patients or --files", id="nobody"),
        pytest.param(("--patients", "1", "--speed", "2"), 64, "--start", id="speed alone"),
        pytest.param(("--patients", "1", "--rate", "fast"), 78, "--rate", id="rate"),
        pytest.param(("--patients", "1", "--faults", "x:1%"), 78, "no fault `x`", id="fault"),
        pytest.param(("--patients", "1", "--ej", "12"), 78, "no FINESS number", id="EJ"),
        pytest.param(("--patients", "1", "--ej", "990000010"), 78, "no site", id="ET for EJ"),
        pytest.param(("--patients", "1", "--refuses", "x:y"), 78, "--refuses", id="refuses"),
        pytest.param(("--patients", "1", "--unrouted", "x"), 78, "--unrouted", id="unrouted"),
        pytest.param(("--patients", "1", "--security", "ssl"), 78, "--security", id="security"),
        pytest.param(("--patients", "1", "--username", "u"), 78, "go together", id="login"),
        pytest.param(("--files", "absent.csv"), 78, "absent.csv", id="no such file"),
    ],
)
def test_a_wrong_option_is_told(
    bench: Bench, words: tuple[str, ...], status: int, told: str
) -> None:
    ended = bench.simulate(*words)
    assert (ended.status, ended.out) == (status, "")
    assert told in " ".join(re.sub(r"[│╭╮╰╯─]", " ", ended.err).split())


def test_a_server_that_is_not_there_is_told_before_anything_is_made(bench: Bench) -> None:
    with EmbeddedServers() as gone:
        port = gone.smtp_port
    ended = bench.simulate("--patients", "5", smtp=f"127.0.0.1:{port}")
    assert ended.status == 69
    assert "does not answer" in ended.err


def test_patients_of_a_file_are_sent_with_the_faults_that_they_ask_for(
    bench: Bench, tmp_path: Path
) -> None:
    file, report = tmp_path / "patients.csv", tmp_path / "report.json"
    file.write_text(
        "site;last_name;first_name;file_number;phone;fault\n"
        "990000010;Martin;Zoé;1;;\n"
        "990000010;Durand;Léa;2;06 12 34 56 78;\n"
        "990000499;Petit;Jean;two-certificates.3;;\n"
        "990000028;Blanc;Anne;4;;namesakes\n"
        "990000572;Roux;Paul;5;;\n",
        encoding="utf-8",
    )
    ended = bench.simulate("--files", str(file), "--report", str(report), "--json")
    assert ended.status == 0, ended.err
    found = ended.document
    assert found == json.loads(report.read_text(encoding="utf-8"))
    assert found["channels"] == {"sms": 1, "email": 0, "mssante": 4}
    assert found["routes"] == {"P1": 1, "P2": 2, "none": 1}
    assert found["silent"] == {"several-local": 1}
    said = [(m["site"], m["case"], m["expected"]["state"]) for m in found["messages"]]
    assert sorted(said) == [
        ("990000010", "certificate", "delivered"),
        ("990000028", "namesakes", "delivered"),
        ("990000028", "namesakes", "delivered"),
        ("990000499", "two-certificates", "held"),
    ]
    assert {m["bal"] for m in found["messages"] if m["route"] == "P1"} == {
        "sidep.990000499@lbm.example.mssante.fr"
    }


def test_a_report_that_cannot_be_written_is_told_before_anything_is_sent(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.messages(region.SHARED_BAL)
    for place in (tmp_path, tmp_path / "absent" / "report.json"):
        ended = bench.simulate("--patients", "5", *EVERYBODY, "--report", str(place))
        assert (ended.status, "--report" in ended.err) == (78, True)
    assert bench.messages(region.SHARED_BAL) == before


def test_half_a_register_is_told_and_is_no_good_end(bench: Bench, tmp_path: Path) -> None:
    half = tmp_path / "half.csv"
    half.write_text((bench.top / "f.csv").read_text(encoding="utf-8")[:-60], encoding="utf-8")
    ended = bench.simulate("--patients", "2", *EVERYBODY, "--finess", str(half), "--json")
    assert (ended.status, ended.document["failed"]) == (1, 0)
    assert ended.document["registers_whole"] is False
    assert "half.csv: the file ends in the middle of a row" in ended.err
    whole = bench.simulate("--patients", "2", *EVERYBODY, "--json")
    assert (whole.status, whole.document["registers_whole"]) == (0, True)


def test_an_interrupted_sending_reports_what_was_sent(bench: Bench, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    before = bench.messages(region.SHARED_BAL)
    process = subprocess.Popen(
        [
            *(*PROGRAM, "simulate", "--patients", "5000", *EVERYBODY, "--rate", "5/s"),
            *("--finess", str(bench.top / "f.csv"), "--mssante", str(bench.top / "m.txt")),
            *("--smtp", f"{bench.servers.host}:{bench.servers.smtp_port}"),
            *("--report", str(report)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + DEADLINE
    while bench.messages(region.SHARED_BAL) == before and time.monotonic() < until:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (process.returncode, found["failed"]) == (1, 0), err
    assert found["balance"]["received"] > 0
    assert found["unsent"] > 1000
    assert f"{found['unsent']} message(s) were not sent" in out
    sent = [one for one in found["messages"] if one["bal"] == region.SHARED_BAL]
    assert bench.messages(region.SHARED_BAL) - before == len(sent)


def test_a_bal_that_the_server_does_not_know_is_told_and_counts_as_not_sent(
    bench: Bench,
) -> None:
    with EmbeddedServers({"other@lbm.example.mssante.fr": PASSWORD}) as servers:
        place = f"{servers.host}:{servers.smtp_port}"
        ended = bench.simulate(
            "--patients", "30", "--without-contact", "100", "--ej", "990000903", "--json",
            smtp=place,
        )  # fmt: skip
    assert ended.status == 1
    assert ended.document["failed"] == len(ended.document["messages"]) > 0
    assert set(ended.document["refused"]) == {"550"}
    assert ended.document["balance"]["received"] == 0


def test_the_faults_are_listed_with_what_must_become_of_them() -> None:
    listed = command("simulate", "--list-faults", "--json").document
    assert [one["name"] for one in listed["faults"]] == [one.name for one in faults.EVERY]
    assert all(one["expected"] for one in listed["faults"])
    assert set(listed["groups"]) == set(faults.GROUPS)
    people = command("simulate", "--list-faults")
    assert people.status == 0
    assert all(one.name in people.out for one in faults.EVERY)


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == set(HoldReason)


# --- the rehearsal -----------------------------------------------------------------------


def test_a_rehearsal_writes_over_nothing(tmp_path: Path) -> None:
    mine = tmp_path / "dispatcher.yaml"
    mine.write_text("mine", encoding="utf-8")
    for place, says in ((tmp_path, "not empty"), (mine, "--dir")):
        ended = command("demo", "--count", "1", "--dir", str(place))
        assert (ended.status, says in ended.err) == (64, True), ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["dispatcher.yaml"]
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_a_rehearsal_ends_as_meant_stays_open_and_ends_cleanly(tmp_path: Path) -> None:
    top = tmp_path / "lab"
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--count", "8", "--serve", "--dir", str(top)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"COLUMNS": "80", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    try:
        lines = list(until_served(process))
        told = "\n".join(lines)
        tables = [line for line in lines if line.startswith(("│", "┃"))]
        assert max(map(len, tables)) <= 80
        agreed = re.search(r"(\d+) of (\d+) messages came to the end", told)
        assert agreed is not None
        assert agreed[1] == agreed[2]
        assert set(re.findall(r"│ (P[12]) │", told)) == {"P1", "P2"}
        config = str(top / "dispatcher.yaml")
        status = command("status", "--json", "--config", config).document
        assert status["difference"] == 0
        assert_the_printed_command_agrees(lines, status["balance"], config)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stdout is not None
        process.stdout.close()


def assert_the_printed_command_agrees(
    lines: list[str], before: Mapping[str, int], config: str
) -> None:
    """Send by the command that was printed; the dispatcher comes to what its report says."""
    start = next(place for place, line in enumerate(lines) if " simulate " in line)
    words = " ".join(lines[start:]).replace("\\", "").split()[1:]
    sent = command(*words, "--without-contact", "100", "--faults", "none", "--json").document
    assert (sent["failed"], sent["unsent"]) == (0, 0)
    assert sent["balance"]["held"] > 0, "at the site that is not routed, or for the result"
    until, found = time.monotonic() + 3 * DEADLINE, dict(before)
    while time.monotonic() < until:
        found = command("status", "--json", "--config", config).document["balance"]
        arrived = found["received"] - before["received"] == sent["balance"]["received"]
        if arrived and not found["pending"]:
            break
        # Each look takes from the service that is waited for.
        threading.Event().wait(0.5)
    for name in ("received", "delivered", "held", "duplicate"):
        assert found[name] - before[name] == sent["balance"][name], name


def until_served(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what is printed until the laboratory stays open."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.rstrip("\n")
        if line.startswith("    --unrouted"):
            return
