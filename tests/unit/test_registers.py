"""Reading the public registers: what they say, and what is odd in them."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry import finess, mssante
from dispatcher.registry.oddities import Noted, Oddity, not_whole
from dispatcher.registry.source import Limits, NotARegister
from dispatcher.registry.values import Bal, BalKind, Directory, Register, Stamp
from tests.registers import (
    FIRST,
    HEADER,
    bal_row,
    directory_text,
    ej_row,
    et_row,
    finess_text,
)

ET, EJ = "990000010", "990000903"
ADDRESS = "sidep@labo.mssante.fr"
Odd = dict[Oddity, tuple[int, ...]]


def odd(noted: tuple[Noted, ...]) -> Odd:
    return {one.oddity: one.lines for one in noted}


def register(tmp_path: Path, content: str | bytes) -> tuple[Register, Odd]:
    path = tmp_path / "finess.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found, noted = finess.load(path)
    return found, odd(noted)


def directory(tmp_path: Path, content: str | bytes) -> tuple[Directory, Odd]:
    path = tmp_path / "mssante.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found, noted = mssante.load(path)
    return found, odd(noted)


def owners(found: Register) -> dict[str, str | None]:
    """Return the legal body of each site."""
    return {
        str(site): None if row.legal_body is None else str(row.legal_body)
        for site, row in found.establishments.items()
    }


# --- FINESS ------------------------------------------------------------------------------


def test_an_establishment_is_read_by_position(tmp_path: Path) -> None:
    found, noted = register(
        tmp_path, finess_text(et_row(ET, EJ, "LBM  MAIRIE"), et_row("2A9999026", "2A9999018"))
    )
    assert (noted, found.made_on) == ({}, date(2026, 5, 12))
    row = found.establishments[FinessET(ET)]
    assert (row.legal_body, row.name, row.town) == (
        FinessEJ(EJ),
        "LBM MAIRIE",
        "99000 EXEMPLE",
    )
    assert (row.is_laboratory, row.closed_on) == (True, None)
    assert [str(one.site) for one in found.sites_of(FinessEJ("2A9999018"))] == ["2A9999026"]
    assert found.is_legal_body(FinessEJ(EJ))
    assert not found.is_legal_body(FinessEJ(ET))


@pytest.mark.parametrize(
    ("short", "long", "name"),
    [
        pytest.param("LBM M.", "LBM MAIRIE", "LBM MAIRIE", id="both"),
        pytest.param("LBM M.", "", "LBM M.", id="the short one"),
        pytest.param("", "LBM MAIRIE", "LBM MAIRIE", id="the long one"),
        pytest.param("", "", "", id="none"),
    ],
)
def test_the_long_name_is_the_name_else_the_short_one(
    tmp_path: Path, short: str, long: str, name: str
) -> None:
    row = et_row(ET, EJ, "NAME").replace("NAME;NAME", f"{short};{long}")
    found, noted = register(tmp_path, finess_text(row))
    assert (found.establishments[FinessET(ET)].name, noted) == (name, {})


def test_a_name_over_more_lines_than_any_has_is_a_stray_quote(tmp_path: Path) -> None:
    rows = [et_row(ET, EJ, '"LBM' + "\nMAIRIE" * 9 + '"'), et_row("990000028", EJ)]
    found, noted = register(tmp_path, finess_text(*rows))
    assert found.establishments[FinessET("990000028")].town == "99000 EXEMPLE"
    assert noted[Oddity.UNCLOSED_QUOTE][0] == 2


def test_a_name_may_hold_quotes_semicolons_and_line_breaks(tmp_path: Path) -> None:
    quoted = '"LIEU ""LES\nTILLEULS""; ANNEXE"'
    found, noted = register(
        tmp_path, finess_text(et_row(ET, EJ, quoted), et_row("990000028", EJ))
    )
    assert found.establishments[FinessET(ET)].name == 'LIEU "LES TILLEULS"; ANNEXE'
    assert owners(found) == {ET: EJ, "990000028": EJ}
    assert noted == {}


@pytest.mark.parametrize(
    ("short", "long", "noted"),
    [
        pytest.param('"LABO', "LABO", {Oddity.UNCLOSED_QUOTE: (3,)}, id="before a name"),
        pytest.param('LABO 5"', "LABO", {Oddity.UNCLOSED_QUOTE: (3,)}, id="behind a name"),
        pytest.param('"LABO', '"LABO', {Oddity.UNCLOSED_QUOTE: (3,)}, id="before two names"),
        pytest.param('LABO 5"', 'LABO 5"', {}, id="behind two names"),
    ],
)
@pytest.mark.parametrize("behind", [0, 1, 8], ids="{} row(s) behind".format)
def test_a_quote_that_nothing_closes_swallows_nothing(
    tmp_path: Path, *, short: str, long: str, noted: Odd, behind: int
) -> None:
    others = [f"99000{at:04d}" for at in range(1000, 1000 + behind)]
    stray = et_row("990000028", EJ, "NAME").replace("NAME;NAME", f"{short};{long}")
    rows = [et_row(ET, EJ), stray, *(et_row(other, EJ) for other in others)]
    found, told = register(tmp_path, finess_text(*rows))
    assert owners(found) == dict.fromkeys([ET, "990000028", *others], EJ)
    assert found.establishments[FinessET("990000028")].town == "99000 EXEMPLE"
    assert told == noted


def test_the_row_behind_a_stray_quote_may_have_sound_ones(tmp_path: Path) -> None:
    stray = et_row("990000028", EJ, "NAME").replace("NAME;NAME", '"LABO;LABO')
    rows = [stray, stray.replace("990000028", "990000036"), et_row(ET, EJ, '"LE\nPORT; A"')]
    found, noted = register(tmp_path, finess_text(*rows))
    assert found.establishments[FinessET(ET)].name == "LE PORT; A"
    assert owners(found) == dict.fromkeys(["990000028", "990000036", ET], EJ)
    assert noted == {Oddity.UNCLOSED_QUOTE: (2, 3)}


def test_a_legal_bodies_file_adds_names(tmp_path: Path) -> None:
    sites, bodies = tmp_path / "et.csv", tmp_path / "ej.csv"
    sites.write_text(finess_text(et_row(ET, EJ)), encoding="utf-8")
    rows = (ej_row(EJ, "SELAS LBM EXEMPLE"), ej_row("990000911", "AUTRE"))
    bodies.write_text(finess_text(*rows), encoding="utf-8")
    found, noted = finess.load(sites, bodies)
    assert (noted, owners(found)) == ((), {ET: EJ})
    assert found.legal_bodies[FinessEJ(EJ)].name == "SELAS LBM EXEMPLE"
    assert found.legal_bodies[FinessEJ(EJ)].siren == "300000007"
    assert found.is_legal_body(FinessEJ("990000911"))


@pytest.mark.parametrize(
    ("written", "owner", "oddity"),
    [
        pytest.param("10000024", "010000024", Oddity.PADDED_NUMBER, id="a lost zero"),
        pytest.param(" 010000024 ", "010000024", Oddity.UNTIDY_NUMBER, id="spaces around"),
        pytest.param("2a0000014", "2A0000014", Oddity.UNTIDY_NUMBER, id="a small letter"),
        pytest.param("1000002", None, Oddity.UNREADABLE_NUMBER, id="two digits lost"),
        pytest.param("9.9E+08", None, Oddity.UNREADABLE_NUMBER, id="as a spreadsheet counts"),
        pytest.param("९९००००९०३", None, Oddity.UNREADABLE_NUMBER, id="another script"),
        pytest.param("", None, Oddity.UNREADABLE_NUMBER, id="nothing"),
    ],
)
def test_an_odd_number_is_read_or_told(
    tmp_path: Path, written: str, owner: str | None, oddity: Oddity
) -> None:
    found, noted = register(tmp_path, finess_text(et_row("990000028", EJ), et_row(ET, written)))
    assert owners(found)[ET] == owner
    assert noted == {oddity: (3,)}


@pytest.mark.parametrize(
    ("rows", "expected", "noted"),
    [
        pytest.param(
            [et_row(ET, EJ)] * 3, {ET: EJ}, {Oddity.REPEATED: (3, 4)}, id="a row twice"
        ),
        pytest.param(
            [et_row(ET, EJ), et_row(ET, "990000911")],
            {ET: EJ},
            {Oddity.CONTRADICTED: (3,)},
            id="two legal bodies",
        ),
        pytest.param(
            [f"structureet;{ET};{EJ}"], {ET: EJ}, {Oddity.SHORT_ROW: (2,)}, id="missing cells"
        ),
        pytest.param(
            [et_row(ET, EJ) + ";;x"], {ET: EJ}, {Oddity.EXTRA_CELLS: (2,)}, id="more cells"
        ),
        pytest.param(
            [et_row(ET, EJ), "", "autre;1", "geolocalisation;990000010;1;2"],
            {ET: EJ},
            {Oddity.UNKNOWN_ROW: (4,)},
            id="other rows",
        ),
        pytest.param(
            [et_row(ET, EJ), et_row("99", EJ)],
            {ET: EJ},
            {Oddity.UNREADABLE_NUMBER: (3,)},
            id="a site without a number",
        ),
    ],
)
def test_an_odd_row_is_told_with_its_line(
    tmp_path: Path, rows: list[str], expected: dict[str, str], noted: Odd
) -> None:
    found, told = register(tmp_path, finess_text(*rows))
    assert owners(found) == expected
    assert told == noted


def test_a_closing_date_behind_the_last_cell_is_kept(tmp_path: Path) -> None:
    found, _ = register(tmp_path, finess_text(et_row(ET, EJ, closed="2024-12-31")))
    assert found.establishments[FinessET(ET)].closed_on == date(2024, 12, 31)


def test_the_first_line_may_be_missing(tmp_path: Path) -> None:
    found, noted = register(tmp_path, et_row(ET, EJ) + "\n")
    assert owners(found) == {ET: EJ}
    assert noted == {Oddity.NO_FIRST_LINE: (1,)}


def test_only_the_first_lines_of_an_oddity_are_told_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "finess.csv"
    path.write_text(finess_text(*[et_row(ET, EJ)] * 9), encoding="utf-8")
    (noted,) = finess.load(path)[1]
    assert (noted.count, noted.lines) == (8, (3, 4, 5, 6, 7))
    assert str(noted) == "finess.csv: a row that stands there twice (8 lines: 3, 4, 5, 6, 7, …)"


# --- the directory -----------------------------------------------------------------------


def test_a_line_of_the_directory_is_read_by_its_header(tmp_path: Path) -> None:
    found, noted = directory(
        tmp_path,
        directory_text(bal_row("Sidep@Labo.mssante.fr", ET, "Secrétariat @SIDEP")),
    )
    assert noted == {}
    assert found.carrying(FinessET(ET)) == (
        Bal(ADDRESS, BalKind.ORGANISATIONAL, Stamp.AS_PRINTED, ET),
    )


def test_each_line_has_its_own_mention(tmp_path: Path) -> None:
    services = ["", "@SIDEP", "", "@sidep", "Accueil", "SIDEP", "@SIDEp"]
    rows = [bal_row(f"{at}@x.fr", ET, service) for at, service in enumerate(services)]
    found, _ = directory(tmp_path, directory_text(*rows))
    assert [bal.stamp for bal in found.carrying(FinessET(ET))] == [
        Stamp.NONE,
        Stamp.AS_PRINTED,
        Stamp.NONE,
        Stamp.OTHER_CASE,
        Stamp.NONE,
        Stamp.NEAR,
        Stamp.AS_PRINTED,
    ]


def test_each_line_has_its_own_type_and_number(tmp_path: Path) -> None:
    rows = [
        bal_row(f"{kind.lower()}{turn}@x.fr", (ET, EJ)[turn], "", kind=kind)
        for turn in range(2)
        for kind in ("PER", "ORG", "APP", "CAB")
    ]
    found, _ = directory(tmp_path, directory_text(*rows))
    for turn, number in enumerate((ET, EJ)):
        bals = found.carrying(FinessET(number))
        assert [bal.kind.value.lower() + f"{turn}@x.fr" for bal in bals] == [
            bal.address for bal in bals
        ]
        assert len(bals) == 4


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(str.upper, id="capitals"),
        pytest.param(str.lower, id="small letters"),
        pytest.param(lambda h: h.replace("'", "’"), id="the other apostrophe"),
        pytest.param(lambda h: h.replace("é", "e").replace("è", "e"), id="no accents"),
        pytest.param(lambda h: h.replace("|", " | "), id="spaces around the bars"),
        pytest.param(lambda h: h.replace("Adresse BAL", '"Adresse BAL"'), id="quotes"),
    ],
)
def test_the_header_varies(tmp_path: Path, change: Callable[[str], str]) -> None:
    text = directory_text(bal_row(ADDRESS, ET), header=change(HEADER))
    found, noted = directory(tmp_path, text)
    assert noted == {}
    assert [bal.address for bal in found.carrying(FinessET(ET))] == [ADDRESS]


def test_the_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    rows = [list(reversed(row.split("|"))) for row in (HEADER, bal_row(ADDRESS, ET))]
    found, noted = directory(tmp_path, "\n".join("|".join(row) for row in rows) + "\n")
    assert noted == {}
    assert [bal.counts for bal in found.carrying(FinessET(ET))] == [True]


@pytest.mark.parametrize("service", ["@SIDEP", ""], ids=["stamped", "unstamped"])
@pytest.mark.parametrize("word", ["1", "FINESS", "finess", " FINESS "])
@pytest.mark.parametrize(
    ("written", "oddities"),
    [
        pytest.param(ET, [], id="nine characters"),
        pytest.param(f"1{ET}", [], id="ten with a 1 in front"),
        pytest.param(f" {ET}", [Oddity.UNTIDY_NUMBER], id="a space"),
    ],
)
def test_a_finess_number_has_several_forms(
    tmp_path: Path, word: str, service: str, *, written: str, oddities: list[Oddity]
) -> None:
    rows = [bal_row("a@x.fr", EJ, ""), bal_row(ADDRESS, written, service, number_type=word)]
    found, noted = directory(tmp_path, directory_text(*rows))
    assert [bal.address for bal in found.carrying(FinessET(ET))] == [ADDRESS]
    assert list(noted) == oddities


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(f"2{ET}", id="ten with a 2 in front"),
        pytest.param(f"0{ET}", id="ten with a 0 in front"),
        pytest.param(f"11{ET}", id="eleven"),
        pytest.param(ET[2:], id="seven"),
    ],
)
def test_a_number_of_another_form_counts_for_no_site(tmp_path: Path, written: str) -> None:
    rows = [bal_row("a@x.fr", EJ, ""), bal_row(ADDRESS, written, number_type="1")]
    found, noted = directory(tmp_path, directory_text(*rows))
    assert found.carrying(FinessET(ET)) == ()
    assert noted == {Oddity.UNREADABLE_NUMBER: (3,)}


def test_a_corsican_number_has_a_letter_in_both_forms(tmp_path: Path) -> None:
    rows = [bal_row(ADDRESS, "12A9999018", number_type="1"), bal_row("b@x.fr", "2A9999018")]
    found, noted = directory(tmp_path, directory_text(*rows))
    assert len(found.carrying(FinessEJ("2A9999018"))) == 2
    assert noted == {}


def test_a_line_without_a_number_is_usual(tmp_path: Path) -> None:
    rows = [bal_row(ADDRESS), bal_row(ADDRESS, number_type=""), bal_row(ADDRESS, " ")]
    found, noted = directory(tmp_path, directory_text(*rows))
    assert [bal.structure for bal in found.named(ADDRESS)] == [""]
    assert noted == {}


@pytest.mark.parametrize("service", ["@SIDEP", ""], ids=["stamped", "unstamped"])
@pytest.mark.parametrize("word", ["2", "SIRET", "ADELI"])
def test_a_number_of_another_register_is_none_of_ours(
    tmp_path: Path, word: str, service: str
) -> None:
    rows = [bal_row("a@x.fr", EJ, ""), bal_row(ADDRESS, ET, service, number_type=word)]
    found, noted = directory(tmp_path, directory_text(*rows))
    assert found.carrying(FinessET(ET)) == ()
    assert [bal.structure for bal in found.named(ADDRESS)] == [""]
    assert noted == {}


@pytest.mark.parametrize(
    ("row", "oddity", "kept"),
    [
        pytest.param(
            bal_row(ADDRESS, ET, kind="BOX"), Oddity.UNKNOWN_KIND, 1, id="another type"
        ),
        pytest.param(bal_row("", ET), Oddity.UNREADABLE_ADDRESS, 0, id="no address"),
        pytest.param(bal_row("a b@x.fr", ET), Oddity.UNREADABLE_ADDRESS, 0, id="a space in it"),
        pytest.param(
            bal_row(ADDRESS, ET, number_type=""), Oddity.NUMBER_WITHOUT_TYPE, 0, id="no word"
        ),
        pytest.param(bal_row(ADDRESS, "99"), Oddity.UNREADABLE_NUMBER, 0, id="no number"),
        pytest.param(bal_row(ADDRESS, ET) + "|x", Oddity.EXTRA_CELLS, 1, id="more cells"),
        pytest.param(
            bal_row(ADDRESS, ET).rstrip("|").removesuffix("|N|LBM EXEMPLE"),
            Oddity.SHORT_ROW,
            1,
            id="missing cells",
        ),
        pytest.param(f"ORG|{ADDRESS}", Oddity.SHORT_ROW, 0, id="two cells"),
    ],
)
@pytest.mark.parametrize("service", ["@SIDEP", ""], ids=["stamped", "unstamped"])
def test_an_odd_line_is_told(
    tmp_path: Path, service: str, *, row: str, oddity: Oddity, kept: int
) -> None:
    row = row.replace("@SIDEP", service)
    text = directory_text(bal_row("first@x.fr", EJ, ""), row, bal_row("z@x.fr", EJ))
    found, noted = directory(tmp_path, text)
    assert noted == {oddity: (3,)}
    assert len(found.carrying(FinessET(ET))) == kept
    assert len(found.carrying(FinessEJ(EJ))) == 2


def test_a_type_that_is_not_known_does_not_count(tmp_path: Path) -> None:
    found, _ = directory(tmp_path, directory_text(bal_row(ADDRESS, ET, kind="BOX")))
    assert [bal.counts for bal in found.carrying(FinessET(ET))] == [False]


# --- encodings and line ends -------------------------------------------------------------

FINESS = finess_text(et_row(ET, EJ, "LABO DE L'ÉTÉ"), et_row("990000028", EJ, "NOËL"))


@pytest.mark.parametrize(
    ("content", "noted"),
    [
        pytest.param(FINESS.encode(), {}, id="UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + FINESS.encode(), {}, id="a byte order mark"),
        pytest.param(FINESS.replace("\n", "\r\n").encode(), {}, id="CRLF"),
        pytest.param(FINESS.replace("\n", "\r").encode(), {}, id="CR"),
        pytest.param(FINESS.rstrip("\n").encode(), {}, id="no line break at the end"),
        pytest.param(FINESS.encode("cp1252"), {Oddity.NOT_UTF8: (1,)}, id="Windows-1252"),
    ],
)
def test_a_text_is_read_in_its_encoding(tmp_path: Path, content: bytes, noted: Odd) -> None:
    found, told = register(tmp_path, content)
    assert [row.name for row in found.establishments.values()] == ["LABO DE L'ÉTÉ", "NOËL"]
    assert told == noted


def test_one_byte_that_is_not_utf8_decides_for_the_whole_file(tmp_path: Path) -> None:
    content = FINESS.encode().replace("NOËL".encode(), b"NO\xcbL")
    found, noted = register(tmp_path, content)
    assert [row.name for row in found.establishments.values()] == ["LABO DE L'Ã‰TÃ‰", "NOËL"]
    assert noted == {Oddity.NOT_UTF8: (1,)}


def test_a_byte_that_is_no_character_is_told(tmp_path: Path) -> None:
    content = FINESS.encode("cp1252").replace(b"NO\xcbL", b"NO\x81L")
    found, noted = register(tmp_path, content)
    assert owners(found) == {ET: EJ, "990000028": EJ}
    assert noted == {Oddity.NOT_UTF8: (1,), Oddity.UNDECODABLE: (3,)}


def test_a_file_longer_than_one_piece_is_read_whole(tmp_path: Path) -> None:
    numbers = [f"99{at:07d}" for at in range(12_000)]
    text = finess_text(*(et_row(number, EJ, "ÉTÉ" * 10) for number in numbers))
    found, noted = register(tmp_path, text)
    assert (len(found.establishments), noted) == (12_000, {})
    assert {row.name for row in found.establishments.values()} == {"ÉTÉ" * 10}


# --- files that were cut off -------------------------------------------------------------


def test_a_row_that_was_cut_off_is_left_out_and_told(tmp_path: Path) -> None:
    content = finess_text(et_row(ET, EJ), et_row("990000028", EJ)).encode()
    for end in range(len(content) - 40, len(content) - 20):
        found, noted = register(tmp_path, content[:end])
        assert (owners(found), noted) == ({ET: EJ}, {Oddity.CUT_OFF: (3,)})


def test_a_mention_that_was_cut_off_does_not_pass_for_none(tmp_path: Path) -> None:
    text = directory_text(
        bal_row("first@labo.mssante.fr", EJ), bal_row(ADDRESS, ET, "x @SIDEP")
    )
    for end in range(text.index("@SIDEP", -80), text.index("@SIDEP", -80) + 6):
        found, noted = directory(tmp_path, text[:end])
        assert found.carrying(FinessET(ET)) == ()
        assert noted == {Oddity.CUT_OFF: (3,)}
    whole, noted = directory(tmp_path, text[: text.index("@SIDEP", -80) + 7])
    assert [bal.counts for bal in whole.carrying(FinessET(ET))] == [True]
    assert noted == {Oddity.CUT_OFF: (3,)}


def test_a_file_that_was_cut_inside_a_character_stays_utf8(tmp_path: Path) -> None:
    content = finess_text(et_row(ET, EJ, "ÉTÉ"), et_row("990000028", EJ, "É")).encode()
    found, noted = register(tmp_path, content[: content.rindex("É".encode()) + 1])
    assert [row.name for row in found.establishments.values()] == ["ÉTÉ"]
    assert set(noted) == {Oddity.CUT_OFF}


def test_a_row_that_was_cut_inside_a_character_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    text = directory_text(bal_row("first@labo.mssante.fr", EJ), bal_row(ADDRESS, ET, "É"))
    path.write_bytes(text.encode()[: text.encode().rindex("É".encode()) + 1])
    _, noted = mssante.load(path)
    assert [(one.oddity, one.count, one.lines) for one in noted] == [(Oddity.CUT_OFF, 1, (3,))]


# --- files that were damaged -------------------------------------------------------------


PIECE = 1 << 20  # what is read of a file at once


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(5_000, id="in the middle"),
        pytest.param(PIECE - 1, id="at the end of a piece, and its line in the next one"),
        pytest.param(PIECE, id="at the beginning of a piece"),
    ],
)
def test_a_line_with_a_nul_byte_in_it_is_left_out_and_told(tmp_path: Path, place: int) -> None:
    bad = bal_row("ze\0ro@labo.mssante.fr", EJ)
    fill = bal_row("fill@labo.mssante.fr")
    count, rest = divmod(
        place - len(directory_text().encode()) - bad.index("\0"), len(fill) + 1
    )
    before = [fill] * count
    before[0] = bal_row("fill@labo.mssante.fr", service="@SIDEP" + "x" * rest)
    text = directory_text(*before, bad, bal_row("last@labo.mssante.fr", EJ))
    assert text.encode().index(b"\0") == place
    found, noted = directory(tmp_path, text)
    assert [bal.address for bal in found.carrying(FinessEJ(EJ))] == ["last@labo.mssante.fr"]
    assert noted == {Oddity.DAMAGED: (count + 2,)}


@pytest.mark.parametrize(
    ("end", "missing"),
    [
        pytest.param("", False, id="whole"),
        pytest.param("ORG|\0|\n", True, id="damaged"),
        pytest.param("ORG|cut@labo", True, id="cut off"),
    ],
)
def test_a_file_of_which_a_part_is_missing_is_not_whole(
    tmp_path: Path, end: str, missing: bool
) -> None:
    path = tmp_path / "m.txt"
    path.write_text(directory_text(*[bal_row(ADDRESS, ET)] * 90) + end, encoding="utf-8")
    assert not_whole(mssante.load(path)[1]) is missing


def test_a_file_that_ends_in_nul_bytes_is_told(tmp_path: Path) -> None:
    rows = [et_row(f"99{at:07d}", EJ) for at in range(100)]
    found, noted = register(tmp_path, finess_text(*rows).encode() + b"\0" * 512)
    assert (len(found.establishments), noted) == (100, {Oddity.DAMAGED: (102,)})


def test_an_address_with_characters_that_nobody_sees_is_none(tmp_path: Path) -> None:
    rows = (bal_row("si\x07dep@labo.mssante.fr", ET), bal_row("sidep@labo.mssante.fr", ET))
    found, noted = directory(tmp_path, directory_text(*rows))
    assert [bal.address for bal in found.carrying(FinessET(ET))] == ["sidep@labo.mssante.fr"]
    assert noted == {Oddity.UNREADABLE_ADDRESS: (2,)}


# --- archives ----------------------------------------------------------------------------


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


BODIES = finess_text(ej_row(EJ, "LBM")).encode()
BALS = directory_text(bal_row(ADDRESS, ET)).encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zipped({"etalab.csv": FINESS.encode()}), id="zipped"),
        pytest.param(
            zipped({"x/Etalab.CSV": FINESS.encode()}, zipfile.ZIP_STORED), id="stored"
        ),
        pytest.param(
            zipped(
                {"lisez-moi.pdf": b"%PDF", "__MACOSX/._e.csv": b"x", "e.csv": FINESS.encode()}
            ),
            id="beside other files",
        ),
        pytest.param(
            zipped({"vide.txt": b"", "sceau.txt": b"\0\1", "e.csv": FINESS.encode()}),
            id="beside an empty text and one that is none",
        ),
        pytest.param(
            zipped({"x/.e.csv": FINESS.encode(), "x/e.csv": FINESS.encode()}),
            id="beside a hidden copy",
        ),
        pytest.param(
            zipped({"bal.txt": BALS, "lisez-moi.txt": b"Bonjour", "e.csv": FINESS.encode()}),
            id="beside other texts",
        ),
        pytest.param(gzip.compress(FINESS.encode()), id="gzipped"),
    ],
)
def test_an_archive_is_read_like_the_file_in_it(tmp_path: Path, content: bytes) -> None:
    found, noted = register(tmp_path, content)
    assert (owners(found), noted) == ({ET: EJ, "990000028": EJ}, {})


def encrypted() -> bytes:
    """Return an archive whose member says that it is encrypted."""
    content = bytearray(zipped({"e.csv": FINESS.encode()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


# --- files that are something else -------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"\n\n \n", "empty", id="blank lines"),
        pytest.param(b"<!DOCTYPE html><html>", "web page", id="a web page"),
        pytest.param(b"%PDF-1.7\n", "PDF", id="a PDF file"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "spreadsheet", id="an old workbook"),
        pytest.param(zipped({"xl/workbook.xml": b"<x/>"}), "spreadsheet", id="a workbook"),
        pytest.param(zipped({"content.xml": b"<x/>"}), "spreadsheet", id="an open workbook"),
        pytest.param(zipped({"a.pdf": b"%PDF"}), "no .txt or .csv", id="an archive without it"),
        pytest.param(zipped({}), "no .txt or .csv", id="an empty archive"),
        pytest.param(
            zipped({"a.csv": FINESS.encode(), "b.csv": FINESS.encode()}), "several", id="two"
        ),
        pytest.param(zipped({"a.txt": b"x", "b.txt": b"y"}), "no such register", id="neither"),
        pytest.param(zipped({"a.csv": FINESS.encode()})[:-40], "broken", id="a cut archive"),
        pytest.param(gzip.compress(FINESS.encode())[:-20], "broken", id="a cut gzip file"),
        pytest.param(encrypted(), "cannot be unpacked", id="an encrypted archive"),
        pytest.param(
            zipped({"a.csv": FINESS.encode()}, zipfile.ZIP_LZMA),
            "cannot be",
            id="LZMA in a zip",
        ),
        pytest.param(bz2.compress(FINESS.encode()), "this is not", id="bzip2"),
        pytest.param(FINESS.encode("utf-16"), "UTF-16", id="UTF-16"),
        pytest.param(b"finess;etalab;\0\0\0", "not a text", id="zero bytes"),
        pytest.param(BALS, "--mssante", id="the directory"),
        pytest.param(FINESS.replace(";", ",").encode(), "commas", id="commas"),
        pytest.param(FINESS.replace(";", "\t").encode(), "tabs", id="tabs"),
        pytest.param(b"name;number\n", "does not begin", id="another table"),
        pytest.param(f"{FIRST}\n".encode(), "no establishment", id="a first line alone"),
        pytest.param(
            b"finess;etalab;1\n" + b"x" * 200_000, "does not end", id="an endless line"
        ),
    ],
)
def test_a_file_that_is_not_finess_says_what_it_is(
    tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(NotARegister, match=says) as caught:
        register(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "finess.csv"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(FINESS, "--finess", id="a FINESS file"),
        pytest.param(HEADER + "\n", "names no BAL", id="a header alone"),
        pytest.param(BALS.decode().replace("|", ";"), "semicolons", id="semicolons"),
        pytest.param(
            BALS.decode().replace("Service de rattachement", "Service"),
            "columns are missing: Service de rattachement",
            id="a column is missing",
        ),
        pytest.param("a|b|c\n1|2|3\n", "none of the columns", id="another table"),
    ],
)
def test_a_file_that_is_not_the_directory_says_what_it_is(
    tmp_path: Path, content: str, says: str
) -> None:
    with pytest.raises(NotARegister, match=says):
        directory(tmp_path, content)


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, says in (
        (tmp_path, "not a file"),
        (pipe, "not a file"),
        (tmp_path / "x", "no such"),
    ):
        with pytest.raises(NotARegister, match=says):
            finess.load(path)


# --- files that were made to hurt --------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        pytest.param(Limits(5_000_000, 10**6), "larger than any", id="unpacked size"),
        pytest.param(Limits(10**9, 20_000), "more than 20,000 lines", id="lines"),
    ],
)
@pytest.mark.parametrize("pack", [lambda c: zipped({"e.csv": c}), gzip.compress])
def test_a_bomb_is_put_down_at_its_limit(
    tmp_path: Path, limits: Limits, says: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "bomb"
    bomb = f"{FIRST}\n".encode() + (et_row(ET, EJ) + "\n").encode() * 60_000
    path.write_bytes(pack(bomb))
    assert path.stat().st_size < 100_000 < limits.size < len(bomb) or limits.lines < 60_000
    with pytest.raises(NotARegister, match=says):
        finess.load(path, limits=limits)
