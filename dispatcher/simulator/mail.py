"""Writes the message that SI-DEP sends with a certificate, before any mailer encodes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from dispatcher.simulator.exams import Exam, shifted
from dispatcher.simulator.people import Patient

# All of this is printed in the guide: pages 10 to 12 of version 1.2.
SENDER: Final = "noreply.sidep@enovacom.easycrypt.fr"
SUBJECT: Final = (
    "[Projet SI-DEP] Certificat de test :  {site} | {file_number} | {last_name} | {first_name}"
)
FILE_NAME: Final = "{site}_{file_number}_{LAST_NAME}_{first_name}.pdf"

LAST_NAME: Final = "Nom"
FIRST_NAME: Final = "Prénom"
SEX: Final = "Sexe"
BORN_ON: Final = "Date de naissance"
INS: Final = "Matricule Identifiant National de Santé (INS)"
ANALYSIS: Final = (
    "Test réalisé : Type d'analyse (voir le site de Bioloinc pour la terminologie)"
)
SITE: Final = "Identifiant de la structure ayant réalisé le test"
SAMPLED_AT: Final = "Date de prélèvement"
# Printed once in the guide in the place of the line above.
SAMPLED_AT_CUT: Final = "Date de"
INTEGRATED_AT: Final = "Date d'intégration du résultat dans l'application SI-DEP"
RESULT: Final = "Résultat du test"

# The mailbox of the examples.
RECIPIENT: Final = "sidep@lbm.example.mssante.fr"

# Sentences of our own: nothing may be read from them.
_OPENING: Final = (
    "Bonjour,",
    (
        "Un test Covid-19 que vous avez transmis ne permet pas de joindre la personne : ni "
        "téléphone, ni adresse électronique. Son certificat est joint à ce courriel pour lui "
        "être remis. Voici ce que dit son dossier :"
    ),
)
_CLOSING: Final = (
    (
        "Merci de remettre ce document en mains propres, et de rappeler à la personne les "
        "applications et les sites publics qui l'informent sur les gestes à suivre."
    ),
    "Ce courriel part d'un automate : une réponse ne serait lue par personne.",
    "L'équipe du simulateur SI-DEP",
)


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One attached file. `name` None: it bears no name at all."""

    name: str | None = field(repr=False)
    content: bytes = field(repr=False)
    kind: str = "application/pdf"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message before it is encoded. `facts` are the labelled lines, in their order."""

    subject: str | None = field(repr=False)
    facts: Mapping[str, str] = field(repr=False)
    enclosures: tuple[Enclosure, ...] = field(repr=False)
    sender: str
    recipient: str
    written_at: datetime
    message_id: str
    opening: tuple[str, ...] = field(default=_OPENING, repr=False)
    closing: tuple[str, ...] = field(default=_CLOSING, repr=False)

    def lines(self) -> tuple[tuple[str, str], ...]:
        """Return the labelled lines: the label with its colon, and what it says."""
        # The guide prints a space before the colon on every line but the analysis.
        return tuple(
            (f"{label}:" if label == ANALYSIS else f"{label} :", value)
            for label, value in self.facts.items()
        )


def letter(
    patient: Patient,
    exam: Exam,
    document: bytes,
    *,
    recipient: str,
    rng: Random,
    sender: str = SENDER,
) -> Letter:
    """Return the message of the guide for that patient and test, a few minutes later."""
    return Letter(
        subject=SUBJECT.format(
            site=exam.site,
            file_number=exam.file_number,
            last_name=patient.last_name,
            first_name=patient.first_name,
        ),
        facts=facts(patient, exam),
        enclosures=(Enclosure(file_name(patient, exam), document),),
        sender=sender,
        recipient=recipient,
        written_at=shifted(exam.integrated_at, timedelta(seconds=rng.randrange(20, 240))),
        message_id=message_id(rng),
    )


def facts(patient: Patient, exam: Exam) -> dict[str, str]:
    """Return the labels of the guide with what they say of that patient and test."""
    return {
        LAST_NAME: patient.last_name,
        FIRST_NAME: patient.first_name,
        SEX: patient.sex,
        BORN_ON: f"{patient.born_on:%d/%m/%Y}",
        INS: patient.ins or "",
        ANALYSIS: f"{exam.code} {exam.label}",
        SITE: exam.site,
        SAMPLED_AT: f"{exam.sampled_at:%d/%m/%Y %H:%M}",
        INTEGRATED_AT: f"{exam.integrated_at:%d/%m/%Y %H:%M}",
        RESULT: exam.outcome.value,
    }


def file_name(patient: Patient, exam: Exam) -> str:
    """Return the name of the attachment: the last name in capitals, the first as it is."""
    return FILE_NAME.format(
        site=exam.site,
        file_number=exam.file_number,
        LAST_NAME=patient.last_name.upper(),
        first_name=patient.first_name,
    )


def message_id(rng: Random, domain: str = "enovacom.easycrypt.fr") -> str:
    """Return a Message-ID that no other draw of this generator gives."""
    return f"<{rng.randbytes(12).hex()}@{domain}>"


def with_facts(letter: Letter, changes: Mapping[str, str]) -> Letter:
    """Return the letter with other values on some of its labelled lines."""
    return replace(letter, facts={**letter.facts, **changes})
