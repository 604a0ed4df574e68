"""When each recurring piece of work was done last."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table."""
    op.execute("CREATE TABLE errand (name TEXT PRIMARY KEY NOT NULL, at TEXT NOT NULL) STRICT")


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
