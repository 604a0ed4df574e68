"""The durable record of every message, on SQLite; the only place that knows the database."""

from __future__ import annotations

from dispatcher.edges.ledger.aside import set_aside
from dispatcher.edges.ledger.database import path_of
from dispatcher.edges.ledger.lock import DaemonLock
from dispatcher.edges.ledger.mark import Suspicion
from dispatcher.edges.ledger.mounts import Mounts
from dispatcher.edges.ledger.sql_ledger import SqlLedger

__all__ = ["DaemonLock", "Mounts", "SqlLedger", "Suspicion", "path_of", "set_aside"]
