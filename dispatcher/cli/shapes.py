"""The JSON shapes of the contract, made from core values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dispatcher.core.certificate import (
    Certificate,
    Claim,
    Facts,
    Foreign,
    Sources,
)
from dispatcher.core.ledger import Balance, Delivery, Entry
from dispatcher.service.assess import Assessment

Json = dict[str, Any]


def left_shape(entry: Entry, delivery: Delivery) -> Json:
    """Return a copy that stays on its site because it was changed there."""
    site = delivery.site or entry.site
    return {"id": entry.id, "site": str(site or ""), "target": delivery.target}


def entry_shape(entry: Entry) -> Json:
    """Return one line of `list --json`."""
    return {
        "id": entry.id,
        "mailbox": entry.ref.mailbox,
        "uidvalidity": entry.ref.uidvalidity,
        "uid": entry.ref.uid,
        "state": entry.state.value,
        "reason": None if entry.reason is None else entry.reason.value,
        "site": None if entry.site is None else str(entry.site),
        "file_number": entry.file_number,
        "result": None if entry.result is None else entry.result.value,
        "sampled_at": _time(entry.sampled_at),
        "received_at": _time(entry.received_at),
        "purge_at": _time(entry.purge_at),
        "replaces": entry.replaces,
        "deliveries": [_delivery_shape(delivery) for delivery in entry.deliveries],
    }


def balance_shape(balance: Balance) -> Json:
    """Return the numbers of `run --once --json`."""
    return {
        "received": balance.received,
        "delivered": balance.delivered,
        "held": balance.held,
        "pending": balance.pending,
        "duplicate": balance.duplicate,
        "expired": balance.expired,
        "foreign": balance.foreign,
    }


def assessment_shape(assessment: Assessment, purge_at: datetime | None) -> Json:
    """Return what `explain` and `dry-run` say of one message."""
    reading = assessment.reading
    if isinstance(reading, Foreign):
        return {"outcome": "foreign", "reason": None, "detail": "", "targets": []}
    certificate = isinstance(reading, Certificate)
    return {
        "outcome": "deliver" if certificate else "hold",
        "reason": None if isinstance(reading, Certificate) else reading.reason.value,
        "detail": "" if isinstance(reading, Certificate) else reading.detail,
        "site": None if assessment.site is None else str(assessment.site),
        "sources": _sources_shape(reading.sources),
        "facts": _facts_shape(reading.facts),
        "document": {
            "sha256": None if reading.document is None else reading.document.sha256,
            "bytes": None if reading.document is None else len(reading.document.content),
            "pages": assessment.inspection.pages,
            "names_patient": assessment.inspection.names_patient,
        },
        "targets": [
            {"name": target.name, "kind": target.kind.value, "place": target.place}
            for target in assessment.targets
        ],
        "purge_at": _time(purge_at),
    }


def _sources_shape(sources: Sources) -> Json:
    return {
        "subject": _claim_shape(sources.subject),
        "attachment": _claim_shape(sources.attachment),
        "body": _claim_shape(sources.body),
    }


def _claim_shape(claim: Claim | None) -> Json | None:
    if claim is None:
        return None
    return {
        "site": claim.site,
        "file_number": claim.file_number,
        "last_name": claim.last_name,
        "first_name": claim.first_name,
    }


def _facts_shape(facts: Facts) -> Json:
    return {
        "site": None if facts.site is None else str(facts.site),
        "file_number": facts.file_number,
        "result": None if facts.result is None else facts.result.value,
        "analysis": facts.analysis,
        "sampled_at": _time(facts.sampled_at),
        "integrated_at": _time(facts.integrated_at),
    }


def _delivery_shape(delivery: Delivery) -> Json:
    return {
        "target": delivery.target,
        "kind": delivery.kind.value,
        "state": delivery.state.value,
        "reference": delivery.reference,
        "attempts": delivery.attempts,
        "because": delivery.because,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
