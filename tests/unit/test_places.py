"""Every place is looked at now and then; one that hangs is in trouble and delays no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dispatcher.core.finess import FinessET
from dispatcher.core.vitals import PlaceHealth, Room
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Destination
from dispatcher.service.desk import Desk
from dispatcher.service.places import Places
from dispatcher.simulator.scenario import SITES
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.office import Office

FIRST, SECOND, *_ = SITES
MINUTE = timedelta(minutes=1)


class Hanging(MemoryDestination):
    """A share that answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def health(self) -> PlaceHealth:
        assert self.let_go.wait(600)
        return super().health()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    share = Hanging()
    yield share
    share.let_go.set()


def troubles(places: Places) -> dict[str, str]:
    return {str(one.site): one.health.trouble for one in places.known() if one.health.trouble}


def test_a_place_in_trouble_is_so_since_it_was_first_seen() -> None:
    office = Office()
    places = Places(office.desk(), patience=60.0)
    places.turn()
    assert (troubles(places), len(places.known())) == ({}, len(SITES))
    office.at(FIRST).go_down(Unavailable("not mounted"))
    began_at = office.clock.now()
    for _ in range(3):
        places.turn()
        office.clock.go(MINUTE)
    (found,) = [one for one in places.known() if one.health.trouble]
    assert (found.health.trouble, found.since_at) == ("not mounted", began_at)
    office.at(FIRST).mend()
    places.turn()
    assert troubles(places) == {}


def test_a_share_that_hangs_is_in_trouble_and_the_others_are_looked_at(
    hanging: Hanging,
) -> None:
    office = Office()
    office.destinations[FinessET(FIRST), "folder"] = hanging
    places = Places(office.desk(), patience=0.2, silent=60.0)
    places.turn()
    assert len(places.known()) == len(SITES) - 1
    office.clock.go(2 * MINUTE)
    office.at(SECOND).go_down(Unavailable("not mounted"))
    places.turn()
    assert troubles(places) == {FIRST: "it does not answer", SECOND: "not mounted"}


def test_what_is_known_of_a_disk_stays_known_while_it_cannot_be_asked() -> None:
    office = Office()
    office.at(FIRST).room = Room(5, 100)
    places = Places(office.desk(), patience=60.0)
    places.turn()
    office.at(FIRST).room = None
    office.at(FIRST).go_down(Unavailable("not mounted"))
    places.turn()
    (found,) = [one for one in places.known() if one.health.trouble]
    assert found.health.room == Room(5, 100)


def test_a_site_that_left_the_rules_is_not_known_any_more() -> None:
    office = Office()
    places = Places(office.desk(), patience=60.0)
    places.turn()
    office.without(FIRST)
    assert FIRST not in {str(one.site) for one in places.known()}


def test_a_target_that_is_refused_as_such_is_in_trouble() -> None:
    office = Office()

    def refuse(*_: object) -> Destination | None:
        raise Refused("no such kind")

    desk = office.desk()
    refusing = Desk(desk.ledger, desk.clock, desk.reader, refuse)
    places = Places(refusing, patience=60.0)
    places.turn()
    assert set(troubles(places).values()) == {"no such kind"}
