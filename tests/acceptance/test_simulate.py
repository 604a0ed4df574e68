"""The pretend SI-DEP's report and the dispatcher's balance agree, line by line."""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from dispatcher.simulator import faults, region
from dispatcher.simulator.region import Region
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.relay import Relay

Line = Mapping[str, Any]
Key = tuple[str, str]

PATIENTS = 2000
CUTS = 3
# One of each; and what needs something arranged, which `all` leaves out.
FAULTS = "all:1,in-doubt:1,target-refused:1"
NO_RESULT = "non-conforme"


@dataclass(frozen=True)
class Rehearsal:
    """What was sent, and the laboratory that got it.

    `uids` has the copies of each message by its BAL and its Message-ID.
    """

    laboratory: Laboratory
    bals: Mapping[str, Bal]
    report: Line
    uids: Mapping[Key, list[int]]


def uids_in(bals: Mapping[str, Bal]) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = defaultdict(list)
    for address, bal in bals.items():
        for uid, raw in bal.messages().items():
            found[address, message_id(raw)].append(uid)
    return found


def message_id(raw: bytes) -> str:
    found = email.message_from_bytes(raw, policy=email.policy.compat32)["Message-ID"]
    return str(found).strip()


@pytest.fixture
def shown() -> Region:
    return region.region()


@pytest.fixture
def bals(dovecot: Dovecot, shown: Region, request: pytest.FixtureRequest) -> dict[str, Bal]:
    """Return an account for each BAL that SI-DEP writes to."""
    prefix = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    return {
        address: dovecot.bal(f"{prefix}-{place}") for place, address in enumerate(shown.bals)
    }


NEGATIVE = timedelta(hours=80_000)
TERMS = "negative: 80000h, positive: 10 years, other: 10 years, unreadable: 10 years"


@pytest.fixture
def laboratory(
    tmp_path: Path, bals: dict[str, Bal], shown: Region, logs: IO[bytes]
) -> Iterator[Laboratory]:
    """Yield one dispatcher over all these BALs, with the region's sites but one."""
    named = {name_of(address): bal for address, bal in bals.items()}
    found = Laboratory(tmp_path, named, logs=logs)
    for site in shown.sites:
        found.folder(site.number).mkdir(parents=True, exist_ok=True)
    found.write_routing(routing(shown, tmp_path))
    # What comes late would be deleted at once, and could not be compared any more.
    found.write_settings(retention=TERMS)
    yield found
    found.assert_closed()


def name_of(address: str) -> str:
    """Return a mailbox's name in dispatcher.yaml."""
    return address.partition("@")[0].replace(".", "-")


def routing(shown: Region, top: Path) -> str:
    sites = "\n".join(
        f'  "{site.number}": {{name: "{site.name}", '
        f"profile: {'choosy' if site.number in shown.choosy else 'desk'}}}"
        for site in shown.sites
        if site.number != shown.unrouted
    )
    folder = f'folder: "{top}/sites/{{finess}}"'
    return f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "{region.LEGAL_BODY}"}}
profiles:
  desk:
    - {{name: dossier, {folder}}}
  choosy:
    - {{name: dossier, {folder}, when: {{result: [positif, negatif, indetermine]}}}}
