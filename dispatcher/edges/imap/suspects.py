"""Finds the message that a server cannot answer for, so that it keeps no other from its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# When a command for one message alone failed it may have been the network; when it failed
# again the message rests, each time for twice as long (seconds).
_REST: Final = 60.0
_LONGEST_REST: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Failed:
    """How often a message failed when it was asked for alone, and until when it rests."""

    times: int
    rests_until: float


class Suspects:
    """The messages of a mailbox that were asked for in commands that failed.

    A server may break off at one damaged message, whatever else it was asked for. So what
    failed together is asked for in as many as `pieces` groups next time; what failed alone
    comes last, and what did so twice is left out for a while: the others' turn comes to its
    end without it. Of a `family`, each for another thing that is asked of the same messages,
    all leave out what one of them lets rest.
    """

    def __init__(
        self,
        pieces: int,
        family: list[Suspects] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is the monotonic clock. Joins the family."""
        self._pieces = pieces
        self._now = now
        self._family = [] if family is None else family
        self._family.append(self)
        # uid to how many it may be asked for together with.
        self._most: dict[int, int] = {}
        self._failed: dict[int, _Failed] = {}

    def forget(self) -> None:
        """Forget everything: the uids mean other messages now."""
        self._most.clear()
        self._failed.clear()

    def blame(self, uids: Sequence[int]) -> None:
        """Say that a command for exactly these messages failed."""
        if len(uids) > 1:
            most = max(1, len(uids) // self._pieces)
            self._most.update({uid: min(most, self._most.get(uid, most)) for uid in uids})
            return
        for uid in uids:
            before = self._failed.get(uid)
            times = 0 if before is None else before.times
            rest = min(_LONGEST_REST, _REST * 2 ** min(times - 1, 10)) if times else 0.0
            self._failed[uid] = _Failed(times + 1, self._now() + rest)

    def acquit(self, uids: Iterable[int]) -> None:
        """Say that a command for these messages went well."""
        for uid in uids:
            self._most.pop(uid, None)
            self._failed.pop(uid, None)

    def limit(self, uid: int) -> int | None:
        """Return with how many at most a message may be asked for; None: any number."""
        return 1 if uid in self._failed else self._most.get(uid)

    def askable(self, uids: Iterable[int]) -> tuple[list[int], list[int]]:
        """Return, ascending, what may be asked for now, and what only alone and last of all."""
        rest = {uid for one in self._family for uid in one.resting()}
        askable = sorted(set(uids) - rest)
        first = [uid for uid in askable if uid not in self._failed]
        return first, [uid for uid in askable if uid in self._failed]

    def resting(self) -> list[int]:
        """Return what is not to be asked for now."""
        now = self._now()
        return [uid for uid, failed in self._failed.items() if failed.rests_until > now]

    def groups(self, uids: Iterable[int]) -> Iterator[list[int]]:
        """Yield what may be asked for now, in the groups in which it may be."""
        first, last = self.askable(uids)
        group: list[int] = []
        most: int | None = None
        for uid in first:
            limit = self._most.get(uid)
            if group and (limit != most or (most is not None and len(group) >= most)):
                yield group
                group = []
            most = limit
            group.append(uid)
        if group:
            yield group
        for uid in last:
            yield [uid]
