"""Messages with something wrong, each under a name and with what must become of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from dispatcher.simulator import exams, mail, pdf
from dispatcher.simulator.cases import Case, Sending, certificate, sending
from dispatcher.simulator.exams import Outcome
from dispatcher.simulator.mail import Enclosure, Letter

_STRANGER: Final = "resultats@certificats-covid.example"
_COLLEAGUE: Final = "secretariat@cabinet.example.mssante.fr"

# The largest message that the program takes is 10 MB: this one comes to 11.
_TOO_LARGE: Final = 8_100_000

# A word processor's file and a web page, as far as their first bytes tell.
_ZIP: Final = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml" * 40
_PAGE: Final = "<!DOCTYPE html><html><body>Erreur 503 : réessayez.</body></html>".encode() * 40

Change = Callable[[Case, Letter], Letter]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name. `reason` is the word that holding it must give, if it is held.

    `build` makes its messages from a case; each says in its own truth what it expects.
    """

    name: str
    build: Callable[[Case], tuple[Sending, ...]]
    reason: str | None = None


def named(name: str) -> Fault:
    """Return the fault of that name; KeyError when there is none."""
    return _BY_NAME[name]


def _held(name: str, reason: str | None, change: Change) -> Fault:
    """Build a single message that must be held. No reason: whichever the reader gives."""

    def build(about: Case) -> tuple[Sending, ...]:
        document = about.document()
        letter = change(about, about.letter(document))
        return (sending(about, letter, about.truth("held", document, reason), name=name),)

    return Fault(name, build, reason)


# --- the sender and the subject ----------------------------------------------------------


def _sender(text: str) -> Change:
    return lambda _about, letter: replace(letter, sender=text)


def _subject(change: Callable[[str], str | None]) -> Change:
    return lambda _about, letter: replace(letter, subject=change(letter.subject or ""))


def _without_last_field(subject: str) -> str:
    return subject.rpartition(" | ")[0]


def _in_full_width(subject: str) -> str:
    """Write the ET number in digits that look like digits and are not ASCII."""
    head, bar, tail = subject.partition(" | ")
    wide = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
    return head.translate(wide) + bar + tail


def _passed_on(about: Case, letter: Letter) -> Letter:
    return replace(
        letter,
        sender=f'"Accueil" <{_COLLEAGUE}>',
        subject=f"TR: {letter.subject}",
        message_id=mail.message_id(about.rng, "cabinet.example.mssante.fr"),
    )


# --- the attachment ----------------------------------------------------------------------


def _renamed(change: Callable[[Case], str | None]) -> Change:
    def apply(about: Case, letter: Letter) -> Letter:
        return replace(letter, enclosures=(replace(letter.enclosures[0], name=change(about)),))

    return apply


def _content(change: Callable[[Case, bytes], bytes]) -> Change:
    def apply(about: Case, letter: Letter) -> Letter:
        only = letter.enclosures[0]
        return replace(letter, enclosures=(replace(only, content=change(about, only.content)),))

    return apply


def _emptied(_about: Case, letter: Letter) -> Letter:
    return replace(letter, enclosures=())


def _doubled(about: Case, letter: Letter) -> Letter:
    other = replace(about, patient=about.other_patient())
    second = Enclosure(mail.file_name(other.patient, other.exam), other.document())
    return replace(letter, enclosures=(*letter.enclosures, second))


def _locked(about: Case, _document: bytes) -> bytes:
    return pdf.certificate(about.patient, about.exam, encrypted=True)


def _with_script(_about: Case, document: bytes) -> bytes:
    action = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
    return pdf.with_objects(document, (action,), catalog=b"/OpenAction <<0>> 0 R")


def _with_launch(_about: Case, document: bytes) -> bytes:
    action = b"<< /S /Launch /F (calc.exe) >>"
    return pdf.with_objects(document, (action,), catalog=b"/OpenAction <<0>> 0 R")


def _with_file_inside(_about: Case, document: bytes) -> bytes:
    objects = (
        pdf.stream(b"MZ"),
        b"<< /Type /Filespec /F (lisez.exe) /UF (lisez.exe) /EF << /F <<0>> 0 R >> >>",
    )
    tree = b"/Names << /EmbeddedFiles << /Names [(lisez.exe) <<1>> 0 R] >> >>"
    return pdf.with_objects(document, objects, catalog=tree)


def _cut_short(_about: Case, document: bytes) -> bytes:
    # Inside the first objects, so that no reader can repair a page out of the rest.
    return document[:600]


