"""The tables of the ledger as the program queries them; migrations make them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text

# Every schema this program knows, oldest first. Kept here so that opening an up-to-date
# ledger needs no Alembic; a test compares it with the migrations.
REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")

METADATA: Final = MetaData()

_ENTRY_TEXT: Final = (
    "id",
    "mailbox",
    "internal_at",
    "received_at",
    "state",
    "reason",
    "detail",
    "site",
    "file_number",
    "result",
    "analysis",
    "sampled_at",
    "purge_at",
    "sha256",
    "raw_sha256",
    "replaces",
    "duplicate_of",
    "rules",
    "message_id",
    "kept_until",
    "purge_begun_at",
    "removal",
    "removed_at",
    "emptied_at",
    "key_digest",
    "warned_at",
    "seal",
)
_ENTRY_NUMBER: Final = ("uidvalidity", "uid", "size", "present", "keyword_set", "warned")

ENTRY: Final = Table(
    "entry",
    METADATA,
    Column("seq", Integer, primary_key=True),
    *(Column(name, Text) for name in _ENTRY_TEXT),
    *(Column(name, Integer) for name in _ENTRY_NUMBER),
)

_DELIVERY_TEXT: Final = (
    "id",
    "entry_id",
    "site",
    "target",
    "kind",
    "state",
    "reason",
    "reference",
    "next_try_at",
    "because",
    "made_at",
    "removal",
    "removed_at",
    "rules",
)
DELIVERY: Final = Table(
    "delivery",
    METADATA,
    *(Column(name, Text, primary_key=name == "id") for name in _DELIVERY_TEXT),
    Column("position", Integer),
    Column("attempts", Integer),
    Column("copy", Integer),
    Column("asked", Integer),
)

EVENT: Final = Table(
    "event",
    METADATA,
    Column("seq", Integer, primary_key=True),
    *(Column(n, Text) for n in ("at", "entry_id", "delivery_id", "was", "became", "because")),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("seq", Integer, primary_key=True),
    *(
        Column(name, Text)
        for name in (
            "id", "at", "verb", "what", "entry_id", "place", "rule", "answer", "by", "reason",
            "digest",
        )
    ),
)  # fmt: skip

TRAIL: Final = Table(
    "trail",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("seq", Integer),
    Column("digest", Text),
)

FOREIGN: Final = Table(
    "foreign_mail",
    METADATA,
    Column("mailbox", Text, primary_key=True),
    Column("uidvalidity", Integer, primary_key=True),
    Column("uid", Integer, primary_key=True),
    Column("size", Integer),
    Column("internal_at", Text),
)

OPENING: Final = Table(
    "opening",
    METADATA,
    Column("mailbox", Text, primary_key=True),
    Column("uidvalidity", Integer, primary_key=True),
    Column("uid", Integer, primary_key=True),
    Column("count", Integer),
)

PLACE: Final = Table(
    "place",
    METADATA,
    Column("mailbox", Text, primary_key=True),
    Column("uidvalidity", Integer),
    Column("uidnext", Integer),
    Column("checked_at", Text),
    Column("since", Text),
)

REFUSAL: Final = Table(
    "refusal",
    METADATA,
    Column("mailbox", Text, primary_key=True),
    Column("count", Integer),
    Column("last_at", Text),
)

ERRAND: Final = Table(
    "errand", METADATA, Column("name", Text, primary_key=True), Column("at", Text)
)

MEMO: Final = Table(
    "memo", METADATA, Column("name", Text, primary_key=True), Column("value", Text)
)

RULES_VERSION: Final = Table(
    "rules_version",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("content", LargeBinary),
)

RULES_CHANGE: Final = Table(
    "rules_change",
    METADATA,
    Column("seq", Integer, primary_key=True),
    *(Column(name, Text) for name in ("at", "digest", "origin", "by", "reason")),
)

RULES_REFUSAL: Final = Table(
    "rules_refusal",
    METADATA,
    Column("one", Integer, primary_key=True),
    *(Column(name, Text) for name in ("since_at", "digest", "problems")),
)

COUNTER: Final = Table(
    "counter", METADATA, Column("name", Text, primary_key=True), Column("value", Integer)
)

MOUNT: Final = Table(
    "mount", METADATA, Column("path", Text, primary_key=True), Column("mount_point", Text)
)

META: Final = Table(
    "meta", METADATA, Column("name", Text, primary_key=True), Column("value", LargeBinary)
)
