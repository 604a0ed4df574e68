"""Reads the raw bytes of a message: who sent it, its subject, its texts, its attachments.

Everything comes from the raw bytes (RFC 5322, 2045-2047, 2231): servers mangle ENVELOPE
and BODYSTRUCTURE, so nothing that a server parsed is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class MessageRef:
    """Where a message lies (RFC 3501, 2.3.1.1). A uid means nothing without the rest."""

    mailbox: str
    uidvalidity: int
    uid: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """One leaf part that is neither a text body nor an inline picture.

    `names` are the distinct decoded names the part bears (`filename*`, `filename`,
    `name`), best first. `whole` is False when its transfer encoding was damaged.
    """

    names: tuple[str, ...]
    content_type: str
    content: bytes = field(repr=False)
    whole: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What the raw bytes say, decoded and not yet judged.

    `senders` holds every address of every From field, lower-cased; `subjects` one text a
    Subject field; `bodies` one text a rendering (plain, HTML turned into text).
    `oddities` are words for people about what was strange (`explain` prints them).
    """

    senders: tuple[str, ...]
    subjects: tuple[str, ...]
    bodies: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    message_id: str | None = None
    oddities: tuple[str, ...] = ()
