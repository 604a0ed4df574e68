"""Reads the opening hours of a site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Final

from dispatcher.core.hours import Hours, Span
from dispatcher.rules import values
from dispatcher.yaml_text import Items, Kind, Mark, Node, Problems, Scalar, shown, suggestion

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OTHERS: Final = ("closed", "holidays")
_SPAN: Final = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])", re.ASCII)
_EXAMPLE: Final = 'write, for example, "08:00-12:00, 14:00-18:00"'
_MIDNIGHT: Final = 24 * 60
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FRENCH_DATE: Final = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/(20[0-9]{2})", re.ASCII)
_DAY_EXAMPLE: Final = '"2026-12-24"'


def hours(node: Node, problems: Problems) -> Hours | None:
    """Return the hours, or None after recording what is wrong with them."""
    found = values.table(node, problems, "`hours`")
    if found is None:
        return None
    before = len(problems)
    days = [(key, value) for key, value in found.entries if key.text not in OTHERS]
    closed, holidays = (found.get(name) for name in OTHERS)
    if not days:
        problems.add(
            node.mark,
            "`hours` has no day, so the site would never open",
            'add, for example, mon-fri: "08:00-18:00"',
        )
    spans = tuple(_week(days, problems))
    read = Hours(
        tuple(sorted(spans, key=lambda span: (span.weekday, span.opens))),
        frozenset() if closed is None else _closed(closed, problems),
        holidays is not None and values.flag(holidays, problems, "`holidays`"),
    )
    return read if len(problems) == before else None


def _week(days: Iterable[tuple[Scalar, Node]], problems: Problems) -> Sequence[Span]:
    spans: list[Span] = []
    for key, value in days:
        weekdays = tuple(_days(key, problems))
        if not weekdays and (not isinstance(value, Scalar) or value.kind is not Kind.TEXT):
            continue  # no hours were meant: a mistyped `holidays: true` is one mistake
        for opens, closes in _spans(value, problems):
            new = [Span(day, opens, closes) for day in weekdays]
            _refuse_overlap(new, spans, value.mark, problems)
            spans.extend(new)
    return spans


def _closed(node: Node, problems: Problems) -> frozenset[date]:
    # An empty list stays behind when the last date of a year has been taken out.
    if not isinstance(node, Items):
        problems.add(node.mark, "`closed` is not a list", f"write it as in [{_DAY_EXAMPLE}]")
        return frozenset()
    found: set[date] = set()
    for item in node.items:
        day = _date(item, problems)
        if day in found:
            problems.add(item.mark, f"{day} is closed twice", "delete it, or mend the date")
        if day is not None:
            found.add(day)
    return frozenset(found)


def _date(node: Node, problems: Problems) -> date | None:
    text = node.text if isinstance(node, Scalar) else ""
    try:
        # Other forms of ISO 8601, such as 20261224, are numbers to some programs.
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        problems.add(node.mark, f"there is no day `{text}`", "correct the date")
        return None
    french = _FRENCH_DATE.fullmatch(text)
    instead = f'"{french[3]}-{french[2]:>02}-{french[1]:>02}"' if french else _DAY_EXAMPLE
    problems.add(node.mark, f"`{shown(text)}` is not a date", f"write it as in {instead}")
    return None


def _days(key: Scalar, problems: Problems) -> Iterator[int]:
    names = [name.strip() for name in key.text.casefold().split("-")]
    unknown = [name for name in names if name not in DAYS]
    if unknown or len(names) not in {1, 2}:
        problems.add(
            key.mark,
            f"`{shown(key.text)}` is not a day or a range of days",
            suggestion(unknown[0] if unknown else "", (*DAYS, *OTHERS))
            + "; a range is written mon-fri",
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
