"""Messages for the ledger's tests: fictional sites, numbers without a patient behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dispatcher.core.certificate import ContentKey, HoldReason, Result
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry, Identity, NewDelivery, NewEntry, State
from dispatcher.core.message import MessageRef
from dispatcher.core.routing import Kind
from dispatcher.ports import Ledger

NOW = datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=UTC)
REPUBLIQUE = FinessET("990000010")
GARE = FinessET("990000028")
FOLDER = NewDelivery("dossier", Kind.FOLDER)
PRINTER = NewDelivery("imprimante", Kind.PRINT)


class StillClock:
    """Shows the time it was set to."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_by(self, span: timedelta) -> datetime:
        self.at += span
        return self.at


def ref(uid: int, *, uidvalidity: int = 7, mailbox: str = "lbm") -> MessageRef:
    return MessageRef(mailbox, uidvalidity, uid)


def identity(size: int = 120_000, *, at: datetime = NOW) -> Identity:
    return Identity(size, at)


def pending(uid: int, **changes: Any) -> NewEntry:
    """Return a certificate that its sources agree on, for one folder unless told."""
    values: dict[str, Any] = {
        "ref": ref(uid),
        "identity": identity(),
        "received_at": NOW + timedelta(seconds=uid),
        "state": State.PENDING,
        "site": REPUBLIQUE,
        "file_number": f"21048BC{uid:06d}",
        "result": Result.NEGATIVE,
        "analysis": "94500-6",
        "sampled_at": NOW - timedelta(hours=5),
        "purge_at": NOW + timedelta(hours=67),
        "sha256": f"{uid:064x}",
        "raw_sha256": f"{uid + 2**32:064x}",
        "rules": "d" * 64,
        "deliveries": (FOLDER,),
    }
    return NewEntry(**{**values, **changes})


def held(uid: int, **changes: Any) -> NewEntry:
    """Return a message that waits for a person, without a site."""
    values: dict[str, Any] = {
        "state": State.HELD,
        "reason": HoldReason.FINESS_MISMATCH,
        "detail": "the subject and the body name two sites",
        "site": None,
        "deliveries": (),
    }
    return pending(uid, **{**values, **changes})


def duplicate(uid: int, first: str, **changes: Any) -> NewEntry:
    """Return the same content come again."""
    values: dict[str, Any] = {
        "state": State.DUPLICATE,
        "duplicate_of": first,
        "deliveries": (),
    }
    return pending(uid, **{**values, **changes})


def same_content(ledger: Ledger, key: ContentKey) -> tuple[Entry, ...]:
    """Return the messages that brought this content, the first received first."""
    return ledger.alike([], [key]).same_content.get(key, ())


def same_raw(ledger: Ledger, raw_sha256: str) -> tuple[Entry, ...]:
    """Return the messages with exactly these bytes, the first received first."""
    return ledger.alike([raw_sha256], []).same_raw.get(raw_sha256, ())


def latest_of(ledger: Ledger, site: FinessET, file_number: str) -> Entry | None:
    """Return the newest message of this test that is no duplicate."""
    key = ContentKey(site, file_number, "")
    return ledger.alike([], [key]).latest_of.get((site, file_number))
