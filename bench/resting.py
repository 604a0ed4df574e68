"""(d) Memory of the process tree over many messages, and (e) what it costs when none come.

`python -m bench.resting --messages 10000 --seconds 60`.
"""

from __future__ import annotations

import argparse
import threading
import time

from bench.ground import Ground, RoomyDovecot, directory, fill
from bench.letters import letters, sites
from bench.processes import cpu, memory, switches
from bench.results import Result, Series, at_most
from bench.serving import service, until

_LOOK = 0.25
_QUIET = 10.0


def measure(*, messages: int, seconds: float) -> None:
    """Watch one service over a full mailbox, and then over nothing."""
    at = sites()
    pause = threading.Event()
    looks: list[list[float]] = []
    with RoomyDovecot() as server, directory() as top:
        bal = server.bal()
        fill(bal, letters(messages, at))
        ground = Ground(top, bal, at)
        with service(ground.config) as process:
            began = time.monotonic()

            def all_there() -> bool:
                looks.append([time.monotonic() - began, memory(process.pid)])
                pause.wait(_LOOK)
                return ground.delivered() >= messages

            until(all_there, process, patience=3600.0)
            took = time.monotonic() - began
            pause.wait(_QUIET)
            used, woken, from_here = cpu(process.pid), switches(process.pid), time.monotonic()
            pause.wait(seconds)
            spent = time.monotonic() - from_here
            idle_cpu = (cpu(process.pid) - used) / spent * 100
            wakes = (switches(process.pid) - woken) / spent
            resting = memory(process.pid)
    half = [one[1] for one in looks if one[0] > took / 2]
    third = max(1, len(half) // 3)
    growth = max(half[-third:]) - max(half[:third])
    series = (
        at_most("memory at its peak", "MB", [max(one[1] for one in looks)], 200.0),
        at_most("growth of the peak in the last half", "MB", [growth], 10.0),
        Series("memory at rest", "MB", (resting,)),
        at_most("CPU when nothing arrives", "% of a core", [idle_cpu], 0.2),
        Series("wake-ups when nothing arrives", "a second", (wakes,)),
    )
    setting = f"{messages} messages, then {seconds:g} s of nothing"
    title = "Memory, and rest"
    Result("resting", title, setting, series, {"memory": looks}).keep()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="300 messages, 20 s")
    asked = parser.parse_args()
    messages, seconds = (300, 20.0) if asked.quick else (asked.messages, asked.seconds)
    measure(messages=messages, seconds=seconds)


if __name__ == "__main__":
    main()
