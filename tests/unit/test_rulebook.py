"""When a changed routing.yaml takes the place of the rules in force, and when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Rules
from dispatcher.core.rulebook import Origin
from dispatcher.errors import ConfigInvalid, NotNow
from dispatcher.rules import RoutingFile
from dispatcher.service.rulebook import SETTLED, Rulebook
from tests.fakes.memory_ledger import MemoryLedger, MemoryWriter
from tests.fakes.standing_clock import StandingClock

A_MOMENT = timedelta(seconds=SETTLED)
REPUBLIQUE, GARE = FinessET("990000010"), FinessET("990000028")


def text(*sites: str, more: str = "") -> str:
    lines = (f'  "{one}": {{deliver: [{{name: d, folder: /srv/{one}}}]}}\n' for one in sites)
    return f"version: 1\nsites:\n{''.join(lines)}{more}"


class Disk(MemoryLedger):
    """A ledger whose disk may be full."""

    full = False

    @contextmanager
    def writing(self) -> Iterator[MemoryWriter]:
        if self.full:
            raise NotNow("the ledger does not answer: SQLITE_FULL")
        with super().writing() as writer:
            yield writer


class Place:
    """A file, a ledger, a clock, and the rules in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = StandingClock()
        self.ledger = Disk(clock=self.clock)
        self.impossible: set[FinessET] = set()
        path.write_text(text("990000010"), encoding="utf-8")
        self.book = self.start()

    def _fit(self, rules: Rules) -> None:
        if self.impossible & set(rules.sites):
            raise ConfigInvalid(("this installation cannot do that",))

    def start(self, rules: Rules | None = None) -> Rulebook:
        file = RoutingFile(self.path, self._fit)
        found = file.draft()
        assert found is not None
        chosen = found.rules or rules
        assert chosen is not None
        self.book = Rulebook(file, found=found, rules=chosen, clock=self.clock)
        self.book.begin(self.ledger)
        return self.book

    def write(self, content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        self.path.write_bytes(raw)

    def settle(self) -> bool:
        """Let the file rest, between two looks."""
        self.book.look()
        self.clock.go(A_MOMENT)
        return self.book.look()

    @property
    def sites(self) -> set[FinessET]:
        return set(self.book().sites)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "routing.yaml")


def test_a_settled_file_comes_into_force_for_all_and_is_recorded(place: Place) -> None:
    first = place.book.state
    place.write(text("990000010", "990000028"))
    assert not place.book.look(), "it may still be written"
    assert place.sites == {REPUBLIQUE}
    place.clock.go(A_MOMENT)
    assert place.book.look()
    assert place.sites == {REPUBLIQUE, GARE}
    assert place.ledger.rules_state() == place.book.state
    history = place.ledger.rules_history()
    assert [one.digest for one in history] == [first.digest, place.book().digest]
    assert [one.origin for one in history] == [Origin.START, Origin.RELOAD]
    assert place.ledger.rules_content(history[1].digest) == place.path.read_bytes()


