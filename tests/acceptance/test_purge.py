"""Deletion at the term by the real program, on a Dovecot mailbox and real folders."""

from __future__ import annotations

import csv
import io
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import Terms, due_at
from dispatcher.edges.clock import SystemClock
from dispatcher.simulator import foreign, scenario
from dispatcher.simulator.scenario import RECIPIENT, SITES, Sending
from tests.acceptance.laboratory import Laboratory, until
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

SHORTEST = 5


def usual(laboratory: Laboratory, more: str = "") -> None:
    """Write the settings with the terms of the guide; begin a ledger older than any mail."""
    laboratory.write_settings(retention=f"negative: 72h, positive: 6 months{more}")
    laboratory.once()
    # A server dates mail to the second: what comes in the second of the ledger's birth is older
    # than it, and its first purge asks.
    begun = SystemClock().now().replace(microsecond=0)
    until(lambda: SystemClock().now() - begun >= timedelta(seconds=1), "the next second")


def goes(sendings: Iterable[Sending], ahead: timedelta) -> list[Sending]:
    """Return what is past its term when the calendar is so much ahead."""
    now = SystemClock().now()
    return [
        s
        for s in sendings
        if due_at(
            Facts(result=Result(str(s.truth.result)), sampled_at=s.truth.sampled_at),
            now,
            Terms(),
        )
        <= now + ahead
    ]


def _is_in(text: str, content: bytes, low: bytes) -> bool:
    """Return whether a text is there: a name as a word of any letters, a number as written.

    Else `R6696` is in the bytes of "by the server" and of a digest beside it, and `Leroy`
    by chance among the letters of some hundred random ids.
    """
    if any(character.isdigit() for character in text):
        return text.encode() in content
    word = re.escape(text.lower().encode())
    return re.search(rb"(?<![a-z0-9])%s(?![a-z0-9])" % word, low) is not None


def assert_nothing_left_of(
    gone: Iterable[Sending], kept: Iterable[Sending], laboratory: Laboratory, bal: Bal
) -> None:
    """Search mailbox, folders, ledger, everything below the laboratory, and the trail.

    `kept` is what may be there, foreign mail included: others may bear the same names.
    """
    stay = list(kept)
    others = b"\n".join(one.raw for one in stay).lower()
    others += "\n".join(text for one in stay for text in _texts(one)).lower().encode()
    every = {text for one in gone for text in _texts(one)}
    texts = {text for text in every if text.lower().encode() not in others}
    assert len(texts) > len(every) / 2
    trail = laboratory.command("audit", "export")
    assert trail.status == 0
    places = {
        "the trail": trail.out.encode(),
        "the list": laboratory.command("list").out.encode(),
    }
    places |= {f"mail {uid}": raw for uid, raw in bal.messages().items()}
    places |= {
        str(number): str(path.name).encode() + path.read_bytes()
        for number, path in enumerate(sorted(laboratory.top.rglob("*")))
        if path.is_file() and path != laboratory.config
    }
    for place, content in places.items():
        low = content.lower()
        found = [text for text in texts if _is_in(text, content, low)]
        assert not found, f"{place} holds {len(found)} text(s) of purged patients"


def _texts(sending: Sending) -> set[str]:
    truth = sending.truth
    every = (truth.file_number, truth.last_name, truth.file_name)
    return {text for text in every if text and len(text) >= SHORTEST}


