"""What every inspector promises, and what the real one finds in bad documents."""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fpdf import FPDF

from dispatcher.core.certificate import HoldReason, Inspection
from dispatcher.edges.child.outside import cpu_seconds
from dispatcher.edges.pdf.inspector import PdfInspector, _Idle
from dispatcher.edges.pdf.naming import names
from dispatcher.edges.pdf.worker import Limits, Worker
from dispatcher.errors import Unavailable
from dispatcher.ports import Inspector, Question
from tests.contract import pdf_samples as sample
from tests.fakes.memory_inspector import MemoryInspector

SOUND = sample.pdf()
UNREADABLE = HoldReason.PDF_UNREADABLE
ACTIVE = HoldReason.PDF_ACTIVE_CONTENT
ENCRYPTED = HoldReason.PDF_ENCRYPTED
NOT_A_PDF = HoldReason.NOT_A_PDF


@pytest.fixture(scope="module")
def pdf() -> Iterator[PdfInspector]:
    inspector = PdfInspector()
    yield inspector
    inspector.close()


@pytest.fixture(params=["memory", "real"])
def inspector(request: pytest.FixtureRequest, pdf: PdfInspector) -> Inspector:
    makers: dict[str, Callable[[], Inspector]] = {
        "memory": MemoryInspector,
        "real": lambda: pdf,
    }
    return makers[request.param]()


def of(
    inspector: Inspector, content: bytes, asked: tuple[str, str] | None = None
) -> Inspection:
    (found,) = inspector.inspect([Question(content, asked)])
    return found


def text_of(inspector: Inspector, content: bytes, names: tuple[str, str]) -> Inspection:
    (found,) = inspector.inspect([Question(content, names, text_only=True)])
    return found


# --- every inspector ---------------------------------------------------------------------


def test_a_sound_document_has_no_problem(inspector: Inspector) -> None:
    assert of(inspector, SOUND) == Inspection(pages=1)


def test_a_document_that_names_the_patient_says_so_only_when_asked(
    inspector: Inspector,
) -> None:
    assert of(inspector, SOUND).names_patient is None
    assert of(inspector, SOUND, ("Dupont", "Zoé")).names_patient is True


def test_the_text_alone_can_be_asked_of_a_document_that_was_found_sound(
    inspector: Inspector,
) -> None:
    assert text_of(inspector, SOUND, ("Dupont", "Zoé")) == Inspection(names_patient=True)


def test_what_is_no_pdf_is_found_out(inspector: Inspector) -> None:
    assert of(inspector, b"\x89PNG").problem is NOT_A_PDF


def test_no_question_is_no_inspection(inspector: Inspector) -> None:
    assert inspector.inspect(iter(())) == ()


def test_an_error_while_questions_are_made_is_the_callers(inspector: Inspector) -> None:
    def questions() -> Iterator[Question]:
        yield Question(SOUND)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inspector.inspect(questions())
    assert of(inspector, SOUND).problem is None


def test_there_is_one_inspection_each_in_order(inspector: Inspector) -> None:
    contents = [SOUND, b"", SOUND, b"GIF89a", SOUND]
    found = inspector.inspect([Question(content) for content in contents])
    assert [one.problem for one in found] == [None, NOT_A_PDF, None, NOT_A_PDF, None]


def test_no_question_is_no_work(inspector: Inspector) -> None:
    assert inspector.inspect([]) == ()


def test_closing_twice_is_closing(inspector: Inspector) -> None:
    inspector.close()
    inspector.close()


def test_the_fake_believes_what_it_was_told_and_fails_as_planned() -> None:
    fake = MemoryInspector()
    fake.tell(SOUND, Inspection(ENCRYPTED))
    fake.fail_next(Unavailable("no interpreter"))
    with pytest.raises(Unavailable):
        of(fake, SOUND)
    assert of(fake, SOUND).problem is ENCRYPTED


# --- structure ---------------------------------------------------------------------------


def fpdf_document(pages: int = 1, text: str = "Nom : DUPONT") -> bytes:
    document = FPDF()
    for _ in range(pages):
        document.add_page()
        document.set_font("helvetica", size=12)
        document.cell(text=text)
    return bytes(document.output())


