"""Writes figures as Prometheus reads them. No label holds an id or anything of a patient.

Labels are the settings' own words: mailboxes, sites by FINESS, targets; besides states and
outcomes. So their number is bounded by the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState
from dispatcher.core.routing import Kind
from dispatcher.core.vitals import LaneVitals, MailboxVitals, Vitals
from dispatcher.ports import Figures

_PREFIX: Final = "sidep_dispatcher"
# From a folder that is there to a printer that waits for the end of a weekend (seconds).
_BUCKETS: Final = (
    1, 2, 5, 15, 30, 60, 120, 300, 900, 1800, 3600, 14_400, 43_200, 86_400, 259_200,
)  # fmt: skip
_OPEN: Final = (
    DeliveryState.DECIDED,
    DeliveryState.WAITING,
    DeliveryState.DELIVERING,
    DeliveryState.IN_DOUBT,
    DeliveryState.HELD,
)


class Exposition:
    """See `dispatcher.ports.Meter`; the rest is written from figures when somebody asks."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._counted = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self._counted)
        self._deliveries = Counter(
            "deliveries",
            "Attempts at a delivery that ended, by what they came to.",
            ("site", "target", "outcome"),
            namespace=_PREFIX,
            registry=self._counted,
        )
        self._seconds = Histogram(
            "delivery_seconds",
            "Time from a message's arrival in the mailbox to its delivery.",
            ("kind",),
            namespace=_PREFIX,
            buckets=_BUCKETS,
            registry=self._counted,
        )
        for kind in (Kind.FOLDER, Kind.PRINT):
            self._seconds.labels(kind.value)

    def ended(
        self, site: FinessET, target: str, kind: Kind, *, outcome: str, seconds: float
    ) -> None:
        """See `Meter.ended`."""
        self._deliveries.labels(str(site), target, outcome).inc()
        if outcome == "delivered":
            # A clock that was set back makes no negative time.
            self._seconds.labels(kind.value).observe(max(0.0, seconds))

    def text(self, figures: Figures | None, now: datetime, accept: str) -> tuple[bytes, str]:
        """Return the page and its media type, as the client's Accept header wants it."""
        encode, media_type = choose_encoder(accept)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Shown(self._version, figures, now, self._counted))
        return encode(registry), media_type


