"""What raw bytes say: authors, encoded words, parameters, parts, within bounds."""

from __future__ import annotations

import base64
from typing import Final

import pytest

from dispatcher.core import message
from dispatcher.core.header import UNREADABLE_SENDER, authors, decode_words, fields, parameter
from dispatcher.core.markup import text_of
from dispatcher.core.mime import (
    BEYOND_LIMITS,
    DEPTH_LIMIT,
    MESSAGE_LIMIT,
    PART_LIMIT,
    header_part,
)
from dispatcher.core.text import decode, fold, same_name

SENDER: Final = "noreply.sidep@enovacom.easycrypt.fr"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"A@B.fr", ("a@b.fr",), id="a bare address"),
        pytest.param(b"SI-DEP <a@b.fr>", ("a@b.fr",), id="a display name"),
        pytest.param(b'"a@b.fr" <evil@x.fr>', ("evil@x.fr",), id="an address as display name"),
        pytest.param(b'"a@b.fr\\" <a@b.fr>" <evil@x.fr>', ("evil@x.fr",), id="escaped quotes"),
        pytest.param(b"evil@x.fr (a@b.fr)", ("evil@x.fr",), id="an address in a comment"),
        pytest.param(b"a@b.fr, c@d.fr", ("a@b.fr", "c@d.fr"), id="two authors"),
        pytest.param(b'"X, Y" <a@b.fr>', ("a@b.fr",), id="a comma inside quotes"),
        pytest.param(b"=?utf-8?Q?a=40b=2Efr?= <evil@x.fr>", ("evil@x.fr",), id="encoded name"),
        pytest.param(
            b"a@b.fr <evil@x.fr>", (UNREADABLE_SENDER,), id="an address before another"
        ),
        pytest.param(b"<a@b.fr> <evil@x.fr>", (UNREADABLE_SENDER,), id="two in angle brackets"),
        pytest.param(b"<a@b.fr> evil@x.fr", (UNREADABLE_SENDER,), id="one behind the brackets"),
        pytest.param(b"G: a@b.fr;", (UNREADABLE_SENDER,), id="a group"),
        pytest.param(b"<@evil.fr:a@b.fr>", (UNREADABLE_SENDER,), id="a source route"),
        pytest.param(b'"a"@b.fr', (UNREADABLE_SENDER,), id="a quoted local part"),
        pytest.param(b"a@b.fr@evil.fr", (UNREADABLE_SENDER,), id="two at signs"),
        pytest.param(b"a@[192.0.2.1]", (UNREADABLE_SENDER,), id="an address literal"),
        pytest.param("а@b.fr".encode(), (UNREADABLE_SENDER,), id="a Cyrillic letter"),
        pytest.param(b"a@b.fr,", ("a@b.fr", UNREADABLE_SENDER), id="a comma without an author"),
        pytest.param(b"", (UNREADABLE_SENDER,), id="nothing"),
        pytest.param(b'"a@b.fr', (UNREADABLE_SENDER,), id="a quote left open"),
        pytest.param(
            b"a@b.fr" + b" " * 9000 + b", evil@x.fr",
            (UNREADABLE_SENDER,),
            id="cut at the limit",
        ),
    ],
)
def test_an_author_is_read_strictly_or_not_at_all(
    value: bytes, expected: tuple[str, ...]
) -> None:
    (_, unfolded), *_ = fields(b"From: " + value)
    assert authors(unfolded) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(
            b"=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café", id="cut inside a character"
        ),
        pytest.param(b"=?utf-8?Q?caf=C3?= =?UTF-8?B?qQ==?=", "café", id="the rest in base64"),
        pytest.param(b"=?utf-8?B?Y2Fmw?= =?utf-8?B?6k=?=", "café", id="base64 cut in a group"),
        pytest.param(b"=?utf-8*fr?Q?caf=c3=a9?=", "café", id="a language, lower-case hex"),
        pytest.param(b"=?iso-8859-1?Q?=E9?= =?utf-8?Q?=C3=A9?=", "éé", id="two charsets"),
        pytest.param(b"=?iso-8859-1?Q?=C3=A9?=", "é", id="UTF-8 called iso-8859-1"),
        pytest.param(b"=?utf-8?Q?=E9?=", "é", id="iso-8859-1 called UTF-8"),
        pytest.param(b"=?rot13?Q?abc?=", "abc", id="a codec that is no charset"),
        pytest.param(b"=?iso-8859-15?Q?=A4?=", "€", id="iso-8859-15"),
        pytest.param(b"a =?utf-8?Q?b_c?= d", "a b c d", id="between plain text"),
        pytest.param(b'"=?utf-8?Q?b?="', '"b"', id="inside quotes"),
        pytest.param(b"x=?utf-8?Q?b?=y", "xby", id="glued to text"),
        pytest.param(b"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab", id="no space between words"),
        pytest.param(b"=?utf-8?Q?a=ZZ?=", "a=ZZ", id="a broken escape"),
        pytest.param(b"=?utf-8?B?YQ?=", "a", id="no padding"),
        pytest.param(b"=?utf-8?X?a?=", "=?utf-8?X?a?=", id="an unknown encoding"),
        pytest.param("é".encode("cp1252"), "é", id="raw cp1252"),
        pytest.param("é".encode(), "é", id="raw UTF-8"),
        pytest.param(b"\x81", "\x81", id="a byte that cp1252 lacks"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_encoded_words_are_joined_before_they_are_decoded(value: bytes, expected: str) -> None:
    assert decode_words(value) == expected


@pytest.mark.timeout(20)
def test_encoded_words_without_an_end_are_soon_read() -> None:
    text = "=?utf-8?Q? " * 200_000
    assert decode_words(text.encode()) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a; filename=x.pdf", ("x.pdf",), id="a token"),
        pytest.param(b"a; filename=x y.pdf; size=3", ("x y.pdf",), id="blanks without quotes"),
        pytest.param(b'a;FILENAME = "x;y.pdf"', ("x;y.pdf",), id="a semicolon in quotes"),
        pytest.param(b'a; filename="x\\"y.pdf"', ('x"y.pdf',), id="an escaped quote"),
        pytest.param(b"a; filename*=UTF-8''%C3%A9.pdf", ("é.pdf",), id="extended"),
        pytest.param(b"a; filename*=utf-8'fr'%E9.pdf", ("é.pdf",), id="a charset that lies"),
        pytest.param(b"a; filename*=%C3%A9.pdf", ("é.pdf",), id="extended without a charset"),
        pytest.param(b"a; filename*=UTF-8''%ZZ%4", ("%ZZ%4",), id="broken escapes"),
        pytest.param(
            b"a; filename*0*=UTF-8''%C3; filename*1*=%A; filename*2*=9.pdf",
            ("é.pdf",),
            id="sections cut inside a character and inside an escape",
        ),
        pytest.param(
            b'a; filename*1="y.pdf"; filename*0="x"', ("xy.pdf",), id="sections out of order"
        ),
        pytest.param(
            b"a; filename*0*=UTF-8''%C3%A9; filename*1=\"%41.pdf\"",
            ("é%41.pdf",),
            id="a section that is not encoded",
        ),
        pytest.param(
            b"a; filename=x.pdf; filename*=UTF-8''y.pdf",
            ("y.pdf", "x.pdf"),
            id="both, best first",
        ),
        pytest.param(b"a; filename=x; filename=y", ("x", "y"), id="twice"),
        pytest.param(
            b'a; filename="=?utf-8?Q?=C3=A9?=.pdf"', ("é.pdf",), id="a word in quotes"
        ),
        pytest.param(b'a; x="; filename=y"', (), id="inside another one's quotes"),
        pytest.param(b"a; name=x", (), id="another parameter"),
    ],
)
def test_every_form_of_a_file_name_is_kept(value: bytes, expected: tuple[str, ...]) -> None:
    assert parameter(value, "filename") == expected


