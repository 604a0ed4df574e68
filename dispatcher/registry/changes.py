"""What changed between two extractions of the directory, as far as it changes a choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.matching import Choice, choose
from dispatcher.registry.values import Bal, Directory, Register


@dataclass(frozen=True, slots=True)
class Change:
    """One site whose choice, or the reason for none, is another now.

    `gone` and `new` are the directory's lines of the site and of its legal body.
    """

    site: FinessET
    name: str
    before: Choice
    after: Choice
    gone: tuple[Bal, ...]
    new: tuple[Bal, ...]

    @property
    def moves_mail(self) -> bool:
        """Whether certificates go elsewhere now; else only the reason for none differs."""
        return self.before.address != self.after.address


def changes(
    sites: Iterable[FinessET], register: Register, *, old: Directory, new: Directory
) -> tuple[Change, ...]:
    """Return the sites whose choice differs between two directories, by their numbers."""
    found = []
    for site in sorted(set(sites)):
        before, after = choose(site, register, old), choose(site, register, new)
        if (before.address, before.why) == (after.address, after.why):
            continue
        row = register.establishments.get(site)
        body = row.legal_body if row else None
        was, now = _lines(site, body, old), _lines(site, body, new)
        found.append(
            Change(
                site,
                row.name if row else "",
                before,
                after,
                tuple(bal for bal in was if bal not in now),
                tuple(bal for bal in now if bal not in was),
            )
        )
    return tuple(found)


def _lines(site: FinessET, body: FinessEJ | None, directory: Directory) -> tuple[Bal, ...]:
    shared = () if body is None else directory.carrying(body)
    return (*directory.carrying(site), *shared)
