"""(b) From the server's own announcement to the file in the site's folder, with IDLE.

`python -m bench.arrival --messages 200 --burst 20`: the line between the service and the
server notes when each message is announced to the service. Dovecot waits up to 500 ms before it
does, and not equally long for each of its clients: another client's announcement says nothing
of ours. The document's file tells by its ctime when its name was given.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.ground import Ground, RoomyDovecot, directory
from bench.letters import letters, sites
from bench.line import Line, line
from bench.results import Result, Series, at_most
from bench.serving import service, until

_NUMBER: Final = re.compile(r"_26331BC(\d{6})_")
_GOAL: Final = 60.0


def _files(top: Path) -> dict[int, float]:
    """Return by the message's number when its file got its name."""
    found = {}
    for path in top.glob("sites/*/*.pdf"):
        number = _NUMBER.search(path.name)
        if number:
            with contextlib.suppress(FileNotFoundError):
                found[int(number[1])] = path.stat().st_ctime
    return found


def _times(raws: Sequence[bytes], ground: Ground, burst: int, wire: Line) -> list[float]:
    """Deliver in bursts, each when the one before is done; return milliseconds for each."""
    with service(ground.config):
        _settle()
        for begin in range(0, len(raws), burst):
            some = raws[begin : begin + burst]
            ground.bal.deliver(*some)
            last = begin + len(some)
            until(lambda last=last: len(_files(ground.top)) >= last)
            _settle(0.1)
    announced = wire.passed().announced
    files = _files(ground.top)
    return [(files[n] - _when(announced, n + 1)) * 1000 for n in sorted(files)]


def _when(announced: Sequence[Sequence[float]], number: int) -> float:
    """Return when so many messages, or more, were first announced."""
    return next(at for count, at in announced if count >= number)


def _settle(seconds: float = 1.0) -> None:
    threading.Event().wait(seconds)


def _series(name: str, times: Sequence[float]) -> Iterator[Series]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    yield Series(f"{name}, p50", "ms", (cuts[49],))
    yield Series(f"{name}, p95", "ms", (cuts[94],))
    yield at_most(f"{name}, p99", "ms", (cuts[98],), _GOAL)


def measure(*, messages: int, burst: int) -> None:
    """Measure single messages and bursts."""
    at = sites()
    series: list[Series] = []
    points = {}
    with RoomyDovecot() as server:
        for name, size in (("one by one", 1), (f"in bursts of {burst}", burst)):
            bal = server.bal()
            raws = list(letters(messages, at))
            with directory() as top, line(bal.server.imap_port) as wire:
                ground = Ground(top, bal, at, port=wire.port)
                times = _times(raws, ground, size, wire)
            series += _series(name, times)
            points[name] = [[number, one] for number, one in enumerate(sorted(times))]
    setting = f"{messages} messages each way, after the server's announcement, 0 ms"
    Result("arrival", "Arrival to file, IDLE", setting, tuple(series), points).keep()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="20 messages, bursts of 5")
    asked = parser.parse_args()
    messages, burst = (20, 5) if asked.quick else (asked.messages, asked.burst)
    measure(messages=messages, burst=burst)


if __name__ == "__main__":
    main()
