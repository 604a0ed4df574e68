"""The single values of dispatcher.yaml: durations, sizes, hosts, addresses, paths."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from dispatcher.core.retention import Months
from dispatcher.yaml_text import shown


class Ambiguous(str):
    """Text without quotes that some YAML programs read as a number, true or false."""

    __slots__ = ()


class Wrong(ValueError):
    """A value that does not fit, in the two halves that every problem has."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}; {instead}")
        self.what = what
        self.instead = instead


def _text(value: object, example: str) -> str:
    if isinstance(value, Ambiguous) or not isinstance(value, str):
        said = "a text belongs here"
        if isinstance(value, (int, float, Ambiguous)):
            said = f"`{value}` has no quotes and may be read as something else than text"
            example = f'"{value}"'
        raise Wrong(said, f"write {example}")
    if not value.strip() or value != value.strip() or not value.isprintable():
        said = "the text is empty, has spaces around it or holds a control character"
        raise Wrong(said, f"write {example}")
    return value


# --- numbers -----------------------------------------------------------------------------

_DIGITS: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_LAST_PORT: Final = 65_535


def integer(value: object) -> int:
    """Return a whole number; text is taken from the environment, `010` from nowhere."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    raise Wrong("this is not a whole number", "write digits alone, without a 0 in front")


def _port(value: object) -> int:
    number = integer(value)
    if not 0 < number <= _LAST_PORT:
        raise Wrong(f"{number} is not a port", f"write 1 to {_LAST_PORT}")
    return number


def _count(value: object) -> int:
    number = integer(value)
    if number < 1:
        raise Wrong(f"{number} is too small", "write 1 or more")
    return number


_MEASURE: Final = re.compile(r"([0-9]{1,9}) ?([A-Za-z]+)", re.ASCII)


def _measure(value: object, units: Mapping[str, Any], example: str) -> tuple[int, Any]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise Wrong(f"{value} has no unit", f"write, for example, {example}")
    match = _MEASURE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Wrong("a number with its unit belongs here", f"write, for example, {example}")
    unit = units.get(match[2].casefold())
    if unit is None:
        raise Wrong(f"`{shown(match[2])}` is not a unit here", f"write, for example, {example}")
    return int(match[1]), unit


def _units(table: Mapping[Any, str]) -> dict[str, Any]:
    return {name: unit for unit, names in table.items() for name in names.split()}


# No `m`: it is a minute to some and a month to others.
_TIMES: Final = _units(
    {
        timedelta(seconds=1): "s sec second seconds seconde secondes",
        timedelta(minutes=1): "min mn minute minutes",
        timedelta(hours=1): "h hour hours heure heures",
        timedelta(days=1): "d day days j jour jours",
        timedelta(weeks=1): "w week weeks semaine semaines",
    }
)
_MONTHS: Final = _units({1: "month months mois", 12: "year years an ans"})
_SIZES: Final = _units(
    {
        1: "b o byte bytes octet octets",
        1000: "kb ko",
        1000**2: "mb mo",
        1000**3: "gb go",
        1024: "kib kio",
        1024**2: "mib mio",
        1024**3: "gib gio",
    }
)
_LONGEST: Final = timedelta(days=3660)
_LONGEST_MONTHS: Final = 120
_LEAST_BYTES: Final = 1000
_MOST_BYTES: Final = 256 * 1024**2


def duration(value: object, *, example: str = "60s") -> timedelta:
    """Return a span of fixed length: `60s`, `15 min`, `72h`, `3 days`."""
    if isinstance(value, timedelta):
        return value
    number, unit = _measure(value, _TIMES, example)
    found: timedelta = number * unit
    if not timedelta() < found <= _LONGEST:
        raise Wrong("this is no time at all, or more than ten years", f"write {example}")
    return found


def span(value: object) -> timedelta | Months:
    """Return a duration or a number of calendar months: `72h`, `6 months`."""
    if isinstance(value, (timedelta, Months)):
        return value
    number, unit = _measure(value, {**_TIMES, **_MONTHS}, "72h or 6 months")
    if isinstance(unit, timedelta):
        return duration(value, example="72h")
    if not 0 < number * unit <= _LONGEST_MONTHS:
        raise Wrong("this is no time at all, or more than ten years", "write 6 months")
    return Months(number * unit)


def _interval(value: object) -> timedelta:
    found = duration(value)
    if found > timedelta(hours=1):
        raise Wrong("a mailbox is looked at once an hour at least", "write, for example, 60s")
    return found


def size(value: object) -> int:
    """Return bytes: `10 MB` is 10,000,000, `16 MiB` is 16,777,216."""
    number, unit = _measure(value, _SIZES, "10 MB")
    found: int = number * unit
    if not _LEAST_BYTES <= found <= _MOST_BYTES:
        raise Wrong("this is less than 1 kB or more than 256 MiB", "write, for example, 10 MB")
    return found


def switch(value: object) -> bool:
    """Return true or false; as text from the environment."""
    words = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in words:
        return words[value]
    raise Wrong("this is neither true nor false", "write true or false")


_SHARE: Final = re.compile(r"([0-9]{1,3}) ?%", re.ASCII)


def share(value: object) -> float:
    """Return a part of a whole: `50%` or 0.5 is a half."""
    found = -1.0
    if isinstance(value, str) and (match := _SHARE.fullmatch(value.strip())):
        found = int(match[1]) / 100
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str) and re.fullmatch(r"[01](\.[0-9]{1,4})?", value, re.ASCII):
        found = float(value)  # from the environment
    if not 0 < found <= 1:
        raise Wrong("a share between 1% and 100% belongs here", "write, for example, 50%")
    return found


_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def day(value: object) -> date:
    """Return a date written as in 2021-06-29 (ISO 8601)."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Wrong("there is no such day", "write, for example, 2021-06-29") from None
    raise Wrong("a date belongs here", "write it as year-month-day, as in 2021-06-29")


