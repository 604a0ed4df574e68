"""Times as a French mail writes them, in the time of Paris."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")

# `[0-9]` and not `\d`, which takes the digits of every script.
_TIME: Final = re.compile(
    r"([0-9]{2})/([0-9]{2})/(20[0-9]{2})\s*(?:[àÀaA,-]|\s)\s*"
    r"([0-9]{1,2})\s?[:hH]\s?([0-9]{2})(?:\s?(?::|mn|min)\s?([0-9]{2})s?)?\s*[.;,]?"
)


def read_time(text: str) -> datetime | None:
    """Return the aware instant that `dd/mm/yyyy HH:MM` means in Paris, or None.

    An hour that the autumn gives twice is the second one, an hour that the spring leaves
    out is taken by the clock of before: of two readings always the later (a document is
    kept too long rather than not long enough).
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = map(int, found.groups("0"))
    try:
        wall = datetime(year, month, day, hour, minute, second, tzinfo=PARIS)
    except ValueError:
        return None
    if wall.utcoffset() == wall.replace(fold=1).utcoffset():
        return wall
    return max(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)).astimezone(PARIS)
