"""Says what was sent to whom, who got nothing and why, and what must become of each message."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dispatcher.registry.matching import Choice
from dispatcher.simulator.campaign import Addressed, Campaign, Message
from dispatcher.simulator.cases import Truth
from dispatcher.simulator.channels import Channel
from dispatcher.simulator.smtp_line import Sent

Json = dict[str, Any]

# The shape's own number: another one when a key changes its meaning.
SHAPE: Final = 1
# Clocks may differ by so much before a time counts as one to come.
_SKEW: Final = timedelta(hours=1)
_STATES: Final = ("delivered", "held", "duplicate", "foreign")


@dataclass(slots=True)
class Report:
    """Gathers the end of each message; keeps what tells, not the messages themselves."""

    campaign: Campaign
    seed: int
    lines: dict[int, Json] = field(default_factory=dict)

    def note(self, place: int, message: Message, sent: Sent, at: datetime) -> None:
        """Take down what became of a message at the server."""
        self.lines[place] = _line(message, sent, at)

    @property
    def failed(self) -> int:
        """Return how many messages the server did not take."""
        return sum(not line["sent"]["accepted"] for line in self.lines.values())

    @property
    def unsent(self) -> int:
        """Return how many messages were never tried, because somebody interrupted."""
        return self.campaign.size - len(self.lines)

    def _refused(self) -> Json:
        codes = (line["sent"] for line in self.lines.values())
        return dict(Counter(str(one["code"]) for one in codes if not one["accepted"]))

    def document(self) -> Json:
        """Return the whole report; docs/simulate.md says what each key means."""
        messages = [self.lines[place] for place in sorted(self.lines)]
        return {
            "shape": SHAPE,
            "seed": self.seed,
            "patients": len(self.campaign.addressed),
            "channels": self.channels(),
            "routes": self.routes(),
            "silent": self.silent(),
            "faults": dict(Counter(line["case"] for line in messages).most_common()),
            "not_dealt": dict(self.campaign.dealt.left_over),
            "unsent": self.unsent,
            "failed": self.failed,
            "refused": self._refused(),
            "balance": balance(messages),
            "sites": self.sites(),
            "messages": messages,
        }

    # --- who is reached how

    def channels(self) -> Json:
        """Return the number of patients by channel."""
        found = Counter(one.way.channel.value for one in self.campaign.addressed)
        return {channel.value: found[channel.value] for channel in Channel}

    def routes(self) -> Json:
        """Return the number of patients for MSSanté by P1, P2 and none."""
        found = Counter(map(_route, _for_mssante(self.campaign.addressed)))
        return {route: found[route] for route in ("P1", "P2", "none")}

    def silent(self) -> Json:
        """Return the number of patients for whom no mail is sent, by the reason's word."""
        unsent = (one for one in _for_mssante(self.campaign.addressed) if one.bal is None)
        words = Counter(one.choice.why.value for one in unsent if one.choice is not None)
        return dict(words.most_common())

    def sites(self) -> list[Json]:
        """Return a line for each site, in the order of their numbers."""
        by_site: dict[str, list[Addressed]] = {}
        for one in self.campaign.addressed:
            by_site.setdefault(one.dossier.exam.site, []).append(one)
        sent = Counter(line["site"] for line in self.lines.values())
        return [
            _site(choice, by_site.get(number, []), sent[number])
            for number, choice in self.campaign.choices.items()
        ]


def balance(messages: Iterable[Json]) -> Json:
    """Return the numbers that `status` must show when all of these are settled.

    Only of what the server took. `uncertain`: how many duplicates more there may be, after
    connections that were lost at the final dot.
    """
    taken = [line for line in messages if line["sent"]["accepted"]]
    found = Counter(line["expected"]["state"] for line in taken)
    numbers: Json = {state: found[state] for state in _STATES}
    return {
        "received": sum(found.values()) - found["foreign"],
        "delivered": numbers["delivered"],
        "held": numbers["held"],
        "pending": 0,
        "duplicate": numbers["duplicate"],
        "expired": 0,
        "foreign": numbers["foreign"],
        "uncertain": sum(line["sent"]["doubtful"] for line in taken),
    }


def _for_mssante(addressed: Sequence[Addressed]) -> Iterator[Addressed]:
    return (one for one in addressed if one.way.channel is Channel.MSSANTE)


def _route(one: Addressed) -> str:
    route = None if one.choice is None else one.choice.route
    return "none" if route is None else route.value


def _site(choice: Choice, ones: Sequence[Addressed], sent: int) -> Json:
    found = Counter(one.way.channel.value for one in ones)
    return {
        "site": choice.site.number,
        "patients": len(ones),
        **{channel.value: found[channel.value] for channel in Channel},
        "bal": choice.address,
        "route": None if choice.route is None else choice.route.value,
        "why": choice.why.value,
        "sentence": choice.sentence,
        "messages": sent,
    }


def _line(message: Message, sent: Sent, at: datetime) -> Json:
    sending, one = message.sending, message.addressed
    route = None if one.choice is None or one.choice.route is None else one.choice.route.value
    return {
        "message_id": sending.message_id,
        "bal": sending.recipient,
        "route": route,
        "site": one.dossier.exam.site,
        "file_number": one.dossier.exam.file_number,
        "case": sending.case,
        "flags": list(sending.flags),
        "expected": _expected(message.sending.truth, at),
        "sent": {
            "accepted": sent.accepted,
            "code": sent.code,
            "attempts": sent.attempts,
            "doubtful": sent.doubtful,
            "reencoded": sent.reencoded,
            "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        },
    }


def _expected(truth: Truth, at: datetime) -> Json:
    # A whole day may lie ahead (`--start`): what was sampled after it arrived cannot be.
    ahead = truth.sampled_at is not None and truth.sampled_at > at + _SKEW
    sha256 = None if truth.document is None else hashlib.sha256(truth.document).hexdigest()
    return {
        "state": truth.state,
        "reason": truth.reason,
        "site": truth.site,
        "file_number": truth.file_number,
        "result": truth.result,
        "sampled_at": None if truth.sampled_at is None else truth.sampled_at.isoformat(),
        "counts_from": "reception" if ahead else truth.counts_from,
        "replaces": truth.replaces,
        "sha256": sha256,
        "file_name": truth.file_name,
    }
