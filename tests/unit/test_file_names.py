"""The name of a document in a folder: safe on every platform, and the same on each."""

from __future__ import annotations

import pytest

from dispatcher.edges.folder.names import (
    candidates,
    folded,
    is_part,
    part_name,
    reference_of,
    safe_name,
)

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        pytest.param("990000010_21048BC_LE GOFF_Zoé.pdf", None, id="an ordinary name stays"),
        pytest.param("990000010_1_D'ARTAGNAN_Élise-Marie.pdf", None, id="apostrophe, hyphen"),
        pytest.param("990000010_1_D’ARTAGNAN_Anne.pdf", None, id="typographic apostrophe"),
        pytest.param("a_Zoe\u0301.pdf", "a_Zoé.pdf", id="decomposed accents are composed"),
        pytest.param("a.PDF", "a.pdf", id="the extension in capitals"),
        pytest.param("a", "a.pdf", id="no extension"),
        pytest.param("a.pdf.exe", "a.pdf.exe.pdf", id="another extension"),
        pytest.param("", "document.pdf", id="no name at all"),
        pytest.param(".pdf", "document.pdf", id="an extension and nothing else"),
        pytest.param("...", "document.pdf", id="dots only"),
        pytest.param("../../etc/passwd", "_.._etc_passwd.pdf", id="a way out of the folder"),
        pytest.param("a\\b/c.pdf", "a_b_c.pdf", id="separators of both worlds"),
        pytest.param("a\x00b\x1f\x7f\x85c.pdf", "abc.pdf", id="control characters"),
        pytest.param("a\r\nb\tc.pdf", "a  b c.pdf", id="a folded header's line break"),
        pytest.param('<a>:"b"|c?*.pdf', "_a___b__c__.pdf", id="reserved on Windows"),
        pytest.param("a\u202efdp.exe.pdf", "afdp.exe.pdf", id="right-to-left override"),
        pytest.param("a\u2066b\u200b\ufeff\u00ad\u200dc.pdf", "abc.pdf", id="no width"),
        pytest.param("a\u034f\u3164\ufe0f\U000e0041b.pdf", "ab.pdf", id="ignorable"),
        pytest.param("a\u00a0b\u2028c\u3000d.pdf", "a b c d.pdf", id="spaces of all kinds"),
        pytest.param("a\uff0fb\uff1ac\u226ed.pdf", "a_b_c_d.pdf", id="forms of reserved ones"),
        pytest.param("a\uf022b.pdf", "a_b.pdf", id="private use, reserved through SMB"),
        pytest.param("a\udcffb.pdf", "a_b.pdf", id="a byte that was no text"),
        pytest.param(" a . .pdf", "a.pdf", id="spaces and dots around the stem"),
        pytest.param("a.pdf. . ", "a.pdf", id="spaces and dots at the end"),
        pytest.param(".hidden.pdf", "hidden.pdf", id="a hidden file"),
        pytest.param("-rf.pdf", "rf.pdf", id="an option"),
        pytest.param(".sidep-1.part", "sidep-1.part.pdf", id="a temporary name of ours"),
        pytest.param("CON.pdf", "_CON.pdf", id="the console"),
        pytest.param("nul", "_nul.pdf", id="the null device"),
        pytest.param("com1.a.pdf", "_com1.a.pdf", id="a port, with more after it"),
        pytest.param("LPT² .x.pdf", "_LPT² .x.pdf", id="superscript digit and a space"),
        pytest.param("CONSTANT.pdf", None, id="a name that only begins so"),
        pytest.param("CON" + " " * 200 + "x.pdf", "_CON.pdf", id="a device once it is cut"),
        pytest.param("é" * 200 + ".pdf", "é" * 88 + ".pdf", id="long, two bytes each"),
        pytest.param("a" + "😀" * 99 + ".pdf", "a" + "😀" * 43 + ".pdf", id="never inside one"),
    ],
)
def test_a_name_is_made_safe(given: str, safe: str | None) -> None:
    assert safe_name(given) == (given if safe is None else safe)


def test_other_content_gets_eight_digits_of_its_hash_and_more_when_those_are_taken() -> None:
    assert list(candidates("a.pdf", SHA)) == [
        "a.pdf",
        f"a-{SHA[:8]}.pdf",
        f"a-{SHA[:16]}.pdf",
        f"a-{SHA[:32]}.pdf",
        f"a-{SHA}.pdf",
    ]


def test_a_long_name_keeps_room_for_the_digits() -> None:
    names = list(candidates("é" * 300, SHA))
    assert max(len(name.encode()) for name in names) <= 180
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Zoé.pdf", "ZOÉ.PDF", id="case"),
        pytest.param("Zo\u00e9.pdf", "Zoe\u0301.pdf", id="composed or not"),
        pytest.param("Straße.pdf", "STRASSE.pdf", id="sharp s"),
    ],
)
def test_names_that_some_file_system_takes_for_one_are_one(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_names_that_differ_in_an_accent_are_two() -> None:
    assert folded("Zoe.pdf") != folded("Zoé.pdf")


def test_a_reference_depends_on_the_secret_and_on_the_name() -> None:
    references = {reference_of(s, n) for s in (b"one", b"two") for n in ("a.pdf", "b.pdf")}
    assert len(references) == 4


def test_a_reference_exists_for_a_foreign_file_whose_name_is_no_text() -> None:
    assert len(reference_of(b"one", "a\udcff.pdf")) == 32


def test_a_temporary_name_is_made_of_the_order_only() -> None:
    assert part_name("4f2a-x_9") == ".sidep-4f2a-x_9.part"
    assert is_part(".sidep-4f2a-x_9.part")


@pytest.mark.parametrize("bad", ["", "a/b", "..", "é", "a" * 65, "a b"])
def test_an_order_whose_id_is_no_word_has_no_temporary_name(bad: str) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        part_name(bad)


@pytest.mark.parametrize("name", ["a.pdf", ".sidep-.part", ".sidep-a.part.pdf", ".sidep-a"])
def test_other_files_are_no_temporary_files_of_ours(name: str) -> None:
    assert not is_part(name)
