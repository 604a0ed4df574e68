"""The font files of every document that the program draws, and what they can show."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

_HERE: Final = files(__name__)

LATIN: Final = str(_HERE / "DejaVuSans-Latin.ttf")
"""Few letters: the cost of a font grows with the letters it knows."""

EUROPEAN: Final = str(_HERE / "DejaVuSans-European.ttf")
EUROPEAN_BOLD: Final = str(_HERE / "DejaVuSans-Bold-European.ttf")
