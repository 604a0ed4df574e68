"""Whatever a name is, the simulator writes it so that a reader of the RFCs gets it back."""

from __future__ import annotations

import email
import email.policy
import email.utils
import re
import unicodedata
from urllib.parse import unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.simulator import headers
from dispatcher.simulator.headers import NameForm, SubjectForm
from tests.unit.test_simulator import decoded

CHARSETS = st.sampled_from(["utf-8", "iso-8859-1", "windows-1252"])

# Letters of names and marks between them; one space at a time, none at the ends.
LETTERS = st.characters(codec="utf-8", categories=["L", "Nd"], max_codepoint=0x1EFF)
WORDS = st.text(st.one_of(LETTERS, st.sampled_from("-_'’|()\"\\.")), min_size=1, max_size=40)
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)


@given(TEXTS, st.sampled_from(SubjectForm), CHARSETS)
@example("| É À | d’Ô  Ü a É", SubjectForm.WORDS, "utf-8")
def test_a_subject_comes_back_from_every_form(
    text: str, form: SubjectForm, charset: str
) -> None:
    value = headers.subject(text, form, charset)
    assert all(line.startswith(b" ") for line in value.split(b"\r\n")[1:])
    if form is not SubjectForm.RAW:
        assert value.isascii()
        assert decoded(value) == text
    else:
        assert text in {value.decode("utf-8", "replace"), value.decode(charset, "replace")}


@given(TEXTS, CHARSETS)
def test_a_continued_file_name_comes_back(name: str, charset: str) -> None:
    value = headers.disposition(name, NameForm.CONTINUED, charset)
    pieces = re.findall(rb"filename\*(\d+)\*=([^;\r]*)", value)
    assert [int(number) for number, _ in pieces] == list(range(len(pieces)))
    told, _, coded = b"".join(piece for _, piece in pieces).partition(b"''")
    assert unquote_to_bytes(coded).decode(told.decode()) == name


@given(TEXTS, st.sampled_from([NameForm.EXTENDED, NameForm.CONTINUED]), CHARSETS)
def test_the_standard_library_reads_the_extended_forms(
    name: str, form: NameForm, charset: str
) -> None:
    raw = b"Content-Disposition: " + headers.disposition(name, form, charset) + b"\r\n\r\n"
    assert email.message_from_bytes(raw).get_filename() == name


@given(TEXTS, st.sampled_from([NameForm.RAW, NameForm.ENCODED_WORD, NameForm.BOTH]), CHARSETS)
def test_a_quoted_name_ends_at_its_own_quote(name: str, form: NameForm, charset: str) -> None:
    value = headers.disposition(name, form, charset)
    quoted = re.findall(rb'filename="((?:[^"\\]|\\.)*)"(?=;|$)', value)
    assert len(quoted) == 1
    if form is NameForm.RAW:
        plain = re.sub(rb"\\(.)", rb"\1", quoted[0])
        assert plain == headers.encoded(name, charset)


@given(TEXTS, CHARSETS)
def test_an_encoding_says_all_of_a_text(text: str, charset: str) -> None:
    assert headers.encoded(text, charset).decode(headers.able(text, charset)) == text
    composed = unicodedata.normalize("NFC", text)
    assert headers.encoded(composed, "utf-8").decode() == composed
