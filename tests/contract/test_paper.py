"""What comes out on paper: every line, in its room, the same bytes each time."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # ships no types
from pypdf import PdfReader

from dispatcher import fonts
from dispatcher.core.bordereau import Bordereau, Line, Name, Standing
from dispatcher.core.finess import FinessET
from dispatcher.edges.paper import PdfPaper
from dispatcher.edges.paper.sheet import Sheet, Weight
from dispatcher.ports import Paper
from dispatcher.simulator import people

SITE = FinessET("990000010")
ON = date(2026, 11, 19)
MADE_AT = datetime(2026, 11, 19, 17, 30, tzinfo=UTC)
LINE = Line("21048BC000020", Name("DUPONT", "Zoé"), MADE_AT, Standing.MADE, Standing.MADE)
POINTS_IN_MM = 72 / 25.4
A4 = (210 * POINTS_IN_MM, 297 * POINTS_IN_MM)

FONTS = {
    Weight.PLAIN: TTFont(fonts.EUROPEAN, lazy=False),
    Weight.BOLD: TTFont(fonts.EUROPEAN_BOLD, lazy=False),
}

LONG = "de La Rochefoucauld-Liancourt d’Estissac de Villeneuve-Bargemon et de Saint-Aulaire"
BEYOND = "W" * 5000


@pytest.fixture(scope="module")
def paper() -> Paper:
    return PdfPaper()


@pytest.fixture
def sheet() -> Iterator[Sheet]:
    with closing(Sheet("Essai", made_at=MADE_AT)) as opened:
        yield opened


def bordereau(*lines: Line, printed: bool = True, site: str = "Site Gare") -> Bordereau:
    return Bordereau(SITE, site, ON, MADE_AT, lines, printed=printed)


def pages(content: bytes) -> list[str]:
    """Return each page's text with single spaces."""
    reader = PdfReader(io.BytesIO(content))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


@dataclass(frozen=True)
class Written:
    """A piece of text on a page and where it begins, in points from the top left."""

    text: str
    left: float
    top: float


def written(content: bytes) -> Iterator[list[Written]]:
    for page in PdfReader(io.BytesIO(content)).pages:
        found: list[Written] = []

        def see(
            text: str, _cm: object, at: list[float], *_: object, into: list[Written] = found
        ) -> None:
            if text.strip():
                into.append(Written(text, at[4], A4[1] - at[5]))

        page.extract_text(visitor_text=see)
        yield found


def many(count: int) -> tuple[Line, ...]:
    standings: list[Standing | None] = [*Standing, None]
    return tuple(
        Line(
            f"21{number:03}BC{number:06}",
            Name(one.last_name, one.first_name) if number % 17 else None,
            MADE_AT - timedelta(minutes=number),
            standings[number % 5],
            standings[number % 3],
            replaces=number % 11 == 0,
        )
        for number, one in enumerate(people.population(3, count, ON))
    )


