"""Invents patients: names as they are written in France, dates of birth, identities."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Final, Literal

Sex = Literal["F", "M"]

# fmt: off
_LAST_NAMES: Final = (
    "Martin", "Bernard", "Dubois", "Thomas", "Robert", "Richard", "Petit", "Durand",
    "Leroy", "Moreau", "Simon", "Laurent", "Lefebvre", "Michel", "Garcia", "David",
    "Bertrand", "Roux", "Vincent", "Fournier", "Morel", "Girard", "André", "Mercier",
    "Dupont", "Lambert", "Bonnet", "François", "Martinez", "Legrand", "Garnier", "Faure",
    "Rousseau", "Blanc", "Guérin", "Müller", "Henry", "Roussel", "Nicolas", "Perrin",
    "Morin", "Mathieu", "Clément", "Gauthier", "Dumont", "Lopez", "Fontaine", "Chevalier",
    "Robin", "Masson", "Sanchez", "Gérard", "Nguyen", "Boyer", "Denis", "Lemaire",
    "Duval", "Joly", "Gautier",
)

_FIRST_NAMES: Final[dict[Sex, tuple[str, ...]]] = {
    "F": (
        "Marie", "Jeanne", "Françoise", "Monique", "Catherine", "Nathalie", "Isabelle",
        "Jacqueline", "Anne", "Sylvie", "Martine", "Madeleine", "Nicole", "Suzanne",
        "Hélène", "Christine", "Marguerite", "Denise", "Louise", "Élodie", "Céline",
        "Aurélie", "Manon", "Chloé", "Léa", "Inès", "Zoé", "Noémie", "Fatoumata", "Aïcha",
    ),
    "M": (
        "Jean", "Pierre", "Michel", "André", "Philippe", "René", "Louis", "Alain",
        "Jacques", "Bernard", "Marcel", "Daniel", "Roger", "Robert", "Paul", "Claude",
        "Christian", "Henri", "Georges", "Nicolas", "François", "Sébastien", "Jérôme",
        "Théo", "Loïc", "Benoît", "Rémi", "Raphaël", "Mohamed", "Ibrahima",
    ),
}
# fmt: on

# What breaks readers of names: particles, hyphens, both apostrophes, ligatures, letters
# outside Latin-1, one letter, very long, an underscore, decomposed accents.
_ODD_LAST_NAMES: Final = (
    "de La Selle",
    "d'Ormesson",
    "D’Amécourt",
    "L'Hermitte-Lefèvre",
    "Œuvrard",
    "de Bœuf d’Hauterive",
    "Saint-Exupéry",
    "O",
    "Ÿ",
    "Le Goff",
    "Dupond_Durand",
    "N'Guessan",
    "M’Barek",
    "Nguyễn",
    "Łukaszewicz",
    "Kovačević",
    "Strauß",
    "Muñoz y Ibáñez",
    "van der Straeten - Waillet",
    "de La Rochefoucauld-Liancourt d’Estissac de Villeneuve-Bargemon et de Saint-Aulaire",
    unicodedata.normalize("NFD", "Lévêque"),
)

_ODD_FIRST_NAMES: Final[dict[Sex, tuple[str, ...]]] = {
    "F": ("Anne-Marie", "Marie Thérèse Élisabeth", "Maëlys", "Zoë", "A", "Marie-Lœtitia"),
    "M": ("François-Xavier", "Jean Baptiste", "N’Golo", "Gaël", "Ô", "Søren", "J-P"),
}

_NUMBERED: Final = (*range(1, 20), *range(21, 96), 99)
_DEPARTMENTS: Final = (*(f"{number:02}" for number in _NUMBERED), "2A", "2B")
_AWKWARD: Final = 0.5  # share of odd first names among people with an odd last name
_WITHOUT_INS: Final = 0.1
_OLDEST: Final = date(1921, 1, 1)


@dataclass(frozen=True, slots=True)
class Patient:
    """A person who does not exist. `ins` is None for one in ten, as in real files."""

    last_name: str = field(repr=False)
    first_name: str = field(repr=False)
    sex: Sex = field(repr=False)
    born_on: date = field(repr=False)
    ins: str | None = field(repr=False)


def patient(rng: Random, on: date, *, odd: bool = False) -> Patient:
    """Invent somebody alive on that day; `odd`: with a name that is hard to read."""
    sex: Sex = rng.choice(("F", "M"))
    last_name = rng.choice(_ODD_LAST_NAMES if odd else _LAST_NAMES)
    awkward = odd and rng.random() < _AWKWARD
    first_name = rng.choice((_ODD_FIRST_NAMES if awkward else _FIRST_NAMES)[sex])
    born_on = _OLDEST + timedelta(days=rng.randrange((on - _OLDEST).days))
    ins = None if rng.random() < _WITHOUT_INS else _ins(rng, sex, born_on)
    return Patient(last_name, first_name, sex, born_on, ins)


def population(seed: int, count: int, on: date) -> tuple[Patient, ...]:
    """Invent that many people, one in three with an odd name; the same for a same seed.

    From 63 people on every odd last name occurs.
    """
    rng = Random(seed)
    odd_names = list(_ODD_LAST_NAMES)
    rng.shuffle(odd_names)
    people = []
    for number in range(count):
        someone = patient(rng, on, odd=number % 3 == 0)
        if number % 3 == 0:
            last_name = odd_names[number // 3 % len(odd_names)]
            someone = Patient(
                last_name, someone.first_name, someone.sex, someone.born_on, someone.ins
            )
        people.append(someone)
    return tuple(people)


def ins_key(number: str) -> str:
    """Return the two digits that follow the 13 of an INS: 97 less the number modulo 97.

    Corsica counts 2A as 19 and 2B as 18 (the rule of the NIR, which an INS may be).
    """
    digits = number.replace("2A", "19").replace("2B", "18")
    return f"{97 - int(digits) % 97:02}"


def wrong_key(ins: str) -> str:
    """Return an identity with another key than the one that its 13 digits give."""
    return f"{ins[:13]}{(int(ins[13:]) + 1) % 97:02}"


def _ins(rng: Random, sex: Sex, born_on: date) -> str:
    number = (
        ("1" if sex == "M" else "2")
        + f"{born_on:%y%m}"
        + rng.choice(_DEPARTMENTS)
        + f"{rng.randrange(1, 990):03}{rng.randrange(1, 999):03}"
    )
    return number + ins_key(number)
