"""Says in one word what an attempt at a delivery came to, for whoever counts."""

from __future__ import annotations

from typing import Final

from dispatcher.core.ledger import Delivery, DeliveryState, Entry

OUTCOMES: Final = {
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.HELD: "held",
    DeliveryState.DISCARDED: "diverted",
    DeliveryState.IN_DOUBT: "in_doubt",
    DeliveryState.DECIDED: "postponed",
}
"""`diverted`: its fallback took over; `postponed`: it is tried again."""


def outcome(before: Delivery, after: Entry) -> str | None:
    """Return the word; None: the attempt goes on, or its end is as unknown as it was."""
    now = next((one.state for one in after.deliveries if one.id == before.id), None)
    if now is None or (now is before.state and now is DeliveryState.IN_DOUBT):
        return None
    return OUTCOMES.get(now)