@pytest.mark.parametrize(
    ("content", "pages"),
    [
        pytest.param(SOUND, 1, id="by hand"),
        pytest.param(sample.packed(sample.objects()), 1, id="object streams"),
        pytest.param(fpdf_document(3), 3, id="another library"),
        pytest.param(sample.paged(12), 12, id="twelve pages"),
        pytest.param(sample.nested(20), 1, id="a page tree of some depth"),
        pytest.param(b"\r\n \t\n" + SOUND, 1, id="white space before the header"),
        pytest.param(b"\xef\xbb\xbf" + SOUND, 1, id="byte order mark before the header"),
        pytest.param(SOUND + b"\r\n\x00\x00", 1, id="something after the end"),
        pytest.param(sample.updated(SOUND, {5: sample.FONT}), 1, id="incremental update"),
        pytest.param(sample.pdf(more={9: b"[9 0 R 9 0 R]"}), 1, id="object in itself"),
        pytest.param(sample.pdf(catalog=b"/Lang (fr) /Lost 77 0 R"), 1, id="lost reference"),
    ],
)
def test_a_document_as_they_come_is_sound(
    pdf: PdfInspector, content: bytes, pages: int
) -> None:
    assert of(pdf, content) == Inspection(pages=pages)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"%PDF", id="half a header"),
        pytest.param(b" " * 9 + SOUND, id="header too late"),
        pytest.param(b"<html>", id="a web page"),
        pytest.param(b"<html></html>\n" + SOUND, id="a web page that is also a document"),
        pytest.param(b"PK\x03\x04" + SOUND, id="an archive that is also a document"),
        pytest.param(b"\x00" + SOUND, id="a zero byte before the header"),
    ],
)
def test_without_a_header_it_is_no_pdf(pdf: PdfInspector, content: bytes) -> None:
    assert of(pdf, content).problem is NOT_A_PDF


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize(
    "content", [SOUND, fpdf_document(), sample.packed(sample.objects())], ids=["a", "b", "c"]
)
def test_a_document_cut_anywhere_is_unreadable(
    pdf: PdfInspector, tenth: int, content: bytes
) -> None:
    assert of(pdf, content[: len(content) * tenth // 10]).problem is UNREADABLE


def test_a_document_cut_in_its_last_bytes_is_unreadable(pdf: PdfInspector) -> None:
    assert of(pdf, SOUND.rstrip()[:-1]).problem is UNREADABLE


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%PDF-1.7\n%%EOF\n", id="nothing between the marks"),
        pytest.param(SOUND.replace(b"\nxref\n", b"\nxxxx\n"), id="no table"),
        pytest.param(SOUND.replace(b"trailer", b"trail()"), id="no trailer"),
        pytest.param(SOUND.replace(b"/Root 1 0 R", b"/Root 9 0 R"), id="no catalog"),
        pytest.param(SOUND.replace(b"/Root", b"/Toor"), id="no root"),
        pytest.param(
            SOUND.replace(b"BT /F1", b""), id="bytes of a page lost, the cross-reference stale"
        ),
        pytest.param(sample.pdf(more={2: b"<< /Type /Pages /Kids [] >>"}), id="no page"),
        pytest.param(sample.pdf(more={2: b"(a text)"}), id="no page tree"),
        pytest.param(sample.pdf(more={2: b"<< /Kids [2 0 R] >>"}), id="page tree in a circle"),
        pytest.param(sample.nested(600), id="page tree without a bottom"),
        pytest.param(sample.pdf(more={9: b"[" * 5000 + b"]" * 5000}), id="arrays in arrays"),
    ],
)
def test_a_broken_document_is_unreadable(pdf: PdfInspector, content: bytes) -> None:
    assert of(pdf, content).problem is UNREADABLE


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SOUND.replace(b"startxref\n", b"startxref\n9"), id="start elsewhere"),
        pytest.param(SOUND.replace(b"startxref\n", b"startxref\n-"), id="start before"),
        pytest.param(
            SOUND[: SOUND.index(b"\nxref\n")] + SOUND[SOUND.index(b"\ntrailer") :],
            id="no table",
        ),
    ],
)
def test_a_sloppy_cross_reference_of_a_whole_document_is_forgiven(
    pdf: PdfInspector, content: bytes
) -> None:
    assert of(pdf, content).problem is None


def test_active_content_does_not_hide_behind_a_sloppy_cross_reference(
    pdf: PdfInspector,
) -> None:
    active = sample.pdf(more={9: b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"})
    content = active.replace(b"startxref\n", b"startxref\n9")
    assert of(pdf, content).problem is HoldReason.PDF_ACTIVE_CONTENT


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(sample.encrypted("secret", "RC4-40"), id="a password"),
        pytest.param(sample.encrypted("", "RC4-40"), id="an empty password"),
        pytest.param(sample.encrypted("secret", "RC4-128"), id="a password, 128 bits"),
        pytest.param(sample.encrypted("", "RC4-128"), id="an empty password, 128 bits"),
        pytest.param(
            sample.said_to_be_encrypted(
                b"<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /O (%s) /U (%s) /OE (%s)"
                b" /UE (%s) /Perms (%s) /CF << /StdCF << /CFM /AESV3 /Length 32 >> >>"
                b" /StmF /StdCF /StrF /StdCF >>"
                % (b"o" * 48, b"u" * 48, b"e" * 32, b"f" * 32, b"p" * 16)
            ),
            id="AES",
        ),
        pytest.param(
            sample.said_to_be_encrypted(b"<< /Filter /Adobe.PubSec /V 4 >>"), id="a certificate"
        ),
        pytest.param(sample.said_to_be_encrypted(b"(nonsense)"), id="nobody knows how"),
        pytest.param(sample.packed(sample.objects(), b"/Encrypt << /V 9 >>"), id="PDF 1.5"),
    ],
)
def test_an_encrypted_document_is_held_even_when_it_opens(
    pdf: PdfInspector, content: bytes
) -> None:
    assert of(pdf, content).problem is ENCRYPTED


# --- active content ----------------------------------------------------------------------

JS = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
NAMED_SCRIPT = b"<< /JavaScript << /Names [(a) %s] >> >>" % JS
URI = b"<< /S /URI /URI (https://sante.example) >>"
LINK = b"/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] %s >>]"
EMBEDDED = {
    8: b"<< /Type /Filespec /F (a) /EF << /F 9 0 R >> >>",
    9: sample.stream(b"MZ", b"/Type /EmbeddedFile"),
}


