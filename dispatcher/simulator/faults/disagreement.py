"""Faults of agreement: sources that name another site, file or patient, and sites unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dispatcher.simulator import exams, mail
from dispatcher.simulator.cases import Case, Sending, sending
from dispatcher.simulator.exams import Outcome
from dispatcher.simulator.faults.shape import Change, Fault, held
from dispatcher.simulator.mail import Letter


def _named(change: Callable[[Case], str]) -> Change:
    def apply(about: Case, letter: Letter) -> Letter:
        return replace(letter, enclosures=(replace(letter.enclosures[0], name=change(about)),))

    return apply


def _for_other_site(about: Case) -> str:
    return mail.file_name(about.patient, replace(about.exam, site=about.other_site()))


def _for_other_file(about: Case) -> str:
    other = exams.file_number(about.rng, about.exam.sampled_at)
    return mail.file_name(about.patient, replace(about.exam, file_number=other))


def _for_other_patient(about: Case) -> str:
    return mail.file_name(about.other_patient(), about.exam)


def _subject_of_other_site(about: Case, letter: Letter) -> Letter:
    subject = (letter.subject or "").replace(about.exam.site, about.other_site(), 1)
    return replace(letter, subject=subject)


def _body_of_other_site(about: Case, letter: Letter) -> Letter:
    return mail.with_facts(letter, {mail.SITE: about.other_site()})


def _body_of_two_sites(about: Case, letter: Letter) -> Letter:
    return mail.with_facts(letter, {mail.SITE: f"{about.exam.site}, {about.other_site()}"})


def _body_without_site(_about: Case, letter: Letter) -> Letter:
    kept = {label: value for label, value in letter.facts.items() if label != mail.SITE}
    return replace(letter, facts=kept)


def _body_empty(_about: Case, letter: Letter) -> Letter:
    return replace(letter, facts={}, opening=("Voir la pièce jointe.",), closing=())


def _body_of_other_patient(about: Case, letter: Letter) -> Letter:
    other = about.other_patient()
    return mail.with_facts(
        letter, {mail.LAST_NAME: other.last_name, mail.FIRST_NAME: other.first_name}
    )


def _body_of_relative(about: Case, letter: Letter) -> Letter:
    return mail.with_facts(letter, {mail.FIRST_NAME: about.other_patient().first_name})


def _of_unknown_site(about: Case) -> tuple[Sending, ...]:
    about = replace(about, exam=replace(about.exam, site=about.unknown_site()))
    document = about.document()
    truth = about.truth("held", document, "site-unknown")
    return (sending(about, about.letter(document), truth, name="site-unknown"),)


# --- what the laboratory's own rules refuse ----------------------------------------------


def _can_be_refused(about: Case) -> bool:
    return about.exam.site in about.refusing


def _that_no_target_takes(about: Case) -> tuple[Sending, ...]:
    word = about.refusing[about.exam.site]
    outcome = next(one for one in Outcome if one.word == word)
    about = replace(about, exam=replace(about.exam, outcome=outcome))
    document = about.document()
    truth = about.truth("held", document, "target-refused")
    return (sending(about, about.letter(document), truth, name="target-refused"),)


def _known_to_the_server(about: Case) -> tuple[Sending, ...]:
    document = about.document()
    truth = about.truth("held", document, "in-doubt")
    one = sending(about, about.letter(document), truth, name="in-doubt")
    return (replace(one, flags=("SidepDispatched",)),)


DISAGREEMENT: Final = (
    held("finess-of-attachment", "finess-mismatch", _named(_for_other_site)),
    held("finess-of-subject", "finess-mismatch", _subject_of_other_site),
    held("finess-of-body", "finess-mismatch", _body_of_other_site),
    held("finess-of-body-twice", "finess-mismatch", _body_of_two_sites),
    held("finess-missing-in-body", "finess-mismatch", _body_without_site),
    held("body-missing", "finess-mismatch", _body_empty),
    held("file-number-of-attachment", "file-number-mismatch", _named(_for_other_file)),
    held("patient-of-attachment", "patient-mismatch", _named(_for_other_patient)),
    held("patient-of-body", "patient-mismatch", _body_of_other_patient),
    held("first-name-of-body", "patient-mismatch", _body_of_relative),
    Fault("site-unknown", _of_unknown_site, "site-unknown"),
)

CONDITIONAL: Final = (
    Fault(
        "target-refused",
        _that_no_target_takes,
        "target-refused",
        needs="`--refuses ET:RESULT`, and a site in routing.yaml that takes no such result",
        fits=_can_be_refused,
    ),
    Fault(
        "in-doubt",
        _known_to_the_server,
        "in-doubt",
        needs="the keyword SidepDispatched, set on it before the dispatcher looks",
    ),
)
