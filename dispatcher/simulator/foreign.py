"""Other mail that a reused mailbox holds: none of it is SI-DEP's, none may be touched."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from dispatcher.simulator import exams, mail, mailers, pdf, people
from dispatcher.simulator.cases import Sending, Truth
from dispatcher.simulator.mail import Enclosure, Letter
from dispatcher.simulator.mailers import BodyForm, Mailer

_HTML: Final = Mailer("newsletter", body=BodyForm.HTML)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    sender: str
    subject: str
    text: tuple[str, ...]
    enclose: Callable[[Random, datetime], tuple[Enclosure, ...]] = lambda _rng, _now: ()
    mailer: Mailer = mailers.DEFAULT
    flags: tuple[str, ...] = ()


def all_kinds(rng: Random, now: datetime, *, recipient: str) -> list[Sending]:
    """Return one message of each kind, written in the day before `now`."""
    return [_message(kind, rng, now, recipient) for kind in _KINDS]


def of_kind(name: str, rng: Random, now: datetime, *, recipient: str) -> Sending:
    """Return one message of that kind, written in the day before `now`."""
    kind = next(kind for kind in _KINDS if kind.name == name)
    return _message(kind, rng, now, recipient)


def _message(kind: _Kind, rng: Random, now: datetime, recipient: str) -> Sending:
    written_at = exams.shifted(now, -timedelta(minutes=rng.randrange(1, 24 * 60)))
    letter = Letter(
        subject=kind.subject,
        facts={},
        enclosures=kind.enclose(rng, now),
        sender=kind.sender,
        recipient=recipient,
        written_at=written_at.replace(microsecond=0),
        message_id=mail.message_id(rng, kind.sender.rpartition("@")[2].rstrip(">")),
        opening=kind.text,
        closing=(),
    )
    return Sending(
        raw=mailers.encode(letter, rng, kind.mailer),
        sender=kind.sender.rpartition("<")[2].rstrip(">"),
        recipient=recipient,
        truth=Truth("foreign"),
        case=kind.name,
        lane=letter.message_id,
        flags=kind.flags,
        message_id=letter.message_id,
        written_at=letter.written_at,
    )


def _report(rng: Random, now: datetime) -> tuple[Enclosure, ...]:
    """Return a PDF that looks like a certificate and came by another way."""
    someone, test = people.patient(rng, now.date()), exams.exam(rng, "750000000", now)
    name = f"CR_{someone.last_name}_{someone.first_name}.pdf"
    return (Enclosure(name, pdf.certificate(someone, test)),)


def _exchange(rng: Random, _now: datetime) -> tuple[Enclosure, ...]:
    """Return an XDM archive, what MSSanté carries health documents in (IHE ITI, vol. 2)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("INDEX.HTM", "README.TXT", "IHE_XDM/SUBSET01/METADATA.XML"):
            # A fixed date: the bytes must depend on the seed only.
            archive.writestr(zipfile.ZipInfo(name), rng.randbytes(400).hex())
    return (Enclosure("IHE_XDM.ZIP", packed.getvalue(), "application/zip"),)


_KINDS: Final = (
    _Kind(
        "newsletter",
        '"Lettre de la biologie" <lettre@revue-biologie.example>',
        "Les nouveautés du mois",
        ("Bonjour,", "Ce mois-ci : la nomenclature change. Lire la suite en ligne."),
        mailer=_HTML,
        flags=(r"\Seen",),
    ),
    _Kind(
        "colleague-with-pdf",
        "docteur.blanc@cabinet.example.mssante.fr",
        "Compte rendu de ma patiente",
        ("Cher confrère,", "Ci-joint le compte rendu attendu. Bien à vous."),
        enclose=_report,
        flags=(r"\Flagged",),
    ),
    _Kind(
        "exchange-archive",
        "hopital@chu.example.mssante.fr",
        "XDM/1.0/DDM",
        ("Document de santé transmis par messagerie sécurisée.",),
        enclose=_exchange,
    ),
    _Kind(
        "question-about-certificates",
        "accueil@lbm.example.mssante.fr",
        "Question sur les certificats SI-DEP",
        ("Bonjour,", "Où se trouvent les certificats reçus hier ? Merci."),
        flags=(r"\Seen", r"\Answered"),
    ),
    _Kind(
        "plain-note",
        "informatique@lbm.example.mssante.fr",
        "Coupure de samedi",
        ("Le réseau sera coupé samedi de 6 h à 7 h.",),
        flags=(r"\Draft",),
    ),
    _Kind(
        "marker-in-the-subject",
        "secretariat@lbm.example.mssante.fr",
        "À propos de [Projet SI-DEP] Certificat de test :  990000010 | 21048BC000020",
        ("Bonjour,", "Ce certificat est-il arrivé chez vous ?"),
    ),
    _Kind(
        "lookalike-sender",
        "noreply.sidep@enovacom.easycrypt.fr.example",
        "Votre boîte est presque pleine",
        ("Bonjour,", "Cliquez ici pour agrandir votre boîte."),
    ),
    _Kind(
        "delivery-receipt",
        "mailer-daemon@lbm.example.mssante.fr",
        "Undelivered Mail Returned to Sender",
        ("I'm sorry to have to inform you that your message could not be delivered.",),
    ),
)

NAMES: Final = tuple(kind.name for kind in _KINDS)
