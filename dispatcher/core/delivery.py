"""The identity of one delivery, and the proof that it was made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from dispatcher.core.certificate import Document
from dispatcher.core.finess import FinessET

# CUPS prints a job from its beginning when it was killed or restarted in the midst of it.
MAYBE_TWICE: Final = "CUPS was restarted while it printed: there may be two copies"

# What a job that goes on says of itself when nothing keeps it from its end.
PRINTING: Final = "printing"
IN_LINE: Final = "waiting in line"


@dataclass(frozen=True, slots=True)
class Order:
    """One delivery to make: the same `id` is the same delivery, for ever.

    `id` is random and says nothing of the patient, so it may appear in job titles, in
    temporary names and in logs. `site` is where it goes. `intended_at` is when this
    attempt was written down (`delivering`): what is older belongs to another attempt, and
    a destination may need it to prove that nothing was made since.
    """

    id: str
    site: FinessET
    target: str
    document: Document
    intended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The destination took it and works on it: its end is to be followed.

    `reference` finds the work again (a job's server, id and uuid) and names nobody.
    `because` says in words why it takes time (out of paper), without patient data.
    """

    reference: str
    because: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of delivery. `reference` finds the copy again and names nobody.

    `already_there` says that the same content lay there before this attempt. `remark` says
    in words what a person should know of it, without patient data.
    """

    reference: str
    already_there: bool = False
    remark: str = ""


class Removal(Enum):
    """What became of a copy that was to go. Stored as these words."""

    REMOVED = "removed"
    """It lay there and is gone now, durably."""
    GONE = "gone"
    """It was not there any more: somebody else took it."""
    CHANGED = "changed"
    """Something else lies there by now. It was left alone, and is to be reported."""
    KEPT = "kept"
    """Paper: nothing of ours is left to remove, the document is not in the spool."""
