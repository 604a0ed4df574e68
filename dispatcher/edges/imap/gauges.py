"""Reads what a server says of a mailbox as a whole: what lies last in it, how full it is."""

from __future__ import annotations

from typing import Final

from dispatcher.edges.imap.client import Client, mailbox_name
from dispatcher.edges.imap.fetching import demand_answer
from dispatcher.edges.imap.parse import items, storage
from dispatcher.edges.imap.trouble import TEMPORARY, coded
from dispatcher.errors import Unavailable
from dispatcher.ports import Quota

# The newest mail is the last one, unless somebody moved old mail in.
_LAST: Final = 8
# The unit of STORAGE (RFC 9208, 5.1).
_UNIT: Final = 1024


def last(client: Client) -> list[int]:
    """Return the uids of the last messages of the open mailbox."""
    if not client.exists:
        return []
    # By number, which is in the order of the uids, so that gaps between those cost nothing.
    first = max(1, client.exists - _LAST + 1)
    reply = client.run("FETCH", b"%d:*" % first, b"(UID)")
    demand_answer(reply)
    return [item.uid for item in items(reply.untagged) if item.uid is not None]


def quota(client: Client, folder: str) -> Quota | None:
    """Return the fullest STORAGE quota of a mailbox (RFC 9208, 4.3); None: none is told."""
    if not client.offers("QUOTA"):
        return None
    reply = client.run("GETQUOTAROOT", mailbox_name(folder))
    if not reply.ok and reply.code in TEMPORARY:
        raise Unavailable(coded("the server would not tell the quota", reply.code))
    filled = storage(reply.untagged) if reply.ok else None
    if filled is None or not filled[1]:
        return None
    return Quota(filled[0] * _UNIT, filled[1] * _UNIT)
