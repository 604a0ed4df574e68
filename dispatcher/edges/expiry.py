"""Reads when what opens a mailbox ends: a client certificate, a token that lasts."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509


def certificate_ends_at(path: Path) -> datetime | None:
    """Return when the first certificate in a PEM file ends; None: there is none to read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None  # the login itself says what is wrong with it


def token_ends_at(token: str) -> datetime | None:
    """Return when a JSON Web Token ends that was made to last; None: it is no such token.

    `exp` and `iat` of RFC 7519, 4.1, not verified: the server decides what a token is worth,
    this is only for a warning. One that lives a day or less is made anew before it ends.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature (RFC 7515, 3.1)
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        ends_at, made_at = (datetime.fromtimestamp(claims[key], UTC) for key in ("exp", "iat"))
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
    return ends_at if ends_at - made_at > timedelta(days=1) else None
