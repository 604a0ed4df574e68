"""What the search in a PDF leaves unread changes no answer."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pypdf import PdfReader

from dispatcher.edges.pdf import active, structure
from dispatcher.edges.pdf.active import MOST_VALUES, TooMuch
from tests.contract import pdf_samples as sample

BYTES = b" \n\r\t\x00\x0c\x0b/#<>[]()%\\1\xff"
NAMES = sorted(
    {*active._TELLING, *active._SHORT, "/ObjStm", "/Type", "/Length", "/Length1", "/S", "/F"}
)
HIDING = sample.object_stream({9: b"<< /S /JavaScript /JS (x) >>"})

names = st.sampled_from(NAMES).map(str.encode)
spaces = st.sampled_from([b" ", b" ", b" ", b"\n", b"\r\n", b"", b"%c\n", b"\x00", b"\x0b"])
words = st.one_of(
    names,
    names.map(lambda name: b"/#%02x%s" % (name[1], name[2:])),
    st.sampled_from(
        [b"1", b"-0.5", b"+.5", b"--1", b"9 0 R", b"1 0 R", b"99 0 R", b"true", b"null", b"nul",
         b"(/ObjStm)", b"<2F4F626A53746D>", b"(a\\)b)", b"(\\057)", b"<FEFF>", b"<0g>", b"obj",
         b"/Font", b"/A#20B", b"(", b"<", b"[", b"]", b">>", b"endobj", b"/" + b"x" * 200,
         b"(\xfe\xff\x00)", b"%", b"1 0 obj"]
    ),
)  # fmt: skip


def joined(
    parts: st.SearchStrategy[bytes], left: bytes, right: bytes
) -> st.SearchStrategy[bytes]:
    pairs = st.lists(st.tuples(spaces, parts), max_size=6)
    return pairs.map(lambda some: left + b"".join(a + b for a, b in some) + b" " + right)


values = st.recursive(
    words,
    lambda inner: st.one_of(
        joined(inner, b"[", b"]"),
        joined(st.tuples(names, spaces, inner).map(b"".join), b"<<", b">>"),
    ),
    max_leaves=8,
)
dictionaries = joined(st.tuples(names, spaces, values).map(b"".join), b"<<", b">>")
streams = st.builds(
    lambda body, length, data, end: (
        body[:-2] + b"/Length %d" % (len(data) + length) + b">>\nstream\n" + data + end
    ),
    dictionaries,
    st.sampled_from([0, 0, 0, 1, -1, 30]),
    st.sampled_from([b"data", b"8 0 obj << /S /JavaScript >> endobj", b"9 0 << /JS (x) >>"]),
    st.sampled_from([b"\nendstream", b"endstream", b"\nendobj", b"\n\n\nendstream"]),
)
bodies = st.one_of(dictionaries, streams, values)


def outcome(raw: bytes, *, skips: bool) -> object:
    """Return what the search finds in a file, or how it fails."""
    try:
        reader = structure._opened(raw)
        reader.strict = False
        return active._Search(reader, raw, skips=skips).finds()
    except (TooMuch, *structure._BROKEN) as error:
        return type(error)


@given(
    st.dictionaries(st.integers(1, 12), bodies, min_size=1, max_size=4), st.binary(max_size=3)
)
@example({9: b"<< /Type (/ObjStm) " + HIDING[3:].replace(b"/Type /ObjStm", b"")}, b"")
@example({9: HIDING.replace(b"/Type /ObjStm", b"/Type%c\n/ObjStm")}, b"")
@example({9: HIDING.replace(b"/Type /ObjStm", b"/T#79pe /Obj#53tm")}, b"")
@example({9: HIDING.replace(b"/Type /ObjStm", b"/Type 8 0 R"), 8: b"/ObjStm"}, b"")
@example({9: b"<< /OpenAction [] /OpenAction << /S /URI >> >>"}, b"")
@example({9: b"<< /AA\x0b<< /O << /S /URI >> >> >>"}, b"")
@example({9: b"<< /Length 4 /Length 3 >>\nstream\ndata\nendstream"}, b"")
@example({9: b"<< /X << /Length 4 >> >>\nstream\ndata\nendstream"}, b"")
def test_what_is_left_unread_changes_no_answer(more: dict[int, bytes], tail: bytes) -> None:
    raw = sample.pdf(more=more) + tail
    assert outcome(raw, skips=True) == outcome(raw, skips=False)


@given(
    st.sampled_from([sample.pdf(), sample.updated(sample.pdf(), {5: sample.FONT})]),
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 3), st.binary(max_size=3)), max_size=3
    ),
)
def test_damage_is_noticed_in_what_is_left_unread(
    raw: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    for at, gone, came in changes:
        raw = raw[:at] + came + raw[at + gone :]
    assert outcome(raw, skips=True) == outcome(raw, skips=False)


def plain(body: bytes, *, heading: bytes = b"9 0 obj\n", end: bytes = b"\nendobj\n") -> bool:
    return active.PLAIN_OBJECTS.at(b"\n" + heading + body + end, 1, (9, 0)) is not None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(sample.FONT, id="a font"),
        pytest.param(
            b"<</Type/Font/BaseFont/A+B-C,D/N[1 .5 -3.]/F(x\\))/G<00ff>>>", id="close"
        ),
        pytest.param(b"<< /OpenAction [3 0 R /FitH null] >>", id="opens at a page"),
        pytest.param(sample.stream(b"data"), id="a stream"),
        pytest.param(
            b"<< /Font << /F1 [6 0 R] /F2 7 0 R >> >>", id="one dictionary in another"
        ),
        pytest.param(b"<< /AAPL:Keywords [] /Subtype /Type1 >>", id="names that begin alike"),
    ],
)
def test_what_is_written_plainly_is_not_read(body: bytes) -> None:
    assert plain(body)


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(b"<< %s 1 >>" % name.encode(), id=name) for name in active._SHORT),
        *(pytest.param(b"<< /S %s >>" % name.encode(), id=name) for name in active._TELLING),
        pytest.param(b"<< /OpenAction 3 0 R >>", id="opens something"),
        pytest.param(b"<< /OpenAction\x0b[] >>", id="space that only pypdf takes for space"),
        pytest.param(HIDING, id="an object stream"),
        pytest.param(HIDING.replace(b"/ObjStm", b"(/ObjStm)"), id="an object stream, as text"),
        pytest.param(HIDING.replace(b"/ObjStm", b"8 0 R"), id="an object stream, elsewhere"),
        pytest.param(b"<< /A#53 1 >>", id="an escape"),
        pytest.param(b"<< /A %c\n 1 >>", id="a comment"),
        pytest.param(b"<< /A 1 2 >>", id="two values"),
        pytest.param(b"<< /A >>", id="no value"),
        pytest.param(b"<< /A [1 2 >>", id="an array without an end"),
        pytest.param(b"<< /A (x >>", id="a text without an end"),
        pytest.param(b"<< /A << /B << /C << >> >> >> >>", id="deep"),
        pytest.param(b"<< /A [%s] >>" % (b"1 " * 2001), id="long"),
        pytest.param(b"<< /Length 9999 >>\nstream\ndata\nendstream", id="a stream that is cut"),
        pytest.param(b"<< /Length 3 >>\nstream\ndata\nendstream", id="a byte too many"),
        pytest.param(b"<< /Length 8 0 R >>\nstream\ndata\nendstream", id="length elsewhere"),
        pytest.param(b"<< >>\nstream\ndata\nendstream", id="no length"),
        pytest.param(b"<< /Length 4 /Length 4 >>\nstream\ndata\nendstream", id="two lengths"),
        pytest.param(b"<< /A << /Length 4 >> >>\nstream\ndata\nendstream", id="length inside"),
        pytest.param(b"(a text)", id="no dictionary"),
    ],
)
def test_what_is_written_otherwise_is_read(body: bytes) -> None:
    assert not plain(body)


@pytest.mark.parametrize(
    "heading",
    [
        pytest.param(b"8 0 obj", id="another object"),
        pytest.param(b"9 1 obj", id="another generation"),
        pytest.param(b" 9 0 obj", id="not quite there"),
        pytest.param(b"9 0 objx", id="another word"),
    ],
)
def test_an_object_must_be_where_it_is_listed(heading: bytes) -> None:
    assert not plain(b"<< >>", heading=heading)


@pytest.mark.parametrize("begin", [-1, 10**30, 20], ids=["before", "far behind", "behind"])
def test_an_object_must_be_in_the_file(begin: int) -> None:
    assert active.PLAIN_OBJECTS.at(b"9 0 obj<<>>endobj", begin, (9, 0)) is None


def test_a_heading_within_a_longer_number_is_another_object() -> None:
    assert active.PLAIN_OBJECTS.at(b"19 0 obj<<>>endobj", 1, (9, 0)) is None


def test_an_object_that_was_read_before_is_not_left_unread() -> None:
    """It may have been read elsewhere: then what stands there says nothing of it."""
    raw = sample.pdf(more={9: b"<< >>", 10: b"<< /S /JavaScript >>"})
    reader = PdfReader(io.BytesIO(raw))
    reader.resolved_objects[0, 9] = reader.get_object(10)
    reader.xref[0].pop(10)
    search = active._Search(reader, raw.replace(b"10 0 obj", b"10 0 xxx"))
    assert search.finds()


def test_an_object_that_is_read_from_an_object_stream_is_not_left_unread() -> None:
    raw = sample.packed(sample.objects(more={9: b"<< /OpenAction << /S /URI >> >>"}))
    reader = PdfReader(io.BytesIO(raw))
    reader.xref[0][9] = len(raw)
    reader.xref_objStm = {9: reader.xref_objStm[9]}  # others would have it read with them
    assert active._Search(reader, raw + b"9 0 obj\n<< >>\nendobj").finds()


def test_an_object_that_lies_within_another_counts_its_end_once() -> None:
    """Otherwise the heading that nothing lists would be taken for that end."""
    inner = b"10 0 obj\n<< /Length 50 >>\nstream\n"
    hidden = b"8 0 obj << /OpenAction << /S /URI >> >>"
    data = inner + hidden.ljust(50)
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>"
    raw = sample.pdf(more={3: page, 9: sample.stream(data), 10: b"<< >>"})
    at, within = raw.rindex(b"10 0 obj"), raw.index(b"10 0 obj")
    # The table lists the inner one.
    raw = raw.replace(b"%010d" % at, b"%010d" % within)
    raw = raw.replace(b"\n10 0 obj\n<< >>\nendobj", b"\n10 0 xxx\n<< >>\nend   ")
    assert outcome(raw, skips=True) is True
    assert outcome(raw, skips=False) is True


def test_values_are_counted_when_bytes_are_too_many() -> None:
    many = b"<< /A (%s) >>" % (b"x" * 1990)
    count = MOST_VALUES // 1990 + 10
    raw = sample.pdf(more=dict.fromkeys(range(9, 9 + count), many))
    assert outcome(raw, skips=True) is False
