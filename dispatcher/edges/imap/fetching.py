"""Fetches sizes, headers and bodies by uid, in commands bounded by bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.core.ledger import Identity
from dispatcher.core.message import message_id_digest
from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.client import Begun, Client, Reply
from dispatcher.edges.imap.parse import Item, content, internal_date, items, joined, merged
from dispatcher.edges.imap.suspects import Suspects
from dispatcher.edges.imap.trouble import TEMPORARY, TooMuch, coded
from dispatcher.errors import Unavailable
from dispatcher.ports import Fetched, Shown

_HEADER_LIMIT: Final = 1024 * 1024
# What a response costs beside its body: flags, sizes, brackets.
_AROUND: Final = 16 * 1024
# A command line under 8,000 octets: a part is two uids and two signs (RFC 2683, 3.2.1.5).
_MOST_PARTS: Final = 300
_MOST_UIDS: Final = 1000
# Into so many groups is divided what a command failed for: three turns find one in a thousand,
# and a network that broke off costs no command for each message.
_PIECES: Final = 32
# What makes sure of a message: RFC 3501, 6.4.5. Servers may write the field's name otherwise.
_SHOWN: Final = b"(UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
_FIELD: Final = b"BODY[HEADER.FIELDS "


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A batch that was asked for while the one before it was read.

    `early` is what came of it among the answers to that one: a server may begin a command
    before it says that the last one is over (RFC 3501, 5.5), and Dovecot does.
    """

    client: Client
    batch: Sequence[int]
    begun: Begun
    early: dict[int, Item] = field(default_factory=dict)


