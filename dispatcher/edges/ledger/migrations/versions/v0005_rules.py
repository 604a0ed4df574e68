"""The rules in force, their history, and by which of them each delivery goes."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS: Final = (
    "ALTER TABLE delivery ADD COLUMN rules TEXT NOT NULL DEFAULT ''",
    "UPDATE delivery SET rules = (SELECT rules FROM entry WHERE entry.id = entry_id)",
    "CREATE INDEX delivery_rules ON delivery (rules)",
    """CREATE TABLE rules_version (
        digest TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE rules_change (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        digest TEXT NOT NULL,
        origin TEXT NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE rules_refusal (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        since_at TEXT NOT NULL,
        digest TEXT NOT NULL,
        problems TEXT NOT NULL
    ) STRICT""",
)


def upgrade() -> None:
    """Add the tables; a delivery made so far went by the rules its message was read under."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
