"""Invents a laboratory of sixty sites and what the public registers say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from stdnum import luhn

LEGAL_BODY: Final = "990000903"
SHARED_BAL: Final = "sidep@lbm.example.mssante.fr"
_DOMAIN: Final = "lbm.example.mssante.fr"
# Legal bodies that sites were bought from: one has no BAL, the other has two.
_SELLER: Final = "990000911"
_OTHER_SELLER: Final = "990000929"

SIZE: Final = 60
_OWN_BAL: Final = 8
_CHOOSY: Final = 5
_KINDS_OF_SILENCE: Final = 4

_QUARTERS: Final = ("République", "Gare", "Halles", "Hôpital", "Mairie", "Pasteur")
_TOWNS: Final = (
    "Centre",
    "Nord",
    "Île-aux-Moines",
    "Saint-Œgyd",
    "L'Haÿ-Basse",
    "Vallée",
    "Bellevue",
    "Les Sept-Écluses",
    "Port",
    "Plateau",
)


@dataclass(frozen=True, slots=True)
class Site:
    """One site, and what the registers say of it.

    `legal_body` None: the FINESS file does not list the site. `bals` are those of its own.
    """

    number: str
    name: str
    legal_body: str | None = LEGAL_BODY
    bals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """The laboratory's sites, in the order of their numbers.

    `unrouted` is a site that nobody put into routing.yaml yet, `choosy` are some whose only
    target takes no `non-conforme`.
    """

    sites: tuple[Site, ...]
    unrouted: str
    choosy: tuple[str, ...]

    @property
    def bals(self) -> tuple[str, ...]:
        """The mailboxes that SI-DEP writes to: the shared one, then those of single sites."""
        own = (site.bals[0] for site in self.sites if len(site.bals) == 1)
        return (SHARED_BAL, *own)


def region() -> Region:
    """Return the same sixty sites each time.

    Most share the legal body's BAL (P2), eight have one of their own (P1), four get no mail
    at all, each for another reason.
    """
    names = [f"{quarter} {town}" for quarter, town in itertools.product(_QUARTERS, _TOWNS)]
    sites = [Site(_number(place + 1), name) for place, name in enumerate(names[:SIZE])]
    shared = len(sites) - _OWN_BAL - _KINDS_OF_SILENCE
    made = sites[:shared]
    made += [_with_own(site) for site in sites[shared : shared + _OWN_BAL]]
    two, bought, other, unlisted = sites[-_KINDS_OF_SILENCE:]
    made += [
        Site(two.number, two.name, bals=(_address(two), f"bis.{_address(two)}")),
        Site(bought.number, bought.name, legal_body=_SELLER),
        Site(other.number, other.name, legal_body=_OTHER_SELLER),
        Site(unlisted.number, unlisted.name, legal_body=None),
    ]
    choosy = tuple(site.number for site in made[:_CHOOSY])
    return Region(tuple(made), unrouted=made[shared - 1].number, choosy=choosy)


def _number(place: int) -> str:
    """Return a number that no department uses; its last digit checks."""
    stem = f"990000{place:02}"
    return stem + luhn.calc_check_digit(stem)


def _address(site: Site) -> str:
    return f"sidep.{site.number}@{_DOMAIN}"


def _with_own(site: Site) -> Site:
    return Site(site.number, site.name, bals=(_address(site),))


# --- as the public files show it ---------------------------------------------------------

# The layouts are those of the published files (see the FINESS and MSSanté pages of
# data.gouv.fr and annuaire.sante.fr).
_FINESS_CELLS: Final = 32
_DIRECTORY_HEADER: Final = (
    "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP|"
    "Type identifiant structure|Identification Structure|Service de rattachement|"
    "Civilité d'exercice|Nom d'exercice|Prénom d'exercice|Catégorie profession|"
    "Libellé de catégorie profession|Code Profession|Libellé Profession|Code savoir-faire|"
    "Libellé savoir-faire|Dématérialisation|Raison Sociale structure BAL|"
    "Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION structure BAL|"
    "L3COMPLEMENTDISTRIBUTION structure BAL|L4NUMEROVOIE structure BAL|"
    "L4COMPLEMENTNUMEROVOIE structure BAL|NL4TYPEVOIE structure BAL|"
    "L4LIBELLEVOIE structure BAL|L5LIEUDITMENTION structure BAL|"
    "L6LIGNEACHEMINEMENT structure BAL|Code postal structure BAL|Département structure BAL|"
    "Pays structure BAL"
)


def finess_file(shown: Region, on: date) -> str:
    """Return the establishments file (`cs1100502`) of that day."""
    rows = [f"finess;etalab;000;{on:%Y-%m-%d}"]
    rows += [_establishment(site) for site in shown.sites if site.legal_body is not None]
    return "\n".join(rows) + "\n"


def _establishment(site: Site) -> str:
    cells = [""] * _FINESS_CELLS
    cells[0:3] = ["structureet", site.number, site.legal_body or ""]
    cells[3] = cells[4] = site.name.upper()
    cells[13], cells[14], cells[15] = "99", "EXEMPLE", "99000 EXEMPLE"
    cells[18], cells[19] = "611", "Laboratoire de Biologie Médicale"
    cells[28] = cells[29] = "2011-01-01"
    cells[30] = "2021-01-01"
    return ";".join(cells)


def directory_file(shown: Region) -> str:
    """Return the extraction of the MSSanté directory; some lines are there twice."""
    return "\n".join((_DIRECTORY_HEADER, *_bals(shown))) + "\n"


def _bals(shown: Region) -> Iterator[str]:
    yield _bal("ORG", SHARED_BAL, LEGAL_BODY, "Réception des certificats @SIDEP")
    yield _bal("ORG", SHARED_BAL.upper(), LEGAL_BODY, "Réception des certificats @SIDEP")
    yield _bal("ORG", f"contact@{_DOMAIN}", LEGAL_BODY, "Secrétariat")
    yield _bal("APP", f"sil@{_DOMAIN}", LEGAL_BODY, "@SIDEP")
    for number in (1, 2):
        yield _bal("ORG", f"sidep{number}@vendeur.example.mssante.fr", _OTHER_SELLER, "@SIDEP")
    for place, site in enumerate(shown.sites):
        for address in site.bals:
            # The guide prints the mention in two ways.
            yield _bal("ORG", address, site.number, "Accueil @SIDEp" if place % 2 else "@SIDEP")
        yield _bal("PER", f"biologiste.{site.number}@pro.example.mssante.fr", site.number, "")


def _bal(kind: str, address: str, number: str, service: str) -> str:
    cells = [""] * (_DIRECTORY_HEADER.count("|") + 1)
    cells[0], cells[1], cells[5], cells[6], cells[7] = kind, address, "FINESS", number, service
    cells[17] = "N"
    return "|".join(cells)
