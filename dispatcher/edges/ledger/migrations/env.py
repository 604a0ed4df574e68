"""Runs migrations on the connection that opens the ledger, inside its transaction."""

from __future__ import annotations

from alembic import context

# The opener holds BEGIN IMMEDIATE and commits: a schema is whole or as it was.
context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
