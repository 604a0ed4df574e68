"""(f) The start of the service, and (g) the commands of daily life, with 100,000 settled lines.

`python -m bench.large --lines 100000`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.ground import Ground, RoomyDovecot, directory, fill
from bench.letters import letters, sites
from bench.old_ledger import multiply
from bench.results import Result, Series, at_most
from bench.serving import compiled, service

_COMMANDS = {
    "list --json": ("list", "--json"),
    "list --state held": ("list", "--state", "held", "--json"),
    "status --json": ("status", "--json"),
    "purge --dry-run": ("purge", "--dry-run", "--json"),
}


def _timed(ground: Ground, words: Sequence[str]) -> float:
    began = time.monotonic()
    _command(ground, words)
    return time.monotonic() - began


def _command(ground: Ground, words: Sequence[str]) -> None:
    line = [sys.executable, "-m", "dispatcher", *words, "--config", str(ground.config)]
    ended = subprocess.run(line, check=False, capture_output=True, env=compiled())
    if ended.returncode > 1:
        raise SystemExit(f"{words}: {ended.stderr.decode()[-2000:]}")


def _started(ground: Ground) -> float:
    began = time.monotonic()
    with service(ground.config):
        return time.monotonic() - began


def measure(*, lines: int, repeats: int) -> None:
    """Measure with so many lines, of which one is of a message that is there."""
    at = sites(3)
    with RoomyDovecot() as server, directory() as top:
        bal = server.bal()
        fill(bal, letters(1, at, size=2_000))
        ground = Ground(top, bal, at)
        _command(ground, ("run", "--once", "--json"))
        few = [_started(ground) for _ in range(repeats)]
        multiply(ground.ledger, lines)
        many = [_started(ground) for _ in range(repeats)]
        series = [
            Series("start with one line", "s", tuple(few)),
            at_most(f"start with {lines:,} lines", "s", many, 3.0),
        ]
        for name, words in _COMMANDS.items():
            took = [_timed(ground, words) for _ in range(repeats)]
            series.append(Series(f"{name}, {lines:,} lines", "s", tuple(took)))
    setting = f"{repeats} repeats, from the start of the process"
    Result("large", "A large ledger", setting, tuple(series)).keep()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="10,000 lines, 2 repeats")
    asked = parser.parse_args()
    lines, repeats = (10_000, 2) if asked.quick else (asked.lines, asked.repeats)
    measure(lines=lines, repeats=repeats)


if __name__ == "__main__":
    main()
