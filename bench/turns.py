"""Turns over one mailbox on a kept connection, their clock started when all is loaded.

`python -m bench.turns CONFIG COUNT` prints the seconds of the first turn, which compares the
whole mailbox, and of each later one. Each begins when a line comes on standard input.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dispatcher import wiring
from dispatcher.service.round import Round


def _main(config: Path, count: int) -> None:
    chosen = wiring.configuration(config)
    keyword = chosen.settings.mailboxes["lbm"].settled_keyword
    with wiring.open_desk(chosen) as desk:
        (mailbox,) = wiring.mailboxes(chosen)
        work = Round(mailbox, desk, keyword=keyword)
        for _ in range(count):
            sys.stdin.readline()
            began, used = time.monotonic(), time.process_time()
            work.turn()
            shown = [time.monotonic() - began, time.process_time() - used]
            sys.stdout.write(json.dumps(shown) + "\n")
            sys.stdout.flush()
        mailbox.close()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