class _Shown:
    """One moment, as a collector of Prometheus."""

    def __init__(
        self, version: str, figures: Figures | None, now: datetime, counted: CollectorRegistry
    ) -> None:
        self._version = version
        self._figures = figures
        self._now = now
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._counted.collect()
        yield InfoMetricFamily(
            f"{_PREFIX}_build", "The running program.", {"version": self._version}
        )
        if self._figures is None:
            return
        vitals = self._figures.vitals
        yield _gauge("figures_timestamp_seconds", "When these figures were taken.", vitals.at)
        yield from self._messages(vitals)
        yield from self._mailboxes(vitals)
        yield from self._targets(vitals)
        yield from self._service(self._figures)

    def _messages(self, vitals: Vitals) -> Iterator[Metric]:
        balance = vitals.balance
        counts = _family("messages", "SI-DEP messages by state.", "state")
        for state in ("delivered", "held", "pending", "duplicate", "expired"):
            counts.add_metric([state], getattr(balance, state))
        yield counts
        yield _gauge("messages_received", "SI-DEP messages received.", balance.received)
        yield _gauge(
            "balance_difference",
            "Received messages that no state accounts for; anything but 0 is an alarm.",
            balance.difference,
        )

    def _mailboxes(self, vitals: Vitals) -> Iterator[Metric]:
        for name, text, value in _BY_MAILBOX:
            family = _family(name, text, "mailbox")
            for box in vitals.mailboxes:
                found = value(box, self._now)
                if found is not None:
                    family.add_metric([box.name], found)
            yield family

    def _targets(self, vitals: Vitals) -> Iterator[Metric]:
        jobs = _family(
            "print_jobs", "Prints that are not done, by state.", "site", "target", "state"
        )
        waiting = _family(
            "deliveries_open",
            "Deliveries that are not done, by kind and state.",
            "kind",
            "state",
        )
        hindered = _family(
            "target_hindered_seconds",
            "For how long a target has kept its oldest delivery waiting.",
            "site",
            "target",
        )
        counts: dict[tuple[str, str], int] = {}
        for lane in vitals.lanes:
            _add_lane(lane, jobs, counts)
            if lane.hindrance is not None:
                seconds = _age(lane.hindrance.since_at, self._now)
                hindered.add_metric([str(lane.site), lane.target], seconds)
        for (kind, state), count in sorted(counts.items()):
            waiting.add_metric([kind, state], count)
        yield from (jobs, waiting, hindered)

    def _service(self, figures: Figures) -> Iterator[Metric]:
        rules = figures.rules
        yield _gauge("rules_valid", "1: the rules' file is in force.", rules.refusal is None)
        yield _gauge(
            "rules_in_force_timestamp_seconds", "Since when these rules hold.", rules.since_at
        )
        yield _gauge(
            "ledger_writable",
            "1: the ledger takes what is written.",
            figures.unwritable_since is None,
        )
        silence = _family(
            "part_silence_seconds", "For how long a part of the service made no step.", "part"
        )
        for part, seconds in sorted(figures.vitals.silences.items()):
            silence.add_metric([part], seconds)
        yield silence
        ends = _family(
            "login_end_timestamp_seconds",
            "When a certificate or token that a login rests on ends.",
            "mailbox",
            "what",
        )
        for name, endings in sorted(figures.endings.items()):
            for ending in endings:
                ends.add_metric([name, ending.what], ending.ends_at.timestamp())
        yield ends
        failing = _family("mailbox_failing", "1: the checks of this mailbox fail.", "mailbox")
        for box in figures.vitals.mailboxes:
            failing.add_metric([box.name], box.name in figures.failing)
        yield failing


def _oldest(box: MailboxVitals, now: datetime) -> float:
    return 0.0 if box.oldest is None else _age(box.oldest.since_at, now)


def _overdue(box: MailboxVitals, now: datetime) -> float:
    return 0.0 if box.overdue_at is None else _age(box.overdue_at, now)


def _filled(box: MailboxVitals, _now: datetime) -> float | None:
    return box.quota.used / box.quota.limit if box.quota and box.quota.limit else None


def _checked(box: MailboxVitals, _now: datetime) -> float:
    return 0.0 if box.checked_at is None else box.checked_at.timestamp()


_BY_MAILBOX: Final = (
    (
        "oldest_unsettled_seconds",
        "How long the oldest certificate that could be delivered has been on its way.",
        _oldest,
    ),
    (
        "last_good_check_timestamp_seconds",
        "When the mailbox was last looked at from end to end; 0: never.",
        _checked,
    ),
    (
        "login_refusals",
        "Logins that the server refused in a row.",
        lambda box, _: float(box.refusals),
    ),
    (
        "retention_backlog",
        "Messages past their legal term that are not wholly deleted.",
        lambda box, _: float(box.past_term),
    ),
    (
        "retention_overdue_seconds",
        "How long the first of these terms has passed; 0: none has.",
        _overdue,
    ),
    (
        "purge_stopped",
        "1: a brake stopped the deletion, and a person must look.",
        lambda box, _: float(box.stopped is not None),
    ),
    ("quota_used_ratio", "How full the account is, 1 is full.", _filled),
)


def _add_lane(
    lane: LaneVitals, jobs: GaugeMetricFamily, counts: dict[tuple[str, str], int]
) -> None:
    for state in _OPEN:
        count = lane.count(state)
        key = (lane.kind.value, state.value)
        counts[key] = counts.get(key, 0) + count
        if lane.kind is Kind.PRINT:
            jobs.add_metric([str(lane.site), lane.target, state.value], count)


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float | datetime) -> GaugeMetricFamily:
    number = value.timestamp() if isinstance(value, datetime) else value
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=number)


def _age(since_at: datetime, now: datetime) -> float:
    return max(0.0, (now - since_at).total_seconds())
