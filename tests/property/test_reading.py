"""Whatever the bytes: reading never raises and never invents a site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.core import certificate, message
from dispatcher.core.certificate import Certificate, Held, Reading, Result
from tests.property import letters

SENDERS: Final = frozenset({letters.SENDER})
CORPUS: Final = [
    path.read_bytes() for path in sorted(Path(__file__).parents[1].glob("corpus/*/message.eml"))
]

FRENCH: Final = "abcdeéèêëfghiîïjklmnoôöpqrstuùûüvwxyÿzàâäçœæñøłıß"
name = st.builds(
    lambda first, rest: (first + rest).strip(" "),
    st.sampled_from(FRENCH.upper() + FRENCH),
    st.text(FRENCH + FRENCH.upper() + " '’-", max_size=60),
)
number = st.from_regex(
    re.compile(r"[0-9A-Z]([0-9A-Za-z _./-]{0,18}[0-9A-Z])?", re.ASCII), fullmatch=True
)
site = st.from_regex(re.compile(r"[0-9][0-9AB][0-9]{7}", re.ASCII), fullmatch=True)


def read(raw: bytes) -> Reading:
    """Read, and hold what must be true of whatever comes out."""
    reading = certificate.read(raw, SENDERS)
    if isinstance(reading, Certificate):
        said = message.read(raw)
        number = str(reading.site)
        assert re.fullmatch("[0-9][0-9A-Z][0-9]{7}", number)
        assert [number in subject for subject in said.subjects] == [True]
        assert any(
            name.startswith(f"{number}_") for one in said.attachments for name in one.names
        )
        assert any(number in body for body in said.bodies)
        assert said.senders == (letters.SENDER,)
        assert reading.document.content in [one.content for one in said.attachments]
    if isinstance(reading, Held):
        assert reading.detail
    return reading


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    read(raw)


PIECES: Final = (
    *(b"From: ", b"Subject: ", letters.SENDER.encode(), b"[Projet SI-DEP] Certificat de test"),
    *(b"\r\n", b"\r\n\r\n", b"\n ", b"--a", b"--a--", b" : ", b" | ", b"=?utf-8?B?", b"?="),
    *(b"Content-Type: multipart/mixed; boundary=a", b"Content-Type: text/html", b"\x00"),
    *(b"Content-Disposition: attachment; filename*0*=utf-8''%", b";filename*1=", b'"', b"<"),
    *(b"990000010", b"Nom : ", b"<![CDATA[", b"&#x110000;", b"&#99999999999;", b"\xff\xfe"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_pieces_of_mail_are_read_without_an_error(pieces: list[bytes]) -> None:
    read(b"".join(pieces))


@settings(max_examples=300)
@given(
    st.sampled_from(CORPUS),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=20)),
        min_size=1,
        max_size=6,
    ),
)
def test_a_damaged_message_never_gets_a_site_that_it_does_not_name(
    raw: bytes, cuts: list[tuple[float, int, bytes]]
) -> None:
    for where, length, new in cuts:
        at = int(where * len(raw))
        raw = raw[:at] + new + raw[at + length :]
    read(raw)


forms = st.tuples(
    st.sampled_from(sorted(letters.HEADLINES)),
    st.sampled_from(sorted(letters.FILE_NAMES)),
    st.sampled_from(sorted(letters.BODIES)),
)


@settings(max_examples=300)
@example(("990000010", "A"), ("O", "A"), ("one long word", "bare quoted word", "html table"))
@example(("990000010", "A"), ("Éÿ", "A"), ("base64 cut anywhere", "bare quoted word", "both"))
@example(("2A0000154", "1_2"), ("d’Ÿ-É", "ß"), ("base64 cut anywhere", "continued", "both"))
@given(st.tuples(site, number), st.tuples(name, name), forms)
def test_a_sound_certificate_is_read_whatever_its_names_and_encodings(
    file: tuple[str, str], patient: tuple[str, str], forms: tuple[str, str, str]
) -> None:
    letter = letters.about(*file, *patient)
    reading = read(letters.encode(letter, *forms))
    if any(map(letters.two_ways, (letter.headline(), letter.file_name))):
        # Read as UTF-8 it names somebody else: then it is held, never guessed.
        assert isinstance(reading, Certificate | Held)
        return
    assert isinstance(reading, Certificate), reading
    found = (str(reading.site), reading.file_number, reading.last_name, reading.first_name)
    assert found == tuple(re.sub(" +", " ", text) for text in (*file, *patient))
    assert reading.document.content == letter.document
    assert reading.facts.result is Result.NEGATIVE


# --- the digest of the Message-ID ---------------------------------------------------------


def fields_named(raw: bytes, name: bytes) -> bytes:
    """Return what HEADER.FIELDS would (RFC 3501, 6.4.5), read line by line."""
    found, within = [], False
    for line in raw.split(b"\n"):
        if line in {b"", b"\r"}:
            break
        if line[:1] not in {b" ", b"\t"}:
            within = line.partition(b":")[0].rstrip(b" \t").lower() == name and b":" in line
        if within:
            found.append(line.removesuffix(b"\r") + b"\r\n")
    return b"".join([*found, b"\r\n"])


@given(st.sampled_from(CORPUS), st.binary(max_size=50))
def test_the_message_id_alone_has_the_digest_of_the_whole_message(
    raw: bytes, behind: bytes
) -> None:
    digest = message.message_id_digest(raw)
    assert digest == message.message_id_digest(fields_named(raw, b"message-id"))
    assert digest == message.message_id_digest(raw + behind) or b"\n" not in raw


@given(
    st.lists(st.sampled_from((*PIECES, b"Message-ID: ", b"message-id:", b"<a@b>")), max_size=12)
)
def test_whatever_the_header_the_message_id_alone_has_the_same_digest(
    pieces: list[bytes],
) -> None:
    raw = b"".join(pieces)
    assert message.message_id_digest(raw) == message.message_id_digest(
        fields_named(raw, b"message-id")
    )


ATOM: Final = st.text("abcdefgh0123456789.@<>", min_size=1, max_size=20)


@given(st.lists(ATOM, max_size=3), st.lists(ATOM, max_size=3))
@example(["ab", "c"], ["a", "bc"])
@example(["a", "b"], ["b", "a"])
def test_other_message_ids_have_another_digest(one: list[str], two: list[str]) -> None:
    """Also when there are several, and when their texts joined would be the same."""
    raws = [
        b"".join(f"Message-ID: {value}\r\n".encode() for value in values) + b"\r\nbody"
        for values in (one, two)
    ]
    first, second = map(message.message_id_digest, raws)
    assert (first == second) == (one == two)
