"""The first schema: messages, deliveries, their history, and what people decided."""

from __future__ import annotations

import secrets
from typing import Final

from alembic import op
from sqlalchemy import text

from dispatcher.core.ledger import SETTLED, DeliveryState, State
from dispatcher.core.routing import Kind
from dispatcher.edges.ledger.guards import words

revision = "0001"
down_revision = None

_PLACE: Final = "mailbox TEXT NOT NULL, uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL"

# Times are texts in UTC with microseconds, so that they sort and a person can read them.
# `seal` is a keyed digest over the line and its deliveries (rows.seal).
_TABLES: Final = (
    f"""CREATE TABLE entry (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        {_PLACE},
        size INTEGER NOT NULL,
        internal_at TEXT NOT NULL,
        received_at TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ({words(State)})),
        reason TEXT,
        detail TEXT NOT NULL,
        site TEXT,
        file_number TEXT,
        result TEXT,
        analysis TEXT,
        sampled_at TEXT,
        purge_at TEXT,
        sha256 TEXT,
        raw_sha256 TEXT,
        replaces TEXT REFERENCES entry (id),
        duplicate_of TEXT REFERENCES entry (id),
        present INTEGER NOT NULL CHECK (present IN (0, 1)),
        keyword_set INTEGER NOT NULL CHECK (keyword_set IN (0, 1)),
        rules TEXT NOT NULL,
        seal TEXT NOT NULL,
        CHECK ((state = '{State.HELD.value}') = (reason IS NOT NULL)),
        CHECK (state <> '{State.DUPLICATE.value}' OR duplicate_of IS NOT NULL)
    ) STRICT""",
    f"""CREATE TABLE delivery (
        id TEXT PRIMARY KEY NOT NULL,
        entry_id TEXT NOT NULL REFERENCES entry (id),
        position INTEGER NOT NULL,
        site TEXT NOT NULL,
        target TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ({words(Kind)})),
        state TEXT NOT NULL CHECK (state IN ({words(DeliveryState)})),
        reason TEXT,
        reference TEXT,
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        next_try_at TEXT,
        because TEXT NOT NULL,
        CHECK ((state = '{DeliveryState.HELD.value}') = (reason IS NOT NULL))
    ) STRICT""",
    """CREATE TABLE event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        entry_id TEXT NOT NULL REFERENCES entry (id),
        delivery_id TEXT REFERENCES delivery (id),
        was TEXT,
        became TEXT NOT NULL,
        because TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE act (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        verb TEXT NOT NULL,
        entry_id TEXT NOT NULL REFERENCES entry (id),
        by TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    f"""CREATE TABLE foreign_mail (
        {_PLACE},
        size INTEGER NOT NULL,
        internal_at TEXT NOT NULL,
        PRIMARY KEY (mailbox, uidvalidity, uid)
    ) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE opening (
        {_PLACE},
        count INTEGER NOT NULL,
        PRIMARY KEY (mailbox, uidvalidity, uid)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE place (
        mailbox TEXT PRIMARY KEY NOT NULL,
        uidvalidity INTEGER NOT NULL,
        uidnext INTEGER NOT NULL,
        checked_at TEXT NOT NULL,
        since TEXT
    ) STRICT""",
    """CREATE TABLE refusal (
        mailbox TEXT PRIMARY KEY NOT NULL,
        count INTEGER NOT NULL CHECK (count > 0),
        last_at TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE counter (
        name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL CHECK (value >= 0)
    ) STRICT""",
    """CREATE TABLE mount (
        path TEXT PRIMARY KEY NOT NULL, mount_point TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT""",
)

_LACKING: Final = f"present = 1 AND keyword_set = 0 AND state IN ({words(SETTLED)})"

_KEPT: Final = f"state <> '{DeliveryState.DISCARDED.value}'"

_INDEXES: Final = (
    "CREATE UNIQUE INDEX entry_place ON entry (mailbox, uidvalidity, uid) WHERE present = 1",
    "CREATE INDEX entry_content ON entry (site, file_number, sha256)",
    "CREATE INDEX entry_raw ON entry (raw_sha256)",
    "CREATE INDEX entry_received ON entry (received_at)",
    "CREATE INDEX entry_state ON entry (state, received_at)",
    "CREATE INDEX entry_copies ON entry (state) WHERE duplicate_of IS NOT NULL",
    f"CREATE INDEX entry_lacking ON entry (mailbox, uidvalidity, uid) WHERE {_LACKING}",
    "CREATE UNIQUE INDEX delivery_entry ON delivery (entry_id, position)",
    "CREATE INDEX delivery_due ON delivery (state, next_try_at)",
    f"CREATE UNIQUE INDEX delivery_once ON delivery (entry_id, site, target) WHERE {_KEPT}",
    "CREATE INDEX event_entry ON event (entry_id)",
    "CREATE INDEX act_entry ON act (entry_id)",
)


def upgrade() -> None:
    """Make everything; the secret is this ledger's own and never leaves it."""
    for statement in (*_TABLES, *_INDEXES):
        op.execute(statement)
    connection = op.get_bind()
    for name in ("received", "foreign", "foreign_gone"):
        connection.execute(text("INSERT INTO counter VALUES (:name, 0)"), {"name": name})
    connection.execute(
        text("INSERT INTO meta VALUES ('secret', :secret)"), {"secret": secrets.token_bytes(32)}
    )


def downgrade() -> None:
    """Refuse: what a newer program recorded is never thrown away."""
    raise NotImplementedError("a ledger is never downgraded")
