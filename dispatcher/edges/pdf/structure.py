"""Reads one PDF within bounds: whole or not, encrypted, active, its pages, whom it names."""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pypdf import PdfReader, overwrite_configuration
from pypdf.errors import DependencyError, FileNotDecryptedError, PdfReadError, PyPdfError
from pypdf.generic import DictionaryObject, NullObject

from dispatcher.edges.pdf.active import TooMuch, is_active
from dispatcher.edges.pdf.naming import names
from dispatcher.edges.pdf.ordinary import pages_of
from dispatcher.edges.pdf.wire import Answer

# Acrobat looks for the last mark in this many bytes (ISO 32000-1, annex H.3, note 18).
_MARGIN: Final = 1024
# Stricter than note 13: what begins like something else may be opened as something else.
_HEADER: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]{0,8}(?=%PDF-)")
# Text is asked of the first pages only, and for no longer than this, in seconds of CPU.
_MOST_PAGES_READ: Final = 10
_TEXT_TIME: Final = 1.0

# What pypdf raises on broken files besides its own errors, by what is seen in the wild.
_BROKEN: Final = (
    PyPdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)

_MEGABYTE: Final = 1 << 20
# A stream whose length is written out, and what follows its last byte (ISO 32000-1, 7.3.8).
_STREAM: Final = re.compile(
    rb"/Length[ \r\n]+([0-9]{1,8})(?![ \r\n]+[0-9]+[ \r\n]+R)[^>]{0,500}>>[ \r\n]*stream\r?\n"
)
_STREAM_END: Final = re.compile(rb"[ \r\n]{0,3}endstream")


def lower_limits() -> None:
    """Lower pypdf's own limits, once in the life of the child (libraries: "PDF in")."""
    overwrite_configuration(
        disable_legacy_handling=True,
        jbig2dec_binary=None,
        maximum_declared_stream_length=16 * _MEGABYTE,
        array_based_stream_maximum_output_length=16 * _MEGABYTE,
        array_maximum_element_count=50_000,
        dictionary_maximum_element_count=20_000,
        jbig2_maximum_output_length=_MEGABYTE,
        lzw_maximum_output_length=16 * _MEGABYTE,
        run_length_maximum_output_length=16 * _MEGABYTE,
        zlib_maximum_output_length=16 * _MEGABYTE,
        zlib_maximum_recovery_input_length=20_000,
        brotli_maximum_output_length=_MEGABYTE,
        image_maximum_buffer_size=_MEGABYTE,
        stream_filters_maximum_length=4,
        stream_decoding_work_maximum_length=48 * _MEGABYTE,
        stream_parsing_work_maximum_count=100_000,
        page_tree_maximum_entries=5_000,
        page_tree_maximum_depth=40,
        page_tree_maximum_page_entries=100_000,
        xform_maximum_invocations_per_extraction=200,
    )


def examine(content: bytes, wanted: tuple[str, str] | None) -> Answer:
    """Return what was found. Never raises on a bad file, but may run out of memory or time.

    A file of the plainest kind is not opened (`ordinary`). Any other is read strictly. Where
    that fails, the cross-reference is made anew from the objects, as viewers do, and every
    stream must then be whole: a sloppy producer is forgiven, a document that lost bytes is
    not.
    """
    before = _HEADER.match(content)
    if before is None:
        return Answer("not-a-pdf", "no-header")
    if b"%%EOF" not in content[-_MARGIN:]:
        return Answer("pdf-unreadable", "truncated")
    # Offsets count from the header (annex H.3, note 13).
    body = content[before.end() :]
    pages = pages_of(body)
    if pages is None:
        return _read(body, wanted)
    return Answer(None, "", pages, None if wanted is None else _named(body, *wanted))


def _read(body: bytes, wanted: tuple[str, str] | None) -> Answer:
    try:
        reader = _opened(body)
    except (FileNotDecryptedError, DependencyError):
        return Answer("pdf-encrypted", "encrypted")
    except _BROKEN:
        if b"/Encrypt" in body:
            return Answer("pdf-encrypted", "encrypted")
        return Answer("pdf-unreadable", "structure")
    if reader.is_encrypted:
        return Answer("pdf-encrypted", "encrypted")
    return _examine_objects(reader, body, wanted)


def examine_text(content: bytes, wanted: tuple[str, str]) -> Answer:
    """Return whether a document names a patient that `examine` found sound before."""
    before = _HEADER.match(content)
    body = content if before is None else content[before.end() :]
    return Answer(None, "", None, _named(body, *wanted))


def _opened(body: bytes) -> PdfReader:
    try:
        return PdfReader(io.BytesIO(body), strict=True)
    except (FileNotDecryptedError, DependencyError):
        raise
    except _BROKEN:
        reader = PdfReader(io.BytesIO(body), strict=False)
        if not reader.is_encrypted:
            _require_whole_streams(body)
        return reader


def _require_whole_streams(body: bytes) -> None:
    """Raise PdfReadError when a stream is not as long as its dictionary says."""
    for found in _STREAM.finditer(body):
        end = found.end() + int(found[1])
        if not _STREAM_END.match(body, end):
            raise PdfReadError("a stream is cut")


def _examine_objects(reader: PdfReader, body: bytes, wanted: tuple[str, str] | None) -> Answer:
    try:
        # Otherwise pypdf would take the first catalog it meets, and a viewer another one.
        if not _has_catalog(reader):
            return Answer("pdf-unreadable", "structure")
        reader.strict = False
        if is_active(reader, body):
            return Answer("pdf-active-content", "active")
        pages = len(reader.pages)
    except TooMuch:
        return Answer("pdf-unreadable", "too-much")
    except _BROKEN:
        return Answer("pdf-unreadable", "objects")
    if pages == 0:
        return Answer("pdf-unreadable", "no-pages")
    named = None if wanted is None else _named(body, *wanted)
    return Answer(None, "", pages, named)


def _has_catalog(reader: PdfReader) -> bool:
    root = reader.trailer.get("/Root", NullObject()).get_object()
    return isinstance(root, DictionaryObject) and root.get("/Type") == "/Catalog"


class _OutOfTime(BaseException):
    """The text took too long. Not an Exception, so that no library takes it for its own."""


def _named(body: bytes, last: str, first: str) -> bool | None:
    """Return whether the text names them; None when the text cannot be read in time."""
    # Not loaded where no text is asked for: it costs 10 MB.
    from dispatcher.edges.pdf import text  # noqa: PLC0415

    try:
        with _at_most(_TEXT_TIME):
            return names("\n".join(text.pages(body, _MOST_PAGES_READ)), last, first)
    except (_OutOfTime, text.Unreadable):
        return None


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