def test_a_bare_carriage_return_makes_no_header_field() -> None:
    found = message.read(b"From: a@b.fr\rFrom: evil@x.fr\r\nSubject: x\rSubject: y\r\n\r\n")
    assert found.senders == (UNREADABLE_SENDER,)
    assert found.subjects == ("x Subject: y",)


def test_two_fields_of_one_name_give_two_entries() -> None:
    found = message.read(b"From: a@b.fr\nFrom: a@b.fr\nSubject: x\nSubject: x\n\n")
    assert found.senders == ("a@b.fr", "a@b.fr")
    assert found.subjects == ("x", "x")
    assert found.oddities


def test_a_repr_tells_nothing_of_a_message() -> None:
    head = b"From: a@b.fr\nSubject: Secret\nContent-Type: application/pdf; name=Secret.pdf\n"
    found = message.read(head + b"\nSecret")
    assert found.attachments[0].names == ("Secret.pdf",)
    assert "Secret" not in repr(found)


def multipart(*parts: bytes, boundary: bytes = b"b") -> bytes:
    inner = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    head = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n"
    return head + inner + b"--" + boundary + b"--\r\nepilogue\r\n"


def attached(content: bytes, transfer: bytes) -> message.Attachment:
    head = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: " + transfer
    (found,) = message.read(multipart(head + b"\r\n\r\n" + content)).attachments
    return found