class Fetching:
    """Knows which messages of one mailbox are too large, and which must be asked for alone.

    A message for which the server breaks off again and again is left out for a while, as one
    that it does not send; see `Suspects`.
    """

    def __init__(self, account: Account, limits: Limits) -> None:
        self._account = account
        self._limits = limits
        self._uidvalidity = 0
        self._sizes: dict[int, int] = {}
        # uid to listed size, for messages of which more than the limit was announced.
        self._lying: dict[int, int] = {}
        self._headless: set[int] = set()
        # By what is asked for: a message whose size is known may break off at its body.
        self._suspects: list[Suspects] = []
        self._sizing = Suspects(_PIECES, self._suspects)
        self._showing = Suspects(_PIECES, self._suspects)
        self._reading = Suspects(_MOST_PARTS, self._suspects)
        self._heading = Suspects(1, self._suspects)
        self._ahead: _Ahead | None = None

    def begin(self, uidvalidity: int) -> None:
        """Forget sizes (uids may be reused) and, in another mailbox, everything."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.begun.error is not None:
            # Read when another command was to be sent: nobody has blamed it yet.
            self._note(ahead.batch, ahead.begun.error)
        self._sizes.clear()
        if uidvalidity != self._uidvalidity:
            self._uidvalidity = uidvalidity
            self._lying.clear()
            self._headless.clear()
            for some in self._suspects:
                some.forget()

    def identities(self, client: Client, uids: Sequence[int]) -> dict[int, Identity]:
        """Return size and internal date of the uids that the server shows."""
        shown: dict[int, Identity] = {}
        for chunk, sequence in _sets(self._sizing, uids):
            with _blaming(self._sizing, chunk):
                what = b"(UID RFC822.SIZE INTERNALDATE)"
                reply = client.run("FETCH", sequence, what, uid=True)
                demand_answer(reply)
            wanted = set(chunk)
            for uid, item in merged_items(reply).items():
                size = item.values.get(b"RFC822.SIZE")
                if uid in wanted and type(size) is int:
                    dated = internal_date(item.values.get(b"INTERNALDATE"))
                    shown[uid] = Identity(size, dated)
        self._sizes.update({uid: identity.size for uid, identity in shown.items()})
        return dict(sorted(shown.items()))

    def shown(self, client: Client, uids: Sequence[int]) -> dict[int, Shown]:
        """Return what the server shows of these uids, each whole or not at all."""
        shown: dict[int, Shown] = {}
        asked = [uid for uid in uids if uid not in self._headless]
        for chunk, sequence in _sets(self._showing, asked):
            with _blaming(self._showing, chunk):
                try:
                    reply = client.run(
                        "FETCH",
                        sequence,
                        _SHOWN,
                        uid=True,
                        literal=self._account.max_message_size,
                    )
                except TooMuch as error:
                    # So long a field is nobody's, and keeps no other from being shown.
                    self._headless.update(
                        uid for uid in chunk if uid == error.uid or len(chunk) == 1
                    )
                    raise
                demand_answer(reply)
            said = {uid: _shown(item) for uid, item in merged_items(reply).items()}
            shown.update({uid: one for uid in chunk if (one := said.get(uid)) is not None})
        return shown

    def too_large(self, uid: int) -> bool:
        """Return whether this message's body is not asked for because of its size."""
        size = self._sizes.get(uid)
        if size is None:
            return uid in self._lying
        return size > self._account.max_message_size or self._lying.get(uid) == size

    def batches(self, client: Client, uids: Iterable[int]) -> list[list[int]]:
        """Return the uids that can be fetched, each once, in batches bounded by bytes."""
        wanted = sorted(set(uids))
        unknown = [uid for uid in wanted if uid not in self._sizes]
        if unknown:
            self.identities(client, unknown)
        fitting = [uid for uid in wanted if uid in self._sizes and not self.too_large(uid)]
        first, last = self._reading.askable(fitting)
        return [*self._grouped(first), *([uid] for uid in last)]

    def bodies(
        self, client: Client, batch: Sequence[int], following: Sequence[int] = ()
    ) -> list[Fetched]:
        """Return the messages of one batch that the server sent whole, by uid.

        The server is asked for the `following` ones before this answer is read, so that it
        sends on while these are worked on. Not beside anything that ever failed: then each
        failure must be known by what was asked for alone.
        """
        try:
            asked = self._asked(client, batch)
            if following and not self._doubtful((*batch, *following)):
                begun = self._ask(client, following)
                self._ahead = _Ahead(client, following, begun)
            reply = client.finish(asked.begun)
            messages = self._bodies(client, batch, reply, self._sorted(asked, reply))
        except BaseException as error:
            self._note(batch, error)
            raise
        self._reading.acquit(batch)
        return messages

    def _sorted(self, asked: _Ahead, reply: Reply) -> dict[int, Item]:
        """Return what was said of this batch; set aside what is the next one's."""
        said = merged_items(reply)
        if self._ahead is not None:
            own = set(asked.batch)
            others = set(self._ahead.batch) - own
            self._ahead.early.update({uid: said.pop(uid) for uid in others & said.keys()})
        for uid, item in asked.early.items():
            whole = joined(said.get(uid), item)
            if whole is None:  # they contradict each other: neither is believed
                said.pop(uid, None)
            else:
                said[uid] = whole
        return said

    def _doubtful(self, uids: Iterable[int]) -> bool:
        return any(self._reading.limit(uid) is not None for uid in uids)

    def _asked(self, client: Client, batch: Sequence[int]) -> _Ahead:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.client is client and ahead.batch == batch:
            return ahead
        return _Ahead(client, batch, self._ask(client, batch))

    def header(self, client: Client, uid: int) -> bytes | None:
        """Return the header of a message, at most 1 MiB; None when it is not sent."""
        if uid in self._headless or not any(self._heading.askable([uid])):
            return None
        with _blaming(self._heading, [uid]):
            try:
                reply = client.run(
                    "FETCH",
                    b"%d" % uid,
                    b"(UID BODY.PEEK[HEADER]<0.%d>)" % _HEADER_LIMIT,
                    uid=True,
                    seconds=self._limits.fetching(_HEADER_LIMIT),
                    literal=_HEADER_LIMIT,
                )
            except TooMuch:
                self._headless.add(uid)
                raise
            if not reply.ok and reply.code in TEMPORARY:
                raise Unavailable(coded("the server would not send a header", reply.code))
        item = merged_items(reply).get(uid)
        return content(item, b"BODY[HEADER]") if item is not None else None

    # --- inside

    def _grouped(self, uids: Iterable[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        size = 0
        for uid in uids:
            alone = self._reading.limit(uid) is not None
            full = size + self._sizes[uid] > self._account.fetch_batch
            if batch and (alone or full or len(batch) >= _MOST_PARTS):
                yield batch
                batch, size = [], 0
            batch.append(uid)
            size += self._account.fetch_batch if alone else self._sizes[uid]
        if batch:
            yield batch

    def _bodies(
        self, client: Client, batch: Sequence[int], reply: Reply, said: Mapping[int, Item]
    ) -> list[Fetched]:
        if not reply.ok and reply.code in TEMPORARY:
            raise Unavailable(coded("the server would not send messages", reply.code))
        if not reply.ok and not said and len(batch) > 1:
            # One of them may be why it refuses them all (RFC 2180, 4.1.2).
            return [message for uid in batch for message in self._alone(client, uid)]
        sent = {uid: (content(item, b"BODY[]"), item.flags) for uid, item in said.items()}
        return [
            Fetched(uid, raw, flags)
            for uid, (raw, flags) in sorted(sent.items())
            if raw is not None and uid in set(batch)
        ]

    def _alone(self, client: Client, uid: int) -> list[Fetched]:
        reply = client.finish(self._ask(client, [uid]))
        return self._bodies(client, [uid], reply, merged_items(reply))

    def _ask(self, client: Client, batch: Sequence[int]) -> Begun:
        listed = sum(self._sizes[uid] for uid in batch)
        most = max(2 * listed, listed + self._account.max_message_size)
        ((_, sequence),) = uid_sets(batch)
        return client.begin(
            "FETCH",
            sequence,
            b"(UID FLAGS BODY.PEEK[])",
            seconds=self._limits.fetching(listed),
            literal=self._account.max_message_size,
            total=most + _AROUND * (len(batch) + 4),
        )

    def _note(self, batch: Sequence[int], error: BaseException) -> None:
        if isinstance(error, TooMuch):
            self._note_lie(batch, error)
        else:
            self._reading.blame(batch)

    def _note_lie(self, batch: Sequence[int], error: TooMuch) -> None:
        uid = batch[0] if len(batch) == 1 else error.uid
        if uid in self._sizes and uid in set(batch):
            self._lying[uid] = self._sizes[uid]
        else:
            self._reading.blame(batch)


@contextlib.contextmanager
def _blaming(suspects: Suspects, uids: Sequence[int]) -> Iterator[None]:
    """Blame these messages when their command fails, acquit them when it goes well."""
    try:
        yield
    except BaseException:
        suspects.blame(uids)
        raise
    suspects.acquit(uids)


def _sets(suspects: Suspects, uids: Iterable[int]) -> Iterator[tuple[list[int], bytes]]:
    """Yield as `uid_sets` what may be asked for now."""
    for group in suspects.groups(uids):
        yield from uid_sets(group)


def uid_sets(uids: Iterable[int]) -> Iterator[tuple[list[int], bytes]]:
    """Yield (uids, the set that names exactly these), each short enough for a command line.

    Only uids that follow each other make a range: a range names no uid that was not given.
    """
    chunk: list[int] = []
    parts: list[tuple[int, int]] = []
    for uid in sorted(set(uids)):
        if parts and parts[-1][1] == uid - 1 and len(chunk) < _MOST_UIDS:
            parts[-1] = (parts[-1][0], uid)
        elif len(parts) < _MOST_PARTS and len(chunk) < _MOST_UIDS:
            parts.append((uid, uid))
        else:
            yield chunk, _written(parts)
            chunk, parts = [], [(uid, uid)]
        chunk.append(uid)
    if chunk:
        yield chunk, _written(parts)


def _written(parts: Iterable[tuple[int, int]]) -> bytes:
    return b",".join(b"%d" % a if a == b else b"%d:%d" % (a, b) for a, b in parts)


def merged_items(reply: Reply) -> dict[int, Item]:
    """Return what the answer to a FETCH says of each uid."""
    moved = "EXPUNGE" in reply.untagged or "VANISHED" in reply.untagged
    return merged(items(reply.untagged), steady=not moved)


def _shown(item: Item) -> Shown | None:
    """Return what one message shows; None when anything of it is missing."""
    size = item.values.get(b"RFC822.SIZE")
    header = [value for key, value in item.values.items() if key.startswith(_FIELD)]
    if type(size) is not int or b"INTERNALDATE" not in item.values or len(header) != 1:
        return None
    # NIL: the message has no such field. Anything else that is no text is no answer.
    field = b"" if header[0] is None else header[0]
    if not isinstance(field, bytes):
        return None
    dated = internal_date(item.values[b"INTERNALDATE"])
    return Shown(size, dated, message_id_digest(field))


def demand_answer(reply: Reply) -> None:
    """Raise Unavailable for a NO that passes, or that came instead of any answer.

    A NO beside answers says that some of the messages are gone (RFC 2180, 4.1).
    """
    if not reply.ok and (reply.code in TEMPORARY or "FETCH" not in reply.untagged):
        raise Unavailable(coded("the server would not answer about messages", reply.code))
