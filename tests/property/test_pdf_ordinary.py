"""A file that pypdf need not open is one in which it would find nothing amiss."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.edges.pdf import structure
from dispatcher.edges.pdf.ordinary import pages_of
from dispatcher.edges.pdf.wire import Answer
from dispatcher.simulator import cases
from tests.contract import pdf_samples as sample
from tests.property.test_pdf_plain import bodies

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ORDINARY = sample.pdf()
UPDATED = sample.updated(ORDINARY, {6: sample.FONT})
TREE = sample.pdf(
    more={
        2: b"<< /Type /Pages /Kids [3 0 R 6 0 R] /Count 3 /MediaBox [0 0 595 842] >>",
        6: b"<< /Type /Pages /Parent 2 0 R /Kids [7 0 R 8 0 R] /Count 2 >>",
        7: b"<< /Type /Page /Parent 6 0 R >>",
        8: b"<< /Type /Page /Parent 6 0 R /Contents 4 0 R >>",
    }
)
# What is exchanged for what: each piece means something to a reader of the file.
PIECES = (
    b"0000000000 65535 f ", b"00000 n", b"00001 n", b"65535 f", b"xref", b"startxref",
    b"trailer", b"%%EOF", b"/Root 1 0 R", b"/Root 5 0 R", b"/Prev 9", b"/Encrypt 5 0 R",
    b"/XRefStm 9", b"/Size 6", b"/Size (6)", b"/ID [<00>]", b"/Type /Pages", b"/Type /Page",
    b"/Type /Catalog", b"/Kids [3 0 R]", b"/Kids [2 0 R]", b"/Kids 3 0 R",
    b"/Kids [3 0 R 3 0 R]", b"/Kids []", b"/Kids [9 0 R]", b"/Pages 2 0 R", b"/Pages 3 0 R",
    b"/Pages 9 0 R", b"/Count 1", b"/Parent 2 0 R", b"/Launch", b"obj", b"endobj",
    b"endstream", b"0 6", b"1 5", b"0 7", b"\n", b"\r", b" ", b"%", b"9",
)  # fmt: skip


def as_read(raw: bytes) -> Answer:
    """Return what is found when pypdf opens the file, whatever kind it is of."""
    return structure._read(raw, None)


def agree(raw: bytes) -> None:
    pages = pages_of(raw)
    assert pages is None or as_read(raw) == Answer(None, "", pages)


@pytest.mark.parametrize(
    ("raw", "pages"),
    [
        pytest.param(ORDINARY, 1, id="one page"),
        pytest.param(UPDATED, 1, id="two tables"),
        pytest.param(TREE, 3, id="a tree of pages"),
        pytest.param(ORDINARY.replace(b"/Size 6", b"/Size 6 /ID [<00> <01>]"), 1, id="an ID"),
        pytest.param(ORDINARY + b"\n%a comment\n", 1, id="a comment behind"),
        pytest.param(ORDINARY.rstrip(b"\n"), 1, id="no last line end"),
    ],
)
def test_an_ordinary_file_is_not_opened(raw: bytes, pages: int) -> None:
    assert pages_of(raw) == pages
    assert as_read(raw) == Answer(None, "", pages)


def test_what_the_simulator_draws_is_ordinary() -> None:
    about = cases.case(Random(1), ["990000010"], NOW)
    document = about.document()
    assert pages_of(document) == 1
    assert as_read(document) == Answer(None, "", 1)


def changed(old: bytes, new: bytes) -> bytes:
    assert old in ORDINARY
    return ORDINARY.replace(old, new)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(sample.packed(sample.objects()), id="a table in a stream"),
        pytest.param(sample.pdf(more={9: b"<< /S /JavaScript >>"}), id="a telling name"),
        pytest.param(sample.pdf(more={9: b"(text)"}), id="an object that is no dictionary"),
        pytest.param(sample.pdf(more={9: sample.FONT}), id="free numbers"),
        pytest.param(ORDINARY.replace(b"4 0 obj", b"8 0 obj"), id="another object"),
        pytest.param(ORDINARY + b"8 0 obj <<>> endobj", id="an object that nothing lists"),
        pytest.param(sample.updated(ORDINARY, {5: sample.FONT}), id="an older version"),
        pytest.param(changed(b"/Type /Catalog", b"/Type /Cat     "), id="no catalog"),
        pytest.param(changed(b"/Kids [3 0 R]", b"/Kids [     ]"), id="no page"),
        pytest.param(
            changed(b"/Kids [3 0 R]", b"/Kids [9 0 R]"), id="a page that is not there"
        ),
        pytest.param(changed(b"/Kids [3 0 R]", b"/Kids [2 0 R]"), id="a page within itself"),
        pytest.param(changed(b"/Kids [3 0 R]", b"/Kids  3 0 R "), id="not a list of pages"),
        pytest.param(changed(b"/Contents 4 0 R", b"/Contents 9 0 R"), id="a missing content"),
        pytest.param(changed(b"/Root 1 0 R", b"/Root 5 0 R"), id="the root is something else"),
        pytest.param(changed(b"/Root 1 0 R", b"/Root 9 0 R"), id="the root is not there"),
        pytest.param(changed(b"/Root 1 0 R", b"/Root 1 1 R"), id="the root's generation"),
        pytest.param(changed(b"/Size 6", b"/Size 6 /Encrypt 5 0 R"), id="encrypted"),
        pytest.param(changed(b"/Size 6", b"/Size 6 /XRefStm 9"), id="a second table beside it"),
        pytest.param(
            changed(b"/Size 6", b"/Size 6 /Prev 9"), id="a table before, which is none"
        ),
        pytest.param(changed(b"/Size 6", b"/Size 6 /Prev (9)"), id="not a place"),
        pytest.param(changed(b"xref\n0 6", b"xref\n1 6"), id="a table from 1"),
        pytest.param(changed(b"xref\n0 6", b"xref\n0 5"), id="a table that is too short"),
        pytest.param(changed(b"xref\n0 6", b"xref\n0 7"), id="a table that is too long"),
        pytest.param(changed(b"00000 n \n", b"00001 n \n"), id="generations"),
        pytest.param(changed(b"65535 f \n", b"65535 n \n"), id="number 0 in use"),
        pytest.param(changed(b"\nstartxref\n", b"\nstartxref "), id="on one line"),
        pytest.param(changed(b"\nstartxref\n", b" startxref\n"), id="not at a line's begin"),
        pytest.param(changed(b"\n%%EOF", b" %%EOF"), id="a mark within a line"),
        pytest.param(ORDINARY + b"%%EOF\n", id="two marks"),
        pytest.param(ORDINARY + b"startxref\n9\n%%EOF\n", id="a table that is not there"),
        pytest.param(ORDINARY + b"startxref\n", id="a second beginning of the end"),
        pytest.param(ORDINARY + b"a line %%E", id="a mark that is cut"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_any_other_is_read(raw: bytes) -> None:
    assert pages_of(raw) is None


def test_a_chain_of_tables_that_comes_back_is_read() -> None:
    newest, oldest = (int(part.split()[0]) for part in UPDATED.split(b"startxref\n")[:0:-1])
    raw = UPDATED.replace(b"/Prev %d" % oldest, b"/Prev %d" % newest)
    assert raw != UPDATED
    assert pages_of(raw) is None
    agree(raw)


@given(
    st.dictionaries(st.integers(1, 12), bodies, min_size=1, max_size=4), st.binary(max_size=3)
)
@example({2: b"<< /Type /Pages /Kids [3 0 R] /Kids [] >>"}, b"")
@example({2: b"<< /Type /Pages /Kids [3 0 R] /MediaBox 5 0 R >>"}, b"")
@example({3: b"<< /Type /Page /Contents 12 0 R >>"}, b"")
@example({3: b"<< /Type /Page /Kids [1 0 R] >>"}, b"")
@example({1: b"<< /Type /Catalog /Pages 2 0 R /Version (1.9) >>"}, b"")
def test_whatever_is_in_a_file_pypdf_finds_the_same(
    more: dict[int, bytes], tail: bytes
) -> None:
    full = {**dict.fromkeys(range(1, max(more, default=1)), sample.FONT), **sample.objects()}
    agree(sample.written({**full, **more}) + tail)


@given(
    st.sampled_from([ORDINARY, UPDATED, TREE]),
    st.lists(
        st.tuples(st.sampled_from(PIECES), st.integers(0, 9), st.sampled_from(PIECES)),
        max_size=3,
    ),
)
def test_whatever_is_exchanged_in_a_file_pypdf_finds_the_same(
    raw: bytes, changes: list[tuple[bytes, int, bytes]]
) -> None:
    for old, which, new in changes:
        pieces = raw.split(old)
        if len(pieces) > 1:
            cut = which % (len(pieces) - 1) + 1
            # As long as before where it can be, so that the table stays right.
            filled = new.ljust(len(old)) if which % 2 else new
            raw = old.join(pieces[:cut]) + filled + old.join(pieces[cut:])
    agree(raw)


@given(
    st.sampled_from([ORDINARY, UPDATED, TREE]),
    st.lists(
        st.tuples(st.integers(0, 1400), st.integers(0, 3), st.binary(max_size=3)), max_size=3
    ),
)
def test_whatever_is_damaged_in_a_file_pypdf_finds_the_same(
    raw: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    for at, gone, came in changes:
        raw = raw[:at] + came + raw[at + gone :]
    agree(raw)
