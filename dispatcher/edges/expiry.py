"""Reads when what opens a mailbox ends: a client certificate, a token that lasts."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509


def certificate_ends_at(path: Path) -> datetime | None:
    """Return when the first certificate in a PEM file ends; None: there is none to read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None  # the login itself says what is wrong with it


def token_ends_at(token: str) -> datetime | None:
    """Return the `exp` of a JSON Web Token (RFC 7519, 4.1.4), not verified; None: no such.

    The server decides what a token is worth; this is only for a warning.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature (RFC 7515, 3.1)
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