def hidden_in_streams(*, catalog: bytes, more: dict[int, bytes] | None = None) -> bytes:
    return sample.packed(sample.objects(catalog=catalog, more=more))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(sample.pdf(catalog=b"/OpenAction " + JS), id="on opening"),
        pytest.param(
            sample.pdf(catalog=b"/OpenAction 8 0 R", more={8: JS}), id="on opening, elsewhere"
        ),
        pytest.param(
            sample.pdf(
                catalog=b"/Names << /JavaScript << /Names [(a) 8 0 R] >> >>", more={8: JS}
            ),
            id="among the names",
        ),
        pytest.param(sample.pdf(catalog=b"/AA << /WC %s >>" % JS), id="on closing"),
        pytest.param(sample.pdf(page=b"/AA << /O %s >>" % JS), id="on showing a page"),
        pytest.param(sample.pdf(page=LINK % (b"/A " + JS)), id="on a link"),
        pytest.param(
            sample.pdf(
                catalog=b"/AcroForm << /Fields [8 0 R] >>",
                more={8: b"<< /FT /Tx /T (a) /AA << /K %s >> >>" % JS},
            ),
            id="on a form's field",
        ),
        pytest.param(
            sample.pdf(content=sample.TEXT + b" 8 %c\n0 obj << /S /JavaScript >> endobj"),
            id="where only a repairing viewer looks",
        ),
        pytest.param(
            sample.pdf(
                page=LINK % b"/A << /S /GoTo /D [3 0 R /Fit] /Next 8 0 R >>", more={8: JS}
            ),
            id="after a harmless action",
        ),
        pytest.param(
            sample.pdf(more={8: b"<< /S /JavaScript /JS 9 0 R >>", 9: sample.deflated(b"x()")}),
            id="reached from nowhere",
        ),
        pytest.param(
            sample.pdf(more={8: b"<< /S /Java#53cript /J#53 (x) >>"}), id="one letter escaped"
        ),
        pytest.param(
            sample.pdf(more={8: b"<< /#53 /#4a#61#76#61#53#63#72#69#70#74 /#4A#53 (x) >>"}),
            id="every letter escaped",
        ),
        pytest.param(
            sample.pdf(more={8: b"<< /S 9 0 R /JS (x) >>", 9: b"/JavaScript"}),
            id="its name in an object of its own",
        ),
        pytest.param(
            sample.pdf(more={8: b"<< /S /Rendition /JS (x) >>"}), id="behind a rendition"
        ),
        pytest.param(hidden_in_streams(catalog=b"/OpenAction " + JS), id="in an object stream"),
        pytest.param(
            hidden_in_streams(catalog=b"/OpenAction << /S /Java#53cript /#4aS (x) >>"),
            id="escaped in an object stream",
        ),
        pytest.param(
            sample.updated(SOUND, {1: sample.CATALOG % (b"/OpenAction " + JS)}),
            id="by an update",
        ),
        pytest.param(
            sample.updated(
                sample.pdf(
                    more={9: sample.object_stream({1: sample.CATALOG % (b"/AA " + JS)})}
                ),
                {9: b"null"},
            ),
            id="in an object stream of an older revision",
        ),
        pytest.param(
            SOUND.replace(b"xref\n0", b"8 0 obj\n<< /S /JavaScript >>\nendobj\nxref\n0", 1)
            .replace(b"startxref\n", b"startxref\n")
            .replace(
                str(SOUND.index(b"xref\n0")).encode() + b"\n%%EOF",
                str(SOUND.index(b"xref\n0") + 36).encode() + b"\n%%EOF",
            ),
            id="in an object that no table lists",
        ),
        pytest.param(
            sample.hybrid(NAMED_SCRIPT, catalog=b"/Names 6 0 R"),
            id="in a stream that the table calls free",
        ),
        pytest.param(
            sample.hybrid(
                b"<< /EmbeddedFiles << /Names [(a) << /F (a) /EF << /F 4 0 R >> >>] >> >>",
                catalog=b"/Names 6 0 R",
            ),
            id="a file in a stream that the table calls free",
        ),
        pytest.param(sample.pdf(page=LINK % b"/A << /S /Launch /F (a.exe) >>"), id="launch"),
        pytest.param(sample.pdf(page=LINK % b"/A << /S /GoToR /F (b.pdf) >>"), id="other file"),
        pytest.param(sample.pdf(page=LINK % b"/A << /S /GoToE /T <<>> >>"), id="embedded file"),
        pytest.param(sample.pdf(page=LINK % b"/A << /S /SubmitForm /F (u) >>"), id="submit"),
        pytest.param(sample.pdf(page=LINK % b"/A << /S /ImportData /F (u) >>"), id="import"),
        pytest.param(
            sample.pdf(
                catalog=b"/Names << /EmbeddedFiles << /Names [(a) 8 0 R] >> >>", more=EMBEDDED
            ),
            id="a file among the names",
        ),
        pytest.param(
            sample.pdf(
                page=b"/Annots [<< /Subtype /FileAttachment /FS 8 0 R >>]", more=EMBEDDED
            ),
            id="a file on a page",
        ),
        pytest.param(sample.pdf(catalog=b"/AF [8 0 R]", more=EMBEDDED), id="associated file"),
        pytest.param(
            hidden_in_streams(catalog=b"/AF [8 0 R]", more={8: b"<< /F (x) /UF (x) >>"}),
            id="associated file outside",
        ),
        pytest.param(
            sample.pdf(page=b"/Annots [<< /Subtype /RichMedia /Rect [0 0 1 1] >>]"), id="media"
        ),
        pytest.param(
            sample.pdf(catalog=b"/AcroForm << /XFA 8 0 R >>", more={8: sample.stream(b"<x/>")}),
            id="XFA",
        ),
        pytest.param(sample.pdf(catalog=b"/OpenAction " + URI), id="opens a page of the web"),
        pytest.param(
            sample.pdf(catalog=b"/OpenAction << /S /Named /N /Print >>"), id="prints itself"
        ),
        pytest.param(
            sample.pdf(catalog=b"/OpenAction << /S /GoTo /D [3 0 R /Fit] /Next %s >>" % URI),
            id="goes on after showing a page",
        ),
        pytest.param(sample.pdf(page=b"/AA << /O %s >>" % URI), id="acts when shown"),
        pytest.param(
            sample.updated(
                sample.pdf(catalog=b"/OpenAction " + URI), {1: sample.CATALOG % b"/Lang (fr)"}
            ),
            id="acts in an older revision",
        ),
    ],
)
def test_a_document_that_runs_opens_or_carries_something_is_held(
    pdf: PdfInspector, content: bytes
) -> None:
    found = of(pdf, content)
    assert found.problem is ACTIVE
    assert found.detail


