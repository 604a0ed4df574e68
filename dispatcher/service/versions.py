"""The versions of routing.yaml in the ledger: finding one, and putting one back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from dispatcher.core.audit import Deed, What
from dispatcher.core.rulebook import Change, Draft, Origin
from dispatcher.errors import ConfigInvalid, DispatcherError
from dispatcher.ports import Clock, Ledger
from dispatcher.service.decisions import NotAsked, NotPossible, Person

# A shorter beginning of a digest names one by chance.
_SHORTEST: Final = 6
_HISTORY: Final = "`sidep-dispatcher rules history` shows them."


@dataclass(frozen=True, slots=True)
class Versions:
    """What the ledger keeps of the rules' file.

    `check` says what content would mean in the file's place.
    """

    ledger: Ledger
    clock: Clock
    check: Callable[[bytes], Draft]

    def named(self, beginning: str) -> str:
        """Return the digest that begins so. Raises NotAsked for none, or several."""
        wanted = beginning.strip().casefold()
        digests = {change.digest for change in self.ledger.rules_history()}
        found = [one for one in digests if one.startswith(wanted)]
        if len(wanted) < _SHORTEST or len(found) != 1:
            several = "several versions have" if len(found) > 1 else "no version has"
            raise NotAsked(
                f"{several} a digest that begins so",
                hint=f"Write at least {_SHORTEST} of its characters; {_HISTORY}",
            )
        return found[0]

    def content(self, digest: str) -> bytes:
        """Return a version's text. Raises NotPossible when it is not kept any more."""
        found = self.ledger.rules_content(digest)
        if found is None:
            raise NotPossible("that version is too old: its text is not kept any more")
        return found

    def before(self, found: Draft) -> str:
        """Return which version is meant by going back, given the file as it is now.

        What is in force, when the file is something else; otherwise what was before it.
        """
        state = self.ledger.rules_state()
        if state is None:
            raise NotPossible("no rules were ever in force here")
        if found.digest != state.digest:
            return state.digest
        taken = [c for c in self.ledger.rules_history() if c.origin is not Origin.SET_ASIDE]
        earlier = [change.digest for change in taken if change.digest != state.digest]
        if not earlier:
            raise NotPossible("there is no earlier version")
        return earlier[-1]

    def roll_back(
        self, digest: str, found: Draft, put: Callable[[bytes], None], person: Person
    ) -> None:
        """Put a version back into the file. What lay there before stays in the history.

        Raises ConfigInvalid when that version is not valid (any more), and what `put`
        raises; the file is then as it was. The running service takes it by itself.
        """
        content = self.content(digest)
        problems = self.check(content).problems
        if problems:
            raise ConfigInvalid(problems)
        self._set_aside(digest, found, person)
        try:
            put(content)
        except DispatcherError as error:
            self._tell(digest, person, f"failed: {error}")
            raise
        change = Change(self.clock.now(), digest, Origin.ROLLBACK, person.name, person.reason)
        with self.ledger.writing() as writer:
            writer.take_rules(change, content)
        self._tell(digest, person, "done")

    def _set_aside(self, digest: str, found: Draft, person: Person) -> None:
        """Record the intent, and keep what it replaces."""
        known = self.ledger.rules_content(found.digest) is not None
        at = self.clock.now()
        aside = Change(at, found.digest, Origin.SET_ASIDE, person.name, person.reason)
        with self.ledger.writing() as writer:
            writer.trace(self._deed(digest, person))
            if found.content and not known:
                writer.take_rules(aside, found.content)

    def _tell(self, digest: str, person: Person, answer: str) -> None:
        with self.ledger.writing() as writer:
            writer.trace(replace(self._deed(digest, person), answer=answer))

    def _deed(self, digest: str, person: Person) -> Deed:
        return Deed(
            "rules-rollback",
            What.RULES,
            self.clock.now(),
            where=digest,
            by=person.name,
            reason=person.reason,
        )
