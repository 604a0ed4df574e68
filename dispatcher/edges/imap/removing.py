"""Deletes exactly the uids it is given (RFC 4315), and says which are surely gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from dispatcher.edges.imap.client import Client, Reply
from dispatcher.edges.imap.fetching import demand_answer, merged_items, uid_sets
from dispatcher.edges.imap.parse import Opened, found
from dispatcher.edges.imap.trouble import coded
from dispatcher.errors import Unavailable

_DELETED: Final = r"\deleted"
_MARK: Final = rb"(\Deleted)"
# A server may take long over each message that it expunges: no command has too many.
_TOGETHER: Final = 100


def can_remove(client: Client, opened: Opened) -> bool:
    r"""Return whether this mailbox, open to write, lets exactly our uids be expunged.

    Without UIDPLUS only EXPUNGE is left, which takes the messages that others marked too. A
    server that tells which flags it keeps must be seen to keep \Deleted (RFC 3501, 7.1).
    """
    kept = opened.permanent_flags
    return client.offers("UIDPLUS") and (not kept or _DELETED.encode() in kept)


def groups(uids: Iterable[int]) -> Iterator[list[int]]:
    """Yield the uids, each once and ascending, in groups for `remove_group`."""
    left = iter(sorted(set(uids)))
    while group := list(islice(left, _TOGETHER)):
        yield group


def remove_group(client: Client, uids: Sequence[int]) -> frozenset[int]:
    r"""Mark and expunge these uids and no other; return those that are surely gone.

    Marks that we set on messages which stay are taken back, so that no other client's
    EXPUNGE removes them later. Raises Unavailable when the server refuses; of what the
    network and the library raise the connection is to be dropped.
    """
    ((_, sequence),) = uid_sets(uids)
    before = _flags(client, sequence, uids)
    ours = {uid for uid, flags in before.items() if _DELETED not in flags}
    refused = _refusal(client, sequence)
    gone = _gone(client, sequence, uids)
    _take_back(client, ours - gone)
    if refused is not None and not gone:
        raise Unavailable(coded("the server would not delete", refused.code))
    return gone


def _refusal(client: Client, sequence: bytes) -> Reply | None:
    """Mark and expunge; return the answer that was a NO, if one was."""
    for command, arguments in (
        ("STORE", (sequence, b"+FLAGS.SILENT", _MARK)),
        ("EXPUNGE", (sequence,)),
    ):
        reply = client.run(command, *arguments, uid=True, seconds=client.limits.fetch)
        if not reply.ok:
            return reply
    return None


def _gone(client: Client, sequence: bytes, uids: Collection[int]) -> frozenset[int]:
    """Return those uids that neither SEARCH lists nor FETCH shows any more.

    An answer that names none of them must at least be one: silence proves nothing.
    """
    reply = client.run("SEARCH", b"UID " + sequence, uid=True)
    listed = found(reply.untagged) if reply.ok else None
    if listed is None:
        return frozenset()
    there = _flags(client, sequence, uids)
    return frozenset(uid for uid in uids if uid not in there and uid not in listed)


def _flags(client: Client, sequence: bytes, uids: Collection[int]) -> dict[int, frozenset[str]]:
    """Return the flags, in lower case, of those of these uids that the server shows."""
    reply = client.run("FETCH", sequence, b"(UID FLAGS)", uid=True)
    demand_answer(reply)
    return {
        uid: frozenset(flag.lower() for flag in item.flags)
        for uid, item in merged_items(reply).items()
        if uid in uids
    }


def _take_back(client: Client, uids: Collection[int]) -> None:
    r"""Take our \Deleted marks off; where the server refuses that too, they stay."""
    for _, sequence in uid_sets(uids):
        client.run("STORE", sequence, b"-FLAGS.SILENT", _MARK, uid=True)
