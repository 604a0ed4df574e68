"""From a population to its messages: BALs, faults dealt out, the truth at the other end."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dispatcher.errors import ConfigInvalid
from dispatcher.registry import finess, mssante
from dispatcher.registry.matching import choose
from dispatcher.simulator import campaign, cases, dossiers, faults, mix, region
from dispatcher.simulator.campaign import Campaign, Receiver
from dispatcher.simulator.cases import Case
from dispatcher.simulator.faults import Fault
from dispatcher.simulator.report import Report
from dispatcher.simulator.smtp_line import Sent

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 3, 10, 30, tzinfo=PARIS)
SHOWN = region.region()
SITES = [site.number for site in SHOWN.sites]


@pytest.fixture(scope="module")
def choosing(tmp_path_factory: pytest.TempPathFactory) -> campaign.Choose:
    """Return SI-DEP's choice over the region's files, through the readers of the registers."""
    top: Path = tmp_path_factory.mktemp("registers")
    (top / "f.csv").write_text(region.finess_file(SHOWN, date(2026, 11, 1)), "utf-8")
    (top / "m.txt").write_text(region.directory_file(SHOWN), "utf-8")
    register, odd = finess.load(top / "f.csv")
    directory, odder = mssante.load(top / "m.txt")
    assert (odd, odder) == ((), ())
    return lambda site: choose(site, register, directory)


def planned(
    choosing: campaign.Choose,
    wanted: str = "none",
    *,
    count: int = 300,
    receiver: Receiver | None = None,
    mails: int | None = None,
) -> Campaign:
    people = dossiers.population(3, count, SITES, now=NOW)
    return campaign.plan(
        people,
        choosing,
        mix.read(wanted),
        seed=3,
        now=NOW,
        receiver=receiver,
        mails=mails,
    )


# --- the made-up region ------------------------------------------------------------------


def test_the_region_has_both_schemes_and_four_kinds_of_silence(
    choosing: campaign.Choose,
) -> None:
    made = planned(choosing, count=2000)
    whys = Counter(choice.why.value for choice in made.choices.values())
    assert whys == {
        "one-legal": 48,
        "one-local": 8,
        "several-local": 1,
        "several-legal": 1,
        "wrong-kind": 1,
        "site-not-declared": 1,
    }
    addresses = {choice.address for choice in made.choices.values()}
    assert addresses - {None} == set(SHOWN.bals)


# --- channel, BAL, message ---------------------------------------------------------------


def test_only_patients_for_mssante_whose_site_has_a_bal_make_a_message(
    choosing: campaign.Choose,
) -> None:
    made = planned(choosing, count=600)
    for one in made.addressed:
        assert (one.choice is not None) == (one.way.channel.value == "mssante")
    assert [m.addressed for m in made.messages()] == made.mailed
    for message in made.messages():
        site = message.addressed.dossier.exam.site
        assert message.sending.recipient == made.choices[site].address
        assert message.sending.truth.site == site


def test_the_messages_are_the_same_bytes_each_time_they_are_made(
    choosing: campaign.Choose,
) -> None:
    made = planned(choosing, "repeats:20%", count=250)
    assert digest(made) == digest(made) == digest(planned(choosing, "repeats:20%", count=250))


def digest(made: Campaign) -> str:
    return hashlib.sha256(b"".join(m.sending.raw for m in made.messages())).hexdigest()


def test_a_number_of_mails_ends_the_population_there(choosing: campaign.Choose) -> None:
    made = planned(choosing, count=900, mails=7)
    assert len(made.mailed) == 7
    assert made.addressed[-1].bal is not None


# --- faults ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", faults.EVERY, ids=lambda one: one.name)
def test_a_fault_makes_as_many_messages_as_it_says(fault: Fault) -> None:
    refusing = dict.fromkeys(SITES[:4], "non-conforme")
    about = cases.case(Random(fault.name), SITES[:4], NOW)
    about = Case(about.rng, about.sites, NOW, about.patient, about.exam, refusing=refusing)
    assert fault.fits(about)
    made = fault.build(about)
    assert len(made) == fault.messages
    assert all(one.message_id.encode() in one.raw for one in made)
    assert all(one.written_at is not None for one in made)
    assert all(one.raw.isascii() == (one.seven_bit is None) for one in made)
    assert {one.case for one in made} == {fault.name}
    assert fault.expected


def test_every_reason_of_the_contract_has_a_fault() -> None:
    contract = {
        *("sender-not-allowed", "subject-unreadable", "attachment-missing"),
        *("attachment-name-unreadable", "several-certificates", "not-a-pdf", "pdf-encrypted"),
        *("pdf-active-content", "pdf-unreadable", "too-large", "finess-mismatch"),
        *("file-number-mismatch", "patient-mismatch", "site-unknown", "target-refused"),
        "in-doubt",
    }
    assert {fault.reason for fault in faults.EVERY} - {None} == contract


def test_names_are_unique_and_all_is_what_needs_nothing() -> None:
    names = [fault.name for fault in faults.EVERY]
    assert len(set(names)) == len(names)
    assert not set(faults.GROUPS) & set(names), "a name would mean two things"
    left_out = set(faults.EVERY) - set(faults.GROUPS["all"])
    assert {fault.name for fault in left_out} == {"target-refused", "in-doubt"}


def test_counts_are_exact_shares_are_about_right_and_the_rest_is_sound(
    choosing: campaign.Choose,
) -> None:
    made = planned(choosing, "namesakes:3,mismatch:30%", count=2500)
    found = Counter(fault.name for fault in made.dealt.faults.values())
    assert found["namesakes"] == 3
    mismatches = {fault.name for fault in faults.GROUPS["mismatch"]}
    drawn = sum(count for name, count in found.items() if name in mismatches)
    assert 0.2 < drawn / len(made.mailed) < 0.4
    assert set(found) - mismatches == {"namesakes"}
    assert len({name for name in found if name in mismatches}) > 5, "spread over the group"


def test_a_count_of_a_group_is_of_each_and_too_few_patients_are_told(
    choosing: campaign.Choose,
) -> None:
    made = planned(choosing, "repeats:2", count=600)
    found = Counter(fault.name for fault in made.dealt.faults.values())
    assert found == {fault.name: 2 for fault in faults.GROUPS["repeats"]}
    few = planned(choosing, "too-large:50", count=100)
    assert few.dealt.left_over == {"too-large": 50 - len(few.mailed)}


def test_a_file_number_asks_for_its_fault() -> None:
    assert mix.fault_in("two-certificates.17") is faults.named("two-certificates")
    for text in ("two-certificates", "two-certificates17.", "all.1", "21048BC.000020", ""):
        assert mix.fault_in(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("mismatch", "neither NAME:SHARE% nor NAME:COUNT", id="no number"),
        pytest.param("mismatch:x", "neither", id="no digits"),
        pytest.param("mismatch:-1%", "neither", id="negative"),
        pytest.param("sabotage:1%", "no fault `sabotage`", id="unknown"),
        pytest.param("mismatch:60%,dates:60%", "more than 100 %", id="too much"),
    ],
)
def test_a_wish_that_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        mix.read(text)


def test_nothing_is_a_wish_too() -> None:
    assert mix.read("") == mix.read("none") == mix.Mix()


# --- the truth at the other end ----------------------------------------------------------


def truths(made: Campaign) -> list[Mapping[str, Any]]:
    report = Report(made, 3)
    for place, message in enumerate(made.messages()):
        report.note(place, message, Sent(message.sending, 250, 1), NOW)
    lines: list[Mapping[str, Any]] = report.document()["messages"]
    return lines


def test_a_site_that_is_not_routed_is_held_unknown_and_its_copies_are_duplicates(
    choosing: campaign.Choose,
) -> None:
    unrouted = Receiver(unrouted=frozenset(SITES))
    lines = truths(planned(choosing, "repeats:100%", count=300, receiver=unrouted))
    states = {(one["expected"]["state"], one["expected"]["reason"]) for one in lines}
    assert states == {("held", "site-unknown"), ("duplicate", None)}
    assert not any(one["expected"]["replaces"] for one in lines)


def test_a_result_that_no_target_takes_is_held_as_one_that_cannot_be_read_is(
    choosing: campaign.Choose,
) -> None:
    refusing = Receiver(refusing=dict.fromkeys(SITES, "negatif"))
    lines = truths(planned(choosing, "result-unknown:30%", count=400, receiver=refusing))
    for one in lines:
        refused = one["expected"]["result"] in {None, "negatif"}
        assert one["expected"]["reason"] == ("target-refused" if refused else None)
    assert {one["expected"]["result"] for one in lines} > {None, "negatif"}


def test_a_day_that_lies_ahead_counts_from_reception(choosing: campaign.Choose) -> None:
    made = planned(choosing, count=200)
    report = Report(made, 3)
    for place, message in enumerate(made.messages()):
        report.note(place, message, Sent(message.sending, 250, 1), NOW - timedelta(days=9))
    lines = report.document()["messages"]
    assert {one["expected"]["counts_from"] for one in lines} == {"reception"}
    assert {one["expected"]["counts_from"] for one in truths(made)} == {"sampling"}


def test_the_report_adds_up(choosing: campaign.Choose) -> None:
    made = planned(choosing, "all:1", count=1200)
    report = Report(made, 3)
    for place, message in enumerate(made.messages()):
        code = 550 if place == 0 else 250
        report.note(place, message, Sent(message.sending, code, 1, doubtful=place == 1), NOW)
    found = report.document()
    assert sum(found["channels"].values()) == found["patients"] == 1200
    assert sum(found["routes"].values()) == found["channels"]["mssante"]
    assert sum(found["silent"].values()) == found["routes"]["none"]
    assert sum(site["patients"] for site in found["sites"]) == 1200
    assert sum(site["messages"] for site in found["sites"]) == len(found["messages"])
    assert len(found["messages"]) == made.size
    assert (found["failed"], found["refused"]) == (1, {"550": 1})
    balance = found["balance"]
    assert balance["uncertain"] == 1
    assert balance["received"] + balance["foreign"] == made.size - 1
    assert balance["received"] == sum(
        balance[state] for state in ("delivered", "held", "pending", "duplicate", "expired")
    )
