"""Where certificates go, once the rules are read."""

from __future__ import annotations

import pytest

from dispatcher.core.certificate import Facts, Result
from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.core.routing import (
    Condition,
    Expectation,
    Kind,
    Rules,
    Site,
    Target,
    decide,
    failing,
)

GARE, FORMER, MAIRIE = (FinessET(n) for n in ("990000028", "990000036", "990000010"))
UNKNOWN = FinessET("990000044")


def folder(name: str, when: Condition | None = None) -> Target:
    return Target(name, Kind.FOLDER, f"/srv/sidep/{name}", when or Condition())


POSITIVES = folder("positifs", Condition(results=frozenset({Result.POSITIVE})))
SALIVA = folder("salivaires", Condition(analyses=frozenset({"94845-5"})))
BOTH = folder(
    "les-deux", Condition(results=frozenset({Result.POSITIVE}), analyses=frozenset({"94845-5"}))
)
DOSSIER = folder("dossier")


def rules(*tests: Expectation) -> Rules:
    sites = (
        Site(MAIRIE, "Mairie", (folder("mairie"),)),
        Site(GARE, "Gare", (POSITIVES, DOSSIER, SALIVA, BOTH), frozenset({FORMER})),
    )
    return Rules(
        "LBM", FinessEJ("990000903"), {site.finess: site for site in sites}, tests=tests
    )


def names(facts: Facts) -> list[str] | None:
    targets = decide(rules(), facts)
    return None if targets is None else [target.name for target in targets]


def test_a_certificate_goes_to_its_sites_targets_in_the_order_of_the_file() -> None:
    facts = Facts(site=GARE, result=Result.POSITIVE, analysis="94845-5")
    assert names(facts) == ["positifs", "dossier", "salivaires", "les-deux"]


def test_a_former_number_of_a_site_leads_to_it() -> None:
    assert names(Facts(site=FORMER, result=Result.NEGATIVE)) == ["dossier"]


@pytest.mark.parametrize(
    "site",
    [pytest.param(UNKNOWN, id="not in the table"), pytest.param(None, id="not read")],
)
def test_a_site_that_is_not_known_has_no_answer(site: FinessET | None) -> None:
    assert decide(rules(), Facts(site=site, result=Result.POSITIVE)) is None


def test_a_known_site_may_have_no_target_for_a_certificate() -> None:
    only = Site(GARE, "Gare", (POSITIVES,))
    table = Rules("LBM", None, {GARE: only})
    assert decide(table, Facts(site=GARE, result=Result.NEGATIVE)) == ()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(Facts(site=GARE), ["dossier"], id="neither was read"),
        pytest.param(
            Facts(site=GARE, analysis="94845-5"), ["dossier", "salivaires"], id="no result"
        ),
        pytest.param(
            Facts(site=GARE, result=Result.POSITIVE), ["positifs", "dossier"], id="no analysis"
        ),
        pytest.param(
            Facts(site=GARE, result=Result.NEGATIVE, analysis="94845-5"),
            ["dossier", "salivaires"],
            id="one of two conditions",
        ),
    ],
)
def test_a_fact_that_was_not_read_meets_no_condition(facts: Facts, expected: list[str]) -> None:
    assert names(facts) == expected


def test_a_former_number_that_two_sites_claim_leads_to_neither() -> None:
    table = Rules(
        "LBM",
        None,
        {
            MAIRIE: Site(MAIRIE, "Mairie", (DOSSIER,), frozenset({FORMER})),
            GARE: Site(GARE, "Gare", (DOSSIER,), frozenset({FORMER})),
        },
    )
    assert table.site_of(FORMER) is None


def test_a_site_of_its_own_comes_before_a_former_number_of_another() -> None:
    table = Rules(
        "LBM",
        None,
        {
            MAIRIE: Site(MAIRIE, "Mairie", (DOSSIER,), frozenset({GARE})),
            GARE: Site(GARE, "Gare", (DOSSIER,)),
        },
    )
    site = table.site_of(GARE)
    assert site is not None
    assert site.name == "Gare"


@pytest.mark.parametrize(
    "expectation",
    [
        pytest.param(
            Expectation(GARE, Result.NEGATIVE, None, frozenset({"dossier"})), id="a site"
        ),
        pytest.param(
            Expectation(FORMER, None, "94845-5", frozenset({"dossier", "salivaires"})),
            id="a former number",
        ),
        pytest.param(
            Expectation(UNKNOWN, Result.NEGATIVE, None, frozenset()), id="nowhere at all"
        ),
    ],
)
def test_an_expectation_that_is_met_is_no_failure(expectation: Expectation) -> None:
    assert failing(rules(expectation)) == ()


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        pytest.param(
            Expectation(GARE, Result.NEGATIVE, None, frozenset({"dossier", "positifs"})),
            "expected [dossier, positifs], got [dossier]",
            id="a target too few",
        ),
        pytest.param(
            Expectation(GARE, Result.POSITIVE, None, frozenset({"dossier"})),
            "expected [dossier], got [positifs, dossier]",
            id="a target too many",
        ),
        pytest.param(
            Expectation(GARE, Result.NEGATIVE, None, frozenset()),
            "expected [], got [dossier]",
            id="expected to be held",
        ),
        pytest.param(
            Expectation(UNKNOWN, None, None, frozenset({"dossier"})),
            "expected [dossier], got no such site",
            id="an unknown site",
        ),
    ],
)
def test_an_expectation_that_is_not_met_is_told_with_both_sides(
    expectation: Expectation, said: str
) -> None:
    (sentence,) = failing(rules(expectation))
    assert said in sentence
    assert str(expectation.finess) in sentence