_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


def clock(value: object) -> time:
    """Return a time of day written as in 18:30."""
    if isinstance(value, str) and _CLOCK.fullmatch(value):
        return time.fromisoformat(value)
    raise Wrong("a time of day belongs here", 'write hours and minutes, as in "18:30"')


# --- texts -------------------------------------------------------------------------------

_HOST: Final = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_.-]*[0-9A-Za-z])?\.?", re.ASCII)
# flag-keyword is an atom (RFC 3501, 9): no CTL, space, list wildcards, quotes, brackets.
_KEYWORD: Final = re.compile(r"[!#$&'+,./0-9:;<=>?@A-Z\[^_`a-z|}~-]{1,64}", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@\s<>,;\"()]+@[0-9a-z]([0-9a-z.-]*[0-9a-z])?", re.ASCII)
MAILBOX_NAME: Final = r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*"


def host(value: object) -> str:
    """Return a host name or an address, without scheme and port."""
    text = _text(value, "imap.operateur.example")
    if _HOST.fullmatch(text) or _is_address(text):
        return text
    raise Wrong("this is not a host name", "write it alone, without imaps:// and without :993")


def loopback(text: str) -> bool:
    """Whether a host is this machine: 127.0.0.0/8, ::1 or localhost (RFC 6761, 6.3)."""
    if _is_address(text):
        return ipaddress.ip_address(text).is_loopback
    return text.casefold().rstrip(".") == "localhost"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _keyword(value: object) -> str:
    text = _text(value, "SidepDispatched")
    if not _KEYWORD.fullmatch(text):
        raise Wrong("this cannot be an IMAP keyword", "write letters, as in SidepDispatched")
    return text


def address(value: object) -> str:
    """Return one e-mail address, lower-cased, without a name beside it."""
    text = _text(value, "noreply@example.fr").lower()
    if not _ADDRESS.fullmatch(text):
        raise Wrong("this is not an e-mail address", "write it alone, as in noreply@example.fr")
    return text


def _addresses(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple, frozenset)) and value:
        return tuple(address(item) for item in value)
    raise Wrong("a list of addresses belongs here", "write [one@example.fr, two@example.fr]")


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        words = [_text(item, '["/usr/local/bin/token", "--fresh"]') for item in value]
    else:
        text = _text(value, "/usr/local/bin/token")
        try:
            words = shlex.split(text)
        except ValueError:
            raise Wrong("a quote is not closed", "write the command as a list") from None
    if not words or not words[0].startswith("/"):
        raise Wrong(
            "the command has no full path", "write it from the root, as in /usr/local/bin/token"
        )
    return tuple(words)


def _path(value: object) -> Path:
    text = _text(value, "a path")
    if text.startswith("~"):
        raise Wrong("`~` means nothing to a service", "write the path from the root")
    return Path(text)


_SQLITE: Final = "sqlite:///"


def _ledger(value: object) -> str:
    text = _text(value, "sqlite:////var/lib/sidep-dispatcher/ledger.sqlite3")
    name = text.removeprefix(_SQLITE)
    if not text.startswith(_SQLITE) or not name or name.startswith(":") or "?" in name:
        raise Wrong(
            "the ledger is a SQLite file, and its place is written as a URL",
            "write sqlite:////var/lib/sidep-dispatcher/ledger.sqlite3",
        )
    return text


def proxy(value: object) -> str:
    """Return the URL of an HTTP proxy: scheme, host and port, and nothing else."""
    text = _text(value, _PROXY_EXAMPLE).removesuffix("/")
    instead = f"write {_PROXY_EXAMPLE}"
    if "@" in text:
        raise Wrong(
            "a proxy's login does not stand in its address",
            "write proxy_username and proxy_password_file",
        )
    if not text.startswith("http://"):
        raise Wrong("this is not the address of an HTTP proxy", instead)
    endpoint(text.removeprefix("http://"), instead)
    return text


_PROXY_EXAMPLE: Final = "http://proxy.example:3128"


