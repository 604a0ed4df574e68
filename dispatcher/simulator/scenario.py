"""Whole scenes, the same for a same seed: what is sent, and what must become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Final

from dispatcher.simulator import cases, exams, faults, foreign, mailers, people
from dispatcher.simulator.cases import Sending, Truth
from dispatcher.simulator.mail import RECIPIENT
from dispatcher.simulator.mailers import MAILERS

__all__ = ["RECIPIENT", "SITES", "Sending", "Truth", "certificates", "demo"]

# Fictional sites, in a range that no department uses; the last digit checks (Luhn).
SITES: Final = {
    "990000010": "Site République",
    "990000028": "Site Gare",
    "990000036": "Site Halles",
    "990000044": "Site Hôpital Nord",
    "990000051": "Site Île-aux-Moines",
    "990000069": "Site Saint-Œgyd",
}


def demo(
    seed: int,
    count: int,
    sites: Sequence[str],
    now: datetime,
    *,
    recipient: str = RECIPIENT,
) -> list[Sending]:
    """Return `count` sound certificates, every fault once and every foreign mail, mixed.

    `sites` are ET numbers that the routing knows, at least two; `now` is aware and the
    newest thing in the scene is older. Messages of one lane keep their order.
    """
    rng = Random(seed)
    sound = certificates(rng.randrange(2**32), count, sites, now, recipient=recipient)
    groups: list[tuple[Sending, ...]] = [(one,) for one in sound]
    groups.extend(
        fault.build(cases.case(rng, sites, now, recipient=recipient)) for fault in faults.FAULTS
    )
    groups.extend((one,) for one in foreign.all_kinds(rng, now, recipient=recipient))
    rng.shuffle(groups)
    return [sending for group in groups for sending in group]


def certificates(
    seed: int, count: int, sites: Sequence[str], now: datetime, *, recipient: str = RECIPIENT
) -> list[Sending]:
    """Return that many sound certificates; names, sites and mailers take their turns."""
    rng = Random(seed)
    people_in_turn = people.population(rng.randrange(2**32), count, now.date())
    taken: set[str] = set()
    sent = []
    for number, someone in enumerate(people_in_turn):
        about = cases.case(rng, sites, now, recipient=recipient)
        exam = replace(about.exam, site=sites[number % len(sites)])
        while exam.file_number in taken:
            exam = replace(exam, file_number=exams.file_number(rng, exam.sampled_at))
        taken.add(exam.file_number)
        about = replace(about, patient=someone, exam=exam)
        # Half by the plain mailer, half by the odd ones in turn.
        mailer = MAILERS[number // 2 % len(MAILERS)] if number % 2 else mailers.DEFAULT
        sent.append(cases.certificate(about, mailer))
    return sent
