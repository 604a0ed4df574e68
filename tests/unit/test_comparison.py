"""Which certificates would go elsewhere under other rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core.certificate import HoldReason, Result
from dispatcher.core.comparison import Way, moves, sites_added
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Entry, State
from dispatcher.core.routing import Condition, Kind, Rules, Site, Target
from tests.fakes.ledger_samples import NOW, StillClock, pending
from tests.fakes.memory_ledger import MemoryLedger

GARE, MAIRIE = FinessET("990000028"), FinessET("990000010")
FOLDER = Target("dossier", Kind.FOLDER, "/srv/gare")
POSITIVES = Target("positifs", Kind.FOLDER, "/srv/p", Condition(frozenset({Result.POSITIVE})))


def rules(*targets: Target, site: FinessET = GARE) -> Rules:
    return Rules("LBM", None, {site: Site(site, "Gare", targets)}, digest="0" * 64)


@pytest.fixture
def entry() -> Entry:
    ledger = MemoryLedger(clock=StillClock())
    with ledger.writing() as writer:
        made = writer.receive(pending(1))
    return replace(made, site=GARE, result=Result.NEGATIVE)


@pytest.mark.parametrize(
    ("after", "way"),
    [
        pytest.param(rules(FOLDER), None, id="the same"),
        pytest.param(rules(FOLDER, POSITIVES), None, id="a target that does not take it"),
        pytest.param(rules(POSITIVES), Way(GARE), id="no target takes it any more"),
        pytest.param(rules(FOLDER, site=MAIRIE), Way(None), id="the site is gone"),
    ],
)
def test_a_certificate_moves_only_when_its_way_changes(
    entry: Entry, after: Rules, way: Way | None
) -> None:
    assert [move.after for move in moves(rules(FOLDER), after, [entry])] == (
        [] if way is None else [way]
    )


def test_another_folder_under_the_same_name_is_elsewhere(entry: Entry) -> None:
    elsewhere = replace(FOLDER, place="/srv/other")
    (move,) = moves(rules(FOLDER), rules(elsewhere), [entry])
    assert [spot.place for way in (move.before, move.after) for spot in way.spots] == [
        "/srv/gare",
        "/srv/other",
    ]


def test_one_held_for_its_site_would_go_and_one_held_for_itself_would_not(
    entry: Entry,
) -> None:
    site_unknown = replace(entry, state=State.HELD, reason=HoldReason.SITE_UNKNOWN)
    contradicts = replace(entry, state=State.HELD, reason=HoldReason.PATIENT_MISMATCH)
    duplicate = replace(entry, state=State.DUPLICATE)
    emptied = replace(entry, emptied_at=NOW)
    found = moves(
        rules(FOLDER, site=MAIRIE),
        rules(FOLDER),
        [site_unknown, contradicts, duplicate, emptied],
    )
    assert [move.entry for move in found] == [site_unknown]


def test_a_former_number_is_a_number_of_its_own() -> None:
    before = rules(FOLDER)
    alias = replace(before.sites[GARE], aliases=frozenset({MAIRIE}))
    after = replace(before, sites={GARE: alias})
    assert (sites_added(before, after), sites_added(after, before)) == ((MAIRIE,), ())
