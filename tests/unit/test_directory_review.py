"""What IT is told of its sites: reviews, changes of the directory, a routing to begin with."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dispatcher import rules
from dispatcher.cli.directory_shapes import review_csv
from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.beginning import beginning
from dispatcher.registry.changes import changes
from dispatcher.registry.matching import Why, choose
from dispatcher.registry.remarks import Flaw
from dispatcher.registry.review import Ours, Review, review, site_review
from dispatcher.registry.values import (
    Bal,
    BalKind,
    Directory,
    Establishment,
    LegalBody,
    Register,
    Stamp,
)

MAIRIE, GARE, PORT = (FinessET(n) for n in ("990000010", "990000028", "990000036"))
BODY, OTHER_BODY = FinessEJ("990000903"), FinessEJ("990000911")
FORMER = FinessET("990000044")
OURS = "sidep@labo.mssante.fr"
HOSPITAL = ("355", "Centre Hospitalier")


def site(
    number: FinessET,
    body: FinessEJ | None = BODY,
    *,
    category: tuple[str, str] = ("611", "Laboratoire de Biologie Médicale"),
    closed_on: date | None = None,
    name: str = "LBM",
) -> Establishment:
    return Establishment(number, body, name, "99000 EXEMPLE", *category, closed_on)


def bal(
    address: str,
    number: FinessET | FinessEJ,
    kind: BalKind = BalKind.ORGANISATIONAL,
    stamp: Stamp = Stamp.AS_PRINTED,
) -> Bal:
    return Bal(address, kind, stamp, number.number)


def ours(*sites: FinessET, bals: tuple[str, ...] = (OURS,)) -> Ours:
    return Ours({number: f"Site {number}" for number in sites}, frozenset({FORMER}), bals)


SHARED = bal(OURS, BODY)
TWO = Register.of(site(MAIRIE), site(GARE))


def flaws(found: Review) -> dict[str | None, list[tuple[str, bool]]]:
    """Return the flaws by what they are about, with whether they are wrong."""
    told: dict[str | None, list[tuple[str, bool]]] = {}
    for remark in found.all_remarks:
        about = str(remark.site) if remark.site else remark.bal
        told.setdefault(about, []).append((remark.flaw.value, remark.wrong))
        assert remark.what
        assert remark.hint
    return told


def test_nothing_is_wrong_where_every_site_is_routed_and_served_by_our_bal() -> None:
    found = review(BODY, TWO, Directory.of(SHARED), ours=ours(MAIRIE, GARE))
    assert flaws(found) == {}
    assert not found.wrong
    assert [(one.routed, one.ours, one.choice.address) for one in found.sites] == [
        (True, True, OURS)
    ] * 2


@pytest.mark.parametrize(
    ("register", "bals", "side", "expected"),
    [
        pytest.param(
            TWO, [SHARED], ours(MAIRIE), {str(GARE): [("not-routed", True)]},
            id="a laboratory that is not routed",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(GARE, category=HOSPITAL)), [SHARED], ours(MAIRIE),
            {str(GARE): [("not-routed", False)]},
            id="a hospital's site that is not routed",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(GARE, category=HOSPITAL)),
            [bal(OURS, MAIRIE)], ours(MAIRIE), {},
            id="a hospital's site that is neither routed nor served",
        ),
        pytest.param(
            TWO, [bal(OURS, MAIRIE)], ours(MAIRIE), {str(GARE): [("not-routed", True)]},
            id="a laboratory that is neither routed nor served",
        ),
        pytest.param(
            TWO, [SHARED, bal("gare@labo.mssante.fr", GARE)], ours(MAIRIE), {},
            id="a site that is not routed because it has a BAL of its own",
        ),
        pytest.param(
            TWO, [SHARED, bal("gare@labo.mssante.fr", GARE)], ours(MAIRIE, GARE),
            {str(GARE): [("goes-elsewhere", True)]},
            id="a routed site with a BAL of its own",
        ),
        pytest.param(
            TWO, [bal("autre@labo.mssante.fr", BODY)],
            ours(MAIRIE, GARE, bals=("autre@labo.mssante.fr", OURS)),
            {OURS: [("bal-not-listed", True)]},
            id="one of two BALs is not listed",
        ),
        pytest.param(
            TWO, [SHARED, bal("b@labo.mssante.fr", BODY)], ours(MAIRIE, GARE),
            {str(n): [("silent", True)] for n in (MAIRIE, GARE)},
            id="two BALs of the legal body",
        ),
        pytest.param(
            TWO, [SHARED], ours(MAIRIE, GARE, PORT), {str(PORT): [("not-declared", True)]},
            id="a routed site that nobody declared",
        ),
        pytest.param(
            TWO, [SHARED, bal(OURS, PORT)], ours(MAIRIE, GARE, PORT),
            {str(PORT): [("not-declared", True)]},
            id="a routed site that nobody declared, with a BAL of its own",
        ),
        pytest.param(
            TWO, [SHARED], ours(MAIRIE, GARE, FinessET(BODY.number)),
            {BODY.number: [("swapped", True)]},
            id="a legal body in a site's place",
        ),
        pytest.param(
            TWO, [bal("autre@labo.mssante.fr", BODY), bal(OURS, GARE)],
            ours(GARE, FinessET(BODY.number)),
            {BODY.number: [("swapped", True)]},
            id="a legal body in a site's place, whose BAL is not ours",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(GARE, closed_on=date(2024, 1, 31))), [SHARED],
            ours(MAIRIE, GARE), {str(GARE): [("closed", True)]},
            id="a routed site that is closed",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(GARE, closed_on=date(2024, 1, 31))), [SHARED],
            ours(MAIRIE), {str(GARE): [("closed", False)]},
            id="a closed site that is not routed",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(GARE, OTHER_BODY)), [SHARED, bal(OURS, OTHER_BODY)],
            ours(MAIRIE, GARE), {str(GARE): [("other-legal-body", False)]},
            id="a routed site of another legal body",
        ),
        pytest.param(
            Register.of(site(MAIRIE), site(FORMER)), [SHARED], ours(MAIRIE), {},
            id="a former number that is still declared",
        ),
        pytest.param(
            TWO, [bal(OURS, BODY, stamp=Stamp.OTHER_CASE)], ours(MAIRIE, GARE),
            {str(n): [("unusual-mention", False)] for n in (MAIRIE, GARE)},
            id="a mention in small letters",
        ),
    ],
)  # fmt: skip
def test_a_site_is_compared_with_the_routing(
    register: Register,
    bals: list[Bal],
    side: Ours,
    expected: dict[str | None, list[tuple[str, bool]]],
) -> None:
    found = review(BODY, register, Directory.of(*bals), ours=side)
    assert flaws(found) == expected
    assert found.wrong is any(wrong for rows in expected.values() for _, wrong in rows)


@pytest.mark.parametrize(
    ("lines", "flaw"),
    [
        pytest.param([], "bal-not-listed", id="not in the directory"),
        pytest.param([bal(OURS, OTHER_BODY)], "bal-without-number", id="another's number"),
        pytest.param(
            [Bal(OURS, BalKind.ORGANISATIONAL, Stamp.AS_PRINTED)],
            "bal-without-number",
            id="no number",
        ),
        pytest.param(
            [bal(OURS, BODY, BalKind.PERSONAL)], "bal-not-organisational", id="a person's"
        ),
        pytest.param(
            [bal(OURS, BODY, BalKind.APPLICATIVE), bal(OURS, BODY, BalKind.CABINET)],
            "bal-not-organisational",
            id="an application's and a cabinet's",
        ),
        pytest.param(
            [bal(OURS, BODY, stamp=Stamp.NONE)], "bal-not-stamped", id="without the mention"
        ),
        pytest.param(
            [bal(OURS, BODY, stamp=Stamp.NEAR), bal(OURS, BODY, BalKind.PERSONAL)],
            "bal-not-stamped",
            id="with a mistyped mention",
        ),
    ],
)
def test_our_own_bal_is_looked_at(lines: list[Bal], flaw: str) -> None:
    found = review(BODY, TWO, Directory.of(*lines), ours=ours(MAIRIE, GARE))
    told = flaws(found)
    assert told.pop(OURS) == [(flaw, True)]
    assert told == {str(n): [("silent", True)] for n in (MAIRIE, GARE)}


def test_a_site_served_by_a_bal_of_its_own_that_we_read_is_well() -> None:
    lines = Directory.of(SHARED, bal("gare@labo.mssante.fr", GARE))
    side = ours(MAIRIE, GARE, bals=(OURS, "gare@labo.mssante.fr"))
    assert flaws(review(BODY, TWO, lines, ours=side)) == {}


def test_without_known_bals_nobody_says_where_mail_should_go() -> None:
    found = review(BODY, TWO, Directory.of(SHARED), ours=ours(MAIRIE, GARE, bals=()))
    assert flaws(found) == {}
    assert {one.ours for one in found.sites} == {None}


def test_without_a_routing_only_the_choices_are_told() -> None:
    register = Register.of(site(MAIRIE), site(GARE, category=HOSPITAL))
    found = review(BODY, register, Directory.of(), ours=Ours())
    assert {one.routed for one in found.sites} == {None}
    assert flaws(found) == {str(MAIRIE): [("silent", True)], str(GARE): [("silent", False)]}


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        pytest.param(FinessEJ(MAIRIE.number), Flaw.SWAPPED, id="a site's number"),
        pytest.param(OTHER_BODY, Flaw.LEGAL_BODY_UNKNOWN, id="a number that is nobody's"),
    ],
)
def test_a_legal_body_without_sites_is_told(body: FinessEJ, flaw: Flaw) -> None:
    found = review(body, TWO, Directory.of(SHARED), ours=Ours())
    assert [remark.flaw for remark in found.remarks] == [flaw]
    assert found.wrong


def test_one_site_is_reviewed_whatever_its_legal_body() -> None:
    register = Register.of(site(MAIRIE), site(GARE, OTHER_BODY))
    found = site_review(GARE, register, Directory.of(SHARED), ours=ours(GARE))
    assert [remark.flaw for remark in found.remarks] == [Flaw.SILENT]
    assert found.choice.why is Why.NO_BAL


@pytest.mark.parametrize(
    ("number", "side", "expected"),
    [
        pytest.param(
            FinessET(BODY.number), Ours(), [("swapped", True)], id="a legal body's number"
        ),
        pytest.param(
            FinessET(BODY.number), ours(MAIRIE), [("swapped", True)],
            id="a legal body's number, with a routing",
        ),
        pytest.param(PORT, Ours(), [("not-declared", True)], id="nobody's number"),
        pytest.param(FORMER, ours(MAIRIE), [("not-declared", False)], id="a former number"),
        pytest.param(GARE, Ours(), [("closed", False)], id="a closed site"),
        pytest.param(MAIRIE, Ours(), [], id="a site that is served"),
    ],
)  # fmt: skip
def test_a_number_that_is_asked_for_is_told_for_what_it_is(
    number: FinessET, side: Ours, expected: list[tuple[str, bool]]
) -> None:
    register = Register.of(site(MAIRIE), site(GARE, closed_on=date(2024, 1, 31)))
    found = site_review(number, register, Directory.of(SHARED), ours=side)
    assert [(one.flaw.value, one.wrong) for one in found.remarks] == expected


# --- CSV ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("=1+1", id="an equals sign"),
        pytest.param("+33", id="a plus"),
        pytest.param("-1", id="a minus"),
        pytest.param("@SIDEP", id="an at sign"),
        pytest.param(" =1", id="behind a space"),
        pytest.param('=HYPERLINK("x";"y")', id="with quotes"),
        pytest.param("\t=1", id="behind a tab"),
        pytest.param("\N{FULLWIDTH EQUALS SIGN}1", id="full width"),
    ],
)
def test_no_cell_of_the_csv_is_a_formula(name: str) -> None:
    register = Register.of(site(MAIRIE, name=name))
    found = review(BODY, register, Directory.of(SHARED), ours=Ours())
    header, row, end = review_csv(found).split("\r\n")
    assert header.startswith("\ufefffiness;name;")
    assert end == ""
    cell = row.removeprefix(f"{MAIRIE};").lstrip('"')
    assert cell.startswith("'")


def test_the_csv_has_a_row_for_each_site() -> None:
    found = review(BODY, TWO, Directory.of(SHARED), ours=ours(MAIRIE))
    rows = review_csv(found).split("\r\n")[1:-1]
    assert [row.split(";")[:2] for row in rows] == [
        [str(MAIRIE), f"Site {MAIRIE}"],
        [str(GARE), "LBM"],
    ]
    assert rows[1].split(";")[6:12] == ["no", OURS, "P2", "yes", "one-legal", "not-routed"]


# --- changes -----------------------------------------------------------------------------

LOCAL = bal("gare@labo.mssante.fr", GARE)


@pytest.mark.parametrize(
    ("old", "new", "moves", "gone", "added"),
    [
        pytest.param([SHARED], [SHARED, LOCAL], True, [], [LOCAL], id="a BAL of its own"),
        pytest.param([LOCAL], [], True, [LOCAL], [], id="its BAL has gone"),
        pytest.param(
            [LOCAL], [bal(LOCAL.address, GARE, stamp=Stamp.NONE)], True, [LOCAL],
            [bal(LOCAL.address, GARE, stamp=Stamp.NONE)], id="its mention has gone",
        ),
        pytest.param(
            [], [bal("b@x.fr", GARE, BalKind.PERSONAL)], False, [],
            [bal("b@x.fr", GARE, BalKind.PERSONAL)], id="another reason for none",
        ),
    ],
)  # fmt: skip
def test_a_change_of_the_directory_is_told_with_its_lines(
    old: list[Bal], new: list[Bal], *, moves: bool, gone: list[Bal], added: list[Bal]
) -> None:
    (change,) = changes([GARE], TWO, old=Directory.of(*old), new=Directory.of(*new))
    assert (change.site, change.moves_mail) == (GARE, moves)
    assert (list(change.gone), list(change.new)) == (gone, added)


@pytest.mark.parametrize(
    "new",
    [
        pytest.param([SHARED, SHARED], id="a repeated line"),
        pytest.param([SHARED, bal("a@x.fr", BODY, BalKind.PERSONAL)], id="a person's BAL"),
        pytest.param([SHARED, bal("a@x.fr", OTHER_BODY)], id="another legal body's BAL"),
    ],
)
def test_what_changes_no_choice_is_not_told(new: list[Bal]) -> None:
    old, later = Directory.of(SHARED), Directory.of(*new)
    assert changes([MAIRIE, GARE, PORT], TWO, old=old, new=later) == ()


# --- a routing to begin with -------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("LBM GARE", id="plain"),
        pytest.param("", id="none"),
        pytest.param('LIEU "LES TILLEULS"', id="quotes"),
        pytest.param("a: b # c {d} [e], *f &g !h %i", id="everything that YAML reads"),
        pytest.param("0123", id="a number"),
        pytest.param("non", id="a word that some read as false"),
        pytest.param("no", id="a word that others read as false"),
        pytest.param("x\ny\u2028z\x00\u202e", id="line breaks and control characters"),
        pytest.param("É" * 300, id="long"),
        pytest.param("a\\nb\\", id="backslashes"),
        pytest.param("{finess}", id="a placeholder"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_the_beginning_of_a_routing_loads_as_it_is(tmp_path: Path, name: str) -> None:
    rows = [site(GARE, name=name, category=("611", name)), site(MAIRIE, name=name)]
    choices = {one.site: choose(one.site, TWO, Directory.of(LOCAL)) for one in rows}
    text = beginning(BODY, name, rows, choices=choices)
    file = tmp_path / "routing.yaml"
    file.write_text(text, encoding="utf-8")
    found = rules.load(file)
    assert found.legal_body == BODY
    assert list(found.sites) == [MAIRIE, GARE]
    assert len(found.tests) == 1
    assert {row.targets[0].place for row in found.sites.values()} == {
        f"/srv/sidep/{MAIRIE}",
        f"/srv/sidep/{GARE}",
    }


def test_the_beginning_keeps_names_and_tells_where_mail_goes(tmp_path: Path) -> None:
    rows = [site(MAIRIE, name='L\'"ÉTÉ": 1'), site(PORT, closed_on=date(2024, 1, 31))]
    register = Register.of(*rows, LegalBody(BODY, "SELAS EXEMPLE"))
    choices = {row.site: choose(row.site, register, Directory.of(SHARED)) for row in rows}
    text = beginning(BODY, "SELAS EXEMPLE", rows, choices=choices)
    file = tmp_path / "routing.yaml"
    file.write_text(text, encoding="utf-8")
    found = rules.load(file)
    assert (found.lbm, [row.name for row in found.sites.values()]) == (
        "SELAS EXEMPLE",
        ['L\'"ÉTÉ": 1'],
    )
    assert f"SI-DEP sends to {OURS} (P2)" in text
    assert f"{PORT} LBM: 2024-01-31" in text
