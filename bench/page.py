"""Writes docs/performance.md and its plots from what the cases kept."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from bench.results import Result, Series, kept, verdict

mpl.use("svg")
from matplotlib import pyplot as plt

_PAGE: Final = Path("docs/performance.md")
_PLOTS: Final = Path("docs/performance")
_RATES: Final = (
    "throughput-0", "throughput-0-many", "throughput-30", "throughput-30-many",
    "throughput-100mbit", "throughput-tls",
)  # fmt: skip
_CASES: Final = (*_RATES, "arrival", "settled", "resting", "large")
_INK: Final = {"program": "#1f5f8b", "bulk": "#b8b8b8", "floor": "#d9a441", "what": "#d9a441"}


_HEAD: Final = """\
# Performance

Made by `make bench`, which writes this page; do not edit it. What each case does and against
whom stands in the modules of `bench/`. Everything runs on one machine, against a private
Dovecot whose mail lies in the page cache; those who are compared take turns in every repeat.
Ratios are of the same repeat. They carry over to another machine far better than rates, and not
wholly: where disk and cores are quicker, the bulk script gains more by it than the program.
Where the time of a message goes: [a profile](performance/profile.md), taken by hand.
"""


def write() -> None:
    """Write the page and the plots; a case that was never run is left out."""
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 9})
    _PLOTS.mkdir(parents=True, exist_ok=True)
    found = [result for case in _CASES if (result := kept(case)) is not None]
    _PAGE.write_text("\n".join(_lines(found)) + "\n", encoding="utf-8")


def _lines(found: list[Result]) -> Iterator[str]:
    yield _HEAD
    yield f"Run on {datetime.now(UTC):%Y-%m-%d} on {_machine()}."  # noqa: TID251 - the day it ran
    yield ""
    yield from _goals(found)
    for result in found:
        yield from _case(result)


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    names = re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE) or [platform.machine()]
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[1]
    return (
        f"{len(names)} × {names[0]}, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}, imap-tools {version('imap-tools')};"
        f" load over 5 minutes at its end: {load}"
    )


def _goals(found: list[Result]) -> Iterator[str]:
    yield "## Goals"
    yield ""
    yield "| what | goal | median | |"
    yield "| --- | --- | --- | --- |"
    for result in found:
        for one in result.series:
            if one.goal:
                what, median = f"{result.title}: {one.name}", _number(one.median)
                yield f"| {what} | {one.goal} | {median} | {verdict(one)} |"
    yield ""


def _case(result: Result) -> Iterator[str]:
    yield f"## {result.title}"
    yield ""
    yield f"{result.setting}."
    yield ""
    if _plot(result):
        yield f"![{result.title}](performance/{result.case}.svg)"
        yield ""
    yield "| what | unit | min | median | max |"
    yield "| --- | --- | --- | --- | --- |"
    for one in result.series:
        numbers = (min(one.values), one.median, max(one.values))
        yield f"| {one.name} | {one.unit} | {' | '.join(map(_number, numbers))} |"
    yield ""


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plot(result: Result) -> bool:
    """Draw what a case measured, where a picture says more than its table."""
    figure, axes = plt.subplots(figsize=(7, 2.6))
    drawn = True
    if result.case in _RATES:
        _bars(axes, [one for one in result.series if one.unit == "messages/s"])
    elif result.points:
        _curves(axes, result)
    else:
        drawn = False
    if drawn:
        figure.tight_layout()
        path = _PLOTS / f"{result.case}.svg"
        figure.savefig(path, metadata={"Date": None})
        # matplotlib leaves blanks at the ends of lines.
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE), encoding="utf-8")
    plt.close(figure)
    return drawn


def _bars(axes: Any, series: list[Series]) -> None:
    for place, one in enumerate(reversed(series)):
        low, high = one.median - min(one.values), max(one.values) - one.median
        colour = _INK[re.split(r"\W", one.name)[0]]
        axes.barh(place, one.median, xerr=[[low], [high]], color=colour, capsize=3)
    axes.set_yticks(range(len(series)), [one.name for one in reversed(series)])
    axes.set_xlabel("messages/s: median, least and most")


def _curves(axes: Any, result: Result) -> None:
    for name, points in result.points.items():
        across, up = zip(*points, strict=True)
        axes.plot(across, up, label=name, marker="o" if len(points) < 10 else None)
    labels = {
        "arrival": ("message, the quickest first", "ms"),
        "settled": ("settled messages", "ms a turn"),
        "resting": ("seconds", "MB"),
    }
    across_label, up_label = labels[result.case]
    axes.set_xlabel(across_label)
    axes.set_ylabel(up_label)
    axes.set_ylim(bottom=0)
    axes.legend()


if __name__ == "__main__":
    write()
