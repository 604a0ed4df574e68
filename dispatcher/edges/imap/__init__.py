"""Reads one IMAP mailbox, keeps watch on it and marks what is settled. Deletes nothing."""

from __future__ import annotations

import logging

from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.mailbox import ImapMailbox

__all__ = ["Account", "ImapMailbox", "Limits"]

# imapclient logs commands and literals, so passwords and patients, at DEBUG.
logging.getLogger("imapclient").setLevel(logging.INFO)
