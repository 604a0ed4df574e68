"""Reads one IMAP mailbox, watches it, marks what is settled, deletes what it is told to."""

from __future__ import annotations

import logging

from dispatcher.edges.imap.account import Account, Limits, Proxy
from dispatcher.edges.imap.mailbox import ImapMailbox
from dispatcher.edges.imap.probe import try_files

__all__ = ["Account", "ImapMailbox", "Limits", "Proxy", "try_files"]

# imapclient logs commands and literals, so passwords and patients, at DEBUG.
logging.getLogger("imapclient").setLevel(logging.INFO)
