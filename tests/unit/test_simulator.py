"""What the pretend SI-DEP writes, held against the guide's own words and other readers."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import io
import re
import subprocess
import sys
import unicodedata
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser
from random import Random
from zoneinfo import ZoneInfo

import pytest
from pypdf import PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject
from stdnum import luhn
from stdnum.fr import nir

from dispatcher.simulator import (
    cases,
    faults,
    foreign,
    headers,
    mail,
    mailers,
    pdf,
    people,
    scenario,
)
from dispatcher.simulator.cases import Case, Sending
from dispatcher.simulator.exams import Exam, Outcome
from dispatcher.simulator.mailers import MAILERS, BodyForm, Mailer
from dispatcher.simulator.people import Patient

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 3, 10, 30, tzinfo=PARIS)
SITES = tuple(scenario.SITES)

PATIENT = Patient("de La Selle", "Stanislas", "M", date(1985, 5, 14), "185057511612345")
EXAM = Exam(
    site="990000010",
    file_number="21048BC000020",
    code="94500-6",
    label="ARN du SARS-CoV-2",
    outcome=Outcome.NEGATIVE,
    sampled_at=datetime(2026, 11, 2, 13, 48, tzinfo=PARIS),
    integrated_at=datetime(2026, 11, 2, 17, 5, tzinfo=PARIS),
)


def a_case(seed: int = 7, patient: Patient = PATIENT, exam: Exam = EXAM) -> Case:
    return Case(Random(seed), SITES, NOW, patient, exam)


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def documents(raw: bytes) -> list[bytes]:
    parts = parsed(raw).iter_attachments()
    return [part.get_payload(decode=True) for part in parts]  # type: ignore[misc]


def names(raw: bytes) -> list[str | None]:
    return [part.get_filename() for part in parsed(raw).iter_attachments()]


def body(raw: bytes, kind: str = "plain") -> str:
    part = parsed(raw).get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text.replace("\r\n", "\n")


# --- against the guide -------------------------------------------------------------------


def test_the_subject_is_the_guides_with_one_space_before_the_colon_and_two_after() -> None:
    raw = cases.certificate(a_case()).raw
    assert parsed(raw)["Subject"] == (
        "[Projet SI-DEP] Certificat de test :  990000010 | 21048BC000020 | "
        "de La Selle | Stanislas"
    )


def test_the_attachment_bears_the_last_name_in_capitals() -> None:
    raw = cases.certificate(a_case()).raw
    assert names(raw) == ["990000010_21048BC000020_DE LA SELLE_Stanislas.pdf"]


def test_the_sender_is_the_guides() -> None:
    one = cases.certificate(a_case())
    assert parsed(one.raw)["From"] == "noreply.sidep@enovacom.easycrypt.fr"
    assert one.sender == "noreply.sidep@enovacom.easycrypt.fr"


def test_the_labels_are_the_guides_in_its_order() -> None:
    text = body(cases.certificate(a_case()).raw)
    assert (
        "Nom : de La Selle\n"
        "Prénom : Stanislas\n"
        "Sexe : M\n"
        "Date de naissance : 14/05/1985\n"
        "Matricule Identifiant National de Santé (INS) : 185057511612345\n"
        "Test réalisé : Type d'analyse (voir le site de Bioloinc pour la terminologie): "
        "94500-6 ARN du SARS-CoV-2\n"
        "Identifiant de la structure ayant réalisé le test : 990000010\n"
        "Date de prélèvement : 02/11/2026 13:48\n"
        "Date d'intégration du résultat dans l'application SI-DEP : 02/11/2026 17:05\n"
        "Résultat du test : Négatif\n"
    ) in text


def test_a_full_size_message_fills_the_guides_megabyte_and_no_more() -> None:
    about = a_case()
    document = pdf.certificate(PATIENT, EXAM, size=cases.FULL_SIZE)
    raw = mailers.encode(about.letter(document), about.rng)
    assert 980_000 < len(raw) <= 1_000_000


# --- same seed, same bytes ---------------------------------------------------------------


def digest(sendings: list[Sending]) -> str:
    return hashlib.sha256(b"\0".join(one.raw for one in sendings)).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first = scenario.certificates(11, 4, SITES, NOW)
    assert digest(scenario.certificates(11, 4, SITES, NOW)) == digest(first)
    assert digest(scenario.certificates(12, 4, SITES, NOW)) != digest(first)


@pytest.mark.parametrize(
    "name", [fault.name for fault in faults.FAULTS if "large" not in fault.name]
)
def test_a_fault_is_the_same_for_the_same_seed(name: str) -> None:
    made = [faults.named(name).build(a_case(3)) for _ in range(2)]
    assert digest(list(made[0])) == digest(list(made[1]))


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process() -> None:
    program = (
        "import hashlib, datetime as d; from dispatcher.simulator import scenario as s;"
        "now = d.datetime(2026, 11, 3, 9, tzinfo=d.timezone.utc);"
        "sent = s.demo(5, 4, tuple(s.SITES), now);"
        "print(hashlib.sha256(b''.join(x.raw for x in sent)).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PATH": ""},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Pacific/Auckland"))
    }
    assert len(printed) == 1


# --- people and tests --------------------------------------------------------------------


def test_every_ins_has_its_right_key() -> None:
    found = [one.ins for one in people.population(3, 300, NOW.date()) if one.ins]
    assert len(found) > 200
    assert [ins for ins in found if not nir.is_valid(ins)] == []


def test_corsican_ins_count_2a_as_19_and_2b_as_18() -> None:
    assert nir.is_valid("253072B073004" + people.ins_key("253072B073004"))
    assert nir.is_valid("253072A073004" + people.ins_key("253072A073004"))


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(r"^de La ", id="a particle"),
        pytest.param(r"\w'\w", id="a straight apostrophe"),
        pytest.param(r"\w’\w", id="a curly apostrophe"),
        pytest.param(r"\w-\w", id="a hyphen"),
        pytest.param(r"[œŒ]", id="a ligature"),
        pytest.param(r"^.$", id="one letter"),
        pytest.param(r"^.{60,}$", id="very long"),
        pytest.param(r"_", id="an underscore"),
        pytest.param("[\u0300-\u0302]", id="a decomposed accent"),
        pytest.param("[Łć]", id="a letter outside Latin-1"),
    ],
)
def test_a_population_of_63_has_every_kind_of_name(wanted: str) -> None:
    assert any(re.search(wanted, one.last_name) for one in people.population(1, 63, NOW.date()))


def test_file_numbers_have_several_shapes() -> None:
    seen = {cases.case(Random(seed), SITES, NOW).exam.file_number for seed in range(120)}
    shapes = (r"\d{5}[A-Z]{2}\d{6}", r".*_.*", r".*-.*", r".* .*", r"0\d{9}", r"[A-Z]\d{1,5}")
    for shape in shapes:
        assert any(re.fullmatch(shape, number) for number in seen), shape


def test_a_test_was_sampled_before_it_was_integrated_and_both_before_now() -> None:
    for seed in range(200):
        exam = cases.case(Random(seed), SITES, NOW).exam
        assert NOW - timedelta(hours=49) < exam.sampled_at < exam.integrated_at < NOW
        assert exam.sampled_at.tzinfo == PARIS


def test_no_sampling_time_falls_into_the_hour_that_does_not_exist() -> None:
    after = datetime(2026, 3, 29, 6, 0, tzinfo=PARIS)
    for seed in range(300):
        local = cases.case(Random(seed), SITES, after).exam.sampled_at
        back = local.astimezone(ZoneInfo("UTC")).astimezone(PARIS)
        assert back.replace(tzinfo=None) == local.replace(tzinfo=None)


def test_no_name_or_file_number_shows_in_a_repr() -> None:
    one = cases.certificate(a_case())
    shown = repr((PATIENT, EXAM, one, one.truth, a_case().letter(b"")))
    for secret in ("Selle", "Stanislas", "21048BC", "18505"):
        assert secret not in shown


# --- the document ------------------------------------------------------------------------


def text_of(document: bytes) -> str:
    reader = PdfReader(io.BytesIO(document), strict=True)
    assert len(reader.pages) == 1
    return re.sub(r"\s+", " ", reader.pages[0].extract_text())


@pytest.mark.parametrize(
    "someone", people.population(2, 63, NOW.date())[::3], ids=lambda one: one.last_name[:12]
)
def test_the_document_is_one_page_that_names_the_patient(someone: Patient) -> None:
    text = text_of(pdf.certificate(someone, EXAM, size=50_000))
    for name in (someone.last_name, someone.first_name):
        # A long name goes over the line after a hyphen or a space.
        found = unicodedata.normalize("NFC", name).replace(" ", "")
        assert found in text.replace(" ", "")
    assert f"{someone.born_on:%d/%m/%Y}" in text


def test_the_document_says_what_the_message_says() -> None:
    text = text_of(pdf.certificate(PATIENT, EXAM))
    for said in ("94500-6", "02/11/2026 à 13:48", "NÉGATIF", "21048BC000020", "990000010"):
        assert said in text


def test_the_document_has_a_picture_of_a_code() -> None:
    (page,) = PdfReader(io.BytesIO(pdf.certificate(PATIENT, EXAM))).pages
    assert len(page.images) == 1


@pytest.mark.parametrize("extra", [1, 200, 400, 40_000, 700_000])
def test_a_document_has_the_very_size_that_was_asked_for(
    extra: int, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(pdf.certificate(PATIENT, EXAM)) + extra
    document = pdf.certificate(PATIENT, EXAM, size=size)
    assert len(document) == size
    assert "de La Selle" in text_of(document)
    assert caplog.records == [], "the reader found something to correct"


# --- mailers -----------------------------------------------------------------------------


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._hidden = False

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self._hidden = tag == "style"
        self.text += "\n" if tag in {"br", "p"} else ""

    def handle_endtag(self, _tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


def plain_text(raw: bytes, kind: str) -> str:
    text = body(raw, kind)
    if kind == "html":
        reader = _Text()
        reader.feed(text)
        text = reader.text
    return re.sub(r"\s+", " ", text.replace("’", "'"))


def subject_of(raw: bytes) -> str:
    """Decode a subject as RFC 2047 says, joining the bytes of neighbours of one charset."""
    head = raw.partition(b"\r\n\r\n")[0]
    found = re.search(rb"(?ms)^Subject: (.*?)\r\n(?=\S)", head + b"\r\n.")
    assert found is not None
    return decoded(found[1])


def decoded(value: bytes) -> str:
    value = re.sub(rb"\r\n(?=[ \t])", b"", value)
    value = re.sub(rb"(?<=\?=)\s+(?==\?)", b"", value)
    out, pending, charset = "", b"", "utf-8"
    for piece in re.split(rb"(=\?[^?]+\?[BQ]\?[^?]*\?=)", value):
        word = re.fullmatch(rb"=\?([^?]+)\?([BQ])\?([^?]*)\?=", piece)
        if word is None:
            if piece:
                out, pending = out + pending.decode(charset) + _raw(piece), b""
            continue
        assert len(piece) <= 75, "RFC 2047, 2"
        if word[1].decode() != charset:
            out, pending, charset = out + pending.decode(charset), b"", word[1].decode()
        pending += _unquoted(word[3]) if word[2] == b"Q" else _unbased(word[3])
    return out + pending.decode(charset)


def _raw(piece: bytes) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece.decode("iso-8859-1")


def _unquoted(text: bytes) -> bytes:
    spaced = text.replace(b"_", b" ")
    return re.sub(rb"=([0-9A-F]{2})", lambda m: bytes.fromhex(m[1].decode()), spaced)


def _unbased(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)


ACCENTED = Patient("d’Hauterive-Œuvrard", "Éloïse", "F", date(1990, 1, 2), None)


@pytest.mark.parametrize("someone", [PATIENT, ACCENTED], ids=["ascii", "accented"])
@pytest.mark.parametrize("mailer", MAILERS, ids=lambda one: one.name)
def test_every_mailer_carries_the_same_message(mailer: Mailer, someone: Patient) -> None:
    about = a_case(patient=someone)
    one = cases.certificate(about, mailer)
    assert subject_of(one.raw) == (
        "[Projet SI-DEP] Certificat de test :  990000010 | 21048BC000020 | "
        f"{someone.last_name} | {someone.first_name}"
    )
    assert documents(one.raw) == [one.truth.document]
    kinds = {
        BodyForm.PLAIN: ["plain"],
        BodyForm.HTML: ["html"],
        BodyForm.BOTH: ["plain", "html"],
    }
    for kind in kinds[mailer.body]:
        text = plain_text(one.raw, kind)
        assert f"Nom : {someone.last_name} ".replace("’", "'") in text
        assert "Identifiant de la structure ayant réalisé le test : 990000010 " in text
        assert f"{'Date de' if mailer.cut_label else 'Date de prélèvement'} : 02/11" in text
        assert "dans l'application SI-DEP : 02/11/2026 17:05 " in text


@pytest.mark.parametrize("mailer", MAILERS, ids=lambda one: one.name)
def test_no_line_is_longer_than_smtp_allows_nor_ends_in_a_bare_line_feed(
    mailer: Mailer,
) -> None:
    raw = cases.certificate(a_case(patient=ACCENTED), mailer).raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


def test_a_word_is_cut_inside_a_character_when_the_mailer_is_careless() -> None:
    value = headers.subject(
        "Certificat de test : Éloïse", headers.SubjectForm.BASE64_CUT, "utf-8"
    )
    first = value.split(b"\r\n ")[0]
    with pytest.raises(UnicodeDecodeError):
        _unbased(first.rpartition(b"?B?")[2][:-2]).decode()


def test_the_forms_of_file_names_are_what_they_say() -> None:
    forms = {form: headers.disposition("É.pdf", form, "utf-8") for form in headers.NameForm}
    assert forms == {
        headers.NameForm.EXTENDED: b"attachment;\r\n filename*=utf-8''%C3%89.pdf",
        headers.NameForm.CONTINUED: b"attachment;\r\n filename*0*=utf-8''%C3%89.pdf",
        headers.NameForm.LYING: b"attachment;\r\n filename*=us-ascii''%C3%89.pdf",
        headers.NameForm.ENCODED_WORD: b'attachment;\r\n filename="=?utf-8?B?w4kucGRm?="',
        headers.NameForm.ENCODED_WORDS: (
            b'attachment;\r\n filename="=?utf-8?B?ww==?=\r\n =?utf-8?B?iS5wZGY=?="'
        ),
        headers.NameForm.BOTH: (
            b"attachment;\r\n filename=\"E.pdf\";\r\n filename*=utf-8''%C3%89.pdf"
        ),
        headers.NameForm.CONTENT_TYPE: b"attachment",
        headers.NameForm.RAW: b'attachment;\r\n filename="\xc3\x89.pdf"',
    }


# --- faults ------------------------------------------------------------------------------

# Every reason of the contract that a message alone can cause.
CAUSED_BY_A_MESSAGE = {
    "sender-not-allowed",
    "subject-unreadable",
    "attachment-missing",
    "attachment-name-unreadable",
    "several-certificates",
    "not-a-pdf",
    "pdf-encrypted",
    "pdf-active-content",
    "pdf-unreadable",
    "too-large",
    "finess-mismatch",
    "file-number-mismatch",
    "patient-mismatch",
    "site-unknown",
}


def built(name: str, seed: int = 3) -> tuple[Sending, ...]:
    return faults.named(name).build(cases.case(Random(seed), SITES, NOW))


def test_every_reason_that_a_message_can_cause_has_its_fault() -> None:
    assert {fault.reason for fault in faults.FAULTS} - {None} == CAUSED_BY_A_MESSAGE


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda one: one.name)
def test_every_fault_says_what_must_become_of_its_messages(fault: faults.Fault) -> None:
    made = built(fault.name)
    assert {one.case for one in made} == {fault.name}
    if fault.reason is not None:
        assert [(one.truth.state, one.truth.reason) for one in made] == [("held", fault.reason)]
    assert all(one.truth.reason is None or one.truth.state == "held" for one in made)
    assert all(parsed(one.raw)["Message-ID"] for one in made)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sent-again", ["delivered", "duplicate"]),
        ("same-message-twice", ["delivered", "duplicate"]),
        ("replacement", ["delivered", "delivered"]),
        ("namesakes", ["delivered", "delivered"]),
    ],
)
def test_what_comes_more_than_once_is_told_apart(name: str, expected: list[str]) -> None:
    first, second = built(name)
    assert [first.truth.state, second.truth.state] == expected
    same_document = documents(first.raw) == documents(second.raw)
    assert same_document == ("duplicate" in expected)
    same_file = first.truth.file_number == second.truth.file_number
    assert same_file == (name != "namesakes")
    assert second.truth.replaces == (name == "replacement")
    corrected = "rectificatif" in text_of(documents(second.raw)[0])
    assert corrected == (name == "replacement")
    assert (first.raw == second.raw) == (name == "same-message-twice")


def sources(one: Sending) -> tuple[list[str], str, dict[str, str]]:
    """Return the fields of the subject, the attachment's name, the lines of the body."""
    subject = subject_of(one.raw).partition(" :  ")[2].split(" | ")
    lines = dict(line.split(" : ", 1) for line in body(one.raw).splitlines() if " : " in line)
    (name,) = names(one.raw)
    assert name is not None
    return subject, name, lines


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("finess-of-subject", "subject site"),
        ("finess-of-attachment", "attachment site"),
        ("finess-of-body", "body site"),
        ("file-number-of-attachment", "attachment file number"),
        ("patient-of-attachment", "attachment patient"),
        ("patient-of-body", "body patient"),
        ("first-name-of-body", "body first name"),
    ],
)
def test_a_disagreement_is_in_one_source_only(name: str, wrong: str, seed: int) -> None:
    (one,) = built(name, seed)
    truth = one.truth
    assert truth.site is not None
    assert truth.file_number is not None
    assert truth.last_name is not None
    assert truth.first_name is not None
    subject, file_name, lines = sources(one)
    patient = f"_{truth.last_name.upper()}_{truth.first_name}.pdf"
    disagreeing = {
        "subject site": subject[0] != truth.site,
        "subject the rest": subject[1:]
        != [truth.file_number, truth.last_name, truth.first_name],
        "attachment site": not file_name.startswith(truth.site),
        "attachment file number": file_name[10:].startswith(f"{truth.file_number}_") is False,
        "attachment patient": not file_name.endswith(patient),
        "body site": lines["Identifiant de la structure ayant réalisé le test"] != truth.site,
        "body patient": lines["Nom"] != truth.last_name,
        "body first name": lines["Prénom"] != truth.first_name
        and lines["Nom"] == truth.last_name,
    }
    assert [what for what, differs in disagreeing.items() if differs] == [wrong]
    assert subject[0] in SITES


