"""Invents a population: who was tested where and when, and how each can be reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from dispatcher.simulator import contacts, exams, people
from dispatcher.simulator.contacts import UNREACHABLE, Contact
from dispatcher.simulator.exams import PARIS, Exam, shifted
from dispatcher.simulator.faults import Fault
from dispatcher.simulator.people import Patient

# Mistyped or invented identities: SI-DEP checks none, and the ANS's own sample has one.
_WRONG_KEYS: Final = 0.04
_ODD: Final = 3  # one name in so many is hard to read

# Laboratories take samples in the morning above all (local time).
_OPENING: Final = time(7, 30)
_MINUTES_OPEN: Final = 11 * 60


@dataclass(frozen=True, slots=True)
class Dossier:
    """One test as it came to SI-DEP. `fault` is one that was asked for.

    Its generators are its own: what is done with one dossier changes no other.
    """

    number: int
    seed: str = field(repr=False)
    patient: Patient
    contact: Contact
    exam: Exam
    fault: Fault | None = None

    def rng(self, use: str) -> Random:
        """Return the dossier's own generator for one use."""
        return Random(f"{self.seed}:{self.number}:{use}")


def population(
    seed: int,
    count: int,
    sites: Sequence[str],
    *,
    now: datetime,
    start: date | None = None,
    unreachable: float = UNREACHABLE,
) -> list[Dossier]:
    """Invent that many tests, in the order of their integration; the same for a same seed.

    Without `start` they are of the 48 hours before `now`; with it, of that day, and of the
    evening that its results take. Sites differ in size. File numbers are unique at a site.
    """
    sizes = [0.3 + Random(f"{seed}:{site}").expovariate(1) for site in sites]
    made = []
    taken: set[tuple[str, str]] = set()
    for number in range(count):
        one = _dossier(seed, number, sites=sites, sizes=sizes, unreachable=unreachable)
        exam = _exam(one.rng("exam"), one.exam.site, now, start)
        made.append(_unique(replace(one, exam=exam), taken))
    return sorted(made, key=lambda dossier: (dossier.exam.integrated_at, dossier.number))


def _dossier(
    seed: int,
    number: int,
    *,
    sites: Sequence[str],
    sizes: Sequence[float],
    unreachable: float,
) -> Dossier:
    rng = Random(f"{seed}:{number}:who")
    site = rng.choices(sites, sizes)[0]
    today = date(2026, 1, 1)
    patient = people.patient(rng, today, odd=number % _ODD == 0)
    if patient.ins is not None and rng.random() < _WRONG_KEYS:
        patient = replace(patient, ins=people.wrong_key(patient.ins))
    exam = exams.exam(rng, site, datetime(2026, 1, 1, tzinfo=PARIS))
    contact = contacts.contact(rng, unreachable=unreachable)
    return Dossier(number, str(seed), patient, contact, exam)


def _exam(rng: Random, site: str, now: datetime, start: date | None) -> Exam:
    exam = exams.exam(rng, site, now)
    if start is None:
        return exam
    minute = int(rng.triangular(0, _MINUTES_OPEN, _MINUTES_OPEN / 5))
    opening = datetime.combine(start, _OPENING, tzinfo=PARIS)
    sampled_at = shifted(opening, timedelta(minutes=minute))
    integrated_at = shifted(sampled_at, timedelta(minutes=rng.randrange(20, 300)))
    number = exams.file_number(rng, sampled_at)
    return replace(exam, file_number=number, sampled_at=sampled_at, integrated_at=integrated_at)


def _unique(dossier: Dossier, taken: set[tuple[str, str]]) -> Dossier:
    rng, exam = dossier.rng("file number"), dossier.exam
    while (exam.site, exam.file_number) in taken:
        exam = replace(exam, file_number=exams.file_number(rng, exam.sampled_at))
    taken.add((exam.site, exam.file_number))
    return replace(dossier, exam=exam)


def by_site(dossiers: Sequence[Dossier]) -> Iterator[tuple[str, list[Dossier]]]:
    """Yield each site with its dossiers, in the order of the sites' numbers."""
    found: dict[str, list[Dossier]] = {}
    for dossier in dossiers:
        found.setdefault(dossier.exam.site, []).append(dossier)
    yield from sorted(found.items())