def endpoint(text: str, instead: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 address stands in brackets (RFC 3986)."""
    name, _, number = text.rpartition(":")
    bare = name.removeprefix("[").removesuffix("]")
    if not name or not number or "/" in text:
        raise Wrong("an address and a port belong here", instead)
    if (":" in bare) is (name == bare):
        raise Wrong("an IPv6 address stands in brackets here, and nothing else does", instead)
    return host(bare), _port(number)


def _listen(value: object) -> str:
    text = _text(value, '"127.0.0.1:9464"')
    name, _ = endpoint(text, 'write "127.0.0.1:9464" or "[::1]:9464"')
    if not loopback(name):
        raise Wrong(
            "figures are shown to this machine only: they need no login",
            'write "127.0.0.1:9464"; for another machine put a web server with a login before',
        )
    return text


_CUPS_EXAMPLE: Final = 'write /run/cups/cups.sock, or "host:631"'
# sockaddr_un holds 108 bytes, the last of them a null (unix(7)).
_LONGEST_SOCKET: Final = 107


def cups_server(value: object) -> str:
    """Return where cupsd answers: the absolute path of its socket, or `host:port`."""
    text = _text(value, "/run/cups/cups.sock")
    if text.startswith("/"):
        if len(text.encode()) > _LONGEST_SOCKET:
            raise Wrong("the path is too long for a socket", f"at most {_LONGEST_SOCKET} bytes")
        return text
    name, _, number = text.rpartition(":")
    if "/" in text or "~" in text or not name or not number:
        raise Wrong(
            "this is neither the path of a socket nor a host and its port", _CUPS_EXAMPLE
        )
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        raise Wrong("the address of the host has no brackets", 'write it as in "[::1]:631"')
    host(name.removeprefix("[").removesuffix("]"))
    _port(number)
    return text


def ping_url(value: object) -> str:
    """Return an https address; plain http only to this machine. It may hold a secret."""
    text = _text(value, "https://ping.example/ID")
    try:
        parts = urlsplit(text)
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        name, parts = "", urlsplit("")
    if not text.isascii() or not name or parts.username is not None:
        raise Wrong("this is not a web address", "write, for example, https://ping.example/ID")
    if parts.scheme == "https" or (parts.scheme == "http" and loopback(name)):
        return text
    raise Wrong("the address is called without TLS", "write https://; http is for 127.0.0.1")


_Schema = WithJsonSchema
_TIME: Final = "^[0-9]+ ?[A-Za-z]+$"

Text = Annotated[
    str, BeforeValidator(lambda value: _text(value, "a text")), _Schema({"type": "string"})
]
Host = Annotated[str, BeforeValidator(host), _Schema({"type": "string", "minLength": 1})]
Port = Annotated[
    int,
    BeforeValidator(_port),
    _Schema({"type": "integer", "minimum": 1, "maximum": _LAST_PORT}),
]
Count = Annotated[int, BeforeValidator(_count), _Schema({"type": "integer", "minimum": 1})]
Interval = Annotated[
    timedelta, BeforeValidator(_interval), _Schema({"type": "string", "pattern": _TIME})
]
Duration = Annotated[
    timedelta, BeforeValidator(duration), _Schema({"type": "string", "pattern": _TIME})
]
Term = Annotated[
    timedelta | Months, PlainValidator(span), _Schema({"type": "string", "pattern": _TIME})
]
Switch = Annotated[bool, BeforeValidator(switch), _Schema({"type": "boolean"})]
Share = Annotated[
    float,
    BeforeValidator(share),
    _Schema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                {"type": "string", "pattern": "^[0-9]{1,3} ?%$"},
            ]
        }
    ),
]
Size = Annotated[int, BeforeValidator(size), _Schema({"type": "string", "pattern": _TIME})]
Day = Annotated[date, BeforeValidator(day), _Schema({"type": "string", "format": "date"})]
TimeOfDay = Annotated[
    time,
    BeforeValidator(clock),
    _Schema({"type": "string", "pattern": f"^{_CLOCK.pattern}$"}),
]
Keyword = Annotated[
    str,
    BeforeValidator(_keyword),
    _Schema({"type": "string", "pattern": f"^{_KEYWORD.pattern}$"}),
]
Address = Annotated[
    str, BeforeValidator(address), _Schema({"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"})
]
_ADDRESS_LIST: Final = _Schema({"type": "array", "minItems": 1, "items": {"type": "string"}})
Addresses = Annotated[tuple[str, ...], BeforeValidator(_addresses), _ADDRESS_LIST]
AddressSet = Annotated[frozenset[str], BeforeValidator(_addresses), _ADDRESS_LIST]
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_command),
    _Schema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        }
    ),
]
FilePath = Annotated[Path, BeforeValidator(_path), _Schema({"type": "string"})]
LedgerUrl = Annotated[
    str, BeforeValidator(_ledger), _Schema({"type": "string", "pattern": f"^{_SQLITE}"})
]
PingUrl = Annotated[
    str, BeforeValidator(ping_url), _Schema({"type": "string", "pattern": "^https?://.+"})
]
Proxy = Annotated[
    str,
    BeforeValidator(proxy),
    _Schema({"type": "string", "pattern": "^http://[^/@]+:[0-9]+/?$"}),
]
Listen = Annotated[str, BeforeValidator(_listen), _Schema({"type": "string"})]
CupsServer = Annotated[
    str,
    BeforeValidator(cups_server),
    _Schema({"type": "string", "pattern": "^(/.+|[^/]+:[0-9]+)$"}),
]
