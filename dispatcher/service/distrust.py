"""After a ledger was lost or set back: nothing is printed by itself that may be on paper."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, State
from dispatcher.core.routing import Kind
from dispatcher.ports import Ledger, Writer

PERHAPS_PRINTED: Final = "perhaps printed before"

_BEFORE: Final = "distrust before"
_WHY: Final = "distrust because"
_FIRST_LOOK: Final = "distrust first look "
_STILL_TO_PRINT: Final = frozenset({DeliveryState.DECIDED, DeliveryState.WAITING})


def begin(ledger: Ledger, now: datetime, why: str, mailboxes: Iterable[str]) -> int:
    """Print nothing by itself that an earlier ledger may have printed; return how many wait.

    Holds every print that this ledger would still make, and remembers to hold those of
    messages that it does not know yet: what was received before `now`, and what the first
    whole look at each mailbox finds, whatever its date. Doing it twice does no harm.
    """
    held = 0
    with ledger.writing() as writer:
        # Servers tell a mail's date in whole seconds.
        writer.note(_BEFORE, now.replace(microsecond=0).isoformat())
        writer.note(_WHY, why)
        for mailbox in mailboxes:
            writer.note(_FIRST_LOOK + mailbox, "to do")
        for state in (State.PENDING, State.HELD):
            for entry in ledger.entries(state=state):
                held += _hold(writer, entry, why) is not entry
    return held


def perhaps_printed(delivery: Delivery) -> bool:
    """Whether a delivery is held because an earlier ledger may have made it on paper."""
    return (
        delivery.state is DeliveryState.HELD
        and delivery.kind is Kind.PRINT
        and delivery.because.startswith(PERHAPS_PRINTED)
    )


def begun_at(ledger: Ledger) -> datetime | None:
    """Return when this ledger was last found to be another, older or new one; None: never."""
    found = ledger.memo(_BEFORE)
    return None if found is None else datetime.fromisoformat(found)


class Distrust:
    """What one mailbox's new messages are to be kept from. Used by one thread."""

    def __init__(self, ledger: Ledger, mailbox: str) -> None:
        self._name = _FIRST_LOOK + mailbox
        self._before = begun_at(ledger)
        self._why = ledger.memo(_WHY) or ""
        self._first_look = ledger.memo(self._name) is not None

    def kept_from_paper(self, writer: Writer, entry: Entry) -> Entry:
        """Hold the prints of a message that an earlier ledger may have known."""
        early = self._before is not None and entry.received_at < self._before
        return _hold(writer, entry, self._why) if early or self._first_look else entry

    def looked(self, writer: Writer) -> None:
        """Say that everything that lay in the mailbox is in the ledger now."""
        if self._first_look:
            writer.note(self._name, None)
            self._first_look = False


def _hold(writer: Writer, entry: Entry, why: str) -> Entry:
    now = entry
    for delivery in entry.deliveries:
        if delivery.kind is Kind.PRINT and delivery.state in _STILL_TO_PRINT:
            now = writer.move(
                delivery.id,
                DeliveryState.HELD,
                because=f"{PERHAPS_PRINTED}: {why}",
                reason=HoldReason.IN_DOUBT,
            )
    return now
