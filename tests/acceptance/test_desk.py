"""What the people at the desk get: lists, separators, copies, and words for what waits."""

from __future__ import annotations

import io
import itertools
import os
import pwd
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from pypdf import PdfReader

from dispatcher.core.paris import PARIS
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory, stop
from tests.acceptance.laboratory import until as until_within
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import Cupsd, Setup
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SITE, OTHER = "990000010", "990000028"
# Other people's work may keep the machine busy: whole minutes, and no test waits for them.
until = partial(until_within, deadline=150)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SERIES = itertools.count(1)


@dataclass(frozen=True)
class Reception:
    """Two sites with a folder and a printer each, and what lies there."""

    laboratory: Laboratory
    cupsd: Cupsd
    series: int

    def queue(self, site: str = SITE) -> str:
        return f"desk{self.series}-{site}"

    def set_up(self, how: str = "", hours: str = "", settings: str = "") -> None:
        """Write both files; `how` is put into the print targets."""
        sites = "\n".join(
            f'  "{site}": {{name: "{SITES[site]}", profile: desk{hours}}}'
            for site in (SITE, OTHER)
        )
        self.laboratory.write_routing(
            f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "990000903"}}
profiles:
  desk:
    - {{name: dossier, folder: "{self.laboratory.top}/sites/{{finess}}"}}
    - {{name: papier, print: {{queue: "desk{self.series}-{{finess}}"{how}}}}}
sites:
{sites}
"""
        )
        self.laboratory.write_settings(f"cups: {{server: {self.cupsd.socket}}}\n{settings}")

    def settled(self) -> bool:
        """Make a full turn; return whether nothing is left to print or to follow."""
        return self.laboratory.once()[1]["pending"] == 0

    def titles(self) -> Counter[str]:
        """Return how often each job was put on paper."""
        found = (p.title for s in (SITE, OTHER) for p in self.cupsd.papers(self.queue(s)))
        return Counter(found)

    def lists(self, site: str = SITE) -> list[bytes]:
        """Return the lists of the day that a site's printer printed."""
        found = self.cupsd.printed(self.queue(site))
        return [one for one in found if "Bordereau" in text_of(one)]

    def files(self, site: str) -> list[str]:
        names = self.laboratory.files(site)
        return [name for name in names if name.startswith("bordereau-")]


