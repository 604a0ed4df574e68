"""One run of the program over a mailbox, as `run --once`, its clock started when all is warm.

`python -m bench.turn CONFIG` prints what it delivered, seconds, seconds of CPU with its
helpers', and `until_delivered`: the seconds to the last document in its folder.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from dispatcher import wiring
from dispatcher.errors import ConfigInvalid
from dispatcher.service.once import run_once


def _main(config: Path) -> None:
    try:
        chosen = wiring.configuration(config)
    except ConfigInvalid as error:
        raise SystemExit("\n".join(error.problems)) from None
    keyword = chosen.settings.mailboxes["lbm"].settled_keyword
    with wiring.open_desk(chosen) as desk:
        desk.reader.warm()  # as the service's helpers are when mail comes
        before = _used()
        began, began_at = time.monotonic(), time.time()  # noqa: TID251 - beside the files' times
        outcome = run_once([(one, keyword) for one in wiring.mailboxes(chosen)], desk)
        seconds = time.monotonic() - began
    if outcome.failed:
        raise SystemExit(f"the mailbox did not answer: {outcome.failed}")
    last = max((p.stat().st_ctime for p in config.parent.glob("sites/*/*")), default=began_at)
    used = [after - was for after, was in zip(_used(), before, strict=True)]
    shown = {
        "count": outcome.numbers.delivered,
        "seconds": seconds,
        "until_delivered": last - began_at,
        "cpu": sum(used),
        "cpu_helpers": used[1],
    }
    sys.stdout.write(json.dumps(shown) + "\n")


def _used() -> list[float]:
    """Return the seconds of CPU of this process and of its helpers that ended."""
    both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return [one.ru_utime + one.ru_stime for one in both]


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