def test_a_file_that_is_written_bit_by_bit_is_taken_only_at_its_end(place: Place) -> None:
    whole = text("990000010", "990000028")
    # Every one of these is a valid file with fewer sites.
    for end in (whole.index("990000028") - 3, len(whole)):
        place.write(whole[:end])
        assert not place.book.look()
        place.clock.go(A_MOMENT / 2)
        assert not place.book.look()
        assert place.sites == {REPUBLIQUE}
    place.clock.go(A_MOMENT)
    assert place.book.look()
    assert place.sites == {REPUBLIQUE, GARE}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"version: 1\nsites: {", id="broken"),
        pytest.param(b"", id="empty"),
        pytest.param(text("990000010", "990000010"), id="the same key twice"),
        pytest.param("version: 1\nsites: !!python/object/apply:os.getcwd []\n", id="a tag"),
        pytest.param(
            "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\nversion: 1\nsites: {}\n", id="aliases"
        ),
        pytest.param(b"version: 1\n# " + b"x" * 10_000_000, id="10 MB"),
        pytest.param(text("990000010").replace('"', ""), id="a number without quotes"),
        pytest.param("version: 1\nsites:\n  010000024: {}\n", id="a leading zero"),
        pytest.param(
            text("990000010", more="lbm: {name: NO}\n"), id="a word that is false for some"
        ),
        pytest.param(
            text("990000010", more='tests: [{finess: "990000028", expect: [d]}]\n'),
            id="a test of its own that fails",
        ),
        pytest.param(b"version: 1\nsites: \xff\n", id="no UTF-8"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_changes_nothing_and_is_told_once(
    place: Place, content: str | bytes
) -> None:
    before, rules = place.book.state, place.book()
    place.write(content)
    with structlog.testing.capture_logs() as told:
        for _ in range(5):
            place.settle()
    assert place.book() is rules
    state = place.ledger.rules_state()
    assert state is not None
    assert place.book.state == state
    assert (state.digest, state.since_at) == (before.digest, before.since_at)
    assert state.refusal is not None
    assert all(problem.startswith(str(place.path)) for problem in state.refusal.problems)
    assert [one["event"] for one in told] == ["rules_refused"]


def test_it_says_since_when_a_file_is_refused_and_forgets_it_when_mended(place: Place) -> None:
    good = place.path.read_bytes()
    place.write("nonsense")
    place.settle()
    since = place.clock.now()
    place.write("other nonsense: [")
    place.settle()
    refusal = place.book.state.refusal
    assert refusal is not None
    assert (refusal.since_at, place.clock.now() > since) == (since, True)
    assert "other" not in place.book().digest
    place.write(good)
    place.settle()
    assert place.book.state.refusal is None
    assert place.ledger.rules_state() == place.book.state
    assert len(place.ledger.rules_history()) == 1, "the same rules did not come anew"


def test_rules_that_this_installation_cannot_carry_out_are_refused(place: Place) -> None:
    place.impossible = {GARE}
    place.write(text("990000010", "990000028"))
    place.settle()
    assert place.sites == {REPUBLIQUE}
    assert place.book.state.refusal is not None


def test_a_file_that_is_deleted_is_refused_and_taken_when_it_is_back(place: Place) -> None:
    place.path.unlink()
    place.settle()
    assert place.sites == {REPUBLIQUE}
    assert place.book.state.refusal is not None
    place.write(text("990000028"))
    place.settle()
    assert place.sites == {GARE}
    mended = place.ledger.rules_state()
    assert mended is not None
    assert mended.refusal is None


def test_a_file_renamed_over_it_and_a_switched_symlink_are_seen(place: Place) -> None:
    beside = place.path.with_name("new.yaml")
    beside.write_text(text("990000028"), encoding="utf-8")
    beside.rename(place.path)
    place.settle()
    assert place.sites == {GARE}
    beside.write_text(text("990000010"), encoding="utf-8")
    link = place.path.with_name("link")
    link.symlink_to(beside)
    link.rename(place.path)
    place.settle()
    assert place.sites == {REPUBLIQUE}


def test_what_cannot_be_recorded_does_not_come_into_force_yet(place: Place) -> None:
    place.write(text("990000028"))
    place.ledger.full = True
    assert not place.settle()
    place.ledger.full = False
    assert place.sites == {REPUBLIQUE}
    assert place.settle()
    assert place.sites == {GARE}


def test_a_restart_with_a_broken_file_goes_on_with_the_last_good_rules(place: Place) -> None:
    place.write("nonsense")
    place.settle()
    before = place.book.state
    place.clock.go(timedelta(hours=8))
    with structlog.testing.capture_logs() as told:
        place.start(place.book())
    assert place.book.state == before, "since when is remembered"
    assert [one["event"] for one in told] == ["rules_refused"]
    place.write(text("990000028"))
    place.settle()
    assert place.sites == {GARE}


def test_a_restart_with_the_same_rules_is_no_new_version(place: Place) -> None:
    since = place.book.state.since_at
    place.clock.go(timedelta(days=1))
    place.start()
    assert place.book.state.since_at == since
    assert len(place.ledger.rules_history()) == 1


def test_a_file_with_its_old_times_is_seen_all_the_same(place: Place) -> None:
    times = place.path.stat()
    place.write(text("990000028"))
    os.utime(place.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    place.settle()
    assert place.sites == {GARE}