@pytest.mark.parametrize("kind", ["plain", "packed"])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"<</A ", b">>"), (b"[", b"]")], ids=["tables", "arrays"]
)
def test_what_lies_deeper_than_anyone_reads_is_not_let_through(
    pdf: PdfInspector, kind: str, *, opening: bytes, closing: bytes
) -> None:
    body = opening * 5000 + JS.replace(b"JavaScript", b"Java#53cript") + closing * 5000
    bodies = sample.objects(more={8: body})
    content = sample.written(bodies) if kind == "plain" else sample.packed(bodies)
    assert of(pdf, content).problem in {ACTIVE, UNREADABLE}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(sample.pdf(page=LINK % (b"/A " + URI)), id="a link to the web"),
        pytest.param(
            sample.pdf(page=LINK % b"/A << /S /GoTo /D [3 0 R /Fit] >>"), id="a link inside"
        ),
        pytest.param(sample.pdf(catalog=b"/OpenAction [3 0 R /Fit]"), id="opens at a page"),
        pytest.param(
            sample.pdf(catalog=b"/OpenAction << /S /GoTo /D [3 0 R /Fit] >>"),
            id="goes to a page",
        ),
        pytest.param(
            sample.pdf(catalog=b"/OpenAction null /AA <<>> /AF []"), id="empty things"
        ),
        pytest.param(
            sample.pdf(
                page=b"/Group << /S /Transparency >> /X << /JS 5 0 R /AA 5 0 R /AF 5 0 R >>"
            ),
            id="fonts with such names",
        ),
        pytest.param(
            sample.pdf(catalog=b"/AcroForm << /Fields [] /DA (/Helv 0 Tf) >>"), id="plain form"
        ),
        pytest.param(
            sample.pdf(content=sample.TEXT.replace(b"Nom", b"/JS /AA /Launcher")), id="text"
        ),
    ],
)
def test_a_document_that_does_nothing_by_itself_is_sound(
    pdf: PdfInspector, content: bytes
) -> None:
    assert of(pdf, content).problem is None


# --- whom it names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "last", "first", "expected"),
    [
        pytest.param("Nom : DUPONT Prénom : Zoé", "Dupont", "ZOE", True, id="case, accents"),
        pytest.param("LE GOFF-MARTIN Jean", "Le Goff Martin", "Jean", True, id="hyphen"),
        pytest.param("D’ARTAGNAN Anne", "d'Artagnan", "Anne", True, id="apostrophes"),
        pytest.param("NUN\u0303EZ Ana", "Nuñez", "Ana", True, id="composed or not"),
        pytest.param("LECŒUR Lætitia", "Lecoeur", "Laetitia", True, id="oe and ae"),
        pytest.param("DE\ufb01ANCE Ina", "Defiance", "Ina", True, id="a drawn ligature"),
        pytest.param("DUP ONT Z oé", "Dupont", "Zoé", True, id="spaced by the typesetter"),
        pytest.param("NomDUPONTPrénomZoéline", "Dupont", "Zoéline", True, id="run together"),
        pytest.param("DUPONT Zoé", "Dupond", "Zoé", False, id="another name"),
        pytest.param("DUPONT", "Dupont", "Zoé", False, id="only one of the two"),
        pytest.param("DULIN Zoé", "Li", "Zoé", False, id="a short name inside a word"),
        pytest.param("M. LI Zoé", "Li", "Zoé", True, id="a short name"),
        pytest.param("M. O Y", "O", "Y", True, id="names of one letter"),
        pytest.param("DUPONT Zoé", "", "Zoé", False, id="no name to look for"),
        pytest.param("  \n ", "Dupont", "Zoé", None, id="no text"),
        pytest.param("— – ___", "Dupont", "Zoé", None, id="no letters"),
    ],
)
def test_names_are_compared_as_people_do(
    text: str, last: str, first: str, *, expected: bool | None
) -> None:
    assert names(text, last, first) is expected


@pytest.mark.parametrize(
    ("content", "asked", "expected"),
    [
        pytest.param(fpdf_document(text="DUPONT Zoé"), ("Dupont", "Zoe"), True, id="named"),
        pytest.param(fpdf_document(text="DUPONT Zoé"), ("Martin", "Zoe"), False, id="another"),
        pytest.param(
            sample.pdf(content=b"0 0 9 9 re f"), ("Dupont", "Zoe"), None, id="picture"
        ),
        pytest.param(sample.pdf(content=b"BT (((( Tj"), ("Dupont", "Zoe"), None, id="garbled"),
    ],
)
def test_the_text_of_a_document_is_asked_for_the_patient(
    pdf: PdfInspector, content: bytes, asked: tuple[str, str], *, expected: bool | None
) -> None:
    found = of(pdf, content, asked)
    assert found.problem is None
    assert found.names_patient is expected


# --- poison ------------------------------------------------------------------------------


def inflating(times: int) -> bytes:
    data = bytes(200 << 20)
    for _ in range(times):
        data = zlib.compress(data, 1)
    return sample.stream(data, b"/Filter [%s]" % (b"/FlateDecode " * times))


def inflating_objects() -> bytes:
    data = zlib.compress(b"8 0 " + bytes(200 << 20), 1)
    return sample.stream(data, b"/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode")


def forms_in_forms() -> bytes:
    head = b"/Type /XObject /Subtype /Form /Resources << /XObject << /X %d 0 R >> >>"
    forms = {n: sample.stream(b"/X Do " * 50, head % (n + 1)) for n in range(8, 20)}
    forms[20] = sample.stream(b"BT (a) Tj ET", b"/Type /XObject /Subtype /Form")
    resources = b"/Resources << /XObject << /X 8 0 R >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R %s >>" % resources
    return sample.pdf(content=b"/X Do", more={3: page, **forms})


def many(count: int, body: bytes) -> bytes:
    return sample.pdf(more=dict.fromkeys(range(9, 9 + count), body))


