"""Says what a ledger made anew would find: delivered already, in doubt, to be delivered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import islice
from typing import Final

from dispatcher.core.certificate import Certificate, Document, Foreign
from dispatcher.core.delivery import Order
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Kind, Target
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Clock, Destination, Mailbox
from dispatcher.service.desk import Reader
from dispatcher.service.lanes import Lane, Lanes
from dispatcher.service.named import naming
from dispatcher.service.preview import Previewed, preview

# A destination that takes longer does not answer (seconds).
_SILENCE: Final = 10.0
_TOGETHER: Final = 32
# No delivery has this id: looking leaves what a killed attempt left.
_NOBODY: Final = "looked-for-by-rebuild"


class Finding(Enum):
    """What would become of one delivery."""

    THERE = "there"  # its folder holds the document
    IN_DOUBT = "in_doubt"  # perhaps on paper, or known as delivered and no longer there
    TO_DELIVER = "to_deliver"
    UNKNOWN = "unknown"  # its folder does not answer


@dataclass(slots=True)
class Survey:
    """Deliveries by site, target and what was found; messages that have none."""

    deliveries: Counter[tuple[FinessET, Target, Finding]] = field(default_factory=Counter)
    held: int = 0
    duplicates: int = 0
    foreign: int = 0

    def lanes(self) -> list[tuple[FinessET, Target, dict[Finding, int]]]:
        """Return each site's targets with their counts, sorted."""
        found: dict[tuple[str, str], tuple[FinessET, Target, dict[Finding, int]]] = {}
        for (site, target, finding), count in self.deliveries.items():
            line = found.setdefault((str(site), target.name), (site, target, {}))
            line[2][finding] = count
        return [found[key] for key in sorted(found)]

    def total(self, finding: Finding) -> int:
        """Return how many deliveries were found so."""
        return sum(n for (_, _, one), n in self.deliveries.items() if one is finding)


LookAt = Callable[[Target], Destination]


def survey(
    mailboxes: Iterable[tuple[Mailbox, str | None]],
    reader: Reader,
    look_at: LookAt,
    clock: Clock,
) -> Survey:
    """Compare every message with the folders, as after a loss of the ledger; change nothing.

    `mailboxes` are pairs of a mailbox and its settled keyword. Raises Unavailable or Refused
    when a mailbox does not answer.
    """
    found = Survey()
    for mailbox, keyword in mailboxes:
        lanes: Lanes[list[Finding]] = Lanes(clock, patience=_SILENCE)
        with naming(mailbox.name):
            messages = preview(mailbox, reader)
            while some := list(islice(messages, _TOGETHER)):
                _compare(some, keyword, found, look_at=look_at, lanes=lanes)
    return found


@dataclass(frozen=True, slots=True)
class _Question:
    target: Target
    document: Document = field(repr=False)
    marked: bool


def _compare(
    messages: Sequence[Previewed],
    keyword: str | None,
    found: Survey,
    *,
    look_at: LookAt,
    lanes: Lanes[list[Finding]],
) -> None:
    asked: dict[Lane, list[_Question]] = defaultdict(list)
    for one in messages:
        reading, site = one.assessment.reading, one.assessment.site
        if isinstance(reading, Foreign):
            found.foreign += 1
        elif one.repeats is not None:
            found.duplicates += 1
        elif not isinstance(reading, Certificate) or site is None:
            found.held += 1
        else:
            marked = keyword is not None and keyword.lower() in {f.lower() for f in one.flags}
            for target in one.assessment.targets:
                asked[site, target.name].append(_Question(target, reading.document, marked))
    work = {lane: partial(_answers, lane, some, look_at) for lane, some in asked.items()}
    told: dict[Lane, list[Finding]] = {}
    for group in lanes.run({lane: do for lane, do in work.items() if not lanes.busy(lane)}):
        told.update({one.lane: one.result for one in group if one.result is not None})
    for lane, questions in asked.items():
        answers = told.get(lane, [Finding.UNKNOWN] * len(questions))
        for question, answer in zip(questions, answers, strict=False):
            found.deliveries[lane[0], question.target, answer] += 1


def _answers(lane: Lane, questions: Sequence[_Question], look_at: LookAt) -> list[Finding]:
    return [_answer(lane, question, look_at) for question in questions]


def _answer(lane: Lane, question: _Question, look_at: LookAt) -> Finding:
    if question.target.kind is Kind.PRINT:
        return Finding.IN_DOUBT
    site, name = lane
    try:
        receipt = look_at(question.target).find(Order(_NOBODY, site, name, question.document))
    except (Unavailable, Refused, InDoubt):
        return Finding.UNKNOWN
    if receipt is not None:
        return Finding.THERE
    return Finding.IN_DOUBT if question.marked else Finding.TO_DELIVER
