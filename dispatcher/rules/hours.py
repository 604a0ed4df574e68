"""Reads the opening hours of a site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dispatcher.core.routing import Span
from dispatcher.rules import values
from dispatcher.yaml_text import Mark, Node, Problems, Scalar, shown, suggestion

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])", re.ASCII)
_EXAMPLE: Final = 'write, for example, "08:00-12:00, 14:00-18:00"'
_MIDNIGHT: Final = 24 * 60


def hours(node: Node, problems: Problems) -> tuple[Span, ...]:
    """Return the spans in the order of the week; what is wrong with them is recorded."""
    found = values.table(node, problems, "`hours`")
    if found is None:
        return ()
    spans: list[Span] = []
    for key, value in found.entries:
        days = tuple(_days(key, problems))
        for opens, closes in _spans(value, problems):
            new = [Span(day, opens, closes) for day in days]
            _refuse_overlap(new, spans, value.mark, problems)
            spans.extend(new)
    return tuple(sorted(spans, key=lambda span: (span.weekday, span.opens)))


def _days(key: Scalar, problems: Problems) -> Iterator[int]:
    names = [name.strip() for name in key.text.casefold().split("-")]
    unknown = [name for name in names if name not in DAYS]
    if unknown or len(names) not in {1, 2}:
        problems.add(
            key.mark,
            f"`{shown(key.text)}` is not a day or a range of days",
            suggestion(unknown[0] if unknown else "", DAYS) + "; a range is written mon-fri",
        )
        return
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    if first > last or (len(names) == len(("from", "to")) and first == last):
        problems.add(
            key.mark,
            f"`{shown(key.text)}` runs backwards: a week goes from mon to sun",
            f"write the days one by one, as in {names[0]}: …, {names[-1]}: …",
        )
        return
    yield from range(first, last + 1)


def _spans(node: Node, problems: Problems) -> Iterator[tuple[int, int]]:
    if not isinstance(node, Scalar) or not node.text.strip():
        problems.add(node.mark, "opening hours are not a text", _EXAMPLE)
        return
    for part in node.text.split(","):
        match = _SPAN.fullmatch(part.strip().replace("–", "-").replace(" - ", "-"))
        if match is None:
            instead = _EXAMPLE + "; leave a closed day out"
            problems.add(node.mark, f"`{shown(part.strip())}` is not a span of hours", instead)
            continue
        opens = int(match[1]) * 60 + int(match[2])
        closes = int(match[3]) * 60 + int(match[4])
        if opens >= _MIDNIGHT or closes > _MIDNIGHT:
            problems.add(node.mark, f"`{shown(part.strip())}` passes 24:00", _EXAMPLE)
        elif opens >= closes:
            problems.add(
                node.mark,
                f"`{shown(part.strip())}` closes before it opens",
                "end a span at 24:00 at the latest and begin the next day's at 00:00",
            )
        else:
            yield opens, closes


def _refuse_overlap(
    new: list[Span], others: list[Span], mark: Mark, problems: Problems
) -> None:
    days = {
        DAYS[span.weekday]: None
        for span in new
        for other in others
        if other.weekday == span.weekday
        and other.opens < span.closes
        and span.opens < other.closes
    }
    if days:
        problems.add(
            mark,
            f"two spans of {', '.join(days)} overlap",
            "write each hour of a day once",
        )
