"""Calls a dead man's switch: an HTTPS address that warns people when calls stay out."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from dispatcher.errors import Unavailable

_SECONDS: Final = 10.0
_GOOD: Final = range(200, 300)


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirection could lead out of TLS, and the address is a secret."""

    def redirect_request(self, *_: object) -> None:
        """Return None, so that the redirection itself is the answer."""


class HttpBeacon:
    """See `ports.Beacon`. The address never stands in an error: it works like a password."""

    def __init__(self, url: str, *, seconds: float = _SECONDS) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._seconds = seconds
        self._opener = urllib.request.build_opener(_Straight)

    def call(self) -> None:
        """See `Beacon.call`."""
        request = urllib.request.Request(  # noqa: S310 - the settings take https alone
            self._url, headers={"User-Agent": "sidep-dispatcher"}
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            name = type(error).__name__
            raise Unavailable(
                f"{self._host} does not answer ({name})",
                hint="may this machine reach it? `alerts.ping_url` names it",
            ) from None
        if status not in _GOOD:
            raise Unavailable(
                f"{self._host} answered {status}", hint="look at `alerts.ping_url`"
            )
