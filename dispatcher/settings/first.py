"""Writes out a first configuration from a few answers: the text of both files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from dispatcher.settings.sections import Security


@dataclass(frozen=True, slots=True)
class FirstMailbox:
    """The answers about the BAL. Exactly one way to log in is given."""

    name: str
    host: str
    security: Security
    port: int | None
    username: str | None
    password_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_passphrase_file: Path | None = None
    token_command: tuple[str, ...] | None = field(default=None, repr=False)
    ca_file: Path | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class FirstSite:
    """The answers about the laboratory and its first site."""

    lbm: str
    finess_ej: str | None
    finess: str
    name: str
    folder: Path


_HEAD: Final = """\
# sidep-dispatcher: settings, begun by `sidep-dispatcher init`. Every other key with its
# default: dispatcher.yaml.example, or the page of settings in the documentation.
# After a change: sidep-dispatcher check, then restart the service.
"""
_ROUTING_HEAD: Final = """\
# sidep-dispatcher: where each site's certificates go, begun by `sidep-dispatcher init`.
# One entry for each site, by its FINESS ET, in quotes. A site that is not here is held.
# A change is taken within seconds; a file with a mistake changes nothing.
"""


def first_settings(box: FirstMailbox, ledger: str | None) -> str:
    """Return the text of dispatcher.yaml. `ledger` None: the default."""
    given: dict[str, object] = {
        "host": box.host,
        "port": box.port,
        "security": None if box.security is Security.TLS else box.security.value,
        "ca_file": box.ca_file,
        "username": box.username,
        "password_file": box.password_file,
        "client_certificate": box.client_certificate,
        "client_key": box.client_key,
        "client_passphrase_file": box.client_passphrase_file,
        "token_command": box.token_command,
    }
    lines = [_HEAD + "mailboxes:", f"  {_scalar(box.name)}:"]
    lines += [f"    {key}: {_scalar(value)}" for key, value in given.items() if value]
    if box.since is not None:
        lines.append(f"    since: {box.since.isoformat()}  # mail from before is left alone")
    lines.append("routing: routing.yaml")
    if ledger is not None:
        lines.append(f"ledger: {_scalar(ledger)}")
    return "\n".join(lines) + "\n"


def first_routing(site: FirstSite) -> str:
    """Return the text of routing.yaml, with a test of its one site."""
    body = f", finess_ej: {_scalar(site.finess_ej)}" if site.finess_ej else ""
    return (
        f"{_ROUTING_HEAD}version: 1\n"
        f"lbm: {{name: {_scalar(site.lbm)}{body}}}\n"
        f"sites:\n  {_scalar(site.finess)}:\n    name: {_scalar(site.name)}\n"
        f"    deliver:\n      - {{name: dossier, folder: {_scalar(site.folder)}}}\n"
        f"tests:\n  - {{finess: {_scalar(site.finess)}, result: négatif, expect: [dossier]}}\n"
    )


def _scalar(value: object) -> str:
    """Return a value as YAML: a JSON string is one, whatever stands in it (YAML 1.2, 1.3)."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