@pytest.mark.parametrize(
    ("transfer", "content", "whole"),
    [
        pytest.param(b"base64", b"YWJj\r\nZGU=\r\n", True, id="base64"),
        pytest.param(b"BASE64 ; x=y", b"YWJj ZGU=", True, id="base64 with blanks"),
        pytest.param(b"base64", b"YWJjZGU", False, id="base64 without its padding"),
        pytest.param(b"base64", b"YWJj*ZGU=", False, id="base64 with another character"),
        pytest.param(b"base64", b"YWJjZGU=\r\n--\r\n+", False, id="base64 with a footer"),
        pytest.param(b"base64", b"=YWJjZGU=", False, id="base64 that begins with padding"),
        pytest.param(b"quoted-printable", b"a=62=\r\ncde", True, id="quoted-printable"),
        pytest.param(b"quoted-printable", b"a=62= \t\r\ncde", True, id="padded soft break"),
        pytest.param(b"8bit", b"abcde", True, id="8bit"),
        pytest.param(b"", b"abcde", True, id="no encoding"),
        pytest.param(b"x-uue", b"abcde", False, id="an unknown encoding"),
        pytest.param(b"8bit\r\nContent-Transfer-Encoding: base64", b"abcde", False, id="two"),
    ],
)
def test_a_transfer_encoding_is_undone_and_damage_is_seen(
    transfer: bytes, content: bytes, whole: bool
) -> None:
    found = attached(content, transfer)
    assert found.whole is whole
    if whole:
        assert found.content == b"abcde"


def test_a_broken_escape_is_damage() -> None:
    assert not attached(b"a=XY", b"quoted-printable").whole


def test_the_line_end_before_a_boundary_belongs_to_the_boundary() -> None:
    for end in (b"\r\n", b"\n"):
        raw = multipart(b"Content-Type: application/pdf\r\n\r\n%PDF\r\n").replace(b"\r\n", end)
        assert message.read(raw).attachments[0].content == b"%PDF" + end


def test_a_line_that_only_begins_like_the_boundary_is_content() -> None:
    (found,) = message.read(multipart(b"\r\n--bb\r\n--b-\r\n --b")).bodies
    assert found == "--bb\r\n--b-\r\n --b"


def test_what_counts_as_an_attachment() -> None:
    found = message.read(
        multipart(
            b"Content-Type: text/plain\r\n\r\nbody",
            b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nnote",
            b"Content-Type: text/html\r\nContent-Disposition: inline; filename=a.htm\r\n\r\nx",
            b"Content-Type: image/png\r\nContent-ID: <1>\r\n\r\nx",
            b"Content-Type: image/png\r\nContent-Disposition: inline\r\n\r\nx",
            b"Content-Type: image/png\r\nContent-Disposition: attachment\r\n\r\nx",
            b"Content-Type: application/pkcs7-signature\r\n\r\nx",
            b"Content-Type: message/rfc822\r\n\r\n"
            + multipart(b"Content-Type: application/pdf\r\n\r\n%PDF", boundary=b"c"),
        )
    )
    assert found.bodies == ("body",)
    assert [one.content_type for one in found.attachments] == [
        *("text/plain", "text/html", "image/png", "application/pkcs7-signature"),
        "message/rfc822",
    ]


