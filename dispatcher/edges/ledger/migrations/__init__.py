"""The schema's history; Alembic runs it when a ledger is opened."""
