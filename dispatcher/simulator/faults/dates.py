"""Dates and values that are late, early or not to be read: delivered all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from dispatcher.simulator import mail, people
from dispatcher.simulator.cases import Case, Sending, Truth, sending
from dispatcher.simulator.exams import PARIS, Exam, shifted
from dispatcher.simulator.faults.shape import DELIVER, Fault

_COUNTED: Final = f"{DELIVER}; its term counts from reception"


def _retimed(
    name: str, change: Callable[[Case], Exam], *, must: str, from_reception: bool = False
) -> Fault:
    """Build a certificate whose times are others; nothing else is wrong with it."""

    def build(about: Case) -> tuple[Sending, ...]:
        about = replace(about, exam=change(about))
        document = about.document()
        truth = about.truth("delivered", document)
        if from_reception:
            truth = replace(truth, counts_from="reception")
        return (sending(about, about.letter(document), truth, name=name),)

    return Fault(name, build, must=must)


def _restated(
    name: str, facts: Callable[[Case], Mapping[str, str]], *, must: str, **changes: object
) -> Fault:
    """Build a certificate whose body says something else on some of its lines."""

    def build(about: Case) -> tuple[Sending, ...]:
        document = about.document()
        letter = mail.with_facts(about.letter(document), facts(about))
        truth: Truth = replace(about.truth("delivered", document), **changes)  # type: ignore[arg-type]
        return (sending(about, letter, truth, name=name),)

    return Fault(name, build, must=must)


def _delayed(about: Case) -> Exam:
    """Sample five days ago: what is negative is past its 72 hours as it arrives."""
    by = timedelta(days=5)
    exam = about.exam
    return replace(exam, sampled_at=shifted(exam.sampled_at, -by))


def _future(about: Case) -> Exam:
    exam = about.exam
    return replace(exam, sampled_at=shifted(exam.sampled_at, timedelta(days=40)))


def _long_ago(about: Case) -> Exam:
    exam = about.exam
    return replace(exam, sampled_at=exam.sampled_at.replace(year=2019, month=1, day=2, fold=0))


def _in_the_hour_twice(about: Case) -> Exam:
    """Sample at 02:30 in the night that has this hour twice: the later one counts."""
    day = _clocks_back(about.now)
    at = datetime(day.year, day.month, day.day, 2, 30, tzinfo=PARIS, fold=1)
    return replace(about.exam, sampled_at=at)


def _clocks_back(now: datetime) -> date:
    """Return the last Sunday of the last October that is over."""
    for year in (now.year, now.year - 1):
        last = datetime(year, 10, 31, tzinfo=UTC)
        last -= timedelta(days=(last.weekday() + 1) % 7)
        if last + timedelta(days=1) < now:
            return last.date()
    raise AssertionError("an October lies behind any day")


def _written_later(about: Case) -> tuple[Sending, ...]:
    """Date the message two days ahead, as a server with a wrong clock does."""
    name = "date-in-the-future"
    document = about.document()
    letter = about.letter(document)
    letter = replace(letter, written_at=shifted(letter.written_at, timedelta(days=2)))
    return (sending(about, letter, about.truth("delivered", document), name=name),)


def _mistyped_identity(about: Case) -> Mapping[str, str]:
    return {mail.INS: people.wrong_key(about.patient.ins or "185057511612342")}


DATES: Final = (
    _retimed("delayed", _delayed, must=DELIVER),
    _retimed("sampled-in-the-hour-twice", _in_the_hour_twice, must=f"{DELIVER}; later hour"),
    _retimed("sampled-in-the-future", _future, must=_COUNTED, from_reception=True),
    _retimed("sampled-in-2019", _long_ago, must=_COUNTED, from_reception=True),
    Fault("date-in-the-future", _written_later, must=DELIVER),
    _restated(
        "sampling-unreadable",
        lambda _about: {mail.SAMPLED_AT: "avant-hier"},
        must=_COUNTED,
        sampled_at=None,
        counts_from="reception",
    ),
    _restated(
        "result-unknown",
        lambda _about: {mail.RESULT: "Ininterprétable"},
        must=_COUNTED,
        result=None,
        counts_from="reception",
    ),
    _restated(
        "result-twofold",
        lambda _about: {mail.RESULT: "Négatif / Positif"},
        must=_COUNTED,
        result=None,
        counts_from="reception",
    ),
    _restated("ins-with-a-wrong-key", _mistyped_identity, must=DELIVER),
)