def test_the_unknown_site_is_consistent_and_not_one_of_the_table() -> None:
    (one,) = built("site-unknown")
    subject, file_name, lines = sources(one)
    number = lines["Identifiant de la structure ayant réalisé le test"]
    assert re.fullmatch(r"[0-9]{9}", number)
    assert number not in SITES
    assert subject[0] == number
    assert file_name.startswith(number + "_")


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("subject-reply", r"RE: \[Projet SI-DEP\] Certificat de test :  .*"),
        ("subject-forward", r"TR : \[Projet SI-DEP\] Certificat de test :  .*"),
        ("subject-other", r"Maintenance prévue"),
        ("subject-short", r"\[Projet SI-DEP\] Certificat de test :  [^|]*\|[^|]*\|[^|]*"),
        ("subject-full-width-digits", r"\[Projet SI-DEP\] .* :  ９９００００[０-９]{3} \| .*"),
    ],
)
def test_an_unreadable_subject_is_what_its_name_says(name: str, subject: str) -> None:
    assert re.fullmatch(subject, subject_of(built(name)[0].raw))


def test_a_forged_sender_has_the_right_address_in_the_wrong_place() -> None:
    sender = parsed(built("sender-only-in-display-name")[0].raw)["From"]
    assert sender.addresses[0].addr_spec == "resultats@certificats-covid.example"
    assert sender.addresses[0].display_name == "noreply.sidep@enovacom.easycrypt.fr"
    assert len(parsed(built("sender-and-another")[0].raw)["From"].addresses) == 2