def test_a_line_bears_number_name_time_and_how_far_it_is(paper: Paper) -> None:
    (text,) = pages(paper.bordereau(bordereau(LINE)))
    for said in (
        "Site Gare", "FINESS 990000010", "jeudi 19 novembre 2026", "21048BC000020", "DUPONT",
        "Zoé", "18:30", "imprimé", "déposé", "Remis le, signature", "Total : 1 certificat",
        "Page 1 / 1",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(
    ("standing", "paper_word", "copy_word"),
    [
        pytest.param(Standing.MADE, "imprimé", "déposé", id="made"),
        pytest.param(Standing.WAITING, "en attente", "en attente", id="waiting"),
        pytest.param(Standing.HELD, "retenu", "retenu", id="held"),
        pytest.param(Standing.NOT_MADE, "non imprimé", "non déposé", id="given up"),
    ],
)
def test_each_standing_has_its_word_in_the_line_and_in_the_totals(
    paper: Paper, standing: Standing, paper_word: str, copy_word: str
) -> None:
    line = replace(LINE, paper=standing, copy=standing)
    (text,) = pages(paper.bordereau(bordereau(line)))
    assert f"18:30 {paper_word} {copy_word}" in text
    assert f"Papier : {paper_word} 1 Fichier : {copy_word} 1" in text


def test_a_site_without_a_printer_has_no_column_for_prints(paper: Paper) -> None:
    (text,) = pages(paper.bordereau(bordereau(replace(LINE, paper=None), printed=False)))
    assert "Papier" not in text
    assert "déposé" in text


def test_a_day_without_certificates_gives_a_page_that_says_so(paper: Paper) -> None:
    (text,) = pages(paper.bordereau(bordereau()))
    assert "Aucun certificat" in text
    assert "Total" not in text
    assert "Page 1 / 1" in text


def test_a_name_that_could_not_be_read_is_told(paper: Paper) -> None:
    (text,) = pages(paper.bordereau(bordereau(LINE, replace(LINE, name=None))))
    assert "21048BC000020 nom non lu 18:30" in text
    assert "1 nom non lu : le message" in text


def test_a_new_version_is_marked(paper: Paper) -> None:
    (text,) = pages(paper.bordereau(bordereau(replace(LINE, replaces=True))))
    assert "nouvelle version" in text


def test_only_a_list_of_a_day_that_goes_on_says_that_more_may_come(paper: Paper) -> None:
    during = bordereau(LINE)
    after = replace(during, made_at=MADE_AT + timedelta(hours=8))
    assert "plus tard" in pages(paper.bordereau(during))[0]
    assert "plus tard" not in pages(paper.bordereau(after))[0]


def test_every_certificate_is_there_once_over_all_pages(paper: Paper) -> None:
    lines = many(120)
    found = pages(paper.bordereau(bordereau(*lines)))
    text = " ".join(found)
    assert len(found) > 1
    for line in lines:
        assert text.count(line.file_number or "?") == 1
    assert [f"Page {n} / {len(found)}" in page for n, page in enumerate(found, 1)] == [
        True
    ] * len(found)
    assert sum("Total : 120 certificats" in page for page in found) == 1
    assert "Total : 120 certificats" in found[-1]
    assert all("N° de dossier" in page for page in found), "each page has the table's head"
    assert all("jeudi 19 novembre 2026" in page for page in found)


@pytest.mark.parametrize("count", [*range(19, 27), 45, 46, 47, 48, 49])
def test_totals_never_stand_alone_on_a_page(paper: Paper, count: int) -> None:
    content = paper.bordereau(bordereau(*[LINE] * count))
    found = pages(content)
    assert sum(page.count("DUPONT") for page in found) == count
    assert all("DUPONT" in page for page in found)
    assert "Total" in found[-1]
    (copies,) = (one for one in [*written(content)][-1] if one.text.startswith("Fichier :"))
    assert copies.top < 280 * POINTS_IN_MM, "nor do they run into the foot"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(Name("DUPONT", "Zoé"), id="a short one"),
        pytest.param(Name(LONG, "Marie Thérèse Élisabeth Marie-Lœtitia Anne"), id="a long one"),
        pytest.param(Name(BEYOND, BEYOND), id="one beyond measure"),
        pytest.param(Name("W " * 900, "i"), id="many short words"),
        pytest.param(Name("-" * 300, " "), id="hyphens alone"),
        pytest.param(Name("Ÿ", "O"), id="one letter"),
        pytest.param(Name("王小明", "\u202egnol\u202c"), id="letters that the font lacks"),
        pytest.param(
            Name(
                "a\nb\x1b[31m",
                "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
            ),
            id="controls and pictures",
        ),
    ],
)
def test_nothing_is_written_outside_its_column_or_page(paper: Paper, name: Name) -> None:
    lines = [replace(LINE, name=name, file_number=n) for n in ("1", LONG, BEYOND)]
    content = paper.bordereau(bordereau(*lines * 8, site=LONG * 3))
    for found in written(content):
        assert found
        for one in found:
            assert 11 * POINTS_IN_MM < one.left < 199 * POINTS_IN_MM
            assert 10 * POINTS_IN_MM < one.top < 291 * POINTS_IN_MM
    assert pages(content)[-1].count("Total : 24 certificats") == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="none"),
        pytest.param("Zoé", id="short"),
        pytest.param(LONG, id="long"),
        pytest.param(BEYOND, id="beyond measure"),
        pytest.param("W " * 900, id="many short words"),
        pytest.param("-" * 300, id="hyphens alone"),
        pytest.param("Jean-" * 50, id="words with hyphens"),
        pytest.param("i" * 239 + "W", id="narrow letters, then a wide one"),
    ],
)
def test_a_text_stays_in_its_room(sheet: Sheet, text: str) -> None:
    rooms, weights = (3.0, 8.0, 30.0, 47.0), tuple(Weight)
    for room, lines, weight, whole in product(rooms, (1, 3), weights, (False, True)):
        fitted = sheet.fitted(
            text, room, sizes=(9.5, 7.5), lines=lines, weight=weight, whole=whole
        )
        assert 1 <= len(fitted.lines) <= lines
        for line in fitted.lines:
            assert drawn_width(line, fitted.size, weight) <= room + 0.01


