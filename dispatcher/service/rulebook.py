"""Keeps the rules in force: a settled, valid file takes their place at once, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from dispatcher.core.routing import Rules
from dispatcher.core.rulebook import Change, Draft, Origin, Refusal, RulesState
from dispatcher.errors import Unavailable
from dispatcher.ports import Clock, Ledger, RulesFile, Writer

_log = structlog.get_logger(__name__)

# A file that stayed the same for so long was written to its end (seconds).
SETTLED: Final = 2.0
# The same where somebody asked for it to be read now.
SHORT: Final = 0.5


class Rulebook:
    """The rules in force, for every thread. One thread calls `begin`, `look` and `reload`.

    What comes into force is in the ledger first, so that the digest that a delivery
    records can always be looked up.
    """

    def __init__(self, file: RulesFile, *, found: Draft, rules: Rules, clock: Clock) -> None:
        """`rules` are those to begin with: the file's, or older ones when it has problems."""
        self._file = file
        self._clock = clock
        self._ledger: Ledger | None = None
        self._rules = rules
        self._state = RulesState(rules.digest, clock.now())
        self._found = found
        self._unrecorded = False
        self._seen = self._taken = file.stamp()
        self._seen_at = clock.monotonic()

    def __call__(self) -> Rules:
        """Return the rules in force now."""
        return self._rules

    @property
    def state(self) -> RulesState:
        """Which rules are in force, since when, and what keeps the file out."""
        return self._state

    def begin(self, ledger: Ledger) -> None:
        """Record the rules to begin with; from now on record every change of them.

        Raises Unavailable when the ledger does not answer.
        """
        self._ledger = ledger
        self._consider(self._found, Origin.START)

    def look(self) -> bool:
        """Take the file when it changed and has settled since; return whether it is settled."""
        now, stamp = self._clock.monotonic(), self._file.stamp()
        if stamp != self._seen:
            self._seen, self._seen_at = stamp, now
        if stamp == self._taken:
            return True
        return now - self._seen_at >= SETTLED and self.reload()

    def reload(self, rest: Callable[[float], object] | None = None) -> bool:
        """Take the file as it is now, or refuse it; return False to be asked again soon.

        That is when it changed while it was read, or when the ledger does not answer. With
        `rest`, which waits for so many seconds, also when it changes within a short rest:
        somebody who asks for it in the midst of writing shall not get half of it.
        """
        before = self._file.stamp()
        if rest is not None:
            rest(SHORT)
            if self._file.stamp() != before:
                return False
        draft = self._file.draft()
        if draft is None or self._file.stamp() != before:
            return False
        try:
            self._consider(draft, Origin.RELOAD)
        except Unavailable as error:
            if not self._unrecorded:
                _log.warning("rules_could_not_be_recorded", because=str(error), hint=error.hint)
            self._unrecorded = True
            return False
        self._unrecorded = False
        self._taken = self._seen = before
        return True

    def _consider(self, draft: Draft, origin: Origin) -> None:
        if draft.rules is None:
            self._refuse(draft)
        else:
            self._take(draft, draft.rules, origin)

    def _take(self, draft: Draft, rules: Rules, origin: Origin) -> None:
        known = None if self._ledger is None else self._ledger.rules_state()
        if known is None or known.digest != draft.digest:
            change = Change(self._clock.now(), draft.digest, origin)
            self._record(change, draft.content)
            known = RulesState(draft.digest, change.at)
        elif known.refusal is not None:
            self._record(None, b"")
        before, self._rules = self._rules, rules
        mended = self._state.refusal is not None
        self._state = RulesState(rules.digest, known.since_at)
        if origin is Origin.START:
            _log.info("rules_came_into_force", digest=rules.digest[:12], sites=len(rules.sites))
        elif rules.digest != before.digest:
            _log.info("rules_reloaded", digest=rules.digest[:12], sites=len(rules.sites))
        elif mended:
            _log.info("rules_refusal_ended", digest=rules.digest[:12])

    def _record(self, change: Change | None, content: bytes) -> None:
        """Record a change, or that the file is again what is in force."""
        if self._ledger is None:
            return
        with self._ledger.writing() as writer:
            if change is None:
                writer.refuse_rules(None)
            else:
                writer.take_rules(change, content)

    def _assert_in_force(
        self, known: RulesState | None, ledger: Ledger, writer: Writer
    ) -> None:
        """Record again what is in force where a rollback never got as far as here."""
        digest = self._rules.digest
        content = ledger.rules_content(digest)
        if known is not None and known.digest != digest and content is not None:
            writer.take_rules(Change(self._clock.now(), digest, Origin.RELOAD), content)

    def _refuse(self, draft: Draft) -> None:
        known = None if self._ledger is None else self._ledger.rules_state()
        earlier = self._state.refusal or (known and known.refusal)
        since = earlier.since_at if earlier else self._clock.now()
        refusal = Refusal(since, draft.digest, draft.problems)
        if self._ledger is not None:
            with self._ledger.writing() as writer:
                self._assert_in_force(known, self._ledger, writer)
                writer.refuse_rules(refusal)
        in_force_since = self._state.since_at if known is None else known.since_at
        told = self._state.refusal
        self._state = RulesState(self._rules.digest, in_force_since, refusal)
        if told is None or told.digest != refusal.digest:
            _log.error("rules_refused", problems=list(draft.problems), since=since.isoformat())