def test_an_attachment_is_missing_nameless_or_one_too_many() -> None:
    assert documents(built("attachment-missing")[0].raw) == []
    assert names(built("attachment-nameless")[0].raw) == [None]
    assert names(built("attachment-named-otherwise")[0].raw) == ["certificat.pdf"]
    assert len(documents(built("two-certificates")[0].raw)) == 2


def test_an_encrypted_document_opens_for_nobody() -> None:
    (document,) = documents(built("pdf-encrypted")[0].raw)
    reader = PdfReader(io.BytesIO(document))
    assert reader.is_encrypted
    assert not reader.decrypt("")


@pytest.mark.parametrize(
    ("name", "action"), [("pdf-with-javascript", "/JavaScript"), ("pdf-with-launch", "/Launch")]
)
def test_a_document_that_runs_something_when_opened(name: str, action: str) -> None:
    (document,) = documents(built(name)[0].raw)
    reader = PdfReader(io.BytesIO(document), strict=True)
    opening = reader.root_object["/OpenAction"]
    assert isinstance(opening, DictionaryObject)
    assert str(opening["/S"]) == action
    assert len(reader.pages) == 1


def test_a_document_with_a_file_inside() -> None:
    (document,) = documents(built("pdf-with-embedded-file")[0].raw)
    assert list(PdfReader(io.BytesIO(document), strict=True).attachments) == ["lisez.exe"]


