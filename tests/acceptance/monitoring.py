"""Asks a running service for its figures and its health, as a monitoring system does."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 20.0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens at, of those that the system gives to nobody.

    One of the system's own choice could be a client's before the service is there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(100):
        port = random.randrange(15_000, 30_000)
        with socket.socket(family) as sock, contextlib.suppress(OSError):
            sock.bind((host, port))
            return port
    raise RuntimeError("no free port in a hundred")


@dataclass(frozen=True)
class Monitoring:
    """What looks in at one address."""

    port: int
    host: str = "127.0.0.1"

    def get(self, path: str) -> tuple[int, str, str]:
        """Return status, media type and body; (0, "", "") when nobody answers."""
        asking = http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)
        try:
            asking.request("GET", path)
            answer = asking.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()
        except OSError:
            return 0, "", ""
        finally:
            asking.close()

    def told(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON document of a health page."""
        status, media_type, body = self.get(path)
        return status, json.loads(body) if media_type == "application/json" else None

    def text(self) -> str:
        """Return /metrics as it is; "" when nobody answers."""
        return self.get("/metrics")[2]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of the samples with these labels; None: there is none."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == f"sidep_dispatcher_{name}" and _fits(sample.labels, labels)
        ]
        return sum(found) if found else None


def _fits(given: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(given.get(key) == value for key, value in wanted.items())