def nested(depth: int) -> bytes:
    raw = b"Content-Type: application/pdf\r\n\r\n%PDF"
    for level in range(depth):
        raw = multipart(raw, boundary=b"b%03d" % level)
    return raw


def test_parts_and_depth_are_bounded() -> None:
    part = b"Content-Type: application/pdf\r\n\r\n%PDF"
    assert len(message.read(multipart(*[part] * PART_LIMIT)).attachments) == PART_LIMIT
    assert BEYOND_LIMITS in message.read(multipart(*[part] * (PART_LIMIT + 1))).oddities
    assert message.read(nested(DEPTH_LIMIT)).attachments
    beyond = message.read(nested(DEPTH_LIMIT + 1))
    assert BEYOND_LIMITS in beyond.oddities
    assert not beyond.attachments


def test_a_message_or_header_that_is_too_large_is_not_taken_apart() -> None:
    raw = b"From: a@b.fr\r\n" + multipart(b"Content-Type: application/pdf\r\n\r\n%PDF")
    for larger in (raw + b" " * MESSAGE_LIMIT, b"X: y\r\n" * 200_000 + raw):
        found = message.read(larger)
        assert BEYOND_LIMITS in found.oddities
        assert not found.attachments
    assert message.read(raw + b" " * MESSAGE_LIMIT).senders == ("a@b.fr",)


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        pytest.param("Nom : <b>DU</b>PONT", ["Nom : DUPONT"], id="bold inside a word"),
        pytest.param("Nom\n :\n X", ["Nom : X"], id="white space is one space"),
        pytest.param("a<br>b<br/>c", ["a", "b", "c"], id="line breaks"),
        pytest.param("<td>a</td><td>b</td>", ["a", "b"], id="cells"),
        pytest.param("<pre>a\nb</pre>c\nd", ["a", "b", "c d"], id="preformatted"),
        pytest.param("a<script>b</SCRIPT >c", ["ac"], id="script"),
        pytest.param("a<style>b</style>c<!-- d -->e", ["ace"], id="style and comment"),
        pytest.param("a<!-- b", ["a"], id="a comment left open"),
        pytest.param("a<script>b", ["a"], id="a script left open"),
        pytest.param("&eacute;&nbsp;&#233;&lt;b&gt;", ["é\xa0é<b>"], id="entities"),
        pytest.param("&#" + "9" * 5000 + ";", ["\ufffd"], id="an absurd number"),
        pytest.param("1 < 2 > 1", ["1 < 2 > 1"], id="a mere sign"),
        pytest.param('<a title="x>y">z</a>', ["z"], id="a sign inside an attribute"),
        pytest.param("a<![CDATA[b]]>c", ["ac"], id="a marked section"),
        pytest.param("<blockquote>a</blockquote>", ["a"], id="an indented block"),
        pytest.param(
            '<blockquote type="cite">a<br>b</blockquote>c',
            ["> a", "> b", "c"],
            id="a cited reply",
        ),
    ],
)
def test_html_becomes_the_lines_that_a_reader_sees(markup: str, lines: list[str]) -> None:
    found = [line.strip(" ") for line in text_of(markup).split("\n")]
    assert [line for line in found if line not in {"", ">"}] == lines


