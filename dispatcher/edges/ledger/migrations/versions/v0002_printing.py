"""Printing: extra copies, and what a person asked for."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS: Final = (
    "ALTER TABLE delivery ADD COLUMN copy INTEGER NOT NULL DEFAULT 0 CHECK (copy >= 0)",
    "ALTER TABLE delivery ADD COLUMN asked INTEGER NOT NULL DEFAULT 0 CHECK (asked IN (0, 1))",
    "DROP INDEX delivery_once",
    """CREATE UNIQUE INDEX delivery_once
        ON delivery (entry_id, site, target, copy) WHERE state <> 'discarded'""",
)


def upgrade() -> None:
    """Add the columns, and the date of birth of a ledger that did not know it."""
    for statement in _STATEMENTS:
        op.execute(statement)
    op.execute(
        "INSERT INTO meta VALUES ('born_at', "
        "CAST(strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now') AS BLOB))"
    )


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
