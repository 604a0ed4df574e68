"""(a) Messages a second from a full mailbox to durable files, against two rivals, over lines.

`python -m bench.throughput --messages 2000 --repeats 5`: in each repeat everybody has the
same mailbox once, one after the other, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.ground import Ground, RoomyDovecot, directory, fill, unmark
from bench.letters import DOCUMENT_BYTES, letters, sites
from bench.line import bare, line
from bench.results import Result, Series, at_least
from bench.serving import compiled
from tests.servers.dovecot import Bal

_MILLISECONDS: Final = 1000
_HUNDRED_MBIT: Final = 100e6
_BARE: Final = 25_000_000
# The goals of `off`: times the bulk script by way, and times the floor.
_TIMES_BULK: Final = {"0": 2.5, "30": 2.3}
_TIMES_FLOOR: Final = 0.6


@dataclass(frozen=True, slots=True)
class Way:
    """How the server is reached: round trip in ms, rate in bits a second, TLS or not."""

    title: str
    round_trip: float = 0.0
    bits: float = 0.0
    tls: bool = False


WAYS: Final = {
    "0": Way("0 ms"),
    "30": Way("30 ms there and back", 30),
    "100mbit": Way("30 ms and 100 Mbit/s", 30, _HUNDRED_MBIT),
    "tls": Way("0 ms, TLS", tls=True),
}


class Race:
    """One mailbox, one way to it, and everybody in turn."""

    def __init__(self, ground: Ground, way: Way) -> None:
        self._ground = ground
        self._way = way
        ground.security = "tls" if way.tls else "plaintext"

    def program(self, pdf_text: str) -> dict[str, float]:
        """Run the program from its first day."""
        self._ground.pdf_text = pdf_text
        return self._run("bench.turn", str(self._ground.config))

    def rival(self, which: str) -> dict[str, float]:
        """Run a rival."""
        ground, bal = self._ground, self._ground.bal
        words = [which, str(ground.port), bal.user, bal.password, str(ground.top / "sites")]
        ca = ["--ca", str(bal.server.ca_file)] if self._way.tls else []
        return self._run("bench.rivals", *words, *ca)

    def _run(self, module: str, *words: str) -> dict[str, float]:
        unmark(self._ground.bal)
        self._ground.begin_anew()
        log = self._ground.top / "log"
        with log.open("wb") as errors:
            ended = subprocess.run(
                [sys.executable, "-m", module, *words],
                check=False,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=compiled(),
            )
        if ended.returncode:
            raise SystemExit(f"{module}:\n{log.read_text(errors='replace')[-2000:]}")
        found: dict[str, float] = json.loads(ended.stdout)
        delivered = self._ground.delivered()
        if not delivered == found["count"] > 0:
            raise SystemExit(f"{module}: {found['count']} said, {delivered} found")
        return found


@contextlib.contextmanager
def reached(bal: Bal, way: Way) -> Iterator[int]:
    """Yield the port at which the account is reached that way."""
    port = bal.server.imaps_port if way.tls else bal.server.imap_port
    if not way.round_trip and not way.bits:
        yield port
        return
    with line(port, round_trip=way.round_trip / _MILLISECONDS, bits=way.bits) as found:
        yield found.port


def race(
    bal: Bal, at: Sequence[str], top: Path, *, way: Way, settings: Sequence[str], repeats: int,
    rivals: Sequence[str] = ("bulk", "floor"),
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Let everybody run in turn; return by name what each repeat came to."""
    found: dict[str, list[dict[str, Any]]] = {}
    with reached(bal, way) as port:
        ground = Ground(top, bal, at, port=port)
        for _ in range(repeats):
            one = Race(ground, way)
            for pdf_text in settings:
                found.setdefault(pdf_text, []).append(one.program(pdf_text))
            for which in rivals:
                found.setdefault(which, []).append(one.rival(which))
    return found


