"""Every case, one after the other, and the page: `make bench`, or `python -m bench`.

The default takes 25 to 45 minutes on two cores with nothing else running;
`make bench BENCH=--full` hours, one of them of rest; `--short` five minutes, `--quick` only
shows that it works. The page says what was used.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench import arrival, large, page, resting, settled, throughput


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: messages (near, `far`, `many`), seconds of rest, ledger lines."""

    messages: int
    far: int
    many: int
    many_ways: tuple[str, ...]
    repeats: int
    arrivals: int
    settled: tuple[int, ...]
    resting: int
    seconds: float
    lines: int


_SETTLED: Final = (1_000, 10_000, 50_000)
SIZES: Final[Mapping[str, Size]] = {
    "quick": Size(150, 100, 300, ("0",), 2, 10, (1_000, 5_000), 300, 20, 10_000),
    "short": Size(300, 150, 0, (), 5, 40, _SETTLED, 1_000, 30, 100_000),
    "usual": Size(2_000, 2_000, 10_000, ("0",), 5, 200, _SETTLED, 10_000, 40, 100_000),
    "full": Size(2_000, 2_000, 10_000, ("0", "30"), 5, 200, _SETTLED, 10_000, 3_600, 100_000),
}


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in SIZES:
        parser.add_argument(f"--{name}", action="store_const", const=name, dest="size")
    size = SIZES[parser.parse_args().size or "usual"]
    ways = tuple(throughput.WAYS)
    throughput.measure(
        messages=size.messages, far=size.far, repeats=size.repeats, ways=ways,
        many=size.many, many_ways=size.many_ways,
    )  # fmt: skip
    arrival.measure(messages=size.arrivals, burst=20)
    settled.measure(size.settled)
    resting.measure(messages=size.resting, seconds=size.seconds)
    large.measure(lines=size.lines, repeats=size.repeats)
    page.write()


if __name__ == "__main__":
    main()
