"""Draws the one-page certificate as a PDF: same patient, test and size, same bytes."""

from __future__ import annotations

import io
import re
import unicodedata
from random import Random
from typing import Final

import segno
from fpdf import FPDF
from fpdf.enums import AccessPermission, EncryptionMethod, YPos

from dispatcher import fonts
from dispatcher.simulator.exams import Exam, Outcome
from dispatcher.simulator.people import Patient

# A font every reader has, which knows Latin-1 only. Some names need œ, ’ or ễ: a font of
# ours, which takes as long as all the rest of the page.
_TITLE: Final = "helvetica"
_TEXT: Final = "dejavu"

_BLUE: Final = (0, 0, 145)
_RED: Final = (225, 0, 15)
_GREY: Final = (110, 110, 110)
_TINTS: Final = {
    Outcome.NEGATIVE: (24, 117, 60),
    Outcome.POSITIVE: (206, 5, 0),
    Outcome.UNDETERMINED: (179, 64, 0),
    Outcome.NOT_COMPLIANT: (102, 102, 102),
}
_LOCK: Final = "un mot de passe que personne ne donne"
_MASK: Final = 2
_LEFT: Final = 22.0
_VALUE: Final = 78.0
_NAMES: Final = 2  # the first lines are the names
_WIDE: Final = 188.0 - _VALUE


def certificate(
    patient: Patient,
    exam: Exam,
    *,
    size: int | None = None,
    encrypted: bool = False,
    edition: int = 1,
) -> bytes:
    """Return the certificate as a PDF of one page.

    `size`: exact number of bytes wanted; a page that takes more stays as it is.
    `edition` tells a corrected certificate from the first one of the same file.
    """
    page = FPDF(format="A4")
    page.set_creation_date(exam.integrated_at)
    page.set_auto_page_break(auto=False)
    page.set_title("Certificat de test de dépistage")
    page.set_lang("fr-FR")
    if _TEXT in {_font_for(patient.last_name), _font_for(patient.first_name)}:
        page.add_font(_TEXT, fname=fonts.LATIN)
    if encrypted:
        page.set_encryption(
            owner_password=_LOCK,
            user_password=_LOCK,
            encryption_method=EncryptionMethod.RC4,
            permissions=AccessPermission.all(),
        )
    page.add_page()
    _draw_heading(page, edition)
    _draw_facts(page, patient, exam)
    _draw_outcome(page, exam)
    _draw_code(page, patient, exam)
    _draw_foot(page)
    return _padded(bytes(page.output()), size)


def with_objects(pdf: bytes, objects: tuple[bytes, ...], *, catalog: bytes = b"") -> bytes:
    """Append objects, and entries of the catalog, as an incremental update (ISO 32000, 7.5.6).

    Inside `objects` and `catalog` the text `<<n>>` stands for the number of the nth
    appended object, from 0.
    """
    root, first = _last_number(rb"/Root (\d+) 0 R", pdf), _last_number(rb"/Size (\d+)", pdf)
    previous = _last_number(rb"startxref\s+(\d+)", pdf)
    named = [(first + n, _numbered(body, first)) for n, body in enumerate(objects)]
    if catalog:
        found = re.search(rb"(?s)\n%d 0 obj\n<<(.*?)>>\nendobj" % root, pdf)
        if found is None:
            raise ValueError("the document has no catalog where one was expected")
        # What fpdf2 wrote about opening would hide ours: the first of two keys counts.
        kept = re.sub(rb"/OpenAction \[.*?\]", b"", found[1])
        named.insert(0, (root, b"<<" + kept + _numbered(catalog, first) + b">>"))
    out = bytearray(pdf.rstrip() + b"\n")
    table = bytearray(b"xref\n0 1\n0000000000 65535 f \n")
    for number, body in named:
        table += b"%d 1\n%010d 00000 n \n" % (number, len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    trailer = b"trailer\n<< /Size %d /Root %d 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n"
    return bytes(out + table + trailer % (first + len(objects), root, previous, len(out)))


def stream(content: bytes) -> bytes:
    """Return the body of a stream object."""
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)


def _padded(pdf: bytes, size: int | None) -> bytes:
    """Bring the document to its size with an object that no page refers to."""
    if size is None or size <= len(pdf):
        return pdf
    # White space after the end settles the last bytes: the length of the object is
    # written in digits, whose number is not known before.
    overhead = len(with_objects(pdf, (stream(b""),))) - len(pdf) + 16
    missing = size - len(pdf) - overhead
    if missing > 0:
        pdf = with_objects(pdf, (stream(Random(len(pdf)).randbytes(missing)),))
    return pdf + b"\n" * (size - len(pdf))


def _last_number(pattern: bytes, pdf: bytes) -> int:
    found = re.findall(pattern, pdf)
    if not found:
        raise ValueError("the document has no cross-reference table where one was expected")
    return int(found[-1])


def _numbered(body: bytes, first: int) -> bytes:
    return re.sub(rb"<<(\d+)>>", lambda found: b"%d" % (first + int(found[1])), body)


