"""What every step of the service works with, gathered once by the wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from dispatcher.core.certificate import PdfText
from dispatcher.core.finess import FinessET
from dispatcher.core.retention import Terms
from dispatcher.core.routing import Rules
from dispatcher.ports import Clock, Destination, Inspector, Ledger

FindDestination = Callable[[FinessET, str], Destination | None]


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings that decide, in core values. `since` is by mailbox."""

    senders: frozenset[str]
    pdf_text: PdfText = PdfText.WARN
    terms: Terms = Terms()
    since: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desk:
    """The ports and the rules in force. `rules` is asked anew for each batch of mail."""

    ledger: Ledger
    inspector: Inspector
    clock: Clock
    rules: Callable[[], Rules]
    destination: FindDestination
    policy: Policy