@pytest.mark.parametrize("name", ["pdf-cut-short", "pdf-scrambled"])
def test_a_document_that_no_reader_opens(name: str) -> None:
    (document,) = documents(built(name)[0].raw)
    assert document.startswith(b"%PDF-")
    with pytest.raises((PyPdfError, ValueError, RecursionError)):
        len(PdfReader(io.BytesIO(document)).pages)


@pytest.mark.parametrize("name", ["pdf-is-a-zip", "pdf-is-a-page"])
def test_what_is_not_a_pdf_still_bears_the_right_name(name: str) -> None:
    (one,) = built(name)
    (document,) = documents(one.raw)
    assert b"%PDF" not in document
    assert names(one.raw) == [one.truth.file_name]


def test_the_too_large_message_is_sound_but_for_its_size() -> None:
    (one,) = built("too-large")
    assert 10 * 1024 * 1024 < len(one.raw) < 12 * 1024 * 1024
    (document,) = documents(one.raw)
    assert len(PdfReader(io.BytesIO(document), strict=True).pages) == 1


# --- foreign mail and the scene ----------------------------------------------------------


def test_foreign_mail_has_neither_the_sender_nor_the_subject_of_si_dep() -> None:
    sent = foreign.all_kinds(Random(1), NOW, recipient=scenario.RECIPIENT)
    assert {one.truth.state for one in sent} == {"foreign"}
    for one in sent:
        (author,) = parsed(one.raw)["From"].addresses
        assert author.addr_spec != mail.SENDER
        assert not subject_of(one.raw).startswith("[Projet SI-DEP]")
    assert {flag for one in sent for flag in one.flags} >= {r"\Seen", r"\Flagged"}


