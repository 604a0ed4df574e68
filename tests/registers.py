"""Writes the public registers as files: a few rows of one's own, or the size of the nation."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

from stdnum import luhn

HEADER: Final = (
    "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP"
    "|Type identifiant structure|Identification Structure|Service de rattachement"
    "|Civilité d'exercice|Nom d'exercice|Prénom d'exercice|Catégorie profession"
    "|Libellé de catégorie profession|Code Profession|Libellé Profession|Code savoir-faire"
    "|Libellé savoir-faire|Dématérialisation|Raison Sociale structure BAL"
    "|Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION structure BAL"
    "|L3COMPLEMENTDISTRIBUTION structure BAL|L4NUMEROVOIE structure BAL"
    "|L4COMPLEMENTNUMEROVOIE structure BAL|NL4TYPEVOIE structure BAL"
    "|L4LIBELLEVOIE structure BAL|L5LIEUDITMENTION structure BAL"
    "|L6LIGNEACHEMINEMENT structure BAL|Code postal structure BAL|Département structure BAL"
    "|Pays structure BAL"
)
COLUMNS: Final = HEADER.count("|") + 1
FIRST: Final = "finess;etalab;111;2026-05-12"

LABORATORY: Final = ("611", "Laboratoire de Biologie Médicale")


def et_row(
    site: str,
    legal_body: str,
    name: str = "LBM EXEMPLE",
    *,
    category: tuple[str, str] = LABORATORY,
    town: str = "99000 EXEMPLE",
    closed: str = "",
) -> str:
    """Return a row of the establishments file; a closing date adds a cell."""
    cells = [""] * 32
    cells[0:5] = ["structureet", site, legal_body, name, name]
    cells[13:16] = ["99", "EXEMPLE", town]
    cells[18:20] = category
    cells[28:31] = ["2011-01-01", "2011-01-01", "2021-01-01"]
    return ";".join([*cells, closed] if closed else cells)


def ej_row(number: str, name: str) -> str:
    """Return a row of the legal bodies file."""
    cells = [""] * 24
    cells[0:3] = ["structureej", number, name]
    cells[20] = "300000007"
    return ";".join(cells)


def bal_row(
    address: str,
    number: str = "",
    service: str = "@SIDEP",
    *,
    kind: str = "ORG",
    number_type: str = "FINESS",
) -> str:
    """Return a line of the directory."""
    cells = [""] * COLUMNS
    cells[0:2] = [kind, address]
    cells[5:8] = [number_type, number, service]
    cells[17:19] = ["N", "LBM EXEMPLE"]
    return "|".join(cells)


def finess_text(*rows: str, first: str = FIRST) -> str:
    """Return the text of a FINESS file."""
    return "\n".join([first, *rows]) + "\n"


def directory_text(*rows: str, header: str = HEADER) -> str:
    """Return the text of a directory."""
    return "\n".join([header, *rows]) + "\n"


def number(at: int) -> str:
    """Return the FINESS number with this position in a made-up department."""
    payload = f"{at:08d}"
    return payload + str(luhn.calc_check_digit(payload))


# --- the size of the nation --------------------------------------------------------------

ESTABLISHMENTS: Final = 100_000
DIRECTORY_LINES: Final = 540_000

_TYPES: Final = ("PER", "PER", "PER", "PER", "ORG", "ORG", "APP", "CAB")


def national_finess(path: Path, rows: int = ESTABLISHMENTS) -> None:
    """Write an establishments file of the national size: every second EJ has one site."""
    draw = Random(20260512)
    with path.open("w", encoding="utf-8") as file:
        file.write(FIRST + "\n")
        for at in range(rows):
            name = f"ÉTABLISSEMENT DE SANTÉ NUMÉRO {draw.randrange(10**9)}"
            quoted = f'"{name} ""LES TILLEULS"""' if at % 50 == 0 else name
            town = f"{draw.randrange(1000, 96000):05d} VILLE-SUR-RIVIÈRE"
            category = (str(100 + at % 500), f"Catégorie d'établissement {at % 500}")
            body = number(50_000_000 + at // 2)
            row = et_row(number(at), body, quoted, category=category, town=town)
            file.write(row + "\n")


def national_directory(path: Path, rows: int = DIRECTORY_LINES) -> None:
    """Write a directory of the national size, in the order in which nothing is sorted."""
    draw = Random(20260512)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        for at in range(rows):
            file.write(_national_line(draw, at) + "\n")


def _national_line(draw: Random, at: int) -> str:
    kind = _TYPES[at % len(_TYPES)]
    cells = bal_row(
        f"prenom{at}.nom-de-famille{at // 3}@structure{at % 9973}.mssante.fr",
        number(draw.randrange(ESTABLISHMENTS)),
        "Secrétariat @SIDEP" if at % 97 == 0 else f"Service de médecine {at % 1000}",
        kind=kind,
        number_type="1" if at % 2 else "FINESS",
    ).split("|")
    cells[9:11] = [f"NOM{at}", "Prénom"]
    cells[27:] = [f"{at % 96:02d}000 VILLE", f"{at % 96:02d}000", "Département", "FRANCE"]
    return "|".join(cells)
