"""The quick reading of a FETCH response says what the careful one says, or leaves it to it."""

from __future__ import annotations

import pytest
from imapclient.exceptions import ProtocolError

from dispatcher.edges.imap import parse
from dispatcher.edges.imap.parse import Item, Piece

BODY = b"Subject: (UID 9) FLAGS (\\Seen)\r\n\r\nbody\r\n"


def read(*pieces: Piece) -> Item:
    (item,) = parse.items({"FETCH": list(pieces)})
    return item


@pytest.mark.parametrize(
    ("head", "flags"),
    [
        pytest.param(b"7 (UID 42 FLAGS () BODY[] {%d}", set(), id="no flag"),
        pytest.param(
            b"7 (UID 42 FLAGS (\\Seen Kept) BODY[] {%d}", {"\\Seen", "Kept"}, id="two"
        ),
        pytest.param(b"7 (UID 42 FLAGS (a\xe9) BODY[] {%d}", {"a\ufffd"}, id="no ASCII"),
        pytest.param(b"7 (UID 42 FLAGS ([odd) BODY[] {%d}", {"[odd"}, id="a bracket"),
        pytest.param(b"7 (FLAGS (\\Seen) UID 42 BODY[] {%d}", {"\\Seen"}, id="other order"),
        pytest.param(b"7 (UID 42 BODY[] {%d}", set(), id="without flags"),
    ],
)
def test_both_readings_agree(head: bytes, flags: set[str]) -> None:
    pieces: list[Piece] = [(head % len(BODY), BODY), b")"]
    item = read(*pieces)
    assert item == parse.carefully(pieces)
    assert (item.number, item.uid, set(item.flags)) == (7, 42, flags)
    assert dict(item.values) == {b"BODY[]": BODY}


@pytest.mark.parametrize(
    "tail",
    [pytest.param(b" FLAGS (\\Seen))", id="flags last"), pytest.param(b" )", id="blank")],
)
def test_what_follows_a_body_is_read_too(tail: bytes) -> None:
    pieces: list[Piece] = [(b"7 (UID 42 FLAGS () BODY[] {%d}" % len(BODY), BODY), tail]
    assert read(*pieces) == parse.carefully(pieces)


DATED = b'7 (UID 42 RFC822.SIZE 1234 INTERNALDATE "29-Nov-2026 14:00:00 +0000")'


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(DATED, id="as nearly all"),
        pytest.param(DATED.replace(b'"29', b'" 9'), id="one digit"),
        pytest.param(DATED.replace(b"1234", b"12345678901"), id="large"),
        pytest.param(DATED.replace(b'"29-Nov-2026 14:00:00 +0000"', b"NIL"), id="no date"),
        pytest.param(DATED.replace(b"29", b"\\29"), id="escaped"),
        pytest.param(DATED.replace(b"UID 42 ", b""), id="no uid"),
        pytest.param(
            b'7 (INTERNALDATE "29-Nov-2026 14:00:00 +0000" UID 42 RFC822.SIZE 1)', id="order"
        ),
    ],
)
def test_both_readings_of_sizes_and_dates_agree(said: bytes) -> None:
    item = read(said)
    assert item == parse.carefully([said])
    assert type(item.values[b"RFC822.SIZE"]) is int
    kinds = {type(value) for value in item.values.values()}
    assert kinds <= {type(value) for value in parse.carefully([said]).values.values()}


def test_a_response_that_breaks_the_grammar_is_no_response() -> None:
    with pytest.raises((ValueError, ProtocolError)):
        read((b"7 (UID 42 FLAGS () BODY[] {3}", b"abc"), b"")
