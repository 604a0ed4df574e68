"""Where the pretend SI-DEP may send: never by mistake to a real laboratory."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import typer

from dispatcher.errors import ConfigInvalid

if TYPE_CHECKING:
    from dispatcher.simulator.sender import Security, Server

SECURITIES: Final = ("plaintext", "starttls", "tls")
# Where the machine's own mail server listens: what it takes it may pass on to the world.
_OF_REAL_SERVERS: Final = frozenset({25, 465, 587})

_BRACKETED: Final = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+)\]:(?P<port>[0-9]{1,5})")
_PLAIN: Final = re.compile(r"(?P<host>[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")


def place_of(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, an IPv6 address in brackets."""
    found = _BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:  # noqa: PLR2004  # RFC 9293
        raise typer.BadParameter("write HOST:PORT", param_hint="--smtp")
    return found["host"], int(found["port"])


def stays_here(host: str, port: int) -> bool:
    """Whether nothing that is sent there can leave the machine, as far as anybody can tell."""
    if port in _OF_REAL_SERVERS:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_consent(host: str, port: int, consent: str | None) -> None:
    """Refuse a server that could pass mail on, unless it was named once more.

    The certificates look real and the directory's addresses are: a slip would put pretend
    results into the hands of a laboratory.
    """
    if stays_here(host, port) or consent == host:
        return
    raise typer.BadParameter(
        f"{host} port {port} could bring pretend certificates to real laboratories; if that "
        f"server keeps them to itself, say so with --yes-send-to {host}",
        param_hint="--smtp",
    )


@dataclass(frozen=True, slots=True)
class Login:
    """How to get in: the options of the command line, unread."""

    security: str = "plaintext"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


def server(place: str, login: Login, *, consent: str | None) -> Server:
    """Return the server to send to, `place` as HOST:PORT; every problem at once."""
    from dispatcher.simulator.sender import Server  # noqa: PLC0415 - only with the extra

    host, port = place_of(place)
    require_consent(host, port, consent)
    problems = [*_wrong_with(login, host), *_missing(login)]
    password = None
    try:
        if login.password_file is not None:
            password = login.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"--password-file: {type(error).__name__}")
    if problems:
        raise ConfigInvalid(tuple(problems))
    return Server(
        host,
        port,
        security=cast("Security", login.security),
        username=login.username,
        password=password,
        ca_file=_text(login.ca_file),
        client_certificate=_text(login.client_certificate),
        client_key=_text(login.client_key),
    )


def _wrong_with(login: Login, host: str) -> Iterator[str]:
    if login.security not in SECURITIES:
        yield f"--security: one of {', '.join(SECURITIES)}"
    if login.security == "plaintext" and not _is_loopback(host):
        yield "--security: plaintext is for loopback addresses only"
    if (login.username is None) != (login.password_file is None):
        yield "--username and --password-file go together"
    if login.client_key is not None and login.client_certificate is None:
        yield "--client-key needs --client-certificate"


def _missing(login: Login) -> Iterator[str]:
    for name, path in (
        ("--ca-file", login.ca_file),
        ("--client-certificate", login.client_certificate),
        ("--client-key", login.client_key),
    ):
        if path is not None and not path.is_file():
            yield f"{name}: there is no such file"


def _is_loopback(host: str) -> bool:
    # Any port but those of real servers: this asks about the way there alone.
    return stays_here(host, 1)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