sites:
{sites}
"""


def send(
    laboratory: Laboratory, relay: Relay, shown: Region, *options: str
) -> tuple[int, dict[str, Any]]:
    """Run `simulate` on the region's registers; return its exit status and its report."""
    top = laboratory.top
    (top / "finess.csv").write_text(
        region.finess_file(shown, datetime.now(UTC).date()),  # noqa: TID251 - a test's own clock
        encoding="utf-8",
    )
    (top / "mssante.txt").write_text(region.directory_file(shown), encoding="utf-8")
    ended = laboratory.command_without_config(
        "simulate",
        *("--finess", str(top / "finess.csv"), "--mssante", str(top / "mssante.txt")),
        *("--smtp", f"{relay.host}:{relay.port}", "--report", str(top / "report.json")),
        *options,
    )
    assert ended.status in {0, 1}, ended.err
    return ended.status, json.loads((top / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_what_the_simulator_sent_is_what_the_dispatcher_accounts_for(  # noqa: PLR0917 - fixtures
    laboratory: Laboratory,
    bals: dict[str, Bal],
    dovecot: Dovecot,
    shown: Region,
    secrets: Secrets,
) -> None:
    with Relay(dovecot, bals) as relay:
        relay.cuts = CUTS
        relay.refusals += ["451 4.7.1 later", "452 4.2.2 full"]
        status, report = send(
            laboratory,
            relay,
            shown,
            *("--patients", str(PATIENTS), "--seed", "2026", "--faults", FAULTS),
            *(f"--refuses={site}:{NO_RESULT}" for site in shown.choosy),
            f"--unrouted={shown.unrouted}",
        )
    assert (status, report["failed"], report["not_dealt"]) == (0, 0, {})
    remember(secrets, report)
    assert_population(report, shown)
    rehearsal = Rehearsal(laboratory, bals, report, uids_in(bals))
    put_flags(rehearsal)

    ended = laboratory.command("run", "--once", "--json", deadline=240)

    assert ended.status == 1, "something is held"
    assert_balance(rehearsal, ended.document)
    assert_lines(rehearsal)
    assert_folders(rehearsal, shown)


def remember(secrets: Secrets, report: Line) -> None:
    for line in report["messages"]:
        secrets.add_text(line["expected"]["file_number"] or "")
        secrets.add_text(line["expected"]["file_name"] or "")


def assert_population(report: Line, shown: Region) -> None:
    """Check who is reached how, and that each kind of site and each fault is there."""
    assert report["patients"] == PATIENTS
    assert sum(report["channels"].values()) == PATIENTS
    assert 0.08 < report["channels"]["mssante"] / PATIENTS < 0.12, "one in ten (guide, 5)"
    assert all(report["routes"].values())
    assert sum(report["routes"].values()) == report["channels"]["mssante"]
    silent = {site.number for site in shown.sites[-4:]}
    assert {one["site"] for one in report["sites"] if one["bal"] is None} <= silent
    assert len(report["silent"]) > 1, "for more than one reason"
    assert {line["case"] for line in report["messages"]} - {"certificate"} == {
        fault.name for fault in faults.EVERY
    }
    assert {line["route"] for line in report["messages"]} == {"P1", "P2"}
    assert sum(line["sent"]["doubtful"] for line in report["messages"]) == CUTS


def put_flags(rehearsal: Rehearsal) -> None:
    """Set what SMTP cannot carry: what an owner marked, what a lost ledger had marked."""
    for line in rehearsal.report["messages"]:
        if line["flags"]:
            for uid in rehearsal.uids[line["bal"], line["message_id"]]:
                rehearsal.bals[line["bal"]].set_flags(uid, *line["flags"])


def assert_balance(rehearsal: Rehearsal, numbers: Line) -> None:
    """Compare the sums; each of the lost connections left one message more."""
    expected = dict(rehearsal.report["balance"])
    assert expected.pop("uncertain") == CUTS
    assert numbers["received"] + numbers["foreign"] == CUTS + sum(
        expected[name] for name in ("received", "foreign")
    )
    assert numbers["delivered"] == expected["delivered"]
    assert (numbers["pending"], numbers["expired"]) == (0, 0)
    difference = {name: numbers[name] - count for name, count in expected.items()}
    assert all(more >= 0 for more in difference.values())


def assert_lines(rehearsal: Rehearsal) -> None:
    """Compare each message that lies in a BAL with the report's line about it."""
    expected: dict[Key, list[Line]] = defaultdict(list)
    for line in rehearsal.report["messages"]:
        expected[line["bal"], line["message_id"]].append(line)
    found = account(rehearsal)
    assert set(found) == set(expected), "every message is there, and no other"
    for key, lines in expected.items():
        assert_agree(lines, found[key])


def account(rehearsal: Rehearsal) -> dict[Key, list[Line]]:
    """Return what the dispatcher says of each message; an empty line of foreign mail."""
    entries = {(one["mailbox"], one["uid"]): one for one in rehearsal.laboratory.listed()}
    return {
        (address, name): [entries.get((name_of(address), uid), {}) for uid in uids]
        for (address, name), uids in rehearsal.uids.items()
    }


def assert_agree(lines: list[Line], found: list[Line]) -> None:
    """Check one Message-ID: the copies in the mailbox against the lines of the report."""
    doubtful = sum(line["sent"]["doubtful"] for line in lines)
    case = lines[0]["case"]
    assert len(found) == len(lines) + doubtful, case
    states = Counter(one.get("state", "foreign") for one in found)
    wanted = Counter(line["expected"]["state"] for line in lines)
    assert wanted <= states, case
    # What came once more is a duplicate, unless it cannot be known again or is not ours.
    assert set(states - wanted) <= {"duplicate", *wanted} - {"delivered"}, case
    for line in lines:
        alike = (one for one in found if one.get("state") == line["expected"]["state"])
        one = next(alike, None)
        if one is not None:
            assert_says_the_same(line, one)


def assert_says_the_same(line: Line, one: Line) -> None:
    expected, case = line["expected"], line["case"]
    if expected["reason"] is not None:
        assert (one["reason"], case) == (expected["reason"], case)
    if expected["state"] != "delivered":
        return
    facts = ("site", "file_number", "result")
    assert [one[name] for name in facts] == [expected[name] for name in facts], case
    assert at(one["sampled_at"]) == at(expected["sampled_at"]), case
    assert bool(one["replaces"]) == expected["replaces"], case
    assert_term(expected, one)


def assert_term(expected: Line, one: Line) -> None:
    """Check what the legal term counts from (guide, section 5)."""
    start = at(
        one["received_at"] if expected["counts_from"] == "reception" else one["sampled_at"]
    )
    due = at(one["purge_at"])
    assert start is not None
    assert due is not None
    if expected["result"] == "negatif" and expected["sampled_at"] is not None:
        assert due - start == NEGATIVE
    else:
        assert due - start > timedelta(days=2)


def at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def assert_folders(rehearsal: Rehearsal, shown: Region) -> None:
    """Check that each site's folder holds the documents meant for it, and no other."""
    meant: dict[str, Counter[str]] = defaultdict(Counter)
    for line in rehearsal.report["messages"]:
        if line["expected"]["state"] == "delivered":
            meant[line["expected"]["site"]][line["expected"]["sha256"]] += 1
    for site in shown.sites:
        files = rehearsal.laboratory.files(site.number).values()
        found = Counter(hashlib.sha256(content).hexdigest() for content in files)
        assert found == meant[site.number], site.number