def drawn_width(text: str, size: float, weight: Weight) -> float:
    """Measure with the font file itself, in millimetres."""
    font = FONTS[weight]
    units = sum(font["hmtx"][font.getBestCmap()[ord(letter)]][0] for letter in text)
    return float(units / font["head"].unitsPerEm * size / POINTS_IN_MM)


def test_a_text_that_fits_loses_no_letter(sheet: Sheet) -> None:
    for room in (30.0, 60.0):
        fitted = sheet.fitted(LONG, room, sizes=(9.5, 7.5), lines=6)
        assert "".join(fitted.lines).replace(" ", "") == LONG.replace(" ", "")
    number = "21048BC0000201234"
    assert sheet.fitted(number, 29, sizes=(9.5, 8.5, 7.5), lines=6, whole=True).lines == (
        number,
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("Œuvrard", "Œuvrard", id="a ligature"),
        pytest.param("D’Amécourt", "D’Amécourt", id="an apostrophe"),
        pytest.param("Nguyễn", "Nguyễn", id="Vietnamese"),
        pytest.param("Ионеско", "Ионеско", id="Cyrillic"),
        pytest.param(unicodedata.normalize("NFD", "Lévêque"), "Lévêque", id="loose accents"),
        pytest.param("王", "�", id="a letter that the font lacks"),
        pytest.param("Du\u200bpont\u202e", "Du�pont�", id="invisible characters"),
        pytest.param("  de   La\tSelle ", "de La Selle", id="spaces"),
    ],
)
def test_letters_are_shown_or_seen_to_be_missing(paper: Paper, name: str, shown: str) -> None:
    (text,) = pages(paper.bordereau(bordereau(replace(LINE, name=Name(name, "Zoé")))))
    assert f"21048BC000020 {shown} Zoé" in text


def test_every_name_of_the_simulator_can_be_shown(sheet: Sheet) -> None:
    for one in people.population(5, 200, ON):
        assert "�" not in sheet.shown(one.last_name + one.first_name)


def test_the_same_list_has_the_same_bytes(paper: Paper) -> None:
    page = bordereau(*many(30))
    assert paper.bordereau(page) == paper.bordereau(page)
    later = replace(page, made_at=MADE_AT + timedelta(minutes=1))
    assert paper.bordereau(page) != paper.bordereau(later)


def test_the_files_own_description_names_nobody(paper: Paper) -> None:
    reader = PdfReader(io.BytesIO(paper.bordereau(bordereau(LINE))))
    assert reader.metadata is not None
    assert reader.metadata.title == "Bordereau"
    assert not any("DUPONT" in str(value) for value in reader.metadata.values())


def test_nothing_of_a_name_reaches_any_log(
    paper: Paper, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        paper.bordereau(bordereau(replace(LINE, name=Name("王DUPONT", LONG))))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# --- the separator -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "said"),
    [
        pytest.param(0, "0 certificat", id="none"),
        pytest.param(1, "1 certificat", id="one"),
        pytest.param(2, "2 certificats", id="two"),
        pytest.param(1200, "1200 certificats", id="many"),
    ],
)
def test_a_separator_says_whose_and_how_many_and_nothing_else(
    paper: Paper, count: int, said: str
) -> None:
    (text,) = pages(paper.separator("Site Saint-Œgyd", count))
    assert text == f"Site Saint-Œgyd {said}"


def test_a_separator_has_one_page_whatever_the_sites_name(paper: Paper) -> None:
    for name in ("", LONG, BEYOND):
        content = paper.separator(name, 3)
        (found,) = written(content)
        for one in found:
            assert 19 * POINTS_IN_MM < one.left < 191 * POINTS_IN_MM
            assert 20 * POINTS_IN_MM < one.top < 277 * POINTS_IN_MM


def test_the_same_separator_has_the_same_bytes(paper: Paper) -> None:
    assert paper.separator("Site Gare", 3) == paper.separator("Site Gare", 3)
    assert not re.search(rb"D:202[1-9]", paper.separator("Site Gare", 3))