BOMBS: dict[str, Callable[[], bytes]] = {
    "a page that inflates": lambda: sample.pdf(more={4: inflating(1)}),
    "a page that inflates twice": lambda: sample.pdf(more={4: inflating(2)}),
    "objects that inflate": lambda: sample.pdf(more={9: inflating_objects()}),
    "200,000 words": lambda: sample.pdf(content=b"BT " + b"1 0 Td (a) Tj " * 200_000 + b"ET"),
    "forms in forms": forms_in_forms,
    "30,000 objects": lambda: many(30_000, b"[]"),
    "a million values": lambda: sample.pdf(more={9: b"[" + b"0 " * 1_000_000 + b"]"}),
    "9,000 lost objects": lambda: many(9_000, b"<< /OpenAction 99999 0 R >>"),
    "9,000 lost objects, each looked for": lambda: sample.pdf(
        more={n: b"<< /OpenAction %d 0 R >>" % (n + 90_000) for n in range(9, 9_009)}
    ),
    "a name of 4 MB": lambda: sample.pdf(more={9: b"/" + b"a#20" * 1_000_000}),
    "a million halves of names": lambda: sample.pdf(content=b"/a#" * 1_000_000),
    "a million parentheses": lambda: sample.pdf(more={9: b"(" * 1_000_000}),
    "a million beginnings of objects": lambda: sample.pdf(content=b"1 0 obj " * 500_000),
    "numbers without end": lambda: sample.pdf(content=b"1" * 4_000_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_poisonous_document_costs_two_seconds_and_300_mb_and_hurts_no_other(
    bomb: str,
) -> None:
    content = BOMBS[bomb]()
    inspector = PdfInspector()
    try:
        of(inspector, SOUND)
        pid, before = child(inspector), cpu_of_ended_children()
        started, ran = time.monotonic(), status_seconds(pid)
        poisoned = of(inspector, content, ("Dupont", "Zoé"))
        waited = time.monotonic() - started
        memory = peak(inspector)
    finally:
        inspector.close()
    assert poisoned.problem in {None, UNREADABLE}
    assert memory < 300 << 20
    # By the clock two seconds, but for a machine so busy that the child hardly ran.
    spent = cpu_of_ended_children() - before - ran
    assert spent < 2.5
    assert waited < 2.5 or (spent < 1.8 and waited < 7)
    assert of(inspector, SOUND) == Inspection(pages=1)
    inspector.close()


def cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_text_that_takes_too_long_to_read_is_not_the_document_s_fault(
    pdf: PdfInspector,
) -> None:
    words = b"BT /F1 9 Tf " + b"(a) Tj 1 0 Td " * 250_000 + b"ET"
    found = of(pdf, sample.paged(10, words), ("Dupont", "Zoé"))
    assert found == Inspection(pages=10, names_patient=None)


def test_a_page_of_text_that_never_ends_is_its_own_finding() -> None:
    words = b"BT /F1 9 Tf " + b"(a) Tj 1 0 Td " * 2_000_000 + b"ET"
    inspector = PdfInspector(limits=Limits(wall_time=1.0))
    try:
        found = text_of(inspector, sample.paged(1, words), ("Dupont", "Zoé"))
        assert found.problem is UNREADABLE
        assert text_of(inspector, SOUND, ("Dupont", "Zoé")).names_patient is True
        assert text_of(inspector, SOUND, ("Martin", "Zoé")).names_patient is False
    finally:
        inspector.close()


@pytest.mark.parametrize("bomb", ["30,000 objects", "objects that inflate"])
def test_a_poisonous_document_is_held(pdf: PdfInspector, bomb: str) -> None:
    assert of(pdf, BOMBS[bomb]()).problem is UNREADABLE


def test_a_poisonous_document_does_not_change_what_is_said_of_others(
    pdf: PdfInspector,
) -> None:
    poison = BOMBS["9,000 lost objects, each looked for"]()
    found = pdf.inspect([Question(content) for content in (SOUND, poison, b"GIF", SOUND)])
    assert [one.problem for one in found] == [None, UNREADABLE, NOT_A_PDF, None]


# --- the child process -------------------------------------------------------------------


def child(inspector: PdfInspector) -> int | None:
    return inspector._workers[0].pid


def status(pid: int | None, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def status_seconds(pid: int | None) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(inspector: PdfInspector) -> int:
    """Return the most memory the child ever had; 0 when it had to be killed."""
    pid = child(inspector)
    return status(pid, "VmPeak") * 1024 if pid is not None else 0


def gone(pid: int) -> bool:
    """Wait until that process has ended."""
    deadline = time.monotonic() + 10
    waiting = threading.Event()
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        waiting.wait(0.01)
    return False


@pytest.fixture
def fresh() -> Iterator[Callable[..., PdfInspector]]:
    made: list[PdfInspector] = []

    def make(workers: int = 1, **options: Limits | str | None) -> PdfInspector:
        made.append(PdfInspector(workers, **options))  # type: ignore[arg-type] # as they come
        return made[-1]

    yield make
    for inspector in made:
        inspector.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Callable[[str], str]:
    """Make an interpreter that behaves as a shell script says."""

    def make(script: str) -> str:
        path = tmp_path / "python"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return str(path)

    return make


READY = "printf ready\n"


def test_no_child_runs_before_it_is_needed_nor_after_it_is_closed(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh()
    assert child(inspector) is None
    of(inspector, SOUND)
    pid = child(inspector)
    assert pid is not None
    inspector.close()
    assert gone(pid)
    assert child(inspector) is None
    assert of(inspector, SOUND).problem is None, "a later question starts another"


def test_the_child_has_limits_and_knows_nothing_of_ours(
    fresh: Callable[..., PdfInspector], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIDEP_DISPATCHER__MAILBOXES__LBM__PASSWORD", "secret")
    inspector = fresh()
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        of(inspector, SOUND, ("Dupont", "Zoé"))
    proc = Path(f"/proc/{child(inspector)}")
    assert proc.joinpath("environ").read_bytes() == b"MALLOC_MMAP_THRESHOLD_=1048576\0"
    assert not [
        word for word in (b"Dupont", b"Zo") if word in proc.joinpath("cmdline").read_bytes()
    ]
    assert sorted(os.listdir(proc / "fd")) == ["0", "1", "2"]
    limits = {
        line[:26].strip(): line[26:].split()[0]
        for line in proc.joinpath("limits").read_text().splitlines()
    }
    assert limits["Max address space"] == str(300 << 20)
    assert limits["Max core file size"] == limits["Max file size"] == "0"
    assert limits["Max open files"] == "16"
    assert limits["Max cpu time"] != "unlimited"


def test_the_child_is_recycled(fresh: Callable[..., PdfInspector]) -> None:
    inspector = fresh(limits=Limits(documents=2))
    pids = []
    for _ in range(3):
        of(inspector, SOUND)
        pids.append(child(inspector))
    assert pids[0] is not None
    assert pids[1] is None, "the second document was its last"
    assert pids[2] not in pids[:2]


def test_a_child_that_ended_while_idle_is_no_document_s_fault(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh()
    of(inspector, SOUND)
    pid = child(inspector)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert of(inspector, SOUND) == Inspection(pages=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_signals_that_end_the_service_leave_the_child_to_its_parent(
    number: signal.Signals, fresh: Callable[..., PdfInspector]
) -> None:
    inspector = fresh()
    of(inspector, SOUND)
    pid = child(inspector)
    assert pid is not None
    os.kill(pid, number)
    assert of(inspector, SOUND) == Inspection(pages=1)
    assert child(inspector) == pid


def test_the_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "import os, signal\n"
        "from dispatcher.edges.pdf.inspector import PdfInspector\n"
        "from dispatcher.ports import Question\n"
        "inspector = PdfInspector()\n"
        "inspector.inspect([Question(b'')])\n"
        "print(inspector._workers[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL
    assert gone(int(ran.stdout))


def test_without_an_interpreter_no_inspection_can_be_made(
    fresh: Callable[..., PdfInspector], tmp_path: Path
) -> None:
    with pytest.raises(Unavailable) as raised:
        of(fresh(interpreter=str(tmp_path / "none")), SOUND)
    assert raised.value.hint


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exit 1", id="ends at once"),
        pytest.param("exec sleep 60", id="says nothing"),
        pytest.param("echo hello; exec sleep 60", id="says something else"),
        pytest.param("printf '\\000\\000\\000\\001x'; exec sleep 60", id="says a wrong word"),
    ],
)
def test_a_child_that_does_not_start_is_unavailable(
    script: str, fresh: Callable[..., PdfInspector], impostor: Callable[[str], str]
) -> None:
    inspector = fresh(interpreter=impostor(script), limits=Limits(start_time=0.5))
    with pytest.raises(Unavailable):
        of(inspector, SOUND)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exec sleep 60", id="takes nothing"),
        pytest.param("cat > /dev/null", id="takes everything and says nothing"),
        pytest.param("exit 0", id="ends"),
        pytest.param("kill -SEGV $$", id="crashes"),
        pytest.param("printf '\\000\\000\\000\\002{}'; cat >/dev/null", id="talks nonsense"),
        pytest.param("printf '\\377\\377\\377\\377'; cat >/dev/null", id="promises 4 GB"),
        pytest.param(
            'printf \'\\000\\000\\000\\024["Dupont","",1,null]\'; cat >/dev/null',
            id="invents a reason",
        ),
        pytest.param(
            "printf '\\000\\000\\000\\020[null,\"\",1,null]%.0s' 1 2; cat >/dev/null",
            id="answers twice",
        ),
    ],
)
def test_a_child_that_dies_or_lies_over_a_document_makes_it_unreadable(
    script: str, fresh: Callable[..., PdfInspector], impostor: Callable[[str], str]
) -> None:
    inspector = fresh(interpreter=impostor(READY + script), limits=Limits(wall_time=0.3))
    started = time.monotonic()
    found = of(inspector, SOUND + bytes(1 << 20))
    assert found.problem is UNREADABLE
    assert "Dupont" not in found.detail
    assert time.monotonic() - started < 30


def test_a_machine_too_busy_to_read_a_document_in_time_does_not_blame_it(
    fresh: Callable[..., PdfInspector],
) -> None:
    """The child is stopped for longer than a document's time, as a paused machine is."""
    inspector = fresh(limits=Limits(wall_time=0.5))
    of(inspector, SOUND)
    pid = child(inspector)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waking = threading.Timer(0.8, os.kill, (pid, signal.SIGCONT))
    waking.start()
    try:
        assert of(inspector, SOUND) == Inspection(pages=1)
    finally:
        waking.join()


def test_several_threads_may_ask_at_once(fresh: Callable[..., PdfInspector]) -> None:
    inspector = fresh(2)
    answers: list[tuple[Inspection, ...]] = []

    def ask() -> None:
        answers.append(inspector.inspect([Question(SOUND), Question(b"")] * 10))

    lanes = [threading.Thread(target=ask) for _ in range(4)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert [[one.problem for one in answer] for answer in answers] == [
        [None, NOT_A_PDF] * 10
    ] * 4


# --- a child that is killed ----------------------------------------------------------------

# Sound, and takes far longer than the start of a child: each of these objects is looked for.
LONG = sample.pdf(more={n: b"<< /OpenAction %d 0 R >>" % (n + 9_000) for n in range(9, 2_009)})
# So that a machine of any speed reads it in its time.
PATIENT = Limits(wall_time=30.0)


@contextmanager
def killing(inspector: PdfInspector, times: int) -> Iterator[list[int]]:
    """Kill so many children from outside, each in the midst of a long document."""
    inspector.inspect([Question(b"")] * len(inspector._workers))
    begun = max(cpu_seconds(worker.pid or 0) for worker in inspector._workers)
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.001) and len(killed) < times:
            for pid in {worker.pid for worker in inspector._workers} - {None, *killed}:
                if pid is not None and 3 * begun < cpu_seconds(pid) < math.inf:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        done.set()
        killer.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_child_that_is_killed_once_costs_no_document_anything(
    workers: int, fresh: Callable[..., PdfInspector]
) -> None:
    inspector = fresh(workers, limits=PATIENT)
    with killing(inspector, 1) as killed:
        found = inspector.inspect([Question(c) for c in (SOUND, LONG, b"GIF", sample.paged(2))])
    assert len(killed) == 1
    assert [one.problem for one in found] == [None, None, NOT_A_PDF, None]
    assert [one.pages for one in found] == [1, 1, None, 2]
    assert len(inspector._idle._workers) == workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_document_over_which_a_second_child_is_killed_is_the_only_one_held(
    workers: int, fresh: Callable[..., PdfInspector]
) -> None:
    inspector = fresh(workers, limits=PATIENT)
    with killing(inspector, 9) as killed:
        found = inspector.inspect([Question(c) for c in (SOUND, LONG, b"GIF", sample.paged(2))])
    assert len(killed) == 2
    assert [one.problem for one in found] == [None, UNREADABLE, NOT_A_PDF, None]
    assert [one.pages for one in found] == [1, None, None, 2]
    assert len(inspector._idle._workers) == workers


def test_each_document_has_a_death_of_its_own(fresh: Callable[..., PdfInspector]) -> None:
    inspector = fresh(limits=PATIENT)
    killed = set()

    def questions() -> Iterator[Question]:
        for _ in range(3):
            yield Question(LONG, ("Dupont", "Zoé"))
            pid = child(inspector)  # it has just been asked
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)

    assert inspector.inspect(questions()) == (Inspection(pages=1, names_patient=True),) * 3
    assert len(killed) == 3


def test_the_text_alone_is_asked_again_as_it_was(fresh: Callable[..., PdfInspector]) -> None:
    inspector = fresh()
    of(inspector, SOUND)
    pid = child(inspector)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # so that it is still at work when it is killed

    def questions() -> Iterator[Question]:
        yield Question(SOUND, ("Dupont", "Zoé"), text_only=True)
        os.kill(pid, signal.SIGKILL)

    assert inspector.inspect(questions()) == (Inspection(names_patient=True),)


@pytest.fixture
def first_child(
    tmp_path: Path, fresh: Callable[..., PdfInspector], impostor: Callable[[str], str]
) -> Callable[..., PdfInspector]:
    """Return what makes an inspector whose first children do as told, and the others work."""

    def make(*scripts: str) -> PdfInspector:
        turns = "".join(f"{n}) {script};;\n" for n, script in enumerate(scripts, 1))
        starts = tmp_path / "starts"
        count = f"echo >> {starts}\n"
        case = f"case $(($(wc -l < {starts}))) in\n{turns}esac\n"
        program = impostor(f'{count}{case}exec {sys.executable} "$@"\n')
        return fresh(interpreter=program, limits=Limits(wall_time=0.7))

    return make


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().splitlines())


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("head -c 1 >/dev/null; kill -KILL $$", id="at work"),
        pytest.param("head -c 2000000 >/dev/null; kill -KILL $$", id="half of it handed over"),
        pytest.param("exec <&-; kill -KILL $$", id="before it took anything"),
    ],
)
def test_a_large_document_is_handed_over_once_more(
    script: str, first_child: Callable[..., PdfInspector], tmp_path: Path
) -> None:
    large = sample.pdf(content=bytes(3 << 20))
    assert of(first_child(f"printf ready; {script}"), large) == Inspection(pages=1)
    assert starts(tmp_path) == 2