def rates(runs: Sequence[dict[str, Any]], clock: str = "seconds") -> list[float]:
    """Return messages a second."""
    return [one["count"] / one[clock] for one in runs]


def over(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each repeat."""
    return [a / b for a, b in zip(mine, theirs, strict=True)]


def milliseconds(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Return milliseconds of CPU for a message."""
    return [one["cpu"] / one["count"] * _MILLISECONDS for one in runs]


def measured_here(bal: Bal, at: Sequence[str], *, messages: int, repeats: int) -> Result:
    """Measure without any delay: all settings, both rivals."""
    with directory() as top:
        settings = ("off", "warn", "require")
        found = race(bal, at, top, way=WAYS["0"], settings=settings, repeats=repeats)
    off, bulk, floor = rates(found["off"]), rates(found["bulk"]), rates(found["floor"])
    warn, require = rates(found["warn"], "until_delivered"), rates(found["require"])
    series = (
        Series("program, pdf_text: off", "messages/s", tuple(off)),
        Series("program, warn, until delivered", "messages/s", tuple(warn)),
        Series("program, warn, to the end", "messages/s", tuple(rates(found["warn"]))),
        Series("program, require", "messages/s", tuple(require)),
        Series("bulk script, nothing flushed or checked", "messages/s", tuple(bulk)),
        Series("floor, nothing read", "messages/s", tuple(floor)),
        at_least("off / bulk script", "×", over(off, bulk), _TIMES_BULK["0"]),
        at_least("off / floor", "×", over(off, floor), _TIMES_FLOOR),
        at_least("warn until delivered / bulk script", "×", over(warn, bulk), 2.2),
        at_least("require / bulk script", "×", over(require, bulk), 1.2),
        Series("CPU of the program, off", "ms/message", tuple(milliseconds(found["off"]))),
        Series("CPU of the bulk script", "ms/message", tuple(milliseconds(found["bulk"]))),
        Series("CPU of the floor", "ms/message", tuple(milliseconds(found["floor"]))),
    )
    return Result("throughput-0", "Throughput, 0 ms", _setting(messages, repeats, at), series)


def measured_off(
    bal: Bal, at: Sequence[str], *, where: str, messages: int, repeats: int, many: bool = False
) -> Result:
    """Measure `pdf_text: off` alone against both rivals; `many` only names the case."""
    way = WAYS[where]
    with directory() as top:
        found = race(bal, at, top, way=way, settings=("off",), repeats=repeats)
    off, bulk, floor = rates(found["off"]), rates(found["bulk"]), rates(found["floor"])
    series = [
        Series("program, pdf_text: off", "messages/s", tuple(off)),
        Series("bulk script, nothing flushed or checked", "messages/s", tuple(bulk)),
        Series("floor, nothing read", "messages/s", tuple(floor)),
        at_least("off / bulk script", "×", over(off, bulk), _TIMES_BULK[where]),
    ]
    if not way.round_trip:
        series.append(at_least("off / floor", "×", over(off, floor), _TIMES_FLOOR))
    case, title = f"throughput-{where}", f"Throughput, {way.title}"
    if many:
        case, title = f"{case}-many", f"{title}, {messages:,} messages"
    return Result(case, title, _setting(messages, repeats, at), tuple(series))


def measured_narrow(
    bal: Bal, at: Sequence[str], *, messages: int, repeats: int, size: float
) -> Result:
    """Measure at 30 ms and 100 Mbit/s; `size` is the mean of a message on the wire."""
    way = WAYS["100mbit"]
    round_trip = way.round_trip / _MILLISECONDS
    stream = [bare(round_trip=round_trip, bits=way.bits, size=_BARE) for _ in range(repeats)]
    with directory() as top:
        found = race(
            bal, at, top, way=way, settings=("off",), repeats=repeats, rivals=("bulk",)
        )
    allowed = way.bits / 8 / size
    off, bulk = rates(found["off"]), rates(found["bulk"])
    series = (
        Series("what the line allows", "messages/s", (allowed,)),
        Series("a bare stream / line", "×", tuple(stream)),
        Series("program, pdf_text: off", "messages/s", tuple(off)),
        Series("bulk script, nothing flushed or checked", "messages/s", tuple(bulk)),
        at_least("off / line", "×", [one / allowed for one in off], 0.9),
    )
    title = "Throughput, 30 ms and 100 Mbit/s"
    return Result("throughput-100mbit", title, _setting(messages, repeats, at), series)


def measured_tls(bal: Bal, at: Sequence[str], *, messages: int, repeats: int) -> Result:
    """Measure TLS against plain, in turn."""
    plain: list[dict[str, Any]] = []
    tls: list[dict[str, Any]] = []
    for _ in range(repeats):
        for way, runs in ((WAYS["0"], plain), (WAYS["tls"], tls)):
            with directory() as top:
                one = race(bal, at, top, way=way, settings=("off",), repeats=1, rivals=())
            runs.extend(one["off"])
    series = (
        Series("program, plain", "messages/s", tuple(rates(plain))),
        Series("program, TLS", "messages/s", tuple(rates(tls))),
        at_least("TLS / plain", "×", over(rates(tls), rates(plain)), 0.85),
    )
    return Result(
        "throughput-tls", "Throughput over TLS", _setting(messages, repeats, at), series
    )


def _setting(messages: int, repeats: int, at: Sequence[str]) -> str:
    kilobytes = DOCUMENT_BYTES // 1000
    return f"{messages} messages of {kilobytes} kB over {len(at)} sites, {repeats} repeats"


def measure(
    *, messages: int, far: int, repeats: int, ways: Sequence[str],
    many: int = 0, many_ways: Sequence[str] = (),
) -> None:  # fmt: skip
    """Measure these ways; `far` is the number of messages where the line is slow.

    `many` is a second number of messages, measured on `many_ways` with `pdf_text: off` alone.
    """
    at = sites()
    with RoomyDovecot() as server:
        near_bal = server.bal()
        raws = list(letters(messages, at))
        fill(near_bal, raws)
        size = sum(map(len, raws)) / len(raws)
        far_bal = near_bal
        if far != messages:
            far_bal = server.bal()
            fill(far_bal, raws[:far])
        del raws
        if "0" in ways:
            measured_here(near_bal, at, messages=messages, repeats=repeats).keep()
        if "30" in ways:
            measured_off(far_bal, at, where="30", messages=far, repeats=repeats).keep()
        if "100mbit" in ways:
            measured_narrow(far_bal, at, messages=far, repeats=repeats, size=size).keep()
        if "tls" in ways:
            measured_tls(near_bal, at, messages=messages, repeats=repeats).keep()
    if many_ways:
        measure_many(at, messages=many, repeats=repeats, ways=many_ways)


def measure_many(
    at: Sequence[str], *, messages: int, repeats: int, ways: Sequence[str]
) -> None:
    """Measure a mailbox too large for the server of the others: it has one of its own."""
    with RoomyDovecot() as server:
        bal = server.bal()
        fill(bal, letters(messages, at))
        for where in ways:
            measured_off(
                bal, at, where=where, messages=messages, repeats=repeats, many=True
            ).keep()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--far", type=int, help="messages where the line is slow")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--many", type=int, default=0, help="a second number of messages")
    parser.add_argument("--many-ways", nargs="*", choices=tuple(_TIMES_BULK), default=[])
    parser.add_argument("--quick", action="store_true", help="300 messages, 2 repeats")
    asked = parser.parse_args()
    messages, repeats = (300, 2) if asked.quick else (asked.messages, asked.repeats)
    far = min(messages, asked.far or messages)
    many_ways = asked.many_ways if asked.many else ()
    measure(
        messages=messages, far=far, repeats=repeats, ways=asked.ways,
        many=asked.many, many_ways=many_ways,
    )  # fmt: skip


if __name__ == "__main__":
    main()
