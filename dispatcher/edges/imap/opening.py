"""Opens the account's mailbox and reads what the server says of it."""

from __future__ import annotations

from dispatcher.edges.imap.account import Account
from dispatcher.edges.imap.client import Client, Reply, mailbox_name
from dispatcher.edges.imap.parse import Opened, found, opened
from dispatcher.edges.imap.trouble import TEMPORARY, coded
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Selected


def open_mailbox(
    client: Client, account: Account, *, read_only: bool
) -> tuple[Selected, Opened]:
    """SELECT or EXAMINE the account's mailbox (RFC 3501, 6.3.1 and 6.3.2).

    Raises Refused when it does not exist or has no UIDVALIDITY, Unavailable otherwise.
    """
    folder = mailbox_name(account.folder)
    reply = client.run("EXAMINE" if read_only else "SELECT", folder)
    if not reply.ok:
        raise _not_opened(client, folder, reply)
    said = opened(reply.untagged, reply.text)
    if not said.uidvalidity:
        raise Refused(
            "the server gives the mailbox no UIDVALIDITY",
            hint="its uids mean nothing from one day to the next; ask the operator",
        )
    client.exists, client.news = said.exists, False
    client.wire.state = "SELECTED"
    changes = not (read_only or said.read_only)
    selected = Selected(
        uidvalidity=said.uidvalidity,
        uidnext=said.uidnext or _uid_after_last(client),
        exists=said.exists,
        read_only=not changes,
        keeps_keyword=changes and said.keeps(account.keyword),
    )
    return selected, said


def _uid_after_last(client: Client) -> int:
    if not client.exists:
        # `*` names nothing there, for which some servers answer BAD (RFC 3501, 9, seq-number).
        return 1
    reply = client.run("SEARCH", b"UID *", uid=True)
    return max(found(reply.untagged) or (), default=0) + 1


def _not_opened(client: Client, folder: bytes, reply: Reply) -> Refused | Unavailable:
    if reply.code in TEMPORARY:
        return Unavailable(coded("the mailbox cannot be opened now", reply.code))
    if reply.code not in {"NONEXISTENT", "NOPERM", "CANNOT"}:
        listed = client.run("LIST", b'""', folder)
        if listed.untagged.get("LIST"):
            return Unavailable(coded("the server would not open the mailbox", reply.code))
    return Refused(
        coded("the mailbox does not exist, or this account may not open it", reply.code),
        hint="correct `folder`, or ask the operator for access to it",
    )
