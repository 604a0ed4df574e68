"""Which BAL SI-DEP chooses, and why none: the guide's section 4, case by case."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.matching import Choice, Route, Why, choose
from dispatcher.registry.values import (
    Bal,
    BalKind,
    Directory,
    Establishment,
    Register,
    Stamp,
    stamp_of,
)

ET, EJ = "990000010", "990000903"
OTHER = "990000028"
REGISTER = Register.of(
    Establishment(FinessET(ET), FinessEJ(EJ)),
    Establishment(FinessET(OTHER), None),
)

Row = tuple[str, str, str, str]
"""Type de BAL, Adresse BAL, Identification Structure, Service de rattachement."""

SERVICES = {
    "as the guide prints it": "Secrétariat @SIDEP",
    "as the guide prints it elsewhere": "@SIDEp",
    "in small letters": "accueil (@sidep) bis",
    "without its sign": "Réception SIDEP",
    "none": "Secrétariat",
}
KINDS = ("ORG", "PER", "APP", "CAB")


def choice_of(rows: list[Row], site: str = ET, register: Register = REGISTER) -> Choice:
    bals = [Bal(a, BalKind(kind), stamp_of(s), n) for kind, a, n, s in rows]
    return choose(FinessET(site), register, Directory.of(*bals))


def rows_for(count: int, number: str, kind: str, service: str, *, repeat: int) -> Iterator[Row]:
    """Yield the lines of so many BALs; a repeated line spells its address differently."""
    for one in range(count):
        for turn in range(repeat):
            address = f"sidep{one}.{number}@labo.mssante.fr"
            yield kind, address.upper() if turn % 2 else address, number, service


# --- the oracle: the guide's words once more, without any of the program's ----------------


def guide(rows: list[Row], et: str, ej: str | None) -> tuple[str | None, str | None]:
    """Return how, and to which address, SI-DEP sends; (None, None) for "sinon"."""

    def n(finess: str | None) -> list[str]:
        stamped = (row for row in rows if "@sidep" in row[3].casefold())
        organisational = (row for row in stamped if row[0] == "ORG")
        return sorted({row[1].casefold() for row in organisational if row[2] == finess})

    n_g, n_j = n(et), n(ej) if ej else []
    if len(n_g) == 1:
        return "P1", n_g[0]
    if len(n_j) == 1 and len(n_g) == 0:
        return "P2", n_j[0]
    return None, None


def told(rows: list[Row]) -> Why | None:
    """Return the reason that people need where nothing counts; None where a number decides."""
    if any(kind == "ORG" and "@sidep" in service.casefold() for kind, _, _, service in rows):
        return None
    if not rows:
        return Why.NO_BAL
    stamped_otherwise = any("@sidep" in service.casefold() for _, _, _, service in rows)
    unstamped = any(kind == "ORG" for kind, _, _, _ in rows)
    return Why.NOT_STAMPED if unstamped and not stamped_otherwise else Why.WRONG_KIND


@pytest.mark.parametrize("repeat", [1, 2, 3], ids="each line {} time(s)".format)
@pytest.mark.parametrize("n_j", range(4), ids="nJ={}".format)
@pytest.mark.parametrize("n_g", range(4), ids="nG={}".format)
def test_the_whole_table_agrees_with_the_guide(n_g: int, n_j: int, repeat: int) -> None:
    made = product(KINDS, SERVICES.values(), KINDS, SERVICES.values())
    for kind_g, service_g, kind_j, service_j in made:
        rows = [
            *rows_for(n_g, ET, kind_g, service_g, repeat=repeat),
            *rows_for(n_j, EJ, kind_j, service_j, repeat=repeat),
        ]
        choice = choice_of(rows)
        route, address = guide(rows, ET, EJ)
        case = (kind_g, service_g, kind_j, service_j)
        assert (choice.route and choice.route.value, choice.address) == (route, address), case
        assert told(rows) in {None, choice.why}, case
        assert (choice.address is None) == choice.sentence.startswith("no mail"), case


@pytest.mark.parametrize("n_j", range(4), ids="nJ={}".format)
@pytest.mark.parametrize("n_g", range(4), ids="nG={}".format)
def test_lines_that_do_not_count_change_nothing(n_g: int, n_j: int) -> None:
    plain = [
        *rows_for(n_g, ET, "ORG", "@SIDEP", repeat=1),
        *rows_for(n_j, EJ, "ORG", "@SIDEP", repeat=1),
    ]
    noise: list[Row] = [
        ("PER", "a@pro.mssante.fr", ET, "@SIDEP"),
        ("APP", "b@labo.mssante.fr", EJ, "@SIDEP"),
        ("CAB", "c@labo.mssante.fr", ET, "@SIDEP"),
        ("ORG", "d@labo.mssante.fr", ET, "SIDEP"),
        ("ORG", "e@labo.mssante.fr", EJ, ""),
        ("ORG", "f@labo.mssante.fr", "990000044", "@SIDEP"),
        ("ORG", "g@labo.mssante.fr", "", "@SIDEP"),
    ]
    expected, found = choice_of(plain), choice_of([*noise, *plain, *noise])
    assert (found.route, found.address) == (expected.route, expected.address)
    assert (found.local, found.legal) == (expected.local, expected.legal)
    if expected.why is not Why.NO_BAL:
        assert found.why is expected.why
    assert sorted(bal.address[0] for bal in found.passed_over) == list("abcde"), "each once"


@pytest.mark.parametrize(
    ("n_g", "n_j", "why"),
    [
        pytest.param(1, 0, Why.ONE_LOCAL, id="one BAL of the site"),
        pytest.param(1, 3, Why.ONE_LOCAL, id="one of the site, several of the legal body"),
        pytest.param(0, 1, Why.ONE_LEGAL, id="one of the legal body"),
        pytest.param(2, 1, Why.SEVERAL_LOCAL, id="several of the site hide the legal body's"),
        pytest.param(0, 2, Why.SEVERAL_LEGAL, id="several of the legal body"),
        pytest.param(0, 0, Why.NO_BAL, id="none"),
    ],
)
def test_the_reason_says_which_number_decided(n_g: int, n_j: int, why: Why) -> None:
    rows = [
        *rows_for(n_g, ET, "ORG", "@SIDEP", repeat=2),
        *rows_for(n_j, EJ, "ORG", "@SIDEP", repeat=2),
    ]
    choice = choice_of(rows)
    assert choice.why is why
    assert (len(choice.local), len(choice.legal)) == (n_g, n_j)
    assert all(address in choice.sentence for address in choice.local[:n_g] if n_g)


# --- the register ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "n_g", "why"),
    [
        pytest.param("990000051", 0, Why.SITE_NOT_DECLARED, id="not in the register"),
        pytest.param("990000051", 2, Why.SEVERAL_LOCAL, id="not there, several of its own"),
        pytest.param("990000051", 1, Why.ONE_LOCAL, id="not there, one of its own"),
        pytest.param(OTHER, 0, Why.NO_LEGAL_BODY, id="without its legal body"),
        pytest.param(OTHER, 1, Why.ONE_LOCAL, id="without it, one of its own"),
    ],
)
def test_only_the_register_leads_to_the_legal_body(site: str, n_g: int, why: Why) -> None:
    rows = [
        *rows_for(n_g, site, "ORG", "@SIDEP", repeat=1),
        *rows_for(1, EJ, "ORG", "@SIDEP", repeat=1),
    ]
    choice = choice_of(rows, site)
    assert choice.why is why
    assert choice.address == guide(rows, site, None)[1]
    assert choice.declared is (site == OTHER)
    assert choice.legal == ()


# --- the mention -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "stamp"),
    [
        pytest.param("@SIDEP", Stamp.AS_PRINTED, id="alone"),
        pytest.param("@SIDEp", Stamp.AS_PRINTED, id="the guide's other spelling"),
        pytest.param("Biologie @SIDEP - accueil", Stamp.AS_PRINTED, id="inside a text"),
        pytest.param("x@SIDEPISTAGE", Stamp.AS_PRINTED, id="inside a word: it includes it"),
        pytest.param("@sidep @SIDEP", Stamp.AS_PRINTED, id="one of two as printed"),
        pytest.param("@sidep", Stamp.OTHER_CASE, id="small letters"),
        pytest.param("@Sidep", Stamp.OTHER_CASE, id="a capital"),
        pytest.param("SIDEP", Stamp.NEAR, id="without the sign"),
        pytest.param("@ SIDEP", Stamp.NEAR, id="a space after the sign"),
        pytest.param("@SI-DEP", Stamp.NEAR, id="with the hyphen of the project's name"),
        pytest.param("\N{FULLWIDTH COMMERCIAL AT}SIDEP", Stamp.NEAR, id="another sign"),
        pytest.param("Secrétariat", Stamp.NONE, id="another text"),
        pytest.param("", Stamp.NONE, id="nothing"),
    ],
)
def test_the_mention_is_found_wherever_the_service_includes_it(
    service: str, stamp: Stamp
) -> None:
    assert stamp_of(service) is stamp
    assert stamp.counts == ("@sidep" in service.lower())


@pytest.mark.parametrize(
    ("services", "rests"),
    [
        pytest.param(["@SIDEP"], False, id="as printed"),
        pytest.param(["@sidep"], True, id="in small letters alone"),
        pytest.param(["@SIDEP", "@sidep"], True, id="two, one of them in small letters"),
        pytest.param(["@sidep", "@sidep"], False, id="none in either case"),
        pytest.param(["@SIDEP", "@SIDEP", "@sidep"], False, id="several in either case"),
    ],
)
def test_a_choice_that_rests_on_the_case_of_the_mention_says_so(
    services: list[str], rests: bool
) -> None:
    rows: list[Row] = [
        ("ORG", f"{number}@labo.mssante.fr", ET, service)
        for number, service in enumerate(services)
    ]
    assert choice_of(rows).rests_on_case is rests


@pytest.mark.parametrize(
    ("service", "named"),
    [
        pytest.param("Réception SI-DEP", True, id="another spelling"),
        pytest.param("Secrétariat", False, id="none"),
    ],
)
def test_a_mention_that_is_nearly_right_is_named_in_the_reason(
    service: str, named: bool
) -> None:
    choice = choice_of([("ORG", "sidep@labo.mssante.fr", EJ, service)])
    assert choice.why is Why.NOT_STAMPED
    assert ("written in another way" in choice.sentence) is named


# --- one address on several lines --------------------------------------------------------


def test_an_address_counts_when_one_of_its_lines_does() -> None:
    rows: list[Row] = [
        ("PER", "sidep@labo.mssante.fr", ET, "@SIDEP"),
        ("ORG", "sidep@labo.mssante.fr", ET, ""),
        ("ORG", "SIDEP@LABO.MSSANTE.FR", ET, "@SIDEP"),
        ("ORG", "sidep@labo.mssante.fr", ET, "@SIDEp"),
        ("ORG", "sidep@labo.mssante.fr", ET, "accueil @sidep"),
    ]
    choice = choice_of(rows)
    assert (choice.route, choice.address) == (Route.P1, "sidep@labo.mssante.fr")
    assert choice.local == ("sidep@labo.mssante.fr",)
    shared = choice_of([(kind, bal, EJ, service) for kind, bal, _, service in rows])
    assert (shared.route, shared.legal) == (Route.P2, ("sidep@labo.mssante.fr",))


def test_a_bal_may_carry_the_number_of_the_site_and_of_its_legal_body() -> None:
    rows: list[Row] = [
        ("ORG", "sidep@labo.mssante.fr", ET, "@SIDEP"),
        ("ORG", "sidep@labo.mssante.fr", EJ, "@SIDEP"),
    ]
    assert choice_of(rows).route is Route.P1


def test_the_directory_finds_every_line_of_an_address() -> None:
    rows: list[Row] = [
        ("ORG", "Sidep@labo.mssante.fr", ET, "@SIDEP"),
        ("ORG", "SIDEP@labo.mssante.fr", ET, "@SIDEP"),
        ("PER", "sidep@labo.mssante.fr", "", ""),
        ("ORG", "other.sidep@labo.mssante.fr", EJ, "@SIDEP"),
    ]
    bals = (Bal(a, BalKind(kind), stamp_of(s), n) for kind, a, n, s in rows)
    directory = Directory.of(*bals)
    assert directory.named(" SIDEP@labo.mssante.fr") == (
        Bal("sidep@labo.mssante.fr", BalKind.ORGANISATIONAL, Stamp.AS_PRINTED, ET),
        Bal("sidep@labo.mssante.fr", BalKind.PERSONAL, Stamp.NONE),
    )
    assert directory.named("nobody@labo.mssante.fr") == ()
