"""Six sites with a printer each, on a cupsd: what the tests of the whole program print on."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.servers.cupsd import Cupsd, Paper

_SERIES = itertools.count(1)
# Far more than it takes, for a machine that is busy with other work.
DEADLINE = 480.0


@dataclass(frozen=True)
class Printers:
    """The queues of one test: six sites, each with a printer of its own."""

    cupsd: Cupsd
    series: int = field(default_factory=lambda: next(_SERIES))

    def __post_init__(self) -> None:
        for site in SITES:
            self.cupsd.add_queue(self.queue(site))

    def queue(self, site: str) -> str:
        return f"accueil{self.series}-{site}"

    def sheets(self) -> list[Paper]:
        """Return every time that one of the printers printed."""
        return [paper for site in SITES for paper in self.cupsd.papers(self.queue(site))]

    def papers(self) -> dict[str, Counter[bytes]]:
        return {site: Counter(self.cupsd.printed(self.queue(site))) for site in SITES}

    def jobs(self) -> dict[str, set[int]]:
        """Return the numbers of the jobs that each delivery was put on paper by."""
        found = defaultdict(set)
        for paper in self.sheets():
            found[paper.title].add(paper.job)
        return dict(found)


def lay_out(laboratory: Laboratory, printers: Printers, server: str, *, held: str = "") -> None:
    """Give each site a folder and its printer; that of `held` prints only when asked."""
    lines = "\n".join(
        f'  "{site}": {{profile: {"asked" if site == held else "desk"}}}' for site in SITES
    )
    folder = f'{{name: dossier, folder: "{laboratory.top}/sites/{{finess}}"}}'
    queue = f'queue: "accueil{printers.series}-{{finess}}"'
    laboratory.write_routing(
        f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "990000903"}}
profiles:
  desk: [{folder}, {{name: papier, print: {{{queue}}}}}]
  asked: [{folder}, {{name: papier, print: {{{queue}, when: hold}}}}]
sites:
{lines}
"""
    )
    laboratory.write_settings(f"cups: {{server: {server}}}\n")


def documents(sendings: Iterable[Sending]) -> dict[str, Counter[bytes]]:
    """Return the documents that each site is to get."""
    found: dict[str, Counter[bytes]] = {site: Counter() for site in SITES}
    for sending in sendings:
        assert sending.truth.site is not None
        assert sending.truth.document is not None
        found[sending.truth.site][sending.truth.document] += 1
    return found


def delivered(laboratory: Laboratory, expected: int) -> None:
    """Return once the service has delivered so many certificates."""
    what = f"{expected} certificates on paper"
    # The command costs a second of work: asked once the ledger's file says the same.
    until(lambda: recorded(laboratory) >= expected, what, deadline=DEADLINE)
    assert laboratory.status()["balance"]["delivered"] >= expected


def recorded(laboratory: Laboratory) -> int:
    """Return how many certificates the ledger's file says are delivered."""
    if not laboratory.ledger.exists():
        return 0
    address = f"file:{laboratory.ledger}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as ledger:
            found = ledger.execute("SELECT count(*) FROM entry WHERE state = 'delivered'")
            return int(found.fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0


def finish(laboratory: Laboratory, expected: int) -> None:
    """Let the service run until so many certificates are delivered."""
    process = laboratory.start()
    try:
        delivered(laboratory, expected)
        assert process.poll() is None, "the service ended by itself"
    finally:
        status, _ = stop(process)
    assert status == 0
