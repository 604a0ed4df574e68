"""The quick decoder of base64 says what the standard library's strict one says."""

from __future__ import annotations

import base64
import binascii

from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.core import mime

LETTERS = st.text("ABCDwxyz0189+/=-_ \r\n\t", max_size=40).map(str.encode)
ENCODED = st.binary(max_size=200).map(base64.encodebytes)


def by_the_library(body: bytes) -> bytes | None:
    """Return what the standard library makes of it; None: it is damaged."""
    try:
        return binascii.a2b_base64(body.translate(None, b"\r\n\t "), strict_mode=True)
    except binascii.Error:
        return None


@given(LETTERS | ENCODED | st.tuples(ENCODED, LETTERS).map(b"".join))
@example(b"BBb9=")
@example(b"AAAA====")
def test_both_take_and_refuse_the_same(body: bytes) -> None:
    part = mime.Entity((("content-transfer-encoding", b"base64"),), "application/pdf", body)
    content, whole = mime.content_of(part)
    expected = by_the_library(body)
    assert whole == (expected is not None)
    assert expected is None or content == expected
