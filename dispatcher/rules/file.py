"""routing.yaml on its disk: whether it changed, and what one whole reading of it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from dispatcher.core.routing import Rules
from dispatcher.core.rulebook import Draft
from dispatcher.errors import ConfigInvalid
from dispatcher.rules.loading import LIMIT, parse
from dispatcher.yaml_text import Problems, read_content


class RoutingFile:
    """See `ports.RulesFile`.

    `fit` raises ConfigInvalid for rules that this installation cannot carry out.
    """

    def __init__(self, path: Path, fit: Callable[[Rules], None]) -> None:
        self._path = path
        self._fit = fit

    def stamp(self) -> tuple[int, ...]:
        """See `RulesFile.stamp`. A symlink is followed: its switch is a change."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def draft(self) -> Draft | None:
        """See `RulesFile.draft`."""
        before = self.stamp()
        try:
            content = read_content(self._path, Problems(self._path), limit=LIMIT)
        except ConfigInvalid as error:
            # A digest all the same, so that another such file counts as another.
            said = hashlib.sha256("\n".join(error.problems).encode()).hexdigest()
            return Draft(said, b"", None, error.problems) if before == self.stamp() else None
        return self.check(content) if before == self.stamp() else None

    def check(self, content: bytes) -> Draft:
        """Return what these bytes would say in the file's place."""
        digest = hashlib.sha256(content).hexdigest()
        try:
            rules = parse(content, self._path)
            self._fit(rules)
        except ConfigInvalid as error:
            return Draft(digest, content, None, error.problems)
        return Draft(digest, content, rules)
