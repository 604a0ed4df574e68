"""The quick search for objects in a PDF finds exactly what the slow one finds."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.edges.pdf import active

PIECES = st.sampled_from(
    [b"obj", b"endobj", b"1 0 obj", b"12345678901 0 obj", b"7", b" ", b"\n", b"\t\t", b"<<",
     b"objx", b"%c\n", b"\x00", b" " * 127, b"1" * 130, b"3 65536 obj%", b"-"]
)  # fmt: skip


def slowly(raw: bytes) -> list[tuple[int, int]]:
    return [match.span() for match in active._OBJECT.finditer(raw)]


@given(st.lists(PIECES, max_size=40).map(b"".join))
@example(b"1 0" + b" " * 500 + b"obj<<>>")
@example(b"9" * 126 + b" 0 obj 1 0 obj")
@example(b"1 0 objobj 2 0 obj%\n\x00<<")
def test_both_searches_agree(raw: bytes) -> None:
    assert active.headings(raw) == slowly(raw)


def test_numbers_far_before_their_word_are_found() -> None:
    raw = b"stream\n" + b"1 0" + b"\n" * 4000 + b"obj<</JS(x)>>"
    assert active.headings(raw) == [(7, raw.index(b"<<"))]