def _draw_heading(page: FPDF, edition: int) -> None:
    for offset, colour in ((0.0, _BLUE), (9.0, (255, 255, 255)), (18.0, _RED)):
        page.set_fill_color(*colour)
        page.rect(_LEFT + offset, 16, 9, 6, style="F")
    page.set_text_color(0, 0, 0)
    _title(page, (_LEFT, 24), "SI-DEP", size=15)
    _title(page, (_LEFT, 31), "Système d'information national de dépistage", size=8, bold=False)
    page.set_text_color(*_RED)
    _title(page, (120, 16), "SPÉCIMEN - personne et résultat inventés", size=8)
    page.set_text_color(*_BLUE)
    heading = "Certificat de test" if edition == 1 else "Certificat de test (rectificatif)"
    _title(page, (_LEFT, 48), heading, size=22)
    _title(page, (_LEFT, 58), "Dépistage de la COVID-19 (SARS-CoV-2)", size=12, bold=False)
    page.set_draw_color(*_BLUE)
    page.set_line_width(0.6)
    page.line(_LEFT, 68, 188, 68)


def _draw_facts(page: FPDF, patient: Patient, exam: Exam) -> None:
    lines = (
        ("Nom", patient.last_name),
        ("Prénom", patient.first_name),
        ("Date de naissance", f"{patient.born_on:%d/%m/%Y}"),
        ("Sexe", patient.sex),
        ("Identité nationale de santé", patient.ins or "non communiquée"),
        ("Numéro de dossier", exam.file_number),
        ("Structure (FINESS)", exam.site),
        ("Analyse", f"{exam.code} {exam.label}"),
        ("Prélèvement", f"{exam.sampled_at:%d/%m/%Y à %H:%M}"),
    )
    page.set_y(74)
    for index, (label, value) in enumerate(lines):
        top = page.get_y()
        page.set_text_color(*_GREY)
        _title(page, (_LEFT, top), label, size=9, bold=False, high=7)
        page.set_text_color(0, 0, 0)
        page.set_xy(_VALUE, top)
        page.set_font(_font_for(value) if index < _NAMES else _TITLE, size=11)
        # The PDF shows one drawn letter where a name holds a letter and an accent.
        drawn = unicodedata.normalize("NFC", value)
        if page.get_string_width(drawn) < _WIDE - 3:
            page.cell(0, 7, drawn)
        else:
            page.multi_cell(_WIDE, 7, drawn, align="L", new_y=YPos.LAST)
        page.set_y(page.get_y() + 8.5)


def _font_for(name: str) -> str:
    """Return the font that has every letter of a name."""
    try:
        unicodedata.normalize("NFC", name).encode("latin-1")
    except UnicodeEncodeError:
        return _TEXT
    return _TITLE


def _draw_outcome(page: FPDF, exam: Exam) -> None:
    top = max(page.get_y() + 4, 166)
    page.set_fill_color(*_TINTS[exam.outcome])
    page.rect(_LEFT, top, 188 - _LEFT, 18, style="F")
    page.set_text_color(255, 255, 255)
    _title(page, (_LEFT + 6, top + 2), "RÉSULTAT DU TEST", size=8, bold=False)
    _title(page, (_LEFT + 6, top + 7), exam.outcome.value.upper(), size=18, high=9)
    page.set_y(top + 18)


def _draw_code(page: FPDF, patient: Patient, exam: Exam) -> None:
    said = f"SPECIMEN|{exam.site}|{exam.file_number}|{patient.last_name}|{patient.first_name}"
    said += f"|{patient.born_on:%Y%m%d}|{exam.code}|{exam.outcome.word}"
    picture = io.BytesIO()
    # A fixed mask: trying all eight for the prettiest takes longer than the whole page.
    code = segno.make(said, error="m", micro=False, mask=_MASK)
    code.save(picture, kind="png", scale=4, border=2)
    top = page.get_y() + 6
    page.image(picture, x=_LEFT, y=top, w=46, h=46)
    page.set_text_color(*_GREY)
    notice = (
        "Ce code reprend les informations du certificat. Il n'ouvre aucun droit :",
        "le document ci-présent est fabriqué pour des essais.",
        f"Résultat enregistré le {exam.integrated_at:%d/%m/%Y à %H:%M}.",
    )
    for index, line in enumerate(notice):
        _title(page, (_VALUE, top + 8 + 6 * index), line, size=9, bold=False)


def _draw_foot(page: FPDF) -> None:
    page.set_draw_color(*_GREY)
    page.set_line_width(0.2)
    page.line(_LEFT, 277, 188, 277)
    page.set_text_color(*_GREY)
    text = "Ce certificat n'est pas un compte rendu d'examen de biologie médicale."
    _title(page, (_LEFT, 279), text, size=8, bold=False)


def _title(
    page: FPDF,
    place: tuple[float, float],
    text: str,
    *,
    size: int,
    bold: bool = True,
    high: float = 6,
) -> None:
    page.set_xy(*place)
    page.set_font(_TITLE, "B" if bold else "", size)
    page.cell(0, high, text)
