"""Reads what a server says of a mailbox as a whole: its newest date, how full it is."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from dispatcher.edges.imap.client import Client, mailbox_name
from dispatcher.edges.imap.fetching import demand_answer
from dispatcher.edges.imap.parse import UNDATED, internal_date, items, storage
from dispatcher.edges.imap.trouble import TEMPORARY, coded
from dispatcher.errors import Unavailable
from dispatcher.ports import Quota

# The newest mail is the last one, unless somebody moved old mail in.
_LAST: Final = 8
# The unit of STORAGE (RFC 9208, 5.1).
_UNIT: Final = 1024


def newest(client: Client) -> datetime | None:
    """Return the newest INTERNALDATE among the last messages of the open mailbox."""
    if not client.exists:
        return None
    # By number, which is in the order of the uids, so that gaps between those cost nothing.
    first = max(1, client.exists - _LAST + 1)
    reply = client.run("FETCH", b"%d:*" % first, b"(UID INTERNALDATE)")
    demand_answer(reply)
    dates = {internal_date(item.values.get(b"INTERNALDATE")) for item in items(reply.untagged)}
    return max(dates - {UNDATED}, default=None)


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
