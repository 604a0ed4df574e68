"""A day of a laboratory of sixty sites, at speed: sent, dispatched, compared."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher import wiring
from dispatcher.cli import simulation
from dispatcher.cli.screen import notes
from dispatcher.cli.shapes import Json, balance_shape
from dispatcher.core.ledger import Entry, State
from dispatcher.core.paris import PARIS
from dispatcher.errors import Unavailable
from dispatcher.registry import finess, mssante
from dispatcher.registry.matching import choose
from dispatcher.service.desk import Desk
from dispatcher.service.loop import Loops, MailboxLoop
from dispatcher.service.rulebook import Rulebook

if TYPE_CHECKING:
    from dispatcher.simulator.campaign import Campaign
    from dispatcher.simulator.embedded import EmbeddedServers
    from dispatcher.simulator.region import Region

# How long the dispatcher may go without any progress (seconds).
_PATIENCE: Final = 90.0
_LOOK: Final = 0.1
# From the opening to the last result of the evening, and the seconds that this takes here.
_OPENING: Final = time(7, 30)
_DAY: Final = timedelta(hours=16)
_SECONDS_A_DAY: Final = 12.0
# Every fault that needs nothing but a mail, and what the choosy site's rules refuse.
_FAULTS: Final = "all:1,target-refused:1"
REFUSED: Final = "non-conforme"
# Of so many patients one is sent a certificate by MSSanté, with some to spare.
_PATIENTS_A_MAIL: Final = 14


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rehearsal lies: its directory, its laboratory, its servers."""

    top: Path
    region: Region
    servers: EmbeddedServers

    @property
    def config(self) -> Path:
        """The dispatcher's settings."""
        return self.top / "dispatcher.yaml"

    @property
    def finess(self) -> Path:
        """The made-up FINESS file."""
        return self.top / "finess.csv"

    @property
    def mssante(self) -> Path:
        """The made-up MSSanté directory."""
        return self.top / "mssante.txt"

    def folder(self, site: str) -> Path:
        """Return a site's folder."""
        return self.top / "sites" / site


@contextmanager
def laboratory(top: Path) -> Iterator[Place]:
    """Yield a laboratory with running mail servers and every file that it needs."""
    from dispatcher.simulator import embedded, region  # noqa: PLC0415 - only with the extra

    shown = region.region()
    users = dict.fromkeys(shown.bals, embedded.PASSWORD)
    with embedded.EmbeddedServers(users) as servers:
        place = Place(top, shown, servers)
        _write_files(place)
        yield place


@contextmanager
def dispatcher(place: Place) -> Iterator[tuple[Desk, Loops, Rulebook]]:
    """Yield a dispatcher at work on every mailbox of the laboratory."""
    chosen = wiring.configuration(place.config)
    rules = wiring.rulebook(chosen)
    with wiring.daemon_lock(chosen), wiring.open_desk(chosen, rules) as desk:
        rules.begin(desk.ledger)
        loops = Loops([MailboxLoop(m, desk, keyword=None) for m in wiring.mailboxes(chosen)])
        loops.start()
        try:
            yield desk, loops, rules
        finally:
            loops.stop(5.0, desk.clock.monotonic)


def rehearse(place: Place, desk: Desk, *, seed: int, count: int) -> Json:
    """Let SI-DEP send a day's certificates, wait for the dispatcher, and compare."""
    from dispatcher.simulator import sender  # noqa: PLC0415 - only with the extra

    opening, campaign = _planned(place, seed=seed, count=count)
    speed = _DAY.total_seconds() / _SECONDS_A_DAY
    server = sender.Server(place.servers.host, place.servers.smtp_port)
    with notes().status(f"a day of {len(campaign.addressed)} patients goes by…"):
        sent = simulation.deliver(
            campaign, server, seed=seed, pace=sender.Clockwork(opening, speed)
        )
        _await_all(desk, len(sent["messages"]))
    return _compared(place, desk, sent)


def _planned(place: Place, *, seed: int, count: int) -> tuple[datetime, Campaign]:
    """Plan `count` sound certificates and every fault, all of yesterday."""
    from dispatcher.simulator import campaign, dossiers, mix  # noqa: PLC0415 - as above

    wanted = mix.read(_FAULTS)
    mails = count + len(wanted.counts)
    register, _ = finess.load(place.finess)
    directory, _ = mssante.load(place.mssante)
    now = wiring.CLOCK.now().astimezone(PARIS)
    day = now.date() - timedelta(days=1)
    sites = [site.number for site in place.region.sites]
    people = dossiers.population(seed, mails * _PATIENTS_A_MAIL, sites, now=now, start=day)
    receiver = campaign.Receiver(
        frozenset({place.region.unrouted}), dict.fromkeys(place.region.choosy, REFUSED)
    )
    planned = campaign.plan(
        people,
        lambda site: choose(site, register, directory),
        wanted,
        seed=seed,
        now=now,
        receiver=receiver,
        mails=mails,
    )
    return datetime.combine(day, _OPENING, tzinfo=PARIS), planned


def _await_all(desk: Desk, sent: int) -> None:
    """Wait until every message is accounted for and nothing is pending."""
    pause, seen, until = threading.Event(), None, 0.0
    while True:
        balance = desk.ledger.balance()
        if balance.received + balance.foreign >= sent and not balance.pending:
            return
        now = desk.clock.monotonic()
        if balance != seen:
            seen, until = balance, now + _PATIENCE
        elif now > until:
            raise Unavailable("the dispatcher made no progress for a long while")
        pause.wait(_LOOK)


