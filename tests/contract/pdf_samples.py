"""Builds PDF files by hand, sound ones and bad ones, so that every byte is chosen."""

from __future__ import annotations

import io
import zlib

from pypdf import PdfReader, PdfWriter

CATALOG = b"<< /Type /Catalog /Pages 2 0 R %s >>"
PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %s >>"
RESOURCES = b"/Resources << /Font << /F1 5 0 R >> >>"
TEXT = b"BT /F1 12 Tf 50 700 Td (Nom : DUPONT  Prenom : Zoe) Tj ET"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def stream(data: bytes, extra: bytes = b"") -> bytes:
    """Return a stream object's body."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), extra, data)


def objects(
    *,
    catalog: bytes = b"",
    page: bytes = b"",
    content: bytes = TEXT,
    more: dict[int, bytes] | None = None,
) -> dict[int, bytes]:
    """Return the objects of a document of one page; `catalog` and `page` add entries."""
    return {
        1: CATALOG % catalog,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: PAGE % (RESOURCES + b" " + page),
        4: stream(content),
        5: FONT,
        **(more or {}),
    }


def written(bodies: dict[int, bytes], *, trailer: bytes = b"/Root 1 0 R") -> bytes:
    """Return a file with a cross-reference table of these objects."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = {}
    for number, body in bodies.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    at, size = len(out), max(bodies) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        offset, kind = (offsets[number], b"n") if number in offsets else (0, b"f")
        out += b"%010d %05d %s \n" % (offset, 0 if kind == b"n" else 65535, kind)
    out += b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, at)
    return bytes(out)


def pdf(
    *,
    catalog: bytes = b"",
    page: bytes = b"",
    content: bytes = TEXT,
    more: dict[int, bytes] | None = None,
) -> bytes:
    """Return a document of one page with these additions."""
    return written(objects(catalog=catalog, page=page, content=content, more=more))


def updated(before: bytes, bodies: dict[int, bytes]) -> bytes:
    """Return the file with an incremental update that brings these objects."""
    previous = int(before.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    out = bytearray(before)
    offsets = {}
    for number, body in bodies.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    at = len(out)
    out += b"xref\n"
    for number, offset in offsets.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, offset)
    size = max([*bodies, 20]) + 1
    out += b"trailer\n<< /Size %d /Root 1 0 R /Prev %d >>\n" % (size, previous)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % at)


def packed(bodies: dict[int, bytes], extra: bytes = b"") -> bytes:
    """Return a file whose plain objects lie in a compressed object stream (PDF 1.5)."""
    plain = {n: body for n, body in bodies.items() if b"stream" not in body}
    kept = {n: body for n, body in bodies.items() if n not in plain}
    number = max(bodies) + 1
    kept[number] = object_stream(plain)
    out = bytearray(b"%PDF-1.7\n")
    entries: dict[int, tuple[int, int, int]] = {0: (0, 0, 65535)}
    for key, body in kept.items():
        entries[key] = (1, len(out), 0)
        out += b"%d 0 obj\n%s\nendobj\n" % (key, body)
    for index, key in enumerate(plain):
        entries[key] = (2, number, index)
    at, size = len(out), number + 2
    entries[number + 1] = (1, at, 0)
    rows = b"".join(
        kind.to_bytes(1, "big") + one.to_bytes(4, "big") + two.to_bytes(2, "big")
        for kind, one, two in (entries.get(n, (0, 0, 65535)) for n in range(size))
    )
    head = b"/Type /XRef /W [1 4 2] /Size %d /Root 1 0 R %s" % (size, extra)
    out += b"%d 0 obj\n%s\nendobj\n" % (number + 1, stream(rows, head))
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % at)


def hybrid(hidden: bytes, *, catalog: bytes) -> bytes:
    """Return a hybrid file (ISO 32000-1, 7.5.8.4) with object 6 in a stream of its own.

    The table calls that stream, 7, free; its `/XRefStm` lists both. An entry of a kind that
    nobody knows, before that of 6, ends pypdf's reading of the list.
    """
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = {}
    for number, body in {**objects(catalog=catalog), 7: object_stream({6: hidden})}.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    entries = ((1, offsets[7], 0), (1, len(out), 0), (5, 0, 0), (2, 7, 0))
    rows = b"".join(
        kind.to_bytes(1, "big") + one.to_bytes(4, "big") + two.to_bytes(1, "big")
        for kind, one, two in entries
    )
    head = b"/Type /XRef /Root 1 0 R /Size 10 /W [1 4 1] /Index [7 2 9 1 6 1]"
    listed = len(out)
    out += b"8 0 obj\n%s\nendobj\n" % stream(rows, head)
    at = len(out)
    out += b"xref\n0 10\n0000000000 65535 f \n"
    for number in range(1, 10):
        used = number in offsets and number != 7
        out += b"%010d 00000 %s \n" % (offsets[number] if used else 0, b"n" if used else b"f")
    out += b"trailer\n<< /Size 10 /Root 1 0 R /XRefStm %d >>\n" % listed
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % at)


def object_stream(plain: dict[int, bytes]) -> bytes:
    """Return a compressed stream of objects."""
    head, data = b"", b""
    for number, body in plain.items():
        head += b"%d %d " % (number, len(data))
        data += body + b" "
    deflated = zlib.compress(head + data)
    return stream(
        deflated,
        b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode" % (len(plain), len(head)),
    )


def deflated(data: bytes) -> bytes:
    """Return a compressed stream object's body."""
    return stream(zlib.compress(data, 9), b"/Filter /FlateDecode")


def encrypted(user: str, algorithm: str) -> bytes:
    """Return the document encrypted; an empty password opens it for everybody."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf())))
    writer.encrypt(user, "owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def said_to_be_encrypted(how: bytes) -> bytes:
    """Return a document whose trailer says how it is encrypted."""
    bodies = {**objects(), 9: how}
    return written(bodies, trailer=b"/Root 1 0 R /Encrypt 9 0 R /ID [(a) (b)]")


def paged(count: int, content: bytes = TEXT) -> bytes:
    """Return a document of so many pages, with the same content on each."""
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(count))
    pages = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count)
    more = {2: pages, **{10 + n: PAGE % RESOURCES for n in range(count)}}
    return pdf(content=content, more=more)


def nested(depth: int) -> bytes:
    """Return a document whose page lies under so many levels of the page tree."""
    more = {2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>"}
    for n in range(depth):
        more[10 + n] = b"<< /Type /Pages /Parent %d 0 R /Kids [%d 0 R] /Count 1 >>" % (
            9 + n,
            11 + n,
        )
    more[10 + depth] = PAGE % RESOURCES
    return pdf(more=more)
