"""Lets through only what a log line may hold; everything else is left out and reported.

An allow-list: each key that the program logs is here with the shape of its values. What is
new does not get through until somebody has thought about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

# Longer texts and lists are cut: a line is for reading.
LONGEST: Final = 500
MOST: Final = 50

REDACTED: Final = "[redacted]"

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{2,63}", re.ASCII)
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_ID: Final = re.compile(r"[a-z2-7]{10}", re.ASCII)
_SITE: Final = re.compile(r"([0-9][0-9A-Z][0-9]{7})?", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]{0,59}", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_PERIOD: Final = re.compile(r"[0-9]{4}-([0-9]{2}-[0-9]{2}|W[0-9]{2})", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}", re.ASCII)
_PLACE: Final = re.compile(r"(in [a-z0-9_.]+:[\w<>]+:[0-9]+)?", re.ASCII)

# What only a certificate, its message or its document has: a file's name, the subject, the
# row of fields in both, an INS, a date as the certificate writes it.
_OF_A_PATIENT: Final = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        r"\.pdf",
        r"certificat de test|projet si-dep",
        r"(?<![0-9a-z])[0-9][0-9a-z][0-9]{7}\s*([_|])[^_|]+\1[^_|]+\1",
        r"(?<![0-9a-z])[1-478][0-9]{5}[0-9ab][0-9]{6}([0-9]{2})?(?![0-9a-z])",
        r"(?<![0-9])[0-3][0-9]/[01][0-9]/[12][0-9]{3}(?![0-9])",
    )
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the values of a key may be: in words for people, and as a check."""

    told: str
    fits: Callable[[Any], bool]


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not value.isascii():
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any(one.search(value) for one in _OF_A_PATIENT)


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(fits, value))


NUMBER: Final = Shape("a number", _is_number)
FLAG: Final = Shape("true or false", lambda value: isinstance(value, bool))
TIME: Final = Shape("a time, ISO 8601 with its zone", _is_time)
DAY: Final = Shape("a date, ISO 8601", _matches(_DAY))
PERIOD: Final = Shape("a date, or a week such as 2026-W48", _matches(_PERIOD))
ID: Final = Shape("an id of `list`", _matches(_ID))
IDS: Final = Shape("ids of `list`", _all(_matches(_ID)))
SITE: Final = Shape("a FINESS ET", _matches(_SITE))
WORD: Final = Shape("a fixed word", _matches(_WORD))
WORDS: Final = Shape("fixed words", _all(_matches(_WORD)))
DIGEST: Final = Shape("the beginning of a SHA-256", _matches(_DIGEST))
PLACE: Final = Shape("a place in the program", _matches(_PLACE))
NAME: Final = Shape("a name from the configuration", _is_text)
TEXT: Final = Shape("a sentence", _is_text)
TEXTS: Final = Shape("sentences", _all(_is_text))

KEYS: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "after": NUMBER,
        "already_there": FLAG,
        "answer": TEXT,
        "because": TEXT,
        "before": NUMBER,
        "brakes": WORDS,
        "copies": NUMBER,
        "count": NUMBER,
        "day": DAY,
        "difference": NUMBER,
        "digest": DIGEST,
        "drained": FLAG,
        "error": TEXT,
        "failures": NUMBER,
        "gone": NUMBER,
        "held": NUMBER,
        "hint": TEXT,
        "hours": NUMBER,
        "id": ID,
        "ids": IDS,
        "keys": WORDS,
        "kind": WORD,
        "kinds": WORDS,
        "lines": NUMBER,
        "mailbox": NAME,
        "mailboxes": NUMBER,
        "mails": NUMBER,
        "part": NAME,
        "percent": NUMBER,
        "period": PERIOD,
        "place": PLACE,
        "problems": TEXTS,
        "reason": WORD,
        "seconds": NUMBER,
        "since": TIME,
        "site": SITE,
        "sites": NUMBER,
        "state": WORD,
        "target": NAME,
        "uid": NUMBER,
        "uidvalidity": NUMBER,
        "what": TEXT,
    }
)
"""What a line may hold beside `event`, `level` and `timestamp`."""

_OURS: Final = frozenset({"event", "level", "timestamp"})


def guard(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Keep what is known and of its shape; report the rest without repeating it."""
    clean: EventDict = {}
    redacted = []
    for key, value in event_dict.items():
        if key in _OURS:
            clean[key] = value
        elif value is None and key in KEYS:
            clean[key] = None
        elif key in KEYS and KEYS[key].fits(value):
            clean[key] = _bounded(value)
        else:
            redacted.append(key if _KEY.fullmatch(key) else "unnamed")
            if key in KEYS:
                clean[key] = REDACTED
    name = str(clean.get("event", ""))
    if not _EVENT.fullmatch(name):
        return {**clean, "event": "log_was_redacted", "keys": ["event"]}
    if redacted:
        structlog.get_logger(__name__).error(
            "log_was_redacted", what=f"event {name}", keys=sorted(redacted)
        )
    return clean


def _bounded(value: Any) -> Any:
    """Return a value fit for one line on any screen."""
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, list | tuple):
        return [_bounded(one) for one in value[:MOST]]
    return value


def _printable(text: str) -> str:
    """Write out what a terminal would obey or break a line at: U+2028, ESC, bidi controls."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)
