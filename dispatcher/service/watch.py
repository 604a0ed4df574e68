"""Looks at the balance: at start, every minute, at exit. A difference is an alarm."""

from __future__ import annotations

import structlog

from dispatcher.core.ledger import Balance
from dispatcher.errors import Unavailable
from dispatcher.ports import Ledger

_log = structlog.get_logger(__name__)


def check_balance(ledger: Ledger) -> Balance | None:
    """Log an alarm when received messages are unaccounted for; None: it could not be asked."""
    try:
        balance = ledger.balance()
    except Unavailable as error:
        _log.error("balance_could_not_be_checked", because=str(error))
        return None
    if balance.difference:
        _log.critical(
            "balance_did_not_close",
            difference=balance.difference,
            hint="Run `sidep-dispatcher verify`.",
        )
    return balance
