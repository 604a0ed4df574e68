"""(b) From the server's own announcement to the file in the site's folder, with IDLE.

`python -m bench.arrival --messages 200 --burst 20`: an observer in IDLE on the same mailbox
notes when the server announces each message (Dovecot waits 500 ms before it does); the
document's file tells by its ctime when its name was given.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.ground import Ground, RoomyDovecot, directory
from bench.letters import letters, sites
from bench.results import Result, Series, at_most
from bench.serving import service, until
from tests.servers.dovecot import Bal

_EXISTS: Final = re.compile(rb"\* (\d+) EXISTS")
_NUMBER: Final = re.compile(r"_26331BC(\d{6})_")
_GOAL: Final = 60.0


class Observer:
    """Another client in IDLE: when the mailbox was first said to hold so many messages."""

    def __init__(self, bal: Bal) -> None:
        self._sock = socket.create_connection(("127.0.0.1", bal.server.imap_port))
        self._stream = self._sock.makefile("rb")
        self._announced: list[tuple[int, float]] = []
        self._stream.readline()
        for command in (f"LOGIN {bal.user} {bal.password}", "SELECT INBOX"):
            self._sock.sendall(f"a {command}\r\n".encode())
            while not self._stream.readline().startswith(b"a OK"):
                pass
        self._sock.sendall(b"a IDLE\r\n")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._stream.readline():
                if found := _EXISTS.match(line):
                    self._announced.append((int(found[1]), time.time()))  # noqa: TID251 - beside ctime

    def announced(self, number: int) -> float | None:
        """Return when the message of that place, from 1, was announced."""
        return next((at for count, at in self._announced if count >= number), None)

    def close(self) -> None:
        """Leave."""
        self._sock.close()


def _files(top: Path) -> dict[int, float]:
    """Return by the message's number when its file got its name."""
    found = {}
    for path in top.glob("sites/*/*.pdf"):
        number = _NUMBER.search(path.name)
        if number:
            with contextlib.suppress(FileNotFoundError):
                found[int(number[1])] = path.stat().st_ctime
    return found


def _times(bal: Bal, raws: Sequence[bytes], ground: Ground, burst: int) -> list[float]:
    """Deliver in bursts, each when the one before is done; return milliseconds for each."""
    observer = Observer(bal)
    with service(ground.config):
        _settle()
        for begin in range(0, len(raws), burst):
            some = raws[begin : begin + burst]
            bal.deliver(*some)
            last = begin + len(some)
            until(lambda last=last: len(_files(ground.top)) >= last)
            until(lambda last=last: observer.announced(last) is not None)
            _settle(0.1)
    observer.close()
    files = _files(ground.top)
    return [(files[n] - (observer.announced(n + 1) or 0.0)) * 1000 for n in sorted(files)]


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
            with directory() as top:
                times = _times(bal, raws, Ground(top, bal, at), size)
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
