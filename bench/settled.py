"""(c) One turn over a mailbox that holds 1,000, 10,000 and 50,000 settled messages.

`python -m bench.settled --counts 1000 50000`: time, bytes and lines on the wire of the first
turn after a start, which compares the whole mailbox, and of the later ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.ground import Ground, RoomyDovecot, directory, fill
from bench.letters import letters, sites
from bench.line import Passed, line
from bench.old_ledger import multiply
from bench.results import Result, Series, at_most
from bench.serving import compiled
from tests.servers.dovecot import Bal

_DATE = "01-Nov-2026 08:00:00 +0000"
_TURNS = 12
_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds, seconds of CPU and what passed, for each turn; the first one compares all."""

    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    passed: tuple[Passed, ...]


def turns(bal: Bal, at: Sequence[str], count: int) -> Turns:
    """Settle one message, multiply it in the ledger, and make turns."""
    seconds, cpu, passed = [], [], []
    with directory() as top, line(bal.server.imap_port) as wire:
        ground = Ground(top, bal, at, port=wire.port)
        command = [sys.executable, "-m", "bench.turns", str(ground.config)]
        subprocess.run(
            [*command, "1"], input=b"\n", check=True, capture_output=True, env=compiled()
        )
        fill(bal, list(letters(1, at, size=2_000)) * (count - 1), internal_date=_DATE)
        multiply(ground.ledger, count)
        with subprocess.Popen(
            [*command, str(_TURNS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=compiled(),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for _ in range(_TURNS):
                wire.passed()
                process.stdin.write(b"\n")
                process.stdin.flush()
                took, used = json.loads(process.stdout.readline())
                seconds.append(took * 1000)
                cpu.append(used * 1000)
                passed.append(wire.passed())
    return Turns(tuple(seconds), tuple(cpu), tuple(passed))


def measure(counts: Sequence[int]) -> None:
    """Measure these sizes, the smallest first."""
    at = sites(3)
    series: list[Series] = []
    later: list[tuple[float, ...]] = []
    points: dict[str, list[list[float]]] = {"first turn": [], "later turns": []}
    with RoomyDovecot() as server:
        for count in counts:
            bal = server.bal()
            fill(bal, letters(1, at, size=2_000), internal_date=_DATE)
            found = turns(bal, at, count)
            later.append(found.seconds[1:])
            wire = [one.up + one.down for one in found.passed]
            series += [
                Series(f"{count:,}: first turn", "ms", found.seconds[:1]),
                at_most(f"{count:,}: first turn, on the wire", "bytes", wire[:1], _MOST_BYTES),
                Series(f"{count:,}: later turns", "ms", found.seconds[1:]),
                at_most(f"{count:,}: later turns, on the wire", "bytes", wire[1:], _MOST_BYTES),
                Series(
                    f"{count:,}: later turns, lines sent", "lines",
                    tuple(float(one.lines) for one in found.passed[1:]),
                ),
            ]  # fmt: skip
            points["first turn"].append([count, found.seconds[0]])
            points["later turns"].append([count, statistics.median(found.seconds[1:])])
    ratio = statistics.median(later[-1]) / statistics.median(later[0])
    name = f"a turn over {counts[-1]:,} / over {counts[0]:,}"
    series.append(at_most(name, "×", [ratio], 1.5))
    setting = f"{_TURNS} turns each on a kept connection, nothing new"
    Result("settled", "A turn over settled mail", setting, tuple(series), points).keep()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--quick", action="store_true", help="1,000 and 5,000 messages")
    asked = parser.parse_args()
    measure([1_000, 5_000] if asked.quick else asked.counts)


if __name__ == "__main__":
    main()