# --- the laboratory's files --------------------------------------------------------------


def _write_files(place: Place) -> None:
    """Write what a laboratory would have: settings, rules, folders, and the registers."""
    from dispatcher.simulator import region  # noqa: PLC0415 - only with the extra

    top, shown = place.top, place.region
    top.mkdir(parents=True, exist_ok=True)
    password = top / "password"
    password.write_text(place.servers.password, encoding="utf-8")
    password.chmod(0o600)
    for site in shown.sites:
        place.folder(site.number).mkdir(parents=True, exist_ok=True)
    today = wiring.CLOCK.now().date()
    place.finess.write_text(region.finess_file(shown, today), encoding="utf-8")
    place.mssante.write_text(region.directory_file(shown), encoding="utf-8")
    boxes = "".join(_mailbox(place, address, password) for address in shown.bals)
    ledger = f"ledger: sqlite:///{top / 'ledger.sqlite3'}"
    place.config.write_text(
        f"mailboxes:\n{boxes}routing: routing.yaml\n{ledger}\n"
        "log: {format: console, level: error}\n",
        encoding="utf-8",
    )
    (top / "routing.yaml").write_text(_routing(place), encoding="utf-8")


def _mailbox(place: Place, address: str, password: Path) -> str:
    name = address.partition("@")[0].replace(".", "-")
    # pymap forgets, once in a thousand messages, to tell a client in IDLE: the clock does.
    return f"""\
  {name}:
    host: {place.servers.host}
    port: {place.servers.imap_port}
    security: plaintext
    username: {address}
    password_file: {password}
    settled_keyword: null
    watch: poll
    poll_interval: 1s
"""


def _routing(place: Place) -> str:
    shown, folder = place.region, f'folder: "{place.top}/sites/{{finess}}"'
    lines = [
        f'  "{site.number}": {{name: "{site.name}", '
        f"profile: {'choosy' if site.number in shown.choosy else 'desk'}}}"
        for site in shown.sites
        if site.number != shown.unrouted
    ]
    head = f"""\
version: 1
lbm: {{name: LBM de démonstration, finess_ej: "990000903"}}
profiles:
  desk:
    - {{name: folder, {folder}}}
  choosy:                       # takes every result but `{REFUSED}`
    - {{name: folder, {folder}, when: {{result: [positif, negatif, indetermine]}}}}
sites:                          # {shown.unrouted} is missing: nobody has added it yet
"""
    return head + "\n".join(lines) + "\n"


# --- comparing ---------------------------------------------------------------------------


def _compared(place: Place, desk: Desk, sent: Json) -> Json:
    """Hold what was sent against what lies in the folders and in the ledger."""
    entries = list(desk.ledger.entries())
    balance = desk.ledger.balance()
    found = balance_shape(balance)
    expected = [line["expected"] for line in sent["messages"]]
    sites = [_site(place, line, expected) for line in _all_sites(place, sent)]
    held = Counter(e.reason.value for e in entries if e.state is State.HELD and e.reason)
    agreeing: int = sum(site["right"] for site in sites) + _held_as_meant(held, expected)
    for state in ("duplicate", "foreign"):
        agreeing += min(sent["balance"][state], found[state])
    return {
        "sent": len(expected),
        "as_meant": agreeing,
        "balance": found,
        "difference": balance.difference,
        "patients": sent["patients"],
        "channels": sent["channels"],
        "routes": sent["routes"],
        "sites": sites,
        "held": dict(held.most_common()),
        "examples": [_held_example(entry) for entry in entries if entry.state is State.HELD],
    }


def _all_sites(place: Place, sent: Json) -> list[Json]:
    """Return a line for each site of the region, also for those where nobody was tested."""
    reported = {line["site"]: line for line in sent["sites"]}
    quiet = {"mssante": 0, "route": None, "bal": None, "why": "", "sentence": ""}
    return [
        {**quiet, **reported.get(site.number, {}), "site": site.number, "name": site.name}
        for site in place.region.sites
    ]


def _site(place: Place, line: Json, expected: list[Json]) -> Json:
    folder = place.folder(line["site"])
    contents = [path.read_bytes() for path in folder.iterdir()]
    files = Counter(hashlib.sha256(content).hexdigest() for content in contents)
    meant = Counter(
        one["sha256"]
        for one in expected
        if one["state"] == "delivered" and one["site"] == line["site"]
    )
    right = (files & meant).total()
    return {
        **{name: line[name] for name in ("site", "name", "route", "why", "sentence")},
        "waiting": line["mssante"],
        "sent": meant.total(),
        "files": len(contents),
        "right": right,
        "wrong": len(contents) - right,
        "bytes": sum(map(len, contents)),
    }


def _held_as_meant(held: Counter[str], expected: list[Json]) -> int:
    """Return how many were held for the reason meant; where any will do, for any."""
    reasons = [one["reason"] for one in expected if one["state"] == "held"]
    named = Counter(reason for reason in reasons if reason is not None)
    right = (held & named).total()
    return right + min(reasons.count(None), (held - named).total())


def _held_example(entry: Entry) -> Json:
    return {
        "id": entry.id,
        "reason": None if entry.reason is None else entry.reason.value,
        "detail": entry.detail,
    }
