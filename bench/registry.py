"""Measures reading registers of the national size: seconds, and the memory at its peak.

`python -m bench.registry` writes the files in a passing directory and reads each in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from dispatcher.registry import finess, mssante
from tests.registers import national_directory, national_finess


@dataclass(frozen=True, slots=True)
class Figures:
    """What reading one file cost. `cpu_seconds` and `rss_mb` include the interpreter's own."""

    rows: int
    seconds: float
    cpu_seconds: float
    rss_mb: float


def measured(which: str, path: Path) -> Figures:
    """Read a file in a process of its own and return what it cost."""
    line = [sys.executable, "-m", "bench.registry", "--one", which, str(path)]
    ended = subprocess.run(line, check=True, capture_output=True, text=True)
    return Figures(**json.loads(ended.stdout))


def _one(which: str, path: Path) -> Figures:
    began = time.perf_counter()
    if which == "finess":
        rows = len(finess.load(path)[0].establishments)
    else:
        rows = len(mssante.load(path)[0])
    seconds = time.perf_counter() - began
    return Figures(rows, seconds, time.process_time(), _peak_mb())


def _peak_mb() -> float:
    """Return the peak of this process alone; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", status, flags=re.MULTILINE)
    if found is None:
        raise SystemExit("the kernel does not tell the peak of a process")
    return int(found[1]) / 1000


def _all() -> None:
    with tempfile.TemporaryDirectory() as directory:
        establishments, bals = Path(directory) / "finess.csv", Path(directory) / "mssante.txt"
        national_finess(establishments)
        national_directory(bals)
        for which, path in (("finess", establishments), ("mssante", bals)):
            found = measured(which, path)
            size = path.stat().st_size / 1e6
            sys.stdout.write(
                f"{which:8} {found.rows:>8,} rows {size:5.1f} MB: "
                f"{found.seconds:5.2f} s ({found.cpu_seconds:.2f} s of CPU), "
                f"{found.rss_mb:.0f} MB at the peak\n"
            )


def main() -> None:
    """Measure both registers, or one file when asked by the other process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("WHICH", "FILE"))
    asked = parser.parse_args().one
    if asked:
        sys.stdout.write(json.dumps(asdict(_one(asked[0], Path(asked[1])))))
    else:
        _all()


if __name__ == "__main__":
    main()
