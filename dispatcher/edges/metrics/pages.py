"""Writes the three pages: /metrics for Prometheus, /healthz and /readyz for everybody."""

from __future__ import annotations

import json

from dispatcher.edges.metrics.door import Page
from dispatcher.edges.metrics.exposition import Exposition
from dispatcher.ports import Clock, Health

_OK, _UNAVAILABLE = 200, 503
_JSON = "application/json"


class Pages:
    """Answers `edges.metrics.door`. Used by many threads."""

    def __init__(self, exposition: Exposition, health: Health, clock: Clock) -> None:
        self._exposition = exposition
        self._health = health
        self._clock = clock

    def __call__(self, path: str, accept: str) -> Page | None:
        """Return a page; None: there is none at this path."""
        match path:
            case "/metrics":
                text, media_type = self._exposition.text(
                    self._health.figures(), self._clock.now(), accept
                )
                return Page(_OK, media_type, text)
            case "/healthz":
                return _told("alive", self._health.dead())
            case "/readyz":
                return _told("ready", self._health.unready())
            case _:
                return None


def _told(word: str, reasons: tuple[str, ...]) -> Page:
    body = json.dumps({word: not reasons, "reasons": reasons}, ensure_ascii=False)
    return Page(_UNAVAILABLE if reasons else _OK, _JSON, f"{body}\n".encode())
