"""Looks into PDF files in a child process, where a bad one can hurt only itself."""

from __future__ import annotations

from dispatcher.edges.pdf.inspector import PdfInspector
from dispatcher.edges.pdf.worker import Limits

__all__ = ["Limits", "PdfInspector"]