def _scrambled(about: Case, document: bytes) -> bytes:
    return b"%PDF-1.4\n" + about.rng.randbytes(len(document) // 4) + b"\n%%EOF\n"


def _huge(about: Case, document: bytes) -> bytes:
    return pdf.with_objects(document, (pdf.stream(about.rng.randbytes(_TOO_LARGE)),))


# --- sources that disagree ---------------------------------------------------------------


def _named_for_other_site(about: Case) -> str:
    return mail.file_name(about.patient, replace(about.exam, site=about.other_site()))


def _named_for_other_file(about: Case) -> str:
    other = exams.file_number(about.rng, about.exam.sampled_at)
    return mail.file_name(about.patient, replace(about.exam, file_number=other))


def _named_for_other_patient(about: Case) -> str:
    return mail.file_name(about.other_patient(), about.exam)


def _subject_of_other_site(about: Case, letter: Letter) -> Letter:
    subject = (letter.subject or "").replace(about.exam.site, about.other_site(), 1)
    return replace(letter, subject=subject)


def _body_of_other_site(about: Case, letter: Letter) -> Letter:
    return mail.with_facts(letter, {mail.SITE: about.other_site()})


def _body_of_other_patient(about: Case, letter: Letter) -> Letter:
    other = about.other_patient()
    return mail.with_facts(
        letter, {mail.LAST_NAME: other.last_name, mail.FIRST_NAME: other.first_name}
    )


def _body_of_relative(about: Case, letter: Letter) -> Letter:
    return mail.with_facts(letter, {mail.FIRST_NAME: about.other_patient().first_name})


def _unknown_site(name: str) -> Fault:
    def build(about: Case) -> tuple[Sending, ...]:
        numbers = (f"99000{n:04}" for n in itertools.count(9000))
        site = next(number for number in numbers if number not in about.sites)
        about = replace(about, exam=replace(about.exam, site=site))
        document = about.document()
        truth = about.truth("held", document, "site-unknown")
        return (sending(about, about.letter(document), truth, name=name),)

    return Fault(name, build, "site-unknown")


# --- the same file more than once --------------------------------------------------------


def _sent_again(about: Case) -> tuple[Sending, ...]:
    """Send the same document in a new message, a moment later by its date."""
    first = certificate(about)
    document = first.truth.document or b""
    letter = about.letter(document)
    later = exams.shifted(letter.written_at, timedelta(seconds=30))
    letter = replace(letter, written_at=later)
    truth = about.truth("duplicate", document)
    again = sending(about, letter, truth, name="sent-again")
    return (replace(first, case="sent-again"), again)


def _same_message_twice(about: Case) -> tuple[Sending, ...]:
    """Send the very same bytes twice, as after a connection lost at the final dot."""
    first = replace(certificate(about), case="same-message-twice")
    return (first, replace(first, truth=replace(first.truth, state="duplicate")))


def _corrected(about: Case) -> tuple[Sending, ...]:
    """Send another document for the same site and file number."""
    first = certificate(about)
    outcomes = [outcome for outcome in Outcome if outcome is not about.exam.outcome]
    after = replace(about, exam=replace(about.exam, outcome=about.rng.choice(outcomes)))
    document = after.document(edition=2)
    truth = replace(after.truth("delivered", document), replaces=True)
    second = sending(after, after.letter(document), truth, name="replacement")
    return (replace(first, case="replacement"), second)


def _namesakes(about: Case) -> tuple[Sending, ...]:
    """Send the certificates of two people of one name, tested at one site."""
    first = replace(certificate(about), case="namesakes")
    other = exams.file_number(about.rng, about.exam.sampled_at) + "2"
    second = replace(about, exam=replace(about.exam, file_number=other))
    return (first, replace(certificate(second), case="namesakes"))


FAULTS: Final = (
    _held("sender-other", "sender-not-allowed", _sender(_STRANGER)),
    _held(
        "sender-only-in-display-name",
        "sender-not-allowed",
        _sender(f'"{mail.SENDER}" <{_STRANGER}>'),
    ),
    _held("sender-and-another", "sender-not-allowed", _sender(f"{mail.SENDER}, {_STRANGER}")),
    _held("subject-reply", "subject-unreadable", _subject(lambda text: f"RE: {text}")),
    _held("subject-forward", "subject-unreadable", _subject(lambda text: f"TR : {text}")),
    _held("subject-missing", "subject-unreadable", _subject(lambda _text: None)),
    _held("subject-other", "subject-unreadable", _subject(lambda _text: "Maintenance prévue")),
    _held("subject-short", "subject-unreadable", _subject(_without_last_field)),
    _held("subject-full-width-digits", None, _subject(_in_full_width)),
    _held("passed-on-by-colleague", None, _passed_on),
    _held("attachment-missing", "attachment-missing", _emptied),
    _held(
        "attachment-named-otherwise",
        "attachment-name-unreadable",
        _renamed(lambda _about: "certificat.pdf"),
    ),
    _held("attachment-nameless", "attachment-name-unreadable", _renamed(lambda _about: None)),
    _held("two-certificates", "several-certificates", _doubled),
    _held("pdf-is-a-zip", "not-a-pdf", _content(lambda _about, _document: _ZIP)),
    _held("pdf-is-a-page", "not-a-pdf", _content(lambda _about, _document: _PAGE)),
    _held("pdf-encrypted", "pdf-encrypted", _content(_locked)),
    _held("pdf-with-javascript", "pdf-active-content", _content(_with_script)),
    _held("pdf-with-launch", "pdf-active-content", _content(_with_launch)),
    _held("pdf-with-embedded-file", "pdf-active-content", _content(_with_file_inside)),
    _held("pdf-cut-short", "pdf-unreadable", _content(_cut_short)),
    _held("pdf-scrambled", "pdf-unreadable", _content(_scrambled)),
    _held("too-large", "too-large", _content(_huge)),
    _held("finess-of-attachment", "finess-mismatch", _renamed(_named_for_other_site)),
    _held("finess-of-subject", "finess-mismatch", _subject_of_other_site),
    _held("finess-of-body", "finess-mismatch", _body_of_other_site),
    _held("file-number-of-attachment", "file-number-mismatch", _renamed(_named_for_other_file)),
    _held("patient-of-attachment", "patient-mismatch", _renamed(_named_for_other_patient)),
    _held("patient-of-body", "patient-mismatch", _body_of_other_patient),
    _held("first-name-of-body", "patient-mismatch", _body_of_relative),
    _unknown_site("site-unknown"),
    Fault("sent-again", _sent_again),
    Fault("same-message-twice", _same_message_twice),
    Fault("replacement", _corrected),
    Fault("namesakes", _namesakes),
)

_BY_NAME: Final = {fault.name: fault for fault in FAULTS}