def test_a_charset_label_is_a_hint() -> None:
    assert decode("é".encode(), "unicode_escape") == "é"
    assert decode("é".encode("utf-16"), "UTF_16") == "é"
    assert decode(b"\xff\xfe\x00", "utf-16") == "ÿþ\x00"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Lefèvre", "LEFEVRE", id="case and accents"),
        pytest.param("é", "e\u0301", id="composed and decomposed"),
        pytest.param("d’Arc-en-ciel", "D'ARC EN CIEL", id="apostrophes, hyphens, spaces"),
        pytest.param("Ben_Ali", "Ben\u00a0Ali", id="underscore and no-break space"),
        pytest.param("Cœur", "COEUR", id="ligature"),
        pytest.param("Yıldız", "YILDIZ", id="dotless i"),
        pytest.param("-", "-", id="a placeholder"),
    ],
)
def test_spellings_of_one_name_are_the_same(one: str, other: str) -> None:
    assert same_name(one, other)
    assert same_name(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Martin", "M\u0430rtin", id="a Cyrillic letter"),
        pytest.param("2", "\uff12", id="a full-width digit"),
        pytest.param("2", "\u0662", id="an Arabic-Indic digit"),
        pytest.param("Martin", "Mar\u200btin", id="a zero-width space"),
        pytest.param("Mar\u200btin", "Mar\u200btin", id="a zero-width space in both"),
        pytest.param("Martin", "Martin\u202e", id="a bidi control"),
        pytest.param("Martin\u034f", "Martin\u034f", id="an invisible mark in both"),
        pytest.param("Martin", "Mar\ntin", id="a line end"),
        pytest.param("-", "_", id="two placeholders"),
        pytest.param("Martin", "", id="nothing"),
        pytest.param("", "", id="nothing twice"),
    ],
)
def test_what_only_looks_like_a_name_is_not_it(one: str, other: str) -> None:
    assert not same_name(one, other)


def test_a_folded_name_keeps_its_letters() -> None:
    assert fold("Straße-Œuvré d’Ÿ") == "strasseoeuvredy"


def test_base64_bodies_are_texts() -> None:
    raw = b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
    assert message.read(raw + base64.b64encode("é".encode())).bodies == ("é",)


@pytest.mark.parametrize(
    ("header", "same"),
    [
        pytest.param(b"Message-ID: <a@b>\r\n\r\n", True, id="the same"),
        pytest.param(b"message-id:<a@b>\n", True, id="another way to write it"),
        pytest.param(b"Message-ID:\r\n\t<a@b>\r\n\r\n", True, id="folded"),
        pytest.param(b"To: x\r\nMessage-ID: <a@b>\r\n\r\nbody", True, id="among others"),
        pytest.param(b"Message-ID: <A@b>\r\n\r\n", False, id="another case"),
        pytest.param(b"Message-ID: <a@b> x\r\n\r\n", False, id="more behind it"),
        pytest.param(b"Message-ID: <a@b>\r\n" * 2, False, id="twice"),
        pytest.param(b"Message-ID:\r\n\r\n", False, id="empty"),
    ],
)
def test_a_message_id_is_known_again_by_its_digest(header: bytes, *, same: bool) -> None:
    digest = message.message_id_digest(b"Message-ID: <a@b>\r\n\r\nbody")
    assert (message.message_id_digest(header) == digest) == same


def test_a_message_without_a_message_id_has_no_digest() -> None:
    assert message.message_id_digest(b"To: a\r\n\r\nMessage-ID: <a@b>\r\n") is None
    assert message.message_id_digest(b"") is None


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param("\u0301\u0316" * 16, id="of two classes"),
        pytest.param("\u0f73" * 31, id="composed of marks"),
        pytest.param("\U0001d165" * 31, id="of music"),
    ],
)
@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_more_marks_in_a_row_than_any_writing_has_are_beyond_the_limits(
    marks: str, subtype: str
) -> None:
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\n\r\n".encode()
    more = message.read(head + f"Nom : e{marks}\r\n".encode())
    assert BEYOND_LIMITS in more.oddities
    assert more.bodies == ("",)
    fewer = message.read(head + f"Nom : e{marks[:30]}\r\n".encode())
    assert BEYOND_LIMITS not in fewer.oddities
    assert marks[:30] in fewer.bodies[0]


def test_marks_written_as_entities_count_too() -> None:
    raw = b"Content-Type: text/html\r\n\r\n<p>Nom : e" + b"&#769;&#790;" * 16
    assert BEYOND_LIMITS in message.read(raw).oddities


@pytest.mark.parametrize(
    ("raw", "header"),
    [
        (b"A: b\r\nC: d\r\n\r\nbody", b"A: b\r\nC: d\r\n\r\n"),
        (b"A: b\n\nbody", b"A: b\n\n"),
        (b"A: b\r\rbody", b"A: b\n\n"),
        (b"A: b", b"A: b"),
        (b"x" * 2_000_000, b"x" * 1_000_000),
    ],
)
def test_a_header_ends_with_its_empty_line(raw: bytes, header: bytes) -> None:
    assert header_part(raw) == header