def text_of(content: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def reception_at(laboratory: Laboratory, cupsd: Cupsd) -> Reception:
    found = Reception(laboratory, cupsd, next(_SERIES))
    for site in (SITE, OTHER):
        cupsd.add_queue(found.queue(site))
    return found


@pytest.fixture
def reception(laboratory: Laboratory, cupsd: Cupsd) -> Reception:
    return reception_at(laboratory, cupsd)


@pytest.fixture
def keeping(laboratory: Laboratory) -> Iterator[Reception]:
    """Yield a reception whose CUPS keeps what it printed."""
    with Cupsd(Setup(files="Yes")) as server:
        yield reception_at(laboratory, server)


def bring(bal: Bal, secrets: Secrets, *, count: int, seed: int) -> None:
    """Let so many certificates come for each of the two sites."""
    for site in (SITE, OTHER):
        sendings = scenario.certificates(seed, count, [site], NOW)
        secrets.add(sendings)
        bal.append_all([one.raw for one in sendings])


def served(reception: Reception, sites: tuple[str, ...]) -> bool:
    """Whether the service has done with today's list at these sites, on paper too."""
    today = datetime.now(PARIS).date().isoformat()  # noqa: TID251 - the program's own clock
    return all(
        target["last_bordereau"] is not None and target["last_bordereau"] >= today
        for target in reception.laboratory.status()["targets"]
        if target["site"] in sites
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_site_gets_its_list_by_itself_once_whatever_kills_the_service(
    reception: Reception, bal: Bal, secrets: Secrets
) -> None:
    reception.set_up(", separator: true", settings='bordereau: {at: "00:00"}\n')
    bring(bal, secrets, count=3, seed=51)
    reception.laboratory.once()
    until(lambda: len(reception.titles()) == 8, "six certificates and two separators")
    first = text_of(reception.cupsd.printed(reception.queue())[0])
    assert (SITES[SITE] in first, "3 certificats" in first) == (True, True)

    reception.cupsd.pause(reception.queue(OTHER))
    process = reception.laboratory.start()
    until(
        lambda: bool(reception.lists()) or process.poll() is not None, "a first list on paper"
    )
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    process = reception.laboratory.start()
    try:
        until(lambda: served(reception, (SITE,)), "the first site is done")
        assert not served(reception, (OTHER,)), "accepted by a paused queue is not printed"
        reception.cupsd.resume(reception.queue(OTHER))
        until(lambda: served(reception, (SITE, OTHER)), "both sites are done")
    finally:
        status, _ = stop(process)
    assert status == 0
    assert set(reception.titles().values()) == {1}, "no page twice"
    for site in (SITE, OTHER):
        (page, *_) = reception.lists(site)
        assert "Total : 3 certificats" in text_of(page)
        assert reception.files(site)


def closed_now() -> str:
    """Return opening hours of one day that is neither today nor tomorrow in Paris."""
    later = datetime.now(PARIS) + timedelta(days=3)  # noqa: TID251 - the program's own clock
    day = DAYS[later.weekday()]
    return f', hours: {{{day}: "08:00-18:00"}}'


def test_a_closed_site_gets_neither_certificates_nor_lists_on_paper_until_somebody_asks(
    reception: Reception, bal: Bal, secrets: Secrets
) -> None:
    reception.set_up(", when: open", hours=closed_now())
    bring(bal, secrets, count=2, seed=52)
    reception.laboratory.once()
    target = next(
        t
        for t in reception.laboratory.status()["targets"]
        if (t["site"], t["target"]) == (SITE, "papier")
    )
    assert (target["waiting"], target["waits_for_a_person"]) == (2, 0)
    assert datetime.fromisoformat(target["waits_until"]) > datetime.now(UTC)  # noqa: TID251 - the program's own clock
    assert "the site opens on" in target["because"]
    assert "2 until" in reception.laboratory.command("status").out

    today = datetime.now(PARIS).date().isoformat()  # noqa: TID251 - the program's own clock
    words = ("bordereau", "--site", SITE, "--date", today)
    ended = reception.laboratory.command(*words)
    assert (ended.status, "not printed: the site opens on" in ended.err) == (1, True)
    assert (len(reception.files(SITE)), reception.lists()) == (1, [])
    ended = reception.laboratory.command(*words, "--now")
    told = {"printed by" in ended.out: 0, "still in queue" in ended.err: 1}
    assert told[True] == ended.status, ended.err
    until(lambda: len(reception.lists()) == 1, "the list on paper")
    assert set(reception.titles().values()) == {1}

    ended = reception.laboratory.command("print", "--site", SITE)
    assert (ended.status, ended.out) == (0, "2 certificate(s) to be printed now\n")
    reception.laboratory.once()
    until(lambda: len(reception.cupsd.printed(reception.queue())) == 3, "two certificates")


def test_each_copy_is_shown_with_who_asked_for_it_and_why(
    reception: Reception, bal: Bal, secrets: Secrets
) -> None:
    reception.set_up(", when: hold")
    (sending,) = scenario.certificates(53, 1, [SITE], NOW)
    secrets.add([sending])
    bal.deliver(sending.raw)
    reception.laboratory.once()
    (entry,) = reception.laboratory.listed()
    asked = (("print", "demandé"), ("reprint", "froissé"))
    for copies, (verb, why) in enumerate(asked, 1):
        ended = reception.laboratory.command(verb, entry["id"], "--reason", why)
        assert ended.status == 0, ended.err
        until(reception.settled, f"copy {copies} on paper")
        assert len(reception.titles()) == copies
    shown = reception.laboratory.command("show", entry["id"], "--json").document
    me = pwd.getpwuid(os.getuid()).pw_name
    printed = [one for one in shown["copies"] if one["target"] == "papier"]
    assert [(c["copy"], c["asked_by"], c["asked_why"]) for c in printed] == [
        (copy, me, why) for copy, (_, why) in enumerate(asked)
    ]
    table = reception.laboratory.command("show", entry["id"]).out
    assert all(why in table for _, why in asked)


def test_a_spool_that_keeps_documents_is_told_by_check_and_by_verify(
    keeping: Reception, bal: Bal, secrets: Secrets
) -> None:
    keeping.set_up()
    bring(bal, secrets, count=1, seed=54)
    until(keeping.settled, "two certificates on paper, followed to the end")
    assert len(keeping.titles()) == 2
    said = keeping.laboratory.command("check").out
    assert "still keeps the documents of 1 ended print(s)" in said
    ended = keeping.laboratory.command("verify")
    assert (ended.status, "the spool still holds its document" in ended.out) == (1, True)


def test_a_paused_queue_and_an_empty_tray_are_told_in_words(
    reception: Reception, bal: Bal, secrets: Secrets
) -> None:
    reception.set_up()
    reception.cupsd.pause(reception.queue(SITE))
    reception.cupsd.set_mode(reception.queue(OTHER), "out-of-paper")
    bring(bal, secrets, count=1, seed=55)
    words = {SITE: "the queue is paused", OTHER: "out of paper"}

    def told() -> bool:
        targets = reception.laboratory.status()["targets"]
        said = {t["site"]: t["because"] or "" for t in targets if t["target"] == "papier"}
        return all(word in said[site] for site, word in words.items())

    process = reception.laboratory.start()
    try:
        until(told, "the printers' words")
        assert "the queue is paused" in reception.laboratory.command("status").out
        reception.cupsd.resume(reception.queue(SITE))
        reception.cupsd.set_mode(reception.queue(OTHER), "ok")
        until(
            lambda: reception.laboratory.status()["balance"]["delivered"] == 2, "both on paper"
        )
    finally:
        stop(process)
