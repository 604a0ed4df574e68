"""Deletion at the term, and an audit trail whose lines are bound to each other."""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import Connection, insert, text

from dispatcher.core import audit
from dispatcher.core.ledger import Act
from dispatcher.edges.ledger import rows
from dispatcher.edges.ledger.birth import read_secret
from dispatcher.edges.ledger.gathering import new_id
from dispatcher.edges.ledger.schema import AUDIT

revision = "0004"
down_revision = "0003"

_STATEMENTS: Final = (
    *(
        f"ALTER TABLE entry ADD COLUMN {name} TEXT"
        for name in (
            "message_id", "kept_until", "purge_begun_at", "removal", "removed_at", "emptied_at",
            "key_digest", "warned_at",
        )
    ),
    "ALTER TABLE entry ADD COLUMN warned INTEGER",
    *(
        f"ALTER TABLE delivery ADD COLUMN {name} TEXT"
        for name in ("made_at", "removal", "removed_at")
    ),
    """UPDATE delivery SET made_at = (
        SELECT max(at) FROM event WHERE delivery_id = delivery.id AND became = 'delivered'
    ) WHERE state = 'delivered'""",
    "CREATE INDEX entry_term ON entry (mailbox, purge_at) WHERE emptied_at IS NULL",
    "CREATE INDEX entry_key ON entry (key_digest) WHERE key_digest IS NOT NULL",
    "CREATE INDEX entry_changed ON delivery (entry_id) WHERE removal = 'changed'",
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        at TEXT NOT NULL,
        verb TEXT NOT NULL,
        what TEXT NOT NULL,
        entry_id TEXT REFERENCES entry (id),
        place TEXT NOT NULL,
        rule TEXT NOT NULL,
        answer TEXT NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL,
        digest TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX audit_entry ON audit (entry_id)",
    """CREATE TABLE trail (
        name TEXT PRIMARY KEY NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL
    ) STRICT""",
    "INSERT INTO trail VALUES ('start', 0, ''), ('end', 0, '')",
    "CREATE TABLE memo (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT",
)  # fmt: skip


def upgrade() -> None:
    """Add what is new; take the decisions of people into the trail."""
    for statement in _STATEMENTS:
        op.execute(statement)
    _take_over(op.get_bind())
    op.execute("DROP TABLE act")


def _take_over(connection: Connection) -> None:
    secret, last = read_secret(connection), audit.START
    lines = connection.execute(text("SELECT * FROM act ORDER BY seq")).mappings().all()
    for line in lines:
        at = rows.read_time(line["at"])
        act = Act(line["verb"], line["entry_id"], line["by"], line["reason"], at)
        trace = audit.linked(secret, last, new_id(), audit.deed_of(act))
        connection.execute(insert(AUDIT), rows.trace_line(trace))
        last = audit.Mark(trace.seq, trace.digest)
    connection.execute(
        text("UPDATE trail SET seq = :seq, digest = :digest WHERE name = 'end'"),
        {"seq": last.seq, "digest": last.digest},
    )


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