def test_foreign_mail_brings_a_pdf_and_an_archive() -> None:
    sent = foreign.all_kinds(Random(1), NOW, recipient=scenario.RECIPIENT)
    brought = [document[:4] for one in sent for document in documents(one.raw)]
    assert sorted(brought) == [b"%PDF", b"PK\x03\x04"]


@pytest.mark.slow
def test_the_demonstration_has_everything_and_its_order_keeps_lanes() -> None:
    sent = scenario.demo(1, 24, SITES, NOW)
    sound = [one for one in sent if one.case == "certificate"]
    assert len(sound) == 24
    assert {one.truth.site for one in sound} == set(SITES)
    assert {fault.name for fault in faults.FAULTS} <= {one.case for one in sent}
    assert sum(one.truth.state == "foreign" for one in sent) == len(foreign.NAMES)
    states = [one.truth.state for one in sent if one.case == "sent-again"]
    assert states == ["delivered", "duplicate"]
    newest = max(parsed(one.raw)["Date"].datetime for one in sound)
    assert newest <= NOW


def test_certificates_take_turns_of_sites_and_mailers() -> None:
    sent = scenario.certificates(1, 28, SITES, NOW)
    assert len({one.lane for one in sent}) == 28
    assert {one.truth.site for one in sent} == set(SITES)
    assert {b"html" in one.raw.partition(b"JVBERi")[0] for one in sent} == {True, False}
    assert {one.truth.document for one in sent} == {documents(one.raw)[0] for one in sent}


def test_the_fictional_sites_check_by_luhn() -> None:
    assert all(luhn.is_valid(number) for number in SITES)
    assert mail.RECIPIENT == scenario.RECIPIENT
