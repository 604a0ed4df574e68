"""Reads messages, with what their documents were found to be: here, or in a child process."""

from __future__ import annotations

from dispatcher.edges.reading.beside import Limits, ReadBeside
from dispatcher.edges.reading.here import ReadHere

__all__ = ["Limits", "ReadBeside", "ReadHere"]