def test_a_second_death_is_a_second_death_wherever_the_first_was(
    first_child: Callable[..., PdfInspector], tmp_path: Path
) -> None:
    large = sample.pdf(content=bytes(3 << 20))
    inspector = first_child(
        *(
            f"printf ready; head -c {n} >/dev/null; kill -KILL $$"
            for n in (2_000_000, len(large))
        )
    )
    assert of(inspector, large).problem is UNREADABLE
    assert starts(tmp_path) == 2


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        pytest.param("head -c 1 >/dev/null; kill -KILL $$", 2, id="is killed"),
        pytest.param("head -c 1 >/dev/null; kill -SEGV $$", 2, id="crashes"),
        pytest.param("head -c 1 >/dev/null; exit 1", 2, id="ends"),
        pytest.param("cat >/dev/null", 1, id="says nothing in its time"),
        pytest.param("printf '\\000\\000\\000\\002{}'; cat >/dev/null", 1, id="talks nonsense"),
        pytest.param(
            'printf \'\\000\\000\\000\\016["","",1,null]\'; cat >/dev/null',
            1,
            id="invents a reason",
        ),
    ],
)
def test_only_a_child_that_ended_gets_a_successor_and_only_one(
    script: str, asked: int, first_child: Callable[..., PdfInspector], tmp_path: Path
) -> None:
    inspector = first_child(*[f"printf ready; {script}"] * asked)
    assert of(inspector, SOUND).problem is UNREADABLE
    assert starts(tmp_path) == asked
    if script.startswith("head"):  # its child is gone, and the next one works
        assert of(inspector, SOUND) == Inspection(pages=1)


