"""Makes ledgers, one in each directory, and dies one call later in each than in the last."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

# Loaded once, not in every child.
import alembic.command  # noqa: F401 - see above

from dispatcher.edges.ledger import SqlLedger
from dispatcher.errors import DispatcherError
from tests.fakes.ledger_samples import StillClock

STATEMENTS = {"execute", "executemany", "commit", "close"}
TOUCHING = {"open", "close", "unlink", "rename", "fsync", "flock"}
EITHER = STATEMENTS | TOUCHING


def touches(called: Any) -> bool:
    """Whether a call may change the disk: a statement, or a file by its name."""
    if called.__name__ not in EITHER:
        return False
    owner = getattr(called, "__self__", None)
    if isinstance(owner, (sqlite3.Connection, sqlite3.Cursor)):
        return called.__name__ in STATEMENTS
    return getattr(owner, "__name__", "") == "posix" and called.__name__ in TOUCHING


def make_and_die(directory: Path, at: int) -> None:
    moments = itertools.count()

    def watch(_: FrameType, event: str, called: Any) -> None:
        if event in {"c_call", "c_return"} and touches(called) and next(moments) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    try:
        SqlLedger(f"sqlite:///{directory}/l.sqlite3", clock=StillClock())
    except DispatcherError:
        os._exit(1)
    os._exit(0)


def main(parent: Path) -> None:
    # One that lives, and leaves behind what is loaded and compiled on the way: else each
    # child does that anew, which takes longer than its ledger.
    with tempfile.TemporaryDirectory() as aside:
        SqlLedger(f"sqlite:///{aside}/l.sqlite3", clock=StillClock()).close()
    gc.freeze()  # a collection in a child would copy all memory that it shares with us
    for at in itertools.count():
        directory = parent / f"{at:04}"
        directory.mkdir()
        child = os.fork()
        if child == 0:
            make_and_die(directory, at)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return
        if not os.WIFSIGNALED(status):
            sys.exit("a start failed by itself")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
