"""The same file more than once: resent, corrected, namesakes. None of it is held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from dispatcher.simulator import exams
from dispatcher.simulator.cases import Case, Sending, certificate, sending
from dispatcher.simulator.exams import Outcome
from dispatcher.simulator.faults.shape import Fault

_ONCE: Final = "deliver, then count a duplicate"


def _resent(about: Case, document: bytes, *, name: str, after: int) -> Sending:
    """Send that document in a new message, a moment later by its date."""
    letter = about.letter(document)
    later = exams.shifted(letter.written_at, timedelta(seconds=after))
    letter = replace(letter, written_at=later)
    return sending(about, letter, about.truth("duplicate", document), name=name)


def _sent_again(about: Case) -> tuple[Sending, ...]:
    first = certificate(about)
    again = _resent(about, first.truth.document or b"", name="sent-again", after=30)
    return (replace(first, case="sent-again"), again)


def _same_message_twice(about: Case) -> tuple[Sending, ...]:
    """Send the very same bytes twice, as after a connection lost at the final dot."""
    first = replace(certificate(about), case="same-message-twice")
    return (first, replace(first, truth=replace(first.truth, state="duplicate")))


def _correction(about: Case, name: str) -> Sending:
    outcomes = [outcome for outcome in Outcome if outcome is not about.exam.outcome]
    after = replace(about, exam=replace(about.exam, outcome=about.rng.choice(outcomes)))
    document = after.document(edition=2)
    truth = replace(after.truth("delivered", document), replaces=True)
    return sending(after, after.letter(document), truth, name=name)


def _corrected(about: Case) -> tuple[Sending, ...]:
    """Send another document for the same site and file number."""
    first = replace(certificate(about), case="replacement")
    return (first, _correction(about, "replacement"))


def _corrected_then_resent(about: Case) -> tuple[Sending, ...]:
    """Send the first document once more, after its correction: it is known already."""
    name = "first-again-after-replacement"
    first = replace(certificate(about), case=name)
    second = _correction(about, name)
    return (first, second, _resent(about, first.truth.document or b"", name=name, after=600))


def _namesakes(about: Case) -> tuple[Sending, ...]:
    """Send the certificates of two people of one name, tested at one site."""
    first = replace(certificate(about), case="namesakes")
    other = exams.file_number(about.rng, about.exam.sampled_at) + "2"
    second = replace(about, exam=replace(about.exam, file_number=other))
    return (first, replace(certificate(second), case="namesakes"))


def _same_number_elsewhere(about: Case) -> tuple[Sending, ...]:
    """Send certificates of two sites that gave the same file number, as each may."""
    name = "same-number-at-two-sites"
    first = replace(certificate(about), case=name)
    exam = replace(about.exam, site=about.other_site())
    other = replace(about, exam=exam, patient=about.other_patient())
    return (first, replace(certificate(other), case=name))


def _has_neighbour(about: Case) -> bool:
    return len(about.sites) > 1


REPEATS: Final = (
    Fault("sent-again", _sent_again, must=_ONCE, messages=2),
    Fault("same-message-twice", _same_message_twice, must=_ONCE, messages=2),
    Fault(
        "replacement",
        _corrected,
        must="deliver both, the second marked as replacing",
        messages=2,
    ),
    Fault(
        "first-again-after-replacement",
        _corrected_then_resent,
        must="deliver both, then count a duplicate",
        messages=3,
    ),
    Fault("namesakes", _namesakes, must="deliver both, neither replaces the other", messages=2),
    Fault(
        "same-number-at-two-sites",
        _same_number_elsewhere,
        must="deliver each to its site, neither replaces the other",
        fits=_has_neighbour,
        messages=2,
    ),
)
