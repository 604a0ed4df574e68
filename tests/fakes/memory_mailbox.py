"""A mailbox in memory, for the service's tests: as Dovecot behaves, and worse when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from dispatcher.core.ledger import Identity
from dispatcher.core.message import message_id_digest
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Ending, Fetched, Finding, Quota, Selected, Shown

Method = Literal[
    "select", "uids", "identities", "fetch", "headers", "add_keyword", "wait",
    "shown", "remove", "newest", "quota",
]  # fmt: skip
DELIVERED_AT = datetime(2021, 3, 1, 9, 0, tzinfo=UTC)


@dataclass(slots=True)
class Stored:
    """A message as the server keeps it. A ghost is listed but its body is not sent."""

    raw: bytes = field(repr=False)
    internal_at: datetime
    flags: frozenset[str]
    ghost: bool = False
    listed_size: int | None = None

    @property
    def identity(self) -> Identity:
        size = len(self.raw) if self.listed_size is None else self.listed_size
        return Identity(size, self.internal_at)


class MemoryMailbox:
    """Passes the same contract as the real edge (tests/contract/test_mailbox.py).

    The server's side is `append`, `take_away`, `set_flags`, `renumber`, `reuse_uids`,
    `ghost`, `unghost`, `fail_next`, `tear_fetch_after` and `tear_remove_after`, and the
    attributes `read_only`, `keeps_keyword`, `uidplus`, `quota_told`, `lies` (what `shown`
    answers instead of the truth) and `stubborn` (uids that no EXPUNGE removes). What the
    service did can be seen in `calls`, `fetched`, `removed`, `flags()` and `messages()`.
    """

    def __init__(
        self,
        name: str = "lbm",
        *,
        keyword: str | None = "SidepDispatched",
        max_message_size: int = 10 * 1024 * 1024,
    ) -> None:
        self.name = name
        self.keyword = keyword
        self.max_message_size = max_message_size
        self.uidvalidity = 1_600_000_000
        self.uidnext = 1
        self.read_only = False
        self.keeps_keyword = True
        self.uidplus = True
        self.quota_told: Quota | None = None
        self.endings_told: tuple[Ending, ...] = ()
        self.lies: dict[int, Shown] = {}
        self.stubborn: set[int] = set()
        self.stored: dict[int, Stored] = {}
        self.calls: list[Method] = []
        self.fetched: list[int] = []
        self.removed: list[int] = []
        self._faults: dict[Method, list[Unavailable | Refused]] = {}
        self._torn: int | None = None
        self._torn_removal: int | None = None
        self._selected: Selected | None = None
        self._lying: set[int] = set()
        self._changed = threading.Condition()
        self._woken = False
        self._news = False

    # --- the server's side

    def append(
        self,
        raw: bytes,
        *,
        internal_at: datetime = DELIVERED_AT,
        flags: Iterable[str] = (),
        listed_size: int | None = None,
    ) -> int:
        """Let a message arrive; return its uid. `listed_size` is a RFC822.SIZE that lies."""
        with self._changed:
            uid = self.uidnext
            self.uidnext += 1
            self.stored[uid] = Stored(
                raw, internal_at, frozenset(flags), listed_size=listed_size
            )
            self._news = True
            self._changed.notify_all()
            return uid

    def take_away(self, *uids: int) -> None:
        """Let another client delete messages."""
        for uid in uids:
            del self.stored[uid]

    def set_flags(self, uid: int, *flags: str) -> None:
        """Let another client give a message exactly these flags."""
        self.stored[uid] = replace(self.stored[uid], flags=frozenset(flags))

    def renumber(self, uidvalidity: int | None = None) -> int:
        """Give every message a new uid under a new UIDVALIDITY, which is returned."""
        self.uidvalidity = uidvalidity or self.uidvalidity + 1
        kept = list(self.stored.values())
        self.stored = {}
        for stored in kept:
            self.stored[self.uidnext] = stored
            self.uidnext += 1
        return self.uidvalidity

    def reuse_uids(self) -> None:
        """Count uids from 1 again under the same UIDVALIDITY, as no server should."""
        self.stored.clear()
        self.uidnext = 1

    def ghost(self, uid: int) -> None:
        """List the message, and do not send its body."""
        self.stored[uid].ghost = True

    def unghost(self, uid: int) -> None:
        """Send the body from now on."""
        self.stored[uid].ghost = False

    def fail_next(self, method: Method, error: Unavailable | Refused, times: int = 1) -> None:
        """Answer the next calls of a method with an error; the connection is then gone."""
        self._faults.setdefault(method, []).extend([error] * times)

    def tear_fetch_after(self, messages: int) -> None:
        """Break the connection in the next fetch, after so many messages were yielded."""
        self._torn = messages

    def tear_remove_after(self, messages: int) -> None:
        """Break the connection in the next removal, after so many messages were expunged."""
        self._torn_removal = messages

    def flags(self) -> dict[int, frozenset[str]]:
        """Return every message's flags by uid."""
        return {uid: stored.flags for uid, stored in self.stored.items()}

    def messages(self) -> dict[int, bytes]:
        """Return every message's bytes by uid."""
        return {uid: stored.raw for uid, stored in self.stored.items()}

    # --- the contract

    def select(self, *, read_only: bool = False) -> Selected:
        self._meet("select", connected=False)
        with self._changed:
            self._news = False
        writable = not (self.read_only or read_only)
        self._selected = Selected(
            uidvalidity=self.uidvalidity,
            uidnext=self.uidnext,
            exists=len(self.stored),
            read_only=not writable,
            keeps_keyword=writable and self.keeps_keyword and self.keyword is not None,
        )
        return self._selected

    def uids(self, first: int = 1) -> tuple[int, ...]:
        self._meet("uids")
        return tuple(sorted(uid for uid in self.stored if uid >= first))

    def identities(self, uids: Sequence[int]) -> Mapping[int, Identity]:
        self._meet("identities")
        return {
            uid: self.stored[uid].identity for uid in sorted(set(uids)) if uid in self.stored
        }

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
        self._meet("fetch")
        yielded = 0
        for uid in sorted(set(uids)):
            if self._torn == yielded:
                self._torn = self._selected = None
                raise Unavailable("the connection broke off")
            stored = self.stored.get(uid)
            if stored is None or self.too_large(uid):
                continue
            if len(stored.raw) > self.max_message_size:
                # The server announces more than it listed; the real edge then drops it all.
                self._lying.add(uid)
                self._selected = None
                raise Unavailable("more than the limit was announced")
            if stored.ghost or not stored.raw:
                continue
            self.fetched.append(uid)
            yielded += 1
            yield Fetched(uid, stored.raw, stored.flags)

    def too_large(self, uid: int) -> bool:
        stored = self.stored.get(uid)
        if stored is None:
            return uid in self._lying
        return uid in self._lying or stored.identity.size > self.max_message_size

    def headers(self, uid: int) -> bytes | None:
        self._meet("headers")
        stored = self.stored.get(uid)
        if stored is None or stored.ghost or not stored.raw:
            return None
        head, blank, _ = stored.raw.partition(b"\r\n\r\n")
        return (head + blank)[: 1024 * 1024]

    def add_keyword(self, uids: Sequence[int]) -> None:
        selected = self._current()
        if self.keyword is None or not uids or not selected.keeps_keyword:
            return
        self._meet("add_keyword")
        for uid in set(uids) & self.stored.keys():
            stored = self.stored[uid]
            self.stored[uid] = replace(stored, flags=stored.flags | {self.keyword})

    def shown(self, uids: Sequence[int]) -> Mapping[int, Shown]:
        self._meet("shown")
        return {
            uid: self.lies.get(uid) or _shown(self.stored[uid])
            for uid in sorted(set(uids))
            if uid in self.stored
        }

    def removes(self) -> bool:
        return self.uidplus and not self._current().read_only

    def remove(self, uids: Sequence[int]) -> frozenset[int]:
        if not uids:
            return frozenset()
        if not self.removes():
            raise Refused("the server cannot expunge by uid, or the mailbox is read-only")
        self._meet("remove")
        wanted = sorted(set(uids))
        torn, self._torn_removal = self._torn_removal, None
        for count, uid in enumerate(wanted):
            if count == torn:
                self._selected = None
                raise Unavailable("the connection broke off")
            if uid in self.stored and uid not in self.stubborn:
                del self.stored[uid]
                self.removed.append(uid)
        return frozenset(uid for uid in wanted if uid not in self.stored)

    def newest(self) -> datetime | None:
        self._meet("newest")
        last = sorted(self.stored)[-8:]
        return max((self.stored[uid].internal_at for uid in last), default=None)

    def quota(self) -> Quota | None:
        self._meet("quota")
        return self.quota_told

    def endings(self) -> tuple[Ending, ...]:
        return self.endings_told

    def wait(self, seconds: float) -> None:
        """Return for mail, for `wake`, or after `seconds` of real time.

        A planned fault is a connection lost while waiting: it returns, as the real edge.
        """
        self.calls.append("wait")
        if self._faults.get("wait"):
            self._faults["wait"].pop(0)
            self._selected = None
            return
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._news, timeout=seconds)
            self._woken = self._news = False

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def check(self) -> Iterable[Finding]:
        return [Finding("ok", f"mailbox {self.name}: in memory")]

    def close(self) -> None:
        self._selected = None

    def _current(self) -> Selected:
        if self._selected is None:
            raise Unavailable("no mailbox is open; select one first")
        return self._selected

    def _meet(self, method: Method, *, connected: bool = True) -> None:
        """Note the call; raise what was planned, or that nothing is selected."""
        if connected:
            self._current()
        self.calls.append(method)
        if self._faults.get(method):
            self._selected = None
            raise self._faults[method].pop(0)


def _shown(stored: Stored) -> Shown:
    identity = stored.identity
    return Shown(identity.size, identity.internal_at, message_id_digest(stored.raw))
