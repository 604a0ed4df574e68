"""The decision: certificate, foreign, or held for the first reason that applies."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from dispatcher.core import body, certificate, filename, subject
from dispatcher.core.body import Label
from dispatcher.core.certificate import Certificate, Claim, Foreign, Held, HoldReason, Result
from dispatcher.core.filename import Verdict
from dispatcher.core.paris import read_time
from dispatcher.core.subject import Fields

SENDER: Final = "noreply.sidep@enovacom.easycrypt.fr"
SENDERS: Final = frozenset({SENDER})
KEY: Final = Fields("990000010", "21_048", "de La Tour d’Auvergne", "Zoé")
NAME: Final = "990000010_21_048_DE LA TOUR D'AUVERGNE_Zoé.pdf"
SUBJECT: Final = (
    "[Projet SI-DEP] Certificat de test :  990000010 | 21_048 | de La Tour d’Auvergne | Zoé"
)
TEXT: Final = (
    "Nom : de La Tour d’Auvergne\n\nPrénom : Zoé\n\n"
    "Identifiant de la structure ayant réalisé le test : 990000010\n\n"
    "Date de prélèvement : 08/04/2021 13:48\n\nRésultat du test : Positif\n"
)


def mail(
    *,
    author: str = SENDER,
    headline: str = SUBJECT,
    text: str = TEXT,
    attachment: str = f'application/pdf; name="{NAME}"',
    content: str = "%PDF-1.4\n%%EOF",
    transfer: str = "8bit",
) -> bytes:
    return (
        f"From: {author}\nSubject: {headline}\nContent-Type: multipart/mixed; boundary=b\n\n"
        f"--b\nContent-Type: text/plain\n\n{text}\n"
        f"--b\nContent-Type: {attachment}\nContent-Transfer-Encoding: {transfer}\n\n{content}\n"
        "--b--\n"
    ).encode()


def held(raw: bytes) -> Held:
    reading = certificate.read(raw, SENDERS)
    assert isinstance(reading, Held)
    return reading


def test_sources_that_agree_make_a_certificate() -> None:
    found = certificate.read(mail(), SENDERS)
    assert isinstance(found, Certificate)
    assert (str(found.site), found.file_number) == ("990000010", "21_048")
    assert found.document.content == b"%PDF-1.4\n%%EOF"
    assert found.document.name == NAME
    assert found.facts.result is Result.POSITIVE
    assert found.sources.attachment == Claim(
        "990000010", "21_048", "DE LA TOUR D'AUVERGNE", "Zoé"
    )
    assert found.sources.body == Claim("990000010", None, "de La Tour d’Auvergne", "Zoé")


def test_mail_is_foreign_when_neither_author_nor_subject_is_sideps() -> None:
    assert certificate.read(mail(author="a@b.fr", headline="Bonjour"), SENDERS) == Foreign()
    assert held(mail(author="a@b.fr")).reason is HoldReason.SENDER_NOT_ALLOWED
    assert held(mail(headline="Bonjour")).reason is HoldReason.SUBJECT_UNREADABLE


def test_a_second_author_is_enough_to_hold_what_would_be_foreign() -> None:
    raw = mail(author=f"a@b.fr, {SENDER}", headline="Bonjour")
    assert held(raw).reason is HoldReason.SENDER_NOT_ALLOWED


def test_the_first_reason_in_order_is_told() -> None:
    spoiled = (
        ("author", "a@b.fr", "sender-not-allowed"),
        ("headline", f"RE: {SUBJECT}", "subject-unreadable"),
        ("attachment", 'application/pdf; name="certificat.pdf"', "attachment-name-unreadable"),
        (
            "text",
            TEXT.replace("Zoé", "Paul").replace("990000010", "990000028"),
            "finess-mismatch",
        ),
        ("content", "not a document", "not-a-pdf"),
    )
    for at, (_, _, reason) in enumerate(spoiled):
        raw = mail(**{key: value for key, value, _ in spoiled[at:]})
        assert held(raw).reason.value == reason


def test_a_site_comes_before_a_file_number_before_a_patient_in_any_source() -> None:
    other_name = NAME.replace("Zoé", "Paul")
    raw = mail(
        text=TEXT.replace("990000010", "990000028"),
        attachment=f'application/pdf; name="{other_name}"',
    )
    assert held(raw).reason is HoldReason.FINESS_MISMATCH
    raw = mail(
        text=TEXT.replace("Zoé", "Paul"),
        attachment=f'application/pdf; name="{NAME.replace("21_048", "21_049")}"',
    )
    assert held(raw).reason is HoldReason.FILE_NUMBER_MISMATCH


def test_what_is_undisputed_is_known_of_a_held_message() -> None:
    found = held(mail(headline=f"TR: {SUBJECT}"))
    assert str(found.facts.site) == "990000010"
    assert found.facts.result is Result.POSITIVE
    assert found.facts.file_number is None
    assert found.document is not None
    assert found.sources.subject is None


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(mail(headline=SUBJECT.replace("0010", "0028")), id="the subject"),
        pytest.param(mail(text=TEXT.replace("0010", "0028")), id="the body"),
        pytest.param(
            mail(attachment=f'application/pdf; name="{NAME.replace("0010", "0028")}"'),
            id="the name",
        ),
        pytest.param(
            mail(text=f"{TEXT}\nIdentifiant de la structure ayant réalisé le test : 990000028"),
            id="the body itself",
        ),
    ],
)
def test_a_disputed_site_is_no_fact(raw: bytes) -> None:
    found = held(raw)
    assert found.reason is HoldReason.FINESS_MISMATCH
    assert found.facts.site is None


def test_a_damaged_document_is_told_from_what_is_no_document() -> None:
    damaged = held(mail(content="JVBERi0xLjQK*", transfer="base64"))
    assert damaged.reason is HoldReason.PDF_UNREADABLE
    assert held(mail(content="<html>")).reason is HoldReason.NOT_A_PDF


INNER: Final = "--i\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQ=\n--i--"
INNER_64: Final = base64.b64encode(INNER.encode()).decode()


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(f"Content-Type: multipart/mixed\n\n{INNER}", id="no boundary"),
        pytest.param(f'Content-Type: multipart/mixed; boundary=""\n\n{INNER}', id="empty"),
        pytest.param(f"Content-Type: multipart/mixed; boundary='i'\n\n{INNER}", id="quoted"),
        pytest.param(
            f"Content-Type: multipart/mixed; boundary=i (c)\n\n{INNER}", id="with a comment"
        ),
        pytest.param(
            f"Content-Type: multipart/mixed (c); boundary=i\n\n{INNER}",
            id="a type with a comment",
        ),
        pytest.param(f"Content-Type: multipart; boundary=i\n\n{INNER}", id="half a type"),
        pytest.param(
            f"Content-Type: multipart/mixed; boundary=j; boundary=i\n\n--j\n\n{INNER}\n--j--",
            id="two boundaries",
        ),
        pytest.param(
            f"Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=i\n\n{INNER}",
            id="two types",
        ),
        pytest.param(
            "Content-Type: multipart/mixed; boundary=i\n"
            f"Content-Transfer-Encoding: base64\n\n{INNER_64}",
            id="an encoded multipart",
        ),
        pytest.param(f"no field\n{INNER}", id="no header"),
        pytest.param(
            "Content-Type: application/x\nContent-Transfer-Encoding: base-64\n\nJVBERi0xLjQ=",
            id="an unknown encoding",
        ),
        pytest.param(f"Content-Type: application/zip\n\nPK{' ' * 2000}%PDF-2", id="an archive"),
        pytest.param("Content-Type: text/x\n\nx\n--b--\n\n%PDF-2", id="behind the end"),
    ],
)
def test_what_may_hide_another_document_is_held(part: str) -> None:
    found = held(mail(content=f"%PDF-1.4\n%%EOF\n--b\n{part}"))
    assert found.reason is HoldReason.SEVERAL_CERTIFICATES
    assert found.document is None
    assert found.facts.result is Result.POSITIVE


def test_a_multipart_with_nothing_in_it_hides_nothing() -> None:
    raw = mail(content="%PDF-1.4\n%%EOF\n--b\nContent-Type: multipart/mixed\n\n \n")
    assert isinstance(certificate.read(raw, SENDERS), Certificate)


def test_a_sentence_for_people_tells_no_value() -> None:
    for path in sorted((Path(__file__).parents[1] / "corpus").glob("*/message.eml")):
        found = certificate.read(path.read_bytes(), SENDERS)
        if isinstance(found, Held):
            assert found.detail
            assert not any(letter.isdigit() for letter in found.detail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(SUBJECT, KEY, id="as in the guide"),
        pytest.param(SUBJECT.replace(" ", "\u00a0"), KEY, id="no-break spaces"),
        pytest.param(SUBJECT.replace(" | ", "|").replace(" :  ", ":"), KEY, id="tight"),
        pytest.param(f"RE: {SUBJECT}", None, id="a reply"),
        pytest.param(SUBJECT.replace(" :  ", " "), None, id="no colon"),
        pytest.param(f"{SUBJECT} |", None, id="a fifth, empty field"),
        pytest.param(SUBJECT.replace("990000010", "99000001"), None, id="eight digits"),
        pytest.param(SUBJECT.replace("990000010", "99000001０"), None, id="a full-width digit"),
        pytest.param(SUBJECT.replace("990000010", "2a0000010"), None, id="a small letter"),
        pytest.param(SUBJECT.replace("21_048", "21\n048"), None, id="a line end"),
        pytest.param(SUBJECT.replace("|", "｜"), None, id="full-width bars"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_subject_is_read_whole_or_not_at_all(text: str, expected: Fields | None) -> None:
    assert subject.read(text) == expected


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        pytest.param(f"TR : Re[2]: RÉF: {SUBJECT}", True, id="replies and transfers"),
        pytest.param("[projet si-dep] certificat  de test", True, id="small letters"),
        pytest.param(f"Lu : {SUBJECT}", False, id="a read receipt"),
        pytest.param(f"Question sur {SUBJECT}", False, id="a mention"),
        pytest.param(SUBJECT.replace("test", "t\u0435st"), False, id="a Cyrillic letter"),
    ],
)
def test_a_subject_is_sideps_when_it_begins_with_the_marker(text: str, *, ours: bool) -> None:
    assert subject.is_ours(text) is ours


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        pytest.param([NAME], Verdict.AGREES, id="as in the guide"),
        pytest.param([NAME.replace(" ", "_")], Verdict.AGREES, id="underscores for spaces"),
        pytest.param([NAME.replace(".pdf", ".PDF")], Verdict.AGREES, id="a capital extension"),
        pytest.param(
            [NAME, NAME.replace("é", "?")], Verdict.AGREES, id="a poor form beside it"
        ),
        pytest.param(
            [NAME.replace("é", "__"), NAME], Verdict.AGREES, id="a poor form before it"
        ),
        pytest.param([NAME.replace("é", "?")], Verdict.OTHER_PATIENT, id="a poor form alone"),
        pytest.param(
            [NAME, "certificat.pdf"], Verdict.UNREADABLE, id="something else beside it"
        ),
        pytest.param([NAME, NAME.replace("048", "049")], Verdict.UNREADABLE, id="another file"),
        pytest.param([], Verdict.UNREADABLE, id="no name"),
        pytest.param([NAME[:-4]], Verdict.UNREADABLE, id="no extension"),
        pytest.param([f"x{NAME}"], Verdict.UNREADABLE, id="something before the site"),
        pytest.param([NAME.replace("0010", "0028")], Verdict.OTHER_SITE, id="another site"),
        pytest.param([NAME.replace("048", "0489")], Verdict.OTHER_FILE, id="a longer number"),
        pytest.param([NAME.replace("048", "04")], Verdict.OTHER_FILE, id="a shorter number"),
        pytest.param(
            [NAME.replace("Zoé", "Zoé_2")], Verdict.OTHER_PATIENT, id="something behind"
        ),
        pytest.param(
            ["990000010_21_048_ZOÉ_de La Tour d’Auvergne.pdf"],
            Verdict.OTHER_PATIENT,
            id="swapped",
        ),
        pytest.param(
            ["990000010_21_048_DE LA TOUR_d’Auvergne Zoé.pdf"],
            Verdict.OTHER_PATIENT,
            id="split elsewhere",
        ),
        pytest.param(
            ["990000010_21_048_" + "_" * 8000 + ".pdf"],
            Verdict.OTHER_PATIENT,
            id="absurdly long",
        ),
    ],
)
def test_an_attachment_name_is_read_with_the_subject_as_key(
    names: list[str], verdict: Verdict
) -> None:
    assert filename.read_all(names, KEY).verdict is verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("08/04/2021 13:48", "2021-04-08T11:48Z", id="summer"),
        pytest.param("08/01/2021 13:48", "2021-01-08T12:48Z", id="winter"),
        pytest.param("08/04/2021 à 13h48", "2021-04-08T11:48Z", id="in words"),
        pytest.param("08/04/2021 13:48:30.", "2021-04-08T11:48:30Z", id="seconds and a dot"),
        pytest.param("31/10/2021 02:00", "2021-10-31T01:00Z", id="twice, at its begin"),
        pytest.param("31/10/2021 02:59", "2021-10-31T01:59Z", id="twice, at its end"),
        pytest.param(
            "31/10/2021 03:00", "2021-10-31T02:00Z", id="after the hour that is twice"
        ),
        pytest.param(
            "31/10/2021 01:59", "2021-10-30T23:59Z", id="before the hour that is twice"
        ),
        pytest.param("28/03/2021 02:00", "2021-03-28T01:00Z", id="never, at its begin"),
        pytest.param("28/03/2021 02:59", "2021-03-28T01:59Z", id="never, at its end"),
        pytest.param(
            "28/03/2021 03:00", "2021-03-28T01:00Z", id="after the hour that never is"
        ),
        pytest.param("08/04/2021", None, id="no hour"),
        pytest.param("30/02/2021 10:00", None, id="no such day"),
        pytest.param("08/04/2021 24:00", None, id="no such hour"),
        pytest.param("08/04/21 10:00", None, id="two digits of the year"),
        pytest.param("2021-04-08 10:00", None, id="another order"),
        pytest.param("08/04/2021 13:4８", None, id="a full-width digit"),
        pytest.param("08/04/2021 13:48 ou 14:48", None, id="two hours"),
        pytest.param("08/04/9999 13:48", None, id="an absurd year"),
    ],
)
def test_a_time_is_paris_time_and_the_later_of_two_readings(
    text: str, expected: str | None
) -> None:
    found = read_time(text)
    wanted = datetime.fromisoformat(expected) if expected else None
    assert (found.astimezone(UTC) if found else None) == wanted


def stated(text: str, label: Label) -> list[str]:
    return [" / ".join(value) for value in body.read([text]).of(label)]


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        pytest.param(
            "NOM\u00a0: X", Label.LAST_NAME, ["X"], id="capitals and a no-break space"
        ),
        pytest.param("- Prénom : X", Label.FIRST_NAME, ["X"], id="a bullet"),
        pytest.param("Prénom : X", Label.LAST_NAME, [], id="Prénom is not Nom"),
        pytest.param("Nom d'usage : X", Label.LAST_NAME, [], id="another Nom"),
        pytest.param("Nom : A\nB\n\nC", Label.LAST_NAME, ["A / B"], id="wrapped"),
        pytest.param("Nom :\n\nA\n\nB", Label.LAST_NAME, ["A"], id="below its label"),
        pytest.param("Nom :\n\nPrénom : A", Label.LAST_NAME, [""], id="empty"),
        pytest.param("Nom :\nNom\nPrénom :\nSexe", Label.LAST_NAME, ["Nom"], id="named Nom"),
        pytest.param("Nom :\nNom\nPrénom :\nSexe", Label.FIRST_NAME, ["Sexe"], id="named Sexe"),
        pytest.param("Nom : A\nMédecin : B", Label.LAST_NAME, ["A"], id="another label behind"),
        pytest.param("Nom\n\nA\n\nPrénom\n\nB", Label.LAST_NAME, ["A"], id="cells, no colons"),
        pytest.param("Nom\n\nNom : A", Label.LAST_NAME, ["A"], id="a heading"),
        pytest.param("Nom\nA", Label.LAST_NAME, [], id="a word of a paragraph"),
        pytest.param("> Nom : A", Label.LAST_NAME, [], id="quoted"),
        pytest.param("Nom : A\n> B", Label.LAST_NAME, ["A"], id="quoted behind"),
        pytest.param("Nom : A\u2028Nom : B", Label.LAST_NAME, ["A\u2028Nom : B"], id="U+2028"),
        pytest.param("Nom : A\nNom : B", Label.LAST_NAME, ["A", "B"], id="twice"),
        pytest.param(
            "Date\nde\nprélèvement\n: X", Label.SAMPLED, ["X"], id="a label on four lines"
        ),
        pytest.param("Date de naissance : X", Label.SAMPLED, [], id="another date"),
    ],
)
def test_a_label_gives_its_value(text: str, label: Label, expected: list[str]) -> None:
    assert stated(text, label) == expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        *(b":\n", b"Nom :\n", b"a\n", b"Date de\n", b"&#1", b"<", b"<!--", b"<a ", b'<a b="'),
        *(b'<a b="> ', b"<pre>", b"<blockquote cite>", b"<script>"),
    ],
)
@pytest.mark.parametrize("kind", [b"plain", b"html"])
def test_a_hostile_body_is_soon_read(piece: bytes, kind: bytes) -> None:
    head = f"From: {SENDER}\nSubject: {SUBJECT}\nContent-Type: text/".encode() + kind
    found = held(head + b"\n\n" + piece * (240_000 // len(piece)))
    assert found.reason is HoldReason.ATTACHMENT_MISSING


@pytest.mark.timeout(60)
@pytest.mark.parametrize("marks", ["\u0301", "\u0301\u0316"], ids=["of one class", "of two"])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_body_of_marks_without_end_is_not_read(marks: str, kind: str) -> None:
    head = f"From: {SENDER}\nSubject: {SUBJECT}\nContent-Type: text/{kind}\n\n"
    found = held((head + marks * (120_000 // len(marks))).encode())
    assert found.reason is HoldReason.TOO_LARGE


def test_a_held_certificate_keeps_its_sources_out_of_its_repr() -> None:
    found = held(mail(content="no document"))
    assert not any(word in repr(found) for word in ("Tour", "Zoé", "21_048"))
