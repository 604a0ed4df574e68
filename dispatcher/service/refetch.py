"""Fetches documents again for a retry: the mailbox is the store, the program keeps no copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.core import certificate as certificates
from dispatcher.core.certificate import Document, Foreign
from dispatcher.core.ledger import Entry
from dispatcher.ports import Mailbox


def document_in(raw: bytes, entry: Entry, senders: frozenset[str]) -> Document | None:
    """Return the document of `entry` from its message's bytes; None: another message."""
    reading = certificates.read(raw, senders)
    document = None if isinstance(reading, Foreign) else reading.document
    if document is None or document.sha256 != entry.sha256:
        return None
    return document


def documents(
    mailbox: Mailbox, entries: Sequence[Entry], senders: frozenset[str]
) -> Iterator[tuple[Entry, Document | None]]:
    """Yield each message that the server still sends, with its document.

    None instead of a document: another message lies under that uid now.
    """
    by_uid = {entry.ref.uid: entry for entry in entries}
    for fetched in mailbox.fetch(sorted(by_uid)):
        entry = by_uid[fetched.uid]
        yield entry, document_in(fetched.raw, entry, senders)
