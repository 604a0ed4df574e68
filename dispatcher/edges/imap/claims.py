"""Reads how long an access token lives, where it is a JSON Web Token (RFC 7519)."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Life:
    """When a token ends and, if it says so, when it was issued."""

    ends_at: datetime
    issued_at: datetime | None = None

    def lasts(self, seen_at: datetime) -> timedelta:
        """Return its whole life, counted from `seen_at` where it does not tell its issue."""
        return self.ends_at - (self.issued_at or seen_at)


def life_of(token: str) -> Life | None:
    """Return the life of a token; None: it is opaque. Its signature is not ours to check."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(claims, dict) or (ends_at := _date(claims.get("exp"))) is None:
        return None
    return Life(ends_at, _date(claims.get("iat")))


def _date(value: object) -> datetime | None:
    """Return a NumericDate (RFC 7519, 2); None: it is none that a calendar has."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
