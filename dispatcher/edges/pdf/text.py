"""Reads the text of a document's first pages, as a viewer would show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from pypdfium2 import PdfDocument, PdfiumError


class Unreadable(Exception):
    """The text cannot be had from this document."""


def pages(body: bytes, most: int) -> Iterator[str]:
    """Yield the text of each of the first pages. Raises Unreadable.

    PDFium is a library in C++: it is met in the child alone, and only after pypdf has found
    the document sound.
    """
    try:
        with closing(PdfDocument(body)) as document:
            for number in range(min(most, len(document))):
                with closing(document[number]) as page, closing(page.get_textpage()) as text:
                    yield text.get_text_bounded()
    except (PdfiumError, ValueError, MemoryError) as error:
        raise Unreadable from error
