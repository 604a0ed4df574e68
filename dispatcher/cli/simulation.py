"""What `simulate` does: registers and population in, messages out, a report at the end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from dispatcher import wiring
from dispatcher.cli.screen import notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json
from dispatcher.core.finess import SHAPE, FinessEJ, FinessET
from dispatcher.core.paris import PARIS
from dispatcher.errors import ConfigInvalid
from dispatcher.registry import finess, mssante
from dispatcher.registry.matching import Choice, choose
from dispatcher.registry.values import Directory, Establishment, Register

if TYPE_CHECKING:
    from dispatcher.simulator.campaign import Campaign, Message, Receiver
    from dispatcher.simulator.cases import Sending
    from dispatcher.simulator.dossiers import Dossier
    from dispatcher.simulator.sender import Pace, Sent, Server

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|min|h)")
_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RESULTS: Final = ("negatif", "positif", "indetermine", "non-conforme")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of the command, as they were typed; `run` checks them."""

    finess: tuple[Path, ...]
    mssante: Path
    patients: int = 0
    seed: int = 1
    legal_bodies: tuple[str, ...] = ()
    files: Path | None = None
    faults: str = ""
    without_contact: float = 0.1
    start: date | None = None
    speed: float | None = None
    rate: str | None = None
    connections: int = 4
    unrouted: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()


def run(wanted: Wanted, server: Server) -> Json:
    """Send it all and return the report.

    Raises ConfigInvalid with the mistakes in options and files, Refused or Unavailable when
    the server does not let us in.
    """
    from dispatcher.simulator import sender  # noqa: PLC0415 - only with the extra

    pace, receiver = _pace(wanted), _receiver(wanted)
    asyncio.run(sender.probe(server))
    campaign = _planned(wanted, receiver)
    return _sent(campaign, server, wanted, pace)


# --- what to send ------------------------------------------------------------------------


def _planned(wanted: Wanted, receiver: Receiver) -> Campaign:
    from dispatcher.simulator import campaign, mix  # noqa: PLC0415 - only with the extra

    dealt = mix.read(wanted.faults)
    with notes().status("reading the registers…"):
        register, _ = finess.load(*wanted.finess)
        directory, _ = mssante.load(wanted.mssante)
    now = _now(wanted)
    return campaign.plan(
        _dossiers(wanted, register, now),
        _chooser(register, directory),
        dealt,
        seed=wanted.seed,
        now=now,
        receiver=receiver,
    )


def _chooser(register: Register, directory: Directory) -> Callable[[FinessET], Choice]:
    return lambda site: choose(site, register, directory)


def _now(wanted: Wanted) -> datetime:
    """Return the moment that the newest test lies before: now, or the end of that day."""
    if wanted.start is None:
        return wiring.CLOCK.now().astimezone(PARIS)
    return datetime.combine(wanted.start, time(23, 59), tzinfo=PARIS)


def _dossiers(wanted: Wanted, register: Register, now: datetime) -> list[Dossier]:
    from dispatcher.simulator import dossiers, patients_file  # noqa: PLC0415 - as above

    made: list[Dossier] = []
    if wanted.patients:
        made = dossiers.population(
            wanted.seed,
            wanted.patients,
            _sites(wanted, register),
            now=now,
            start=wanted.start,
            unreachable=wanted.without_contact,
        )
    if wanted.files is not None:
        made += patients_file.read(wanted.files, seed=wanted.seed, now=now, first=len(made))
    if not made:
        raise ConfigInvalid(("there is nobody to send for: --patients N, or --files FILE",))
    return made


def _sites(wanted: Wanted, register: Register) -> list[str]:
    """Return the sites that test: those of the legal bodies, else every laboratory."""
    for number in wanted.legal_bodies:
        if not SHAPE.fullmatch(number):
            raise ConfigInvalid((f"--ej: `{plain(number)}` is no FINESS number",))
    found: list[Establishment] = []
    for number in wanted.legal_bodies:
        found += register.sites_of(FinessEJ(number))
    if not wanted.legal_bodies:
        found = [one for one in register.establishments.values() if one.is_laboratory]
    if not found:
        what = "of these legal bodies" if wanted.legal_bodies else "that is a laboratory"
        raise ConfigInvalid((f"--finess: the file has no site {what}",))
    return sorted(one.site.number for one in found)


def _receiver(wanted: Wanted) -> Receiver:
    from dispatcher.simulator.campaign import Receiver  # noqa: PLC0415 - only with the extra

    problems = [
        f"--unrouted: `{plain(number)}` is no FINESS number"
        for number in wanted.unrouted
        if not SHAPE.fullmatch(number)
    ]
    refusing = {}
    for text in wanted.refuses:
        site, _, result = text.partition(":")
        if not SHAPE.fullmatch(site) or result not in _RESULTS:
            problems.append(f"--refuses: `{plain(text)}` is no ET:RESULT, as 990000010:positif")
        refusing[site] = result
    if problems:
        raise ConfigInvalid(tuple(problems))
    return Receiver(frozenset(wanted.unrouted), refusing)


# --- sending -----------------------------------------------------------------------------


