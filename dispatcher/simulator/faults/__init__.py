"""Messages with something wrong, each under a name and with what must become of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from dispatcher.simulator.faults.attachment import ATTACHMENT, DOCUMENT, POISON
from dispatcher.simulator.faults.author import AUTHOR
from dispatcher.simulator.faults.dates import DATES
from dispatcher.simulator.faults.disagreement import CONDITIONAL, DISAGREEMENT
from dispatcher.simulator.faults.encodings import ENCODINGS
from dispatcher.simulator.faults.repeats import REPEATS
from dispatcher.simulator.faults.shape import Fault
from dispatcher.simulator.faults.strangers import STRANGERS

__all__ = ["EVERY", "FAULTS", "GROUPS", "Fault", "named"]

# What can be sent to any laboratory and is about its certificates.
FAULTS: Final = (*AUTHOR, *ATTACHMENT, *DOCUMENT, *POISON, *DISAGREEMENT, *REPEATS, *DATES)

EVERY: Final = (*FAULTS, *ENCODINGS, *STRANGERS, *CONDITIONAL)

_BY_NAME: Final = {fault.name: fault for fault in EVERY}


def named(name: str) -> Fault:
    """Return the fault of that name; KeyError when there is none."""
    return _BY_NAME[name]


def _groups() -> dict[str, tuple[Fault, ...]]:
    anywhere = tuple(fault for fault in EVERY if not fault.needs)
    reasons = sorted({fault.reason for fault in EVERY if fault.reason})
    by_reason = {word: tuple(f for f in EVERY if f.reason == word) for word in reasons}
    mismatches = tuple(f for f in FAULTS if (f.reason or "").endswith("-mismatch"))
    return {
        "all": anywhere,
        "dates": DATES,
        "encodings": ENCODINGS,
        "foreign": STRANGERS,
        "forged": by_reason["sender-not-allowed"],
        "mismatch": mismatches,
        "poison": POISON,
        "repeats": REPEATS,
        "two-pdfs": by_reason["several-certificates"],
        # A reason by its own word, unless a single fault bears the word.
        **{word: found for word, found in by_reason.items() if word not in _BY_NAME},
    }


# Names that stand for several faults; `all` leaves out what needs something arranged.
GROUPS: Final = MappingProxyType(_groups())
