"""A population from a seed: who was tested where, and files of patients of one's own."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from stdnum.fr import nir

from dispatcher.errors import ConfigInvalid
from dispatcher.simulator import dossiers, patients_file
from dispatcher.simulator.dossiers import Dossier
from dispatcher.simulator.exams import Outcome

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 3, 10, 30, tzinfo=PARIS)
SITES = ("990000010", "990000028", "2A0000014")


def a_population(seed: int = 5, count: int = 400, start: date | None = None) -> list[Dossier]:
    return dossiers.population(seed, count, SITES, now=NOW, start=start)


def test_the_same_seed_gives_the_same_people_and_another_seed_others() -> None:
    assert a_population() == a_population()
    assert a_population(seed=6) != a_population()


def test_what_is_drawn_for_one_changes_no_other() -> None:
    one, other = a_population(count=2), a_population(count=2)
    one[0].rng("message").random()
    assert one[1].rng("message").random() == other[1].rng("message").random()
    assert one[0].rng("message").random() != one[1].rng("message").random()


def test_tests_come_in_the_order_of_their_integration_and_before_now() -> None:
    times = [one.exam.integrated_at for one in a_population()]
    assert times == sorted(times)
    assert times[-1] < NOW
    assert all(one.exam.sampled_at < one.exam.integrated_at for one in a_population())


def test_a_day_of_tests_is_sampled_while_laboratories_are_open() -> None:
    made = a_population(start=date(2026, 10, 30))
    assert {one.exam.sampled_at.date() for one in made} == {date(2026, 10, 30)}
    hours = Counter(one.exam.sampled_at.hour for one in made)
    assert set(hours) <= set(range(7, 19))
    assert hours[9] > hours[16], "mornings are busy"
    latest = max(one.exam.integrated_at for one in made)
    assert latest < datetime(2026, 10, 31, 0, 0, tzinfo=PARIS)


def test_file_numbers_are_unique_at_a_site_and_sites_differ_in_size() -> None:
    made = a_population(count=3000)
    keys = {(one.exam.site, one.exam.file_number) for one in made}
    assert len(keys) == 3000
    sizes = Counter(one.exam.site for one in made)
    assert set(sizes) == set(SITES)
    assert max(sizes.values()) > 1.3 * min(sizes.values())


def test_a_file_number_that_is_taken_at_the_site_is_drawn_anew() -> None:
    (one,) = a_population(count=1)
    taken = {(one.exam.site, one.exam.file_number)}
    other = dossiers._unique(one, taken)
    assert other.exam.file_number != one.exam.file_number
    assert (other.exam.site, other.exam.file_number) in taken
    elsewhere = {("990000499", one.exam.file_number)}
    assert dossiers._unique(one, elsewhere) == one, "another site may give it"


def test_some_identities_have_a_wrong_key_and_most_a_right_one() -> None:
    kept = [one.patient.ins for one in a_population(count=1000) if one.patient.ins]
    right = sum(map(nir.is_valid, kept))
    assert 0.9 < right / len(kept) < 1


def test_every_result_occurs() -> None:
    assert {one.exam.outcome for one in a_population()} == set(Outcome)


# --- a file ------------------------------------------------------------------------------

HEADER = "site;file_number;last_name;first_name;phone;email;result;sampled_at;fault"


def read(tmp_path: Path, *rows: str, header: str = HEADER) -> list[Dossier]:
    file = tmp_path / "patients.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return patients_file.read(file, seed=1, now=NOW)


def test_a_row_says_what_it_says_and_the_rest_is_invented(tmp_path: Path) -> None:
    (one,) = read(
        tmp_path,
        "990000010;21048BC000020;d’Ormesson;Zoë;;x@example.org;Positif;02/11/2026 13:48;",
    )
    assert (one.patient.last_name, one.patient.first_name) == ("d’Ormesson", "Zoë")
    assert (one.contact.phone, one.contact.email) == (None, "x@example.org")
    assert (one.exam.site, one.exam.file_number) == ("990000010", "21048BC000020")
    assert one.exam.outcome is Outcome.POSITIVE
    assert one.exam.sampled_at == datetime(2026, 11, 2, 13, 48, tzinfo=PARIS)
    assert one.exam.integrated_at >= one.exam.sampled_at
    assert one.exam.code
    assert one.fault is None


def test_columns_come_in_any_order_with_commas_and_a_mark_of_utf8(tmp_path: Path) -> None:
    (one,) = read(
        tmp_path,
        "Zoé,Le Goff,990000028,pdf-encrypted",
        header="\ufefffirst_name,last_name,site,fault",
    )
    assert (one.patient.last_name, one.exam.site) == ("Le Goff", "990000028")
    assert one.fault is not None
    assert one.fault.name == "pdf-encrypted"


def test_empty_lines_are_passed_over_and_numbers_go_on(tmp_path: Path) -> None:
    made = read(tmp_path, "990000010;1;A;B;;;;;", "", ";;;;;;;;", "990000010;2;A;B;;;;;")
    assert [one.number for one in made] == [0, 1]
    assert [one.exam.file_number for one in made] == ["1", "2"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param("99000001;1;A;B;;;;;", "`site` is no FINESS", id="eight digits"),
        pytest.param("990000010;1;;B;;;;;", "`last_name` is empty", id="no name"),
        pytest.param("990000010;1;A|B;B;;;;;", "`last_name` holds a bar", id="bar in a name"),
        pytest.param(
            "990000010;1|2;A;B;;;;;", "`file_number` holds a bar", id="bar in a number"
        ),
        pytest.param("990000010;1;A;B;;;peut-être;;", "`result` is none of", id="result"),
        pytest.param("990000010;1;A;B;;;;hier;", "`sampled_at` is no", id="no time"),
        pytest.param("990000010;1;A;B;;;;31/02/2026 10:00;", "neither dd/mm", id="no such day"),
        pytest.param("990000010;1;A;B;;;;02/11/2026 25:00;", "`sampled_at`", id="no such hour"),
        pytest.param("990000010;1;A;B;;;;;sabotage", "`fault` names no fault", id="fault"),
        pytest.param("990000010;1;A;B", "4 cells, the header has 9", id="short row"),
        pytest.param("990000010;1;A\x07;B;;;;;", "`last_name` is longer", id="control letter"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, "990000010;0;A;B;;;;;", row)
    (problem,) = caught.value.problems
    assert problem.startswith("patients.csv:3: ")
    assert told in problem


def test_every_mistake_is_told_at_once_without_what_stands_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, "x;1;Secret;B;;;;;", "990000010;1;Secret;B;;;nope;;")
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "patients.csv:2:",
        "patients.csv:3:",
    ]
    assert "Secret" not in str(caught.value)
    assert "nope" not in str(caught.value)


def test_a_file_number_twice_at_one_site_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="has the file number already"):
        read(tmp_path, "990000010;1;A;B;;;;;", "990000010;1;C;D;;;;;")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param("site;last_name", "`first_name` is missing", id="one missing"),
        pytest.param("site;last_name;first_name;age", "no column `age`", id="one unknown"),
        pytest.param("site;last_name;first_name;site", "there twice", id="one twice"),
    ],
)
def test_a_wrong_header_is_told(tmp_path: Path, header: str, told: str) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        read(tmp_path, header=header)


def test_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "patients.csv"
    file.write_bytes("site;last_name;first_name\n990000010;Lefèvre;Zoé\n".encode("cp1252"))
    with pytest.raises(ConfigInvalid, match=r"patients\.csv:2: not UTF-8"):
        patients_file.read(file, seed=1, now=NOW)


def test_an_hour_that_is_twice_or_a_later_integration(tmp_path: Path) -> None:
    header = "site;last_name;first_name;sampled_at;integrated_at"
    row = "990000010;A;B;2026-11-02 13:48;2026-11-02T14:00"
    (one,) = read(tmp_path, row, header=header)
    assert one.exam.integrated_at - one.exam.sampled_at == timedelta(minutes=12)
    with pytest.raises(ConfigInvalid, match="before `sampled_at`"):
        read(tmp_path, "990000010;A;B;02/11/2026 13:48;02/11/2026 13:00", header=header)