def test_a_successor_that_cannot_be_started_blames_nothing_and_is_not_lost(
    first_child: Callable[..., PdfInspector],
) -> None:
    inspector = first_child("printf ready; head -c 1 >/dev/null; kill -KILL $$", "exit 1")
    with pytest.raises(Unavailable):
        of(inspector, SOUND)
    assert of(inspector, SOUND) == Inspection(pages=1)


# --- handing over and asking on -----------------------------------------------------------


def ready(inspector: PdfInspector, number: int) -> bool:
    """Wait until the answer of that child is there to be read."""
    return bool(select.select([inspector._workers[number].answers], [], [], 10)[0])


def test_a_document_is_read_while_the_next_question_is_made(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh()
    answered = []

    def questions() -> Iterator[Question]:
        yield Question(SOUND)
        answered.append(ready(inspector, 0))
        yield Question(b"")

    found = inspector.inspect(questions())
    assert answered == [True]
    assert [one.problem for one in found] == [None, NOT_A_PDF]


def test_an_answer_that_came_in_time_counts_however_late_it_is_looked_at(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2, limits=Limits(wall_time=0.3))
    inspector.inspect([Question(b"")] * 2)

    def questions() -> Iterator[Question]:
        for _ in range(3):
            yield Question(SOUND)
        threading.Event().wait(1.5)
        yield Question(b"")

    found = inspector.inspect(questions())
    assert [one.problem for one in found] == [None, None, None, NOT_A_PDF]


def test_a_child_that_hangs_is_ended_and_the_others_answer(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2, limits=Limits(wall_time=0.3))
    inspector.inspect([Question(b"")] * 2)
    stopped, other = (worker.pid for worker in inspector._workers)
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    found = inspector.inspect([Question(SOUND)] * 9)
    assert sorted(one.problem is None for one in found) == [False] + [True] * 8
    assert gone(stopped)
    assert inspector._workers[1].pid == other


def test_children_that_all_hang_are_all_ended(
    fresh: Callable[..., PdfInspector], impostor: Callable[[str], str]
) -> None:
    silent = impostor(READY + "cat > /dev/null")
    inspector = fresh(2, interpreter=silent, limits=Limits(wall_time=0.2))
    found = inspector.inspect([Question(SOUND)] * 2)
    assert [one.problem for one in found] == [UNREADABLE] * 2
    assert [worker.pid for worker in inspector._workers] == [None, None]


def test_a_child_that_hung_while_the_next_question_was_made_is_ended(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(limits=Limits(wall_time=0.2))
    inspector.inspect([Question(b"")])
    pid = child(inspector)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def questions() -> Iterator[Question]:
        yield Question(SOUND)
        threading.Event().wait(1.0)
        yield Question(SOUND)

    found = inspector.inspect(questions())
    assert [one.problem for one in found] == [UNREADABLE, None]
    assert gone(pid)


def test_children_whose_question_was_followed_by_an_error_are_good_for_the_next(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2)

    def questions() -> Iterator[Question]:
        yield from [Question(SOUND)] * 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inspector.inspect(questions())
    pids = [worker.pid for worker in inspector._workers]
    found = inspector.inspect([Question(b"")] * 2)
    assert [one.problem for one in found] == [NOT_A_PDF] * 2
    assert [worker.pid for worker in inspector._workers] == pids


def test_documents_larger_than_a_pipe_are_answered_in_their_turn(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2)
    large = sample.pdf(content=bytes(3 << 20))
    found = inspector.inspect([Question(c) for c in (large, SOUND, b"", large, large, b"GIF")])
    assert [one.problem for one in found] == [None, None, NOT_A_PDF, None, None, NOT_A_PDF]


def test_a_large_document_over_which_a_child_dies_is_the_only_one_held(
    fresh: Callable[..., PdfInspector], impostor: Callable[[str], str]
) -> None:
    inspector = fresh(2, interpreter=impostor(READY + "head -c 2000000 >/dev/null"))
    found = inspector.inspect([Question(bytes(3 << 20)), Question(bytes(100))])
    assert [one.problem for one in found] == [UNREADABLE] * 2


def test_two_who_ask_at_once_do_not_wait_for_each_other(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2)
    done = threading.Event()
    waited: list[bool] = []

    def questions() -> Iterator[Question]:
        yield Question(SOUND)
        lane.start()
        waited.append(done.wait(20))

    def ask() -> None:
        inspector.inspect([Question(SOUND)] * 5)
        done.set()

    lane = threading.Thread(target=ask)
    assert inspector.inspect(questions()) == (Inspection(pages=1),)
    lane.join()
    assert waited == [True]


def test_who_never_stops_asking_leaves_a_child_to_another(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh(2)
    inspector.inspect([Question(b"")] * 2)
    done = threading.Event()

    def questions() -> Iterator[Question]:
        yield from [Question(SOUND)] * 2
        lane.start()
        deadline = time.monotonic() + 20
        while not done.is_set() and time.monotonic() < deadline:
            yield Question(SOUND)

    def ask() -> None:
        inspector.inspect([Question(SOUND)] * 5)
        done.set()

    lane = threading.Thread(target=ask)
    found = inspector.inspect(questions())
    assert done.is_set()
    lane.join()
    assert {one.problem for one in found} == {None}


def test_only_a_child_that_nobody_waits_for_is_spare() -> None:
    idle = _Idle([Worker(Limits())])
    worker = idle.take_spare()
    assert worker is not None
    assert idle.take_spare() is None
    assert idle.take(0.01) is None
    taken: list[Worker | None] = []
    lane = threading.Thread(target=lambda: taken.append(idle.take()))
    lane.start()
    while not idle._waiting:
        threading.Event().wait(0.001)
    with idle._changed:  # nobody can take it before it is asked for
        idle._workers.append(worker)
        assert idle.take_spare() is None
        idle._changed.notify()
    lane.join()
    assert taken == [worker]


def test_what_a_child_has_run_is_known() -> None:
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert cpu_seconds(ended.pid) == math.inf


def test_a_document_far_too_large_is_not_even_sent(
    fresh: Callable[..., PdfInspector],
) -> None:
    inspector = fresh()
    assert of(inspector, bytes(33 << 20)).problem is UNREADABLE
    assert child(inspector) is None