def test_with_the_clock_moved_exactly_what_is_due_goes_and_nothing_of_it_is_left(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    now = SystemClock().now()
    sendings = scenario.certificates(8, 18, list(SITES), now)
    strangers = foreign.all_kinds(random.Random(8), now, recipient=RECIPIENT)
    secrets.add(sendings)
    usual(laboratory, ", max_share: 100%")
    first = bal.append_all([s.raw for s in strangers])
    bal.set_flags(first[0], "\\Deleted")
    theirs = {uid: (bal.messages()[uid], bal.flags()[uid]) for uid in first}
    bal.deliver(*(s.raw for s in sendings))
    _, numbers = laboratory.once()
    early = goes(sendings, timedelta())
    assert numbers["delivered"] == 18

    laboratory.ahead = "+73h"
    gone = goes(sendings, timedelta(hours=73))
    kept = [s for s in sendings if s not in gone]
    assert kept
    assert len(gone) > len(early)
    status, _ = laboratory.once()
    assert status == 0
    assert _files(laboratory) == _documents(kept)
    assert len(bal.messages()) == len(strangers) + len(kept)
    assert_nothing_left_of(gone, [*kept, *strangers], laboratory, bal)

    _half_a_year_later(laboratory, kept)
    assert {uid: (raw, bal.flags()[uid]) for uid, raw in bal.messages().items()} == theirs
    assert_nothing_left_of(sendings, strangers, laboratory, bal)
    assert laboratory.command("verify").status == 0


def _half_a_year_later(laboratory: Laboratory, kept: Iterable[Sending]) -> None:
    """Move the clock by six months and a day, from whatever month; confirm what it stops."""
    laboratory.ahead = "+187d"
    assert laboratory.command("run", "--once").status == 1
    assert _files(laboratory) == _documents(kept), "a clock that jumped waits for a person"
    ended = laboratory.command("purge", "--dry-run", "--json")
    assert ended.status == 1
    (box,) = ended.document["mailboxes"]
    assert box["brakes"] == ["clock-ahead"]
    assert {one["what"] for one in ended.document["due"]} == {"mail", "copy"}
    assert laboratory.status()["mailboxes"][0]["brakes"] == ["clock-ahead"]
    ended = laboratory.command("purge", "--confirm")
    assert ended.status == 0, ended.err
    assert "positive 6 months" in ended.out
    assert "clock-ahead" in ended.out
    assert _files(laboratory) == {}
    assert {one["state"] for one in laboratory.listed()} == {"purged"}
    assert laboratory.command("audit", "verify").status == 0
    assert laboratory.status()["mailboxes"][0]["brakes"] == []


def _files(laboratory: Laboratory) -> Counter[bytes]:
    return Counter(one for site in SITES for one in laboratory.files(site).values())


def _documents(sendings: Iterable[Sending]) -> Counter[bytes]:
    return Counter(s.truth.document for s in sendings if s.truth.document is not None)


def test_a_mail_that_the_server_cannot_read_keeps_no_other_past_its_term(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(9, 6, list(SITES), SystemClock().now())
    secrets.add(sendings)
    usual(laboratory, ", max_share: 100%")
    uids = dict(zip(bal.append_all([s.raw for s in sendings]), sendings, strict=True))
    laboratory.once()
    laboratory.ahead = "+150h"
    gone = goes(sendings, timedelta(hours=150))
    damaged = next(uid for uid, sending in uids.items() if sending in gone)
    with bal.damaged(damaged):
        laboratory.once()
        assert laboratory.logged("mails_were_not_shown") == 1
    kept = {uid: s for uid, s in uids.items() if s not in gone}
    assert len(gone) > 1
    assert set(bal.messages()) == {damaged, *kept}
    laboratory.ahead = "+152h"
    laboratory.once()
    assert set(bal.messages()) == set(kept)
    assert _files(laboratory) == _documents(kept.values())


def test_a_daemon_deletes_by_itself_when_the_hour_comes(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(9, 6, list(SITES), SystemClock().now())
    secrets.add(sendings)
    usual(laboratory)
    bal.deliver(*(s.raw for s in sendings))
    laboratory.once()
    laboratory.ahead = "+150h"
    gone = goes(sendings, timedelta(hours=150))
    assert gone
    process = laboratory.start()
    try:
        until(
            lambda: sum(_files(laboratory).values()) == len(sendings) - len(gone),
            "the copies are gone",
            deadline=60,
        )
        until(lambda: len(bal.messages()) == len(sendings) - len(gone), "and the mails")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def test_a_legal_hold_is_told_and_kept_by_every_command(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(10, 3, list(SITES), SystemClock().now())
    secrets.add(sendings)
    usual(laboratory, ", audit: 2 years")
    bal.deliver(*(s.raw for s in sendings))
    laboratory.once()
    held = laboratory.listed()[0]["id"]
    far = f"{SystemClock().now() + timedelta(days=400):%Y-%m-%d}"
    ended = laboratory.command("hold", held, "--until", far, "--reason", "réquisition")
    assert ended.status == 0, ended.err
    assert laboratory.command("hold", held, "--until", "demain", "--reason", "x").status == 64
    laboratory.ahead = "+300d"
    assert laboratory.command("purge", "--confirm").status == 0
    assert len(bal.messages()) == 1
    (kept,) = [one for one in laboratory.listed() if one["state"] == "delivered"]
    assert kept["id"] == held
    shown = laboratory.command("purge", "--dry-run", "--json").document["kept"]
    assert {one["why"] for one in shown} == {"legal-hold"}
    assert laboratory.command("hold", held, "--until", "none", "--reason", "levée").status == 0
    assert laboratory.command("purge").status == 0
    assert bal.messages() == {}
    exported = laboratory.command("audit", "export").out
    rows = list(csv.DictReader(io.StringIO(exported)))
    assert [r["verb"] for r in rows if r["by"]] == ["hold", "purge", "hold"]
    assert Counter(r["what"] for r in rows if r["verb"] == "removed") == {"mail": 3, "copy": 3}


def test_a_preview_tells_of_lists_and_of_what_a_site_changed(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(14, 2, [next(iter(SITES))], SystemClock().now())
    secrets.add(sendings)
    usual(laboratory)
    bal.deliver(*(s.raw for s in sendings))
    laboratory.once()
    site = str(sendings[0].truth.site)
    today = f"{SystemClock().now().astimezone(PARIS):%Y-%m-%d}"
    assert laboratory.command("bordereau", "--site", site, "--date", today).status == 0
    edited, *_ = (path for path in laboratory.folder(site).glob(f"{site}_*"))
    edited.write_bytes(b"written over by somebody")
    shown = laboratory.command("purge", "--dry-run", "--json").document
    assert [(one["site"], one["due"]) for one in shown["lists"]] == [(site, False)]
    assert shown["left_on_sites"] == []
    laboratory.ahead = "+187d"
    ended = laboratory.command("purge", "--confirm")
    assert "1 list(s) of the day in dossier" in ended.out
    assert list(laboratory.files(site)) == [edited.name]
    ended = laboratory.command("purge", "--dry-run", "--json")
    shown = ended.document
    assert (shown["due"], shown["kept"], shown["lists"]) == ([], [], [])
    assert [one["site"] for one in shown["left_on_sites"]] == [site]
    assert "changed-there" in laboratory.command("purge", "--dry-run").out


def test_the_trail_is_safe_to_open_in_a_spreadsheet(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(12, 1, list(SITES), SystemClock().now())
    secrets.add(sendings)
    bal.deliver(sendings[0].raw)
    laboratory.once()
    entry = laboratory.listed()[0]["id"]
    formulas = "=HYPERLINK(1)\x1b; @SUM(1)"
    laboratory.command("hold", entry, "--until", "none", "--reason", formulas)
    file = laboratory.top / "trail.csv"
    assert laboratory.command("audit", "export", "--to", str(file)).status == 0
    (row,) = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    assert row["reason"] == "'=HYPERLINK(1) ;' @SUM(1)"
    assert laboratory.command("audit", "export", "--to", str(file)).status == 64


def test_the_size_of_a_bal_by_the_guide_and_as_measured(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(12, 1, list(SITES), SystemClock().now())
    secrets.add(sendings)
    usual(laboratory)
    command = ("sizing", "--patients-per-day", "1000", "--json")
    before = laboratory.command(*command).document
    # 100 mails a day: 95 negative for 3 days, 5 positive for at most 186 days.
    assert (before["mails_per_day"], before["negatives"], before["positives"]) == (
        100,
        285,
        930,
    )
    assert before["bytes_at_most"] == 1215 * 1_000_000
    assert before["bytes_as_measured"] is None
    bal.deliver(sendings[0].raw)
    laboratory.once()
    after = laboratory.command(*command).document
    assert after["measured"] == 1
    assert 0 < after["bytes_as_measured"] < after["bytes_at_most"]
    assert laboratory.command("sizing", "--patients-per-day", "0").status == 64


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_a_purge_everything_due_goes_once_and_nothing_else(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    usual(laboratory, ", max_deletions_per_run: 30, max_share: 100%")
    rng = random.Random(20261121)
    now = SystemClock().now()
    sendings = scenario.certificates(13, 300, list(SITES), now)
    secrets.add(sendings)
    strangers = foreign.all_kinds(rng, now, recipient=RECIPIENT)
    theirs = dict(zip(bal.append_all([s.raw for s in strangers]), strangers, strict=True))
    bal.append_all([s.raw for s in sendings])
    laboratory.command("run", "--once", deadline=240)
    assert laboratory.status()["balance"]["delivered"] == 300
    laboratory.ahead = "+73h"
    gone = goes(sendings, timedelta(hours=73))
    kept = [s for s in sendings if s not in gone]
    _die_often(laboratory, kept, rng)
    _finish(laboratory)
    assert _files(laboratory) == _documents(kept)
    assert Counter(bal.messages().values()) == Counter(
        [*(s.raw for s in kept), *(s.raw for s in theirs.values())]
    )
    assert set(theirs) <= set(bal.messages())
    assert laboratory.command("audit", "verify").status == 0
    rows = list(csv.DictReader(io.StringIO(laboratory.command("audit", "export").out)))
    lines = Counter((row["certificate"], row["what"]) for row in rows)
    assert set(lines.values()) == {1}, "each deletion has exactly one line"
    assert Counter(what for _, what in lines) == dict.fromkeys(
        ("mail", "copy", "line"), len(gone)
    )
    assert laboratory.command("verify", deadline=120).status == 0
    assert_nothing_left_of(gone, [*kept, *strangers], laboratory, bal)


def _die_often(laboratory: Laboratory, kept: Iterable[Sending], rng: random.Random) -> None:
    for _ in range(20):
        process = laboratory.begin("purge")
        _live_a_little(process, laboratory, rng)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
        assert not _documents(kept) - _files(laboratory)


def _finish(laboratory: Laboratory) -> None:
    for _ in range(30):
        ended = laboratory.command("purge", "--json")
        assert ended.status in {0, 1}, ended.err
        if not ended.document["mailboxes"][0]["left"]:
            return


def _live_a_little(
    process: subprocess.Popen[bytes], laboratory: Laboratory, rng: random.Random
) -> None:
    """Let the process begin its work, then go on for a random while."""
    before = sum(_files(laboratory).values())
    if rng.random() < 0.8:
        until(
            lambda: sum(_files(laboratory).values()) < before or process.poll() is not None,
            "the first deletion of this life",
            deadline=60,
        )
    time.sleep(rng.uniform(0, 0.4))  # noqa: TID251 - the random moment is the test
