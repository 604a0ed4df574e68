"""FINESS numbers: what is one, and when its check digit fits."""

from __future__ import annotations

import pytest

from dispatcher.core.finess import FinessEJ, FinessET


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("750100125", id="Paris"),
        pytest.param("010000024", id="Ain, which begins with 0"),
        pytest.param("2A0000014", id="Corse-du-Sud"),
        pytest.param("2B0000020", id="Haute-Corse"),
        pytest.param("970100186", id="overseas"),
    ],
)
def test_nine_characters_are_a_number_and_stay_as_they_are(number: str) -> None:
    assert str(FinessET(number)) == number


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("", id="nothing"),
        pytest.param("10000024", id="a lost zero"),
        pytest.param("1990000010", id="ten characters"),
        pytest.param("99000001O", id="a letter O for a zero"),
        pytest.param("2a0000014", id="a small letter"),
        pytest.param("A20000014", id="the letter first"),
        pytest.param("９９００００010", id="full-width digits"),
        pytest.param("٩٩٠٠٠٠٠١٠", id="Arabic-Indic digits"),
        pytest.param("990000010\n", id="a line break behind"),
        pytest.param(" 990000010", id="a space in front"),
        pytest.param("990 00001", id="a space inside"),
    ],
)
def test_anything_else_is_refused_and_not_repeated_in_the_message(number: str) -> None:
    with pytest.raises(ValueError, match="not a FINESS number") as caught:
        FinessET(number)
    assert not number.strip() or number not in str(caught.value)


@pytest.mark.parametrize("number", ["750100125", "990000010", "2A0000014", "2B0000020"])
def test_the_check_digit_of_published_numbers_fits(number: str) -> None:
    assert FinessET(number).luhn_valid


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("750100126", id="another last digit"),
        pytest.param("750101025", id="two digits exchanged"),
        pytest.param("2C0000014", id="a letter that is no department"),
        pytest.param("0A0000024", id="a letter for a digit, in no department"),
    ],
)
def test_a_mistyped_number_is_a_number_whose_check_digit_does_not_fit(number: str) -> None:
    assert not FinessET(number).luhn_valid


def test_a_site_and_a_legal_body_of_one_number_are_not_the_same() -> None:
    et: object = FinessET("990000010")
    assert et != FinessEJ("990000010")
    assert {et} & {FinessEJ("990000010")} == set()
