"""Collects the patients that tests use and the logs that programs write, and compares them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from dispatcher.simulator.cases import Sending

# A name of one or two letters is in every log; longer ones are searched for as words.
_SHORTEST = 4


class Secrets:
    """Names, file numbers, subjects and file names of everybody that was sent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._texts: set[str] = set()

    def add(self, sendings: Iterable[Sending]) -> None:
        """Remember what the program must never write anywhere of these messages."""
        for sending in sendings:
            truth = sending.truth
            for text in (truth.file_number, truth.last_name, truth.first_name, truth.file_name):
                self.add_text(text or "")

    def add_text(self, text: str) -> None:
        """Remember one text."""
        if len(text.strip()) >= _SHORTEST:
            self._texts.add(text.strip())

    def log_of(self, test: str) -> IO[bytes]:
        """Open the log of one test."""
        name = re.sub(r"[^0-9A-Za-z]+", "-", test)[-100:]
        return (self._directory / f"{name}.log").open("ab")

    def found_in(self, text: str) -> set[str]:
        """Return the secrets that a text holds, as they are or escaped for JSON."""
        low = text.casefold()
        return {
            secret for secret in self._texts if any(_is_in(low, one) for one in _as(secret))
        }

    def assert_nowhere(self) -> None:
        """Search every log. Only counts are told: the texts are what must not be shown."""
        for path in sorted(self._directory.glob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace")
            found = self.found_in(text)
            assert not found, f"{path.name} holds {len(found)} of the patients' texts"
            assert "log_was_redacted" not in text, f"{path.name}: the log's guard had to act"


def _as(secret: str) -> set[str]:
    """Return a secret as a text may hold it: mostly the same twice."""
    folded = secret.casefold()
    # A capital letter's escape is not that of the small one: É is c9, é is e9.
    return {folded, json.dumps(folded)[1:-1], json.dumps(secret)[1:-1].casefold()}


def _is_in(low: str, secret: str) -> bool:
    # The plain search finds next to nothing and is some thirty times as fast: there are
    # thousands of texts, and megabytes of logs.
    return secret in low and bool(re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", low))
