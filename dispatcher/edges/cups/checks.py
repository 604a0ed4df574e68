"""What `check` tells of a CUPS server and of one of its queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dispatcher.core.vitals import PlaceHealth
from dispatcher.edges.cups.jobs import QueueState
from dispatcher.edges.cups.server import CupsServer, available
from dispatcher.edges.cups.settings import CupsdConf
from dispatcher.errors import Unavailable
from dispatcher.ports import Finding

# Options whose value CUPS compares with nothing we could ask it for.
_UNASKED = frozenset({"InputSlot"})


def findings(server: CupsServer, queue: str, options: Mapping[str, str]) -> Iterator[Finding]:
    """Yield every finding; stops at the first thing that makes the others senseless."""
    if not available():
        yield Finding(
            "problem",
            "printing needs pycups, which is not installed",
            "Install the extra: sidep-dispatcher[cups] (needs gcc and libcups2-dev).",
        )
        return
    try:
        described = server.describe(queue)
        text = server.settings()
    except Unavailable as error:
        yield Finding("problem", str(error), error.hint)
        return
    if described is None:
        hint = f"Create it (lpadmin -p {queue} …), or correct routing.yaml."
        yield Finding("problem", f"CUPS has no queue {queue}", hint)
        return
    yield from _state(queue, described)
    yield from _options(queue, described, options)
    yield from _settings(text)


def health(server: CupsServer, queue: str) -> PlaceHealth:
    """Return what keeps a queue from printing, in words."""
    if not available():
        return PlaceHealth("printing needs pycups, which is not installed")
    try:
        state = QueueState.read(server.describe(queue))
    except Unavailable as error:
        return PlaceHealth(str(error))
    if state is None:
        return PlaceHealth(f"CUPS has no queue {queue}")
    if not state.accepting:
        return PlaceHealth(f"the queue {queue} rejects jobs")
    return PlaceHealth(blocking(state).trouble())


def blocking(state: QueueState) -> QueueState:
    """Return a queue's state without what only warns."""
    reasons = tuple(reason for reason in state.reasons if not _only_warns(reason))
    return replace(state, reasons=reasons)


def _only_warns(reason: str) -> bool:
    """Whether a printer goes on all the same (RFC 8011, 5.4.12): toner low, one tray empty."""
    return reason.endswith("-warning") or "-low" in reason or "-almost-" in reason


def _state(queue: str, described: Mapping[str, Any]) -> Iterator[Finding]:
    state = QueueState.read(described)
    if state is None:
        return
    if not state.accepting:
        yield Finding("problem", f"the queue {queue} rejects jobs", f"cupsaccept {queue}")
    trouble = state.trouble()
    if state.stopped:
        yield Finding(
            "problem", f"the queue {queue} is stopped: {trouble}", f"cupsenable {queue}"
        )
    elif trouble:
        yield Finding("warning", f"the printer of {queue}: {trouble}", "Look at the printer.")
    elif state.accepting:
        yield Finding("ok", f"the queue {queue} accepts jobs and prints")


def _options(
    queue: str, described: Mapping[str, Any], options: Mapping[str, str]
) -> Iterator[Finding]:
    for name, value in options.items():
        supported = described.get(f"{name}-supported")
        if supported is None or name in _UNASKED:
            if value not in {"1", "one-sided"}:
                yield Finding(
                    "warning",
                    f"CUPS does not say whether {queue} takes {name}={value}",
                    f"Print one page and look: lp -d {queue} -o {name}={value}",
                )
        elif not _takes(supported, value):
            yield Finding(
                "problem",
                f"the queue {queue} does not take {name}={value}",
                f"lpoptions -p {queue} -l shows what it takes; correct routing.yaml.",
            )


def _takes(supported: object, value: str) -> bool:
    """Whether a value, or each of several, is among those that CUPS lists."""
    if isinstance(supported, bool):
        return True
    match supported:
        case [int() as least, int() as most] if not isinstance(least, bool):
            return value.isascii() and value.isdigit() and least <= int(value) <= most
    listed = supported if isinstance(supported, list | tuple) else [supported]
    known = {str(one) for one in listed}
    return all(one in known for one in value.split(","))


def _settings(text: str | None) -> Iterator[Finding]:
    if text is None:
        yield Finding(
            "warning",
            "CUPS does not let the service read cupsd.conf, so that it cannot be checked",
            "See that it says: PreserveJobFiles No, PreserveJobHistory Yes, "
            "DirtyCleanInterval 0; then restart CUPS.",
        )
        return
    yield from CupsdConf.read(text).findings()
