"""Prints through CUPS, whose library lives in a process of its own."""

from __future__ import annotations

from dispatcher.edges.cups.queue import CupsQueue
from dispatcher.edges.cups.server import CupsServer, Limits, available
from dispatcher.edges.cups.vigil import Vigil
from dispatcher.edges.cups.words import printer_reasons

__all__ = ["CupsQueue", "CupsServer", "Limits", "Vigil", "available", "printer_reasons"]
