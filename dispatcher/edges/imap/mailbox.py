"""The port `Mailbox` over one IMAP connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from dispatcher.core.ledger import UNDATED, Identity
from dispatcher.edges.imap import gauges, removing, watch
from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.client import Client, Reply
from dispatcher.edges.imap.fetching import Fetching, uid_sets
from dispatcher.edges.imap.opening import open_mailbox
from dispatcher.edges.imap.parse import found
from dispatcher.edges.imap.probe import probe
from dispatcher.edges.imap.session import endings, enter, reach
from dispatcher.edges.imap.trouble import coded, translated
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Clock, Ending, Fetched, Finding, Quota, Selected, Shown

# RFC 3501, 9, nz-number; UIDNEXT behind it is no uid that a command may name.
_LAST_UID: Final = 2**32 - 1


class ImapMailbox:
    """See `dispatcher.ports.Mailbox`. After any failure the connection is dropped.

    A message for which the server breaks off when it is asked for it alone is asked for after
    all the others from then on, and not each time, so that it stops nobody; only then are
    bodies not in uid order.
    """

    def __init__(self, account: Account, clock: Clock, limits: Limits | None = None) -> None:
        self.name = account.name
        self._account = account
        self._clock = clock
        self._limits = limits or Limits()
        self._client: Client | None = None
        self._selected: Selected | None = None
        self._can_remove = False
        self._fetching = Fetching(account, self._limits)
        self._bell = watch.Bell()
        self._idle_failed = False
        self._trust = watch.Trust(account.poll_interval)
        self._endings: tuple[Ending, ...] = ()

    # --- the contract

    def select(self, *, read_only: bool = False) -> Selected:
        """See `Mailbox.select`. A kept connection that died unnoticed is replaced."""
        if self._client is not None:
            with contextlib.suppress(Unavailable):
                return self._select(read_only)
        self._connect()
        return self._select(read_only)

    def uids(self, first: int = 1) -> tuple[int, ...]:
        """See `Mailbox.uids`."""
        with self._talking("listing the mailbox") as client:
            # In ranges where the server can: 50,000 uids that follow each other are one.
            compact = [b"RETURN (ALL)"] if client.offers("ESEARCH") else []
            asked = b"UID %d:*" % min(first, _LAST_UID)
            reply = client.run("SEARCH", *compact, asked, uid=True)
            _demand_ok(reply, "the server would not list the mailbox")
            uids = found(reply.untagged)
        if uids is None and first <= 1 and self._current().exists:
            raise Unavailable("the server listed nothing of a mailbox that is not empty")
        # `n:*` names the last message even when its uid is below n (RFC 3501, 6.4.8).
        return tuple(uid for uid in uids or () if uid >= first)

    def identities(self, uids: Sequence[int]) -> Mapping[int, Identity]:
        """See `Mailbox.identities`; `internal_at` is the epoch where the date is broken."""
        with self._talking("asking for sizes") as client:
            return self._fetching.identities(client, uids)

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
        """See `Mailbox.fetch`."""
        with self._talking("asking for sizes") as client:
            batches = self._fetching.batches(client, uids)
        if batches:
            self._trust.found()
        for batch, following in pairwise([*batches, []]):
            with self._talking("fetching messages") as client:
                messages = self._fetching.bodies(client, batch, following)
            yield from messages

    def too_large(self, uid: int) -> bool:
        """See `Mailbox.too_large`."""
        return self._fetching.too_large(uid)

    def headers(self, uid: int) -> bytes | None:
        """See `Mailbox.headers`."""
        with self._talking("fetching a header") as client:
            return self._fetching.header(client, uid)

    def add_keyword(self, uids: Sequence[int]) -> None:
        """See `Mailbox.add_keyword`. Only adds, and never a system flag."""
        keyword = self._account.keyword
        if keyword is None or not uids or not self._current().keeps_keyword:
            return
        flags = b"(" + keyword.encode() + b")"
        for _, sequence in uid_sets(uids):
            with self._talking("adding the keyword") as client:
                reply = client.run("STORE", sequence, b"+FLAGS.SILENT", flags, uid=True)
            # Out here: a NO leaves the connection to what is to be done next.
            _demand_ok(reply, "the server would not add the keyword")

    def shown(self, uids: Sequence[int]) -> Mapping[int, Shown]:
        """See `Mailbox.shown`; `internal_at` is the epoch where the date is broken."""
        with self._talking("asking about messages") as client:
            return self._fetching.shown(client, uids)

    def removes(self) -> bool:
        """See `Mailbox.removes`."""
        return not self._current().read_only and self._can_remove

    def remove(self, uids: Sequence[int]) -> frozenset[int]:
        """See `Mailbox.remove`. Where a later group fails, returns what went before it."""
        if not uids:
            return frozenset()
        if not self.removes():
            raise Refused(
                "the server cannot delete single messages here: no UIDPLUS, or read-only",
                hint="ask the operator for UIDPLUS and for the right to delete",
            )
        gone: set[int] = set()
        for group in removing.groups(uids):
            try:
                with self._talking("deleting messages") as client:
                    gone |= removing.remove_group(client, group)
            except Unavailable:
                if not gone:
                    raise
                break
        return frozenset(gone)

    def newest(self) -> datetime | None:
        """See `Mailbox.newest`."""
        with self._talking("asking for the newest date") as client:
            shown = self._fetching.identities(client, gauges.last(client))
        dates = {identity.internal_at for identity in shown.values()}
        return max(dates - {UNDATED}, default=None)

    def quota(self) -> Quota | None:
        """See `Mailbox.quota`."""
        with self._talking("asking for the quota") as client:
            return gauges.quota(client, self._account.folder)

    def endings(self) -> tuple[Ending, ...]:
        """See `Mailbox.endings`."""
        return self._endings

    def wait(self, seconds: float) -> None:
        """See `Mailbox.wait`.

        Where IDLE fails the connection is dropped and this returns; the next wait goes by
        the clock, so that a server which breaks off every IDLE sees a login a poll interval.
        So it goes, for a shorter time, where IDLE announced mail of which none was there.
        """
        client = self._client
        by_clock = self._idle_failed or self._account.watch == "poll" or client is None
        self._idle_failed = False
        if client is None or by_clock or self._selected is None or not client.offers("IDLE"):
            watch.sleep(self._bell, min(seconds, self._account.poll_interval))
            return
        if pause := self._trust.pause():
            watch.sleep(self._bell, min(seconds, pause))
            return
        try:
            with self._talking("waiting for mail"):
                watch.idle(client, self._bell, seconds)
            self._trust.announced(news=client.news)
        except Unavailable:
            self._idle_failed = True

    def wake(self) -> None:
        """See `Mailbox.wake`."""
        self._bell.ring()

    def check(self) -> Iterable[Finding]:
        """See `Mailbox.check`. Makes a connection of its own and opens with EXAMINE."""
        return probe(self._account, self._clock.now(), self._limits)

    def close(self) -> None:
        """See `Mailbox.close`."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Unavailable), translated("logging out"):
                client.leave()
        self._drop()
        self._bell.close()

    # --- the connection

    def _connect(self) -> None:
        self._drop()
        reached = reach(self._account, self._limits, self._clock.now(), tell=lambda _: None)
        # What has ended already may be why the login fails: known all the same.
        self._endings = endings(reached)
        try:
            self._client, logged_in = enter(reached, self._limits)
        except BaseException:
            reached.close()
            raise
        self._endings = endings(reached, logged_in)

    def _select(self, read_only: bool) -> Selected:
        with self._talking("opening the mailbox") as client:
            self._selected, said = open_mailbox(client, self._account, read_only=read_only)
            self._can_remove = removing.can_remove(client, said)
        self._fetching.begin(self._selected.uidvalidity)
        return self._selected

    def _current(self) -> Selected:
        if self._selected is None:
            raise Unavailable("no mailbox is open; select one first")
        return self._selected

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[Client]:
        """Give the connection; drop it unless all went well."""
        if self._client is None:
            raise Unavailable(f"{doing}: not connected")
        whole = False
        try:
            with translated(doing):
                yield self._client
            whole = True
        finally:
            # An answer that was not read to its end would be taken for the next one's.
            if not whole:
                self._drop()

    def _drop(self) -> None:
        client, self._client, self._selected = self._client, None, None
        if client is not None:
            client.wire.shutdown()


def _demand_ok(reply: Reply, otherwise: str) -> None:
    if not reply.ok:
        raise Unavailable(coded(otherwise, reply.code))
