"""Makes a ledger that holds many settled messages, as if they had been delivered long ago."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_ID = {"entry": "id", "delivery": "entry_id"}


def multiply(ledger: Path, count: int) -> None:
    """Copy the one message in a ledger until there are `count`, with uids from 1 on.

    The copies have no valid seals: nothing that is measured looks at them.
    """
    with closing(sqlite3.connect(ledger)) as connection:
        for table, key in _ID.items():
            triggers = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
                (table,),
            )
            for (name,) in triggers.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            _copy(connection, table, key, count)
        connection.execute("UPDATE counter SET value = ? WHERE name = 'received'", (count,))
        connection.execute("UPDATE place SET uidnext = ?", (count + 1,))
        connection.commit()


def _copy(connection: sqlite3.Connection, table: str, key: str, count: int) -> None:
    names = [line[1] for line in connection.execute(f"PRAGMA table_info({table})")]
    new = {
        "seq": "NULL",
        "id": f"'{table[0]}' || n",
        "entry_id": "'e' || n",
        "uid": "n",
        "file_number": "'F' || n",
        "sha256": "'S' || n",
        "raw_sha256": "'R' || n",
        "message_id": "'M' || n",
    }
    values = ", ".join(new.get(name, f"t.{name}") for name in names)
    connection.execute(
        f"WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"  # noqa: S608 - ours
        f" INSERT INTO {table} SELECT {values} FROM c, {table} AS t"
        f" WHERE t.{key} = (SELECT id FROM entry WHERE uid = 1)",
        (count,),
    )