def _pace(wanted: Wanted) -> Pace:
    from dispatcher.simulator import sender  # noqa: PLC0415 - only with the extra

    paces: list[Pace] = [sender.AtOnce()]
    if wanted.rate is not None:
        found = _RATE.fullmatch(wanted.rate)
        if found is None or not float(found[1]):
            raise ConfigInvalid(("--rate: write 5/s, 90/min or 1000/h",))
        paces.append(sender.Rate(float(found[1]) / _SECONDS[found[2]]))
    if wanted.speed is not None:
        if wanted.start is None:
            raise ConfigInvalid(("--speed needs --start, the day that it goes through",))
        opening = datetime.combine(wanted.start, time(7, 30), tzinfo=PARIS)
        paces.append(sender.Clockwork(opening, wanted.speed))
    return sender.Slowest(*paces)


def _sent(campaign: Campaign, server: Server, wanted: Wanted, pace: Pace) -> Json:
    from dispatcher.simulator import sender  # noqa: PLC0415 - only with the extra
    from dispatcher.simulator.report import Report  # noqa: PLC0415 - only with the extra

    report = Report(campaign, wanted.seed)
    under_way: dict[int, Message] = {}

    def made() -> Iterator[Sending]:
        for place, message in enumerate(campaign.messages()):
            under_way[place] = message
            yield message.sending

    with _bar(campaign) as tick:

        def note(place: int, sent: Sent) -> None:
            report.note(place, under_way.pop(place), sent, wiring.CLOCK.now())
            tick(sent)

        work = sender.stream(made(), server, note, connections=wanted.connections, pace=pace)
        asyncio.run(work)
    return report.document()


@contextmanager
def _bar(campaign: Campaign) -> Iterator[Callable[[Sent], None]]:
    """Show how many messages went out, on standard error and only to a person."""
    console = notes()
    columns = ("sending", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=campaign.size)
        yield lambda _sent: progress.advance(task)


# --- telling -----------------------------------------------------------------------------


def write(document: Json, file: Path | None, *, as_json: bool) -> None:
    """Write the report to its file, and tell people or programs."""
    if file is not None:
        text = json.dumps(document, ensure_ascii=False, indent=1)
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigInvalid((f"--report: {error.strerror}",)) from None
    if as_json:
        print_json(document)
    else:
        _print(document)
        if file is not None:
            screen().print(f"What must have arrived is in {plain(file)}.", soft_wrap=True)


def _print(document: Json) -> None:
    channels, routes = document["channels"], document["routes"]
    print_table(
        "How patients are reached",
        ("patients", "SMS", "e-mail", "MSSanté", "by P1", "by P2", "no mail"),
        [
            (
                document["patients"],
                *(channels[name] for name in ("sms", "email", "mssante")),
                *(routes[name] for name in ("P1", "P2", "none")),
            )
        ],
        empty="",
    )
    _print_sites(document["sites"])
    silent = [site for site in document["sites"] if site["bal"] is None and site["mssante"]]
    print_table(
        "Sites that get nothing, and why",
        ("site", "patients", "why"),
        ((site["site"], site["mssante"], site["sentence"]) for site in silent),
        empty="none",
    )
    _print_messages(document)


def _print_sites(sites: list[Json]) -> None:
    print_table(
        "By site",
        ("site", "patients", "SMS", "e-mail", "MSS", "by", "mails"),
        (
            (
                site["site"],
                *(site[name] for name in ("patients", "sms", "email", "mssante")),
                site["route"] or "none",
                site["messages"],
            )
            for site in sites
        ),
        empty="none",
    )


def _print_messages(document: Json) -> None:
    balance = dict(document["balance"])
    uncertain = balance.pop("uncertain")
    print_table(
        "What the dispatcher must come to", tuple(balance), [tuple(balance.values())], empty=""
    )
    if uncertain:
        screen().print(
            f"{uncertain} connection(s) were lost at the final dot and the message sent again: "
            "so many duplicates more are possible."
        )
    for code, count in document["refused"].items():
        screen().print(f"[red]{count} message(s) were not taken: {_said(code)}[/]")
    for name, count in document["not_dealt"].items():
        screen().print(f"[yellow]{name}: {count} fewer than asked for, too few patients[/]")


def _said(code: str) -> str:
    return "the server did not answer" if code == "0" else f"the server answered {code}"


def list_faults(*, as_json: bool) -> None:
    """Print every fault with what the dispatcher must do, and the groups."""
    from dispatcher.simulator import faults, mix  # noqa: PLC0415 - only with the extra

    groups = {name: [one.name for one in members] for name, members in faults.GROUPS.items()}
    rows = mix.listing()
    if as_json:
        listed = [
            {"name": n, "expected": must, "needs": needs or None} for n, must, needs in rows
        ]
        print_json({"faults": listed, "groups": groups})
        return
    print_table("Faults", ("name", "what the dispatcher must do"), map(_row, rows), empty="")
    print_table(
        "Groups",
        ("name", "faults"),
        ((name, _members(names)) for name, names in groups.items()),
        empty="",
    )


def _row(listed: tuple[str, str, str]) -> tuple[str, str]:
    name, must, needs = listed
    return name, f"{must} (needs {needs})" if needs else must


def _members(names: list[str]) -> str:
    few = 8
    return ", ".join(names) if len(names) <= few else f"{len(names)} of them"
