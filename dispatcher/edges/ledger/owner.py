"""Whom the ledger's files belong to when root makes them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Give a new file to the user and group of its directory, where root has made it.

    So no command that is run as root, before the service's first start or while it rebuilds,
    keeps the service from its own ledger. SQLite treats the files beside it in the same way
    (`robustFchown` in os_unix.c). Where root may not, as on some shares, nothing changes.
    """
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = directory.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
