"""Shows figures to a monitoring system: Prometheus's text, and two plain health pages."""

from __future__ import annotations

from dispatcher.edges.metrics.door import HttpDoor
from dispatcher.edges.metrics.exposition import Exposition
from dispatcher.edges.metrics.pages import Pages

__all__ = ["Exposition", "HttpDoor", "Pages"]
