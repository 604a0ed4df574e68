"""Every case, one after the other, and the page: `python -m bench`, `python -m bench --quick`.

The default takes a quarter of an hour on two cores; `--full` is what a release should run.
"""

from __future__ import annotations

import argparse

from bench import arrival, large, page, resting, settled, throughput


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it works: two minutes")
    parser.add_argument("--full", action="store_true", help="10,000 messages as well: an hour")
    asked = parser.parse_args()
    ways = tuple(throughput.WAYS)
    if asked.quick:
        throughput.measure(messages=200, far=100, repeats=2, ways=ways)
        arrival.measure(messages=20, burst=5)
        settled.measure([1_000, 5_000])
        resting.measure(messages=300, seconds=20)
        large.measure(lines=10_000, repeats=2)
    else:
        messages = 10_000 if asked.full else 2_000
        far = 2_000 if asked.full else 500
        throughput.measure(messages=messages, far=far, repeats=5, ways=ways)
        arrival.measure(messages=200, burst=20)
        settled.measure([1_000, 10_000, 50_000])
        resting.measure(messages=10_000, seconds=60)
        large.measure(lines=100_000, repeats=5)
    page.write()


if __name__ == "__main__":
    main()
