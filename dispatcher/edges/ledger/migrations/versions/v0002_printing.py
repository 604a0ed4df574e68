"""Printing: extra copies, what a person asked for, and the transitions that go with them."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from alembic import op
from sqlalchemy import Connection, select, text

from dispatcher.edges.ledger import rows
from dispatcher.edges.ledger.birth import read_secret
from dispatcher.edges.ledger.guards import guards
from dispatcher.edges.ledger.schema import DELIVERY, ENTRY

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
    """Add the columns, make the database's own checks anew, and seal every line again."""
    for statement in _STATEMENTS:
        op.execute(statement)
    for name, statement in guards().items():
        op.execute(f"DROP TRIGGER {name}")
        op.execute(statement)
    op.execute(
        "INSERT INTO meta VALUES ('born_at', "
        "CAST(strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now') AS BLOB))"
    )
    _seal_again(op.get_bind())


def _seal_again(connection: Connection) -> None:
    secret = read_secret(connection)
    lines = connection.execute(select(ENTRY)).mappings().all()
    query = select(DELIVERY).order_by(DELIVERY.c.entry_id, DELIVERY.c.position)
    found = connection.execute(query).mappings().all()
    by_entry = {
        key: list(some) for key, some in groupby(found, key=lambda line: str(line["entry_id"]))
    }
    for line in lines:
        seal = rows.seal(secret, line, by_entry.get(line["id"], []))
        connection.execute(
            text("UPDATE entry SET seal = :seal WHERE id = :id"),
            {"seal": seal, "id": line["id"]},
        )


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
