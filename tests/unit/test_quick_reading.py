"""Each quick way of reading says what the plain one says, which is written out here."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final

import pytest

from dispatcher.core import body, certificate, header, markup, mime, paris, text
from dispatcher.core.body import Label
from dispatcher.core.mime import Entity
from dispatcher.core.paris import PARIS

# --- characters ---------------------------------------------------------------------------

BLANKS: Final = re.compile("[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
ODD: Final = (
    *("é", "e\u0301", "Œ", "ﬁ", "ı", "İ", "ß", "µ", "Ｎ", "’", "\u00ad", "\u200b", "\u034f"),
    *("\u0345", "가", "\u1100\u1161", "\u0301\u0316", "\u0316\u0301", "\U0001d40d", "Å", "ſ"),
    *(" ", "  ", "\t", "\u00a0", "\u2009", "\u3000", "\u2028", "\x0b", "\x85", "-", "_", "*"),
)
TEXTS: Final = (
    *("".join(parts) for parts in product(("", "a", "Né "), ODD, ("", "b", " d’É"), ODD)),
    *("", " ", "Jean-Luc", " a  b ", "\ta", "a\u00a0", "\u00a0a"),
)


def plain_squeeze(one: str) -> str:
    return unicodedata.normalize("NFC", BLANKS.sub(" ", one).strip(" "))


def plain_fold(one: str) -> str:
    bare = BLANKS.sub("", one).translate(dict.fromkeys(map(ord, "'`´‘’‛ʹʻʼʽˈ′-‐‑‒–—―−⁃_")))
    spread = unicodedata.normalize("NFD", bare.casefold())
    letters = "".join(one for one in spread if not unicodedata.combining(one))
    pairs = {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"}
    return "".join(pairs.get(letter, letter) for letter in letters)


def test_texts_are_folded_letter_by_letter_as_they_are_whole() -> None:
    assert [text.fold(one) for one in TEXTS] == [plain_fold(one) for one in TEXTS]


def test_letters_of_every_script_are_folded_with_and_without_a_neighbour() -> None:
    letters = "".join(map(chr, [*range(0x2200), *range(0x2200, 0x20000, 11)]))
    found = "|".join(text.fold(f"é{letter}") for letter in letters)
    assert found == "|".join(plain_fold(f"é{letter}") for letter in letters)


def test_texts_are_squeezed_alike_with_and_without_odd_blanks() -> None:
    assert [text.squeeze(one) for one in TEXTS] == [plain_squeeze(one) for one in TEXTS]


@pytest.mark.parametrize("one", ["Zo\u200bé", "A\x07", "\u202eZoé", "A\ufe0f", ""])
def test_a_name_that_hides_something_is_not_even_itself(one: str) -> None:
    assert not text.same_name(one, one)


@pytest.mark.parametrize("one", ["Zoé", "-", "A", "d’Œ"])
def test_a_name_is_itself(one: str) -> None:
    assert text.same_name(one, one)


# --- header -------------------------------------------------------------------------------


def plain_fields(block: bytes) -> list[tuple[str, bytes]]:
    """Return all fields by unfolding everything first."""
    lines = re.split(rb"\r?\n", re.sub(rb"\r?\n(?=[ \t])", b"", block))
    found = (re.fullmatch(rb"([!-9;-~]+)[ \t]*:(.*)", line, re.DOTALL) for line in lines)
    return [
        (one[1].decode().lower(), re.sub(rb"[\t\r\n]", b" ", one[2].strip()[:8192]))
        for one in found
        if one
    ]


PIECES: Final = (
    *(b"Subject", b"X-Subject", b"\r\n", b"\n", b"\r", b"\r\n\t", b"\n ", b" ", b":", b"a"),
    *(b"\r\nFROM:", b"\ncontent-id :b"),
)


def test_the_fields_asked_for_are_those_of_the_whole_header() -> None:
    asked = {"from", "subject", "content-id"}
    for pieces in product(PIECES, repeat=4):
        block = b"".join(pieces)
        whole = [(name, value) for name, value in plain_fields(block) if name in asked]
        assert header.fields(block) == whole, block


def test_the_header_ends_at_the_first_empty_line_wherever_it_lies() -> None:
    for pieces in product((b"a:b", b"\r\n", b"\n", b"\r"), repeat=5):
        raw = b"".join(pieces)
        end = re.search(rb"(?:\A|\r?\n)\r?\n", raw)
        expected = raw[end.end() :] if end else b""
        assert mime.entity(raw).body == expected, raw
        # The same in the middle of something else.
        within = mime.entity(b"\n\r" + raw + b"\n\nx", 2, 2 + len(raw))
        assert within.body == expected, raw


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a; NAME=b", ("b",), id="in capitals"),
        pytest.param(b'a; name=""', ("",), id="an empty quoted one"),
        pytest.param(b'a; name="\\"b\\\\"', ('"b\\',), id="escaped"),
        pytest.param(b"a; name=\\b ", ("\\b",), id="a backslash without quotes"),
        pytest.param(b"a; filename=b", (), id="inside another name"),
        pytest.param(b"a; x=name", (), id="as a value"),
        pytest.param(b"a; name*0=b; name*1=c", ("bc",), id="continued"),
    ],
)
def test_a_parameter_is_found_by_its_whole_name(value: bytes, expected: tuple[str]) -> None:
    assert header.parameter(value, "name") == expected


@pytest.mark.parametrize("value", [b"", b" ", b"\r\n\t"])
def test_a_value_of_blanks_alone_is_empty(value: bytes) -> None:
    assert header.decode_words(value) == ""


# --- parts --------------------------------------------------------------------------------

MARKER: Final = b"\n--=_a-b"


@pytest.mark.parametrize("hyphens", [b"", b"-", b"\n--", b"\n--=_a", b"-" * 40])
def test_a_delimiter_is_found_wherever_it_lies(hyphens: bytes) -> None:
    edge = mime._NEAR
    for at in (0, 1, 100, *range(edge - 12, edge + 4), 3 * edge):
        source = b"x" + hyphens + b"A" * at + MARKER + b"\n" + MARKER
        for start, stop in product((0, 1, len(hyphens)), (len(source), at + len(MARKER), at)):
            found = mime._find(source, MARKER, start, stop)
            assert found == source.find(MARKER, start, stop)


def content(encoding: str, raw: bytes) -> tuple[bytes, bool]:
    """Return the content of a part that lies in the middle of a message."""
    fields = (("content-transfer-encoding", encoding.encode()),)
    source = b"\r\nAA" + raw + b"AAAA"
    return mime.content_of(Entity(fields, "text/plain", source, begin=4, end=4 + len(raw)))


def plain_base64(raw: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(raw.translate(None, b"\r\n\t "), strict_mode=True)
    except binascii.Error:
        return None


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b"\n\r"])
@pytest.mark.parametrize("size", [0, 1, 2, 57, 58, 114, 171, 200])
def test_base64_is_read_alike_in_even_and_in_uneven_lines(line_end: bytes, size: int) -> None:
    whole = base64.encodebytes(bytes(range(size))).replace(b"\n", line_end)
    spoiled = [
        whole[:at] + new + whole[at + gone :]
        for at in (0, 1, 20, 75, 76, 77, 78, 79, 153, 154, 155, len(whole) - 1)
        for new in (b"", b"\n", b"\r", b"\r\n", b" ", b"A", b"=", b"-", b"\r\n" * 20)
        for gone in (0, 1, 2)
    ]
    for raw in (whole, whole + line_end * 30, *spoiled):
        found, is_whole = content("base64", raw)
        expected = plain_base64(raw)
        assert is_whole == (expected is not None), raw
        assert expected is None or found == expected, raw


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t ", b""])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"", b"x"])
def test_blanks_before_a_line_end_are_no_text_in_quoted_printable(
    blanks: bytes, end: bytes
) -> None:
    for raw in (b"a =C3=A9=" + blanks + b"\r\nb" + blanks + end, b"a b" + blanks + end):
        bare = re.sub(rb"[ \t]+(?=\r?\n|\Z)", b"", raw)
        assert content("quoted-printable", raw)[0] == binascii.a2b_qp(bare)


# --- bodies -------------------------------------------------------------------------------

PRINTED: Final = [form for one, _ in body._PRINTED for form in (one, one.replace("'", "’"))]


@pytest.mark.parametrize("form", PRINTED)
def test_a_label_as_printed_is_read_as_in_any_other_writing(form: str) -> None:
    (printed,) = body.read([f"{form} : 1:b"]).values
    for other in (form.upper(), form.replace(" ", "-"), unicodedata.normalize("NFD", form)):
        assert body.read([f"{other}\u00a0:  1:b"]).values == (printed,)
    cell = body.read([f"x\n\n{form}\n\n1:b"]).values
    assert cell == (() if ":" in form else (printed,))


@pytest.mark.parametrize("begin", ["No", "n", "1", "N\u0345om", "Ｎom", "'Nom", "- Nom", "İns"])
def test_no_beginning_of_a_line_hides_a_label_or_makes_one(begin: str) -> None:
    line = f"{begin} : a"
    is_label = plain_fold(begin) == "nom"
    assert body.read([line]).values == (((Label.LAST_NAME, ("a",)),) if is_label else ())


def test_a_label_may_be_cut_after_its_first_letters() -> None:
    assert body.read(["N\nom : a\nPré\nnom : b"]).values == (
        (Label.LAST_NAME, ("a",)),
        (Label.FIRST_NAME, ("b",)),
    )
    assert body.read(["Iden\ntifiant de la structure\nayant réalisé le test:9"]).of(
        Label.SITE
    ) == (("9",),)


@pytest.mark.parametrize("text", ["x\nNom\n\n1", "Nom\nx\n\n1", ">\nNom\n\n1"])
def test_a_label_without_a_colon_stands_alone_between_empty_lines(text: str) -> None:
    assert body.read([text]).values == ()
    assert body.read([text.replace("\n", "\n\n")]).of(Label.LAST_NAME) != ()


def test_the_lines_of_a_body_are_squeezed_each_for_itself() -> None:
    whole = [line for one in TEXTS for line in re.split(r"\r\n|\r|\n", one)]
    for line_end in ("\n", "\r\n", "\r"):
        assert body._lines(line_end.join(whole)) == list(map(plain_squeeze, whole))
    for one in TEXTS:
        assert body._lines(f"a\n {one}\n") == ["a", plain_squeeze(f" {one}"), ""]


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        pytest.param("a \t\r\n\f b", "a b", id="white space"),
        pytest.param("a\tb", "a b", id="one tab"),
        pytest.param("a  b", "a b", id="two blanks"),
        pytest.param("<pre>a  b\n</pre>", "\n\na  b\n\n\n", id="preformatted"),
        pytest.param("&eacute;&#233;&#99999999999;&", "éé\ufffd&", id="entities"),
        pytest.param("a < b <3", "a < b <3", id="no tag"),
        pytest.param("<P>a<Br/>b", "\n\na\nb", id="capitals"),
        pytest.param("<BlockQuote CITE cite=x><br>a", "\n> \n> \n> a", id="cited"),
        pytest.param("<blockquote><br>a", "\n\n\na", id="not cited"),
        pytest.param(
            "<blockquote cite>a</BLOCKQUOTE><br>b", "\n> \n> a\n\n\nb", id="after one"
        ),
    ],
)
def test_html_is_seen_as_a_reader_sees_it(html: str, seen: str) -> None:
    assert markup.text_of(html) == seen


def test_an_hour_has_one_reading_but_for_the_two_nights_a_year() -> None:
    days = [datetime(2029, month, day) for month in (3, 10) for day in range(20, 31)]  # noqa: DTZ001
    for day, half in product(days, range(48)):
        at = day + timedelta(minutes=30 * half)
        utc = (at.replace(tzinfo=PARIS, fold=fold).astimezone(UTC) for fold in (0, 1))
        later = max(utc).astimezone(PARIS)
        found = paris.read_time(f"{at:%d/%m/%Y %H:%M}")
        assert found is not None
        assert (found, found.fold, found.tzinfo) == (later, later.fold, PARIS)


def test_of_two_subjects_each_names_its_site() -> None:
    headline = b"Subject: [Projet SI-DEP] Certificat de test : %b | 1 | A | B\r\n"
    told = "\r\nIdentifiant de la structure ayant réalisé le test : 990000010".encode()
    for sites, agreed in (
        ((b"990000010", b"990000028"), None),
        ((b"990000010", b"990000010"), "990000010"),
    ):
        raw = b"From: a@b.fr\r\n" + b"".join(headline % site for site in sites) + told
        held = certificate.read(raw, frozenset({"a@b.fr"}))
        assert isinstance(held, certificate.Held)
        assert (held.facts.site and held.facts.site.number) == agreed
