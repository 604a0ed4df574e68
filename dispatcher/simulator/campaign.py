"""From a population to its messages: channel, BAL, certificate, fault; lazily, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from dispatcher.core.finess import FinessET
from dispatcher.registry.matching import Choice
from dispatcher.simulator import cases, channels, mailers, mix
from dispatcher.simulator.cases import Case, Sending
from dispatcher.simulator.channels import Channel, Way
from dispatcher.simulator.dossiers import Dossier
from dispatcher.simulator.faults import Fault
from dispatcher.simulator.mailers import MAILERS
from dispatcher.simulator.mix import Dealt, Mix

Choose = Callable[[FinessET], Choice]

_SMALLEST: Final = 40_000
_LARGEST: Final = 120_000
_ODD_MAILERS: Final = 0.3  # share of the messages that some other mailer writes


@dataclass(frozen=True, slots=True)
class Receiver:
    """What is known of the laboratory at the other end; the truth of some cases rests on it.

    `unrouted` are sites that its routing.yaml does not know, `refusing` sites with the
    result that none of their targets takes.
    """

    unrouted: frozenset[str] = frozenset()
    refusing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Addressed:
    """A dossier with the way to its patient; `choice` is there for MSSanté alone."""

    dossier: Dossier
    way: Way
    choice: Choice | None = None

    @property
    def bal(self) -> str | None:
        """The BAL that gets the message, or None when no mail is sent."""
        return None if self.choice is None else self.choice.address


@dataclass(frozen=True, slots=True)
class Message:
    """One message to send, and whom it is about."""

    sending: Sending
    addressed: Addressed
    fault: Fault | None

    @property
    def due_at(self) -> datetime:
        """When SI-DEP writes it."""
        return self.sending.written_at or self.addressed.dossier.exam.integrated_at


@dataclass(frozen=True, slots=True)
class Campaign:
    """Everything that will be sent, before any of it is made.

    `choices` has the BAL of every site that tests, or why it gets no mail.
    """

    addressed: tuple[Addressed, ...]
    choices: Mapping[str, Choice]
    dealt: Dealt
    receiver: Receiver
    now: datetime

    @property
    def mailed(self) -> list[Addressed]:
        """The dossiers that make a message."""
        return [one for one in self.addressed if one.bal is not None]

    @property
    def size(self) -> int:
        """How many messages there will be."""
        dealt = self.dealt.faults
        return sum(dealt[n].messages if n in dealt else 1 for n in range(len(self.mailed)))

    def messages(self) -> Iterator[Message]:
        """Make the messages, one dossier after the other; the same bytes each time."""
        for place, one in enumerate(self.mailed):
            fault = self.dealt.faults.get(place)
            for sending in _sendings(_case(one, self), fault):
                yield Message(_at(self.receiver, sending), one, fault)


def plan(
    dossiers: Sequence[Dossier],
    choose: Choose,
    wanted: Mix,
    *,
    seed: int,
    now: datetime,
    receiver: Receiver | None = None,
    mails: int | None = None,
) -> Campaign:
    """Choose the channel and the BAL of each dossier, and deal out the faults.

    With `mails`, the population ends with the patient whose mail is that many-th.
    """
    sites = sorted({dossier.exam.site for dossier in dossiers})
    choices = {site: choose(FinessET(site)) for site in sites}
    addressed = tuple(_until(mails, (_addressed(dossier, choices) for dossier in dossiers)))
    draft = Campaign(addressed, choices, Dealt(), receiver or Receiver(), now)
    mailed = draft.mailed
    asked = {place: fault for place, one in enumerate(mailed) if (fault := _asked(one.dossier))}
    about = {place: _case(one, draft) for place, one in enumerate(mailed)}
    return replace(draft, dealt=mix.deal(wanted, about, asked=asked, seed=seed))


def _asked(dossier: Dossier) -> Fault | None:
    return dossier.fault or mix.fault_in(dossier.exam.file_number)


def _addressed(dossier: Dossier, choices: Mapping[str, Choice]) -> Addressed:
    way = channels.way_to(dossier.contact)
    by_mail = way.channel is Channel.MSSANTE
    return Addressed(dossier, way, choices[dossier.exam.site] if by_mail else None)


def _until(mails: int | None, addressed: Iterator[Addressed]) -> Iterator[Addressed]:
    mailed = 0
    for one in addressed:
        if mailed == mails:
            return
        mailed += one.bal is not None
        yield one


def _case(one: Addressed, campaign: Campaign) -> Case:
    rng = one.dossier.rng("message")
    return Case(
        rng=rng,
        # Another site must be one that the receiver knows: what names it disagrees, and is
        # not unknown.
        sites=tuple(
            site for site in campaign.choices if site not in campaign.receiver.unrouted
        ),
        now=campaign.now,
        patient=one.dossier.patient,
        exam=one.dossier.exam,
        recipient=one.bal or "",
        size=rng.randrange(_SMALLEST, _LARGEST),
        refusing=campaign.receiver.refusing,
    )


def _sendings(about: Case, fault: Fault | None) -> Iterator[Sending]:
    for sending in _plain(about) if fault is None else fault.build(about):
        # The same number may be given at two sites: only those of one site wait for each other.
        yield replace(sending, lane=f"{about.exam.site} {sending.lane}")


def _plain(about: Case) -> tuple[Sending, ...]:
    odd = about.rng.random() < _ODD_MAILERS
    return (cases.certificate(about, about.rng.choice(MAILERS) if odd else mailers.DEFAULT),)


def _at(receiver: Receiver, sending: Sending) -> Sending:
    """Return the message with its truth at a laboratory whose rules may not take it.

    A site that is not in the table comes before what its targets take; a copy of what is
    held for either is a duplicate all the same.
    """
    truth = sending.truth
    if truth.state != "delivered" and truth.reason != "target-refused":
        return sending
    site = truth.site or ""
    # A condition on the result is not met by one that cannot be read.
    refused = (receiver.refusing[site], None) if site in receiver.refusing else ()
    if site in receiver.unrouted:
        reason = "site-unknown"
    elif truth.result in refused:
        reason = "target-refused"
    else:
        return sending
    held = replace(truth, state="held", reason=reason, replaces=False)
    return replace(sending, truth=held)
