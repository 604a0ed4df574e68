"""What `simulate` does: registers and population in, messages out, a report at the end."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from dispatcher import wiring
from dispatcher.cli.directory_views import print_noted
from dispatcher.cli.screen import notes, plain
from dispatcher.cli.shapes import Json
from dispatcher.core.finess import SHAPE, FinessEJ, FinessET
from dispatcher.core.paris import PARIS
from dispatcher.errors import ConfigInvalid
from dispatcher.registry import finess, mssante
from dispatcher.registry.matching import Choice, choose
from dispatcher.registry.oddities import Noted, not_whole
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
    campaign, noted = _planned(wanted, receiver)
    print_noted(noted)
    document = deliver(
        campaign,
        server,
        seed=wanted.seed,
        pace=pace,
        connections=wanted.connections,
        tells_when_interrupted=True,
    )
    return {**document, "registers_whole": not not_whole(noted)}


# --- what to send ------------------------------------------------------------------------


def _planned(wanted: Wanted, receiver: Receiver) -> tuple[Campaign, tuple[Noted, ...]]:
    from dispatcher.simulator import campaign, mix  # noqa: PLC0415 - only with the extra

    dealt = mix.read(wanted.faults)
    with notes().status("reading the registers…"):
        register, noted = finess.load(*wanted.finess)
        directory, more = mssante.load(wanted.mssante)
    now = _now(wanted)
    planned = campaign.plan(
        _dossiers(wanted, register, now),
        _chooser(register, directory),
        dealt,
        seed=wanted.seed,
        now=now,
        receiver=receiver,
    )
    return planned, (*noted, *more)


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
    if wanted.speed is not None and wanted.start is not None:
        opening = datetime.combine(wanted.start, time(7, 30), tzinfo=PARIS)
        paces.append(sender.Clockwork(opening, wanted.speed))
    return sender.Slowest(*paces)


def deliver(
    campaign: Campaign,
    server: Server,
    *,
    seed: int,
    pace: Pace,
    connections: int = 4,
    tells_when_interrupted: bool = False,
) -> Json:
    """Send a campaign and return its report.

    With `tells_when_interrupted` the first Ctrl-C lets the messages under way come to their
    end, sends no other, and returns the report of what was sent; the second one ends it.
    """
    from dispatcher.simulator import sender  # noqa: PLC0415 - only with the extra
    from dispatcher.simulator.report import Report  # noqa: PLC0415 - only with the extra

    report = Report(campaign, seed)
    under_way: dict[int, Message] = {}

    def made() -> Iterator[Sending]:
        for place, message in enumerate(campaign.messages()):
            under_way[place] = message
            yield message.sending

    with _bar(campaign) as tick:

        def note(place: int, sent: Sent) -> None:
            report.note(place, under_way.pop(place), sent, wiring.CLOCK.now())
            tick()

        async def send() -> None:
            stop = asyncio.Event()
            if tells_when_interrupted:
                _stop_at_interrupt(stop)
            await sender.stream(
                made(), server, note, connections=connections, pace=pace, stop=stop
            )

        asyncio.run(send())
    return report.document()


def _stop_at_interrupt(stop: asyncio.Event) -> None:
    """Let the first SIGINT ask for a stop; the next one interrupts as usual."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        notes().print("stopping after the messages that are under way; Ctrl-C again ends now")
        stop.set()

    loop.add_signal_handler(signal.SIGINT, asked)


@contextmanager
def _bar(campaign: Campaign) -> Iterator[Callable[[], None]]:
    """Show how many messages went out, on standard error and only to a person."""
    console = notes()
    columns = ("sending", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=campaign.size)
        yield lambda: progress.advance(task)
