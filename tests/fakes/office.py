"""The service on fakes: one mailbox, one destination for each site, everything in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

from dispatcher.core.certificate import PdfText
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Kind, Rules, Site, Target
from dispatcher.edges.reading.here import ReadHere
from dispatcher.ports import (
    BroughtDown,
    Destination,
    Inspector,
    Ledger,
    Mailbox,
    Meter,
    ReadMessage,
)
from dispatcher.service.desk import Desk, Policy, Reader
from dispatcher.service.round import Round
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_inspector import MemoryInspector
from tests.fakes.memory_ledger import MemoryLedger
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.standing_clock import StandingClock

KEYWORD = "SidepDispatched"
SENDERS = frozenset({"noreply.sidep@enovacom.easycrypt.fr"})
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def rules(*names: str) -> Rules:
    """Return rules in which every site of the simulator has these folder targets."""
    targets = tuple(
        Target(name, Kind.FOLDER, f"/nowhere/{name}") for name in names or ("folder",)
    )
    sites = {
        FinessET(number): Site(FinessET(number), name, targets)
        for number, name in SITES.items()
    }
    return Rules("LBM", None, sites, digest="0" * 64)


@cache
def certificates(seed: int, count: int) -> tuple[Sending, ...]:
    """Return sound certificates; the same for the same arguments."""
    return tuple(scenario.certificates(seed, count, list(SITES), NOW))


@dataclass
class Messages:
    """Reads here; what it is told to be deadly brings its reader down.

    `wrong` is what the reading of a batch raises, by its number.
    """

    inspector: Inspector
    deadly: set[bytes] = field(default_factory=set)
    batches: list[int] = field(default_factory=list)
    wrong: dict[int, Exception] = field(default_factory=dict)

    def read(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage | BroughtDown, ...]:
        self.batches.append(len(raws))
        if (error := self.wrong.pop(len(self.batches) - 1, None)) is not None:
            raise error
        sound = [raw for raw in raws if raw not in self.deadly]
        found = iter(ReadHere(self.inspector).read(sound, senders, ask_names=ask_names))
        return tuple(
            BroughtDown("by a test") if r in self.deadly else next(found) for r in raws
        )

    def close(self) -> None:
        pass


@dataclass
class Office:
    """Ports and rules that a test may change before it calls `round`."""

    mailbox: MemoryMailbox = field(default_factory=MemoryMailbox)
    clock: StandingClock = field(default_factory=StandingClock)
    inspector: MemoryInspector = field(default_factory=MemoryInspector)
    messages: Messages = field(init=False)
    rules: Rules = field(default_factory=rules)
    policy: Policy = field(default_factory=lambda: Policy(SENDERS, PdfText.OFF))
    destinations: dict[tuple[FinessET, str], Destination] = field(default_factory=dict)
    meter: Meter | None = None
    ledger: MemoryLedger = field(init=False)
    asked_by: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(clock=self.clock)
        self.messages = Messages(self.inspector)
        for site in self.rules.sites.values():
            for target in site.targets:
                self.destinations.setdefault((site.finess, target.name), MemoryDestination())

    def at(self, site: str, target: str = "folder") -> MemoryDestination:
        """Return one of the destinations."""
        found = self.destinations[FinessET(site), target]
        assert isinstance(found, MemoryDestination)
        return found

    def desk(self, ledger: Ledger | None = None) -> Desk:
        """Return what the service works with."""
        self.messages.inspector = self.inspector
        return Desk(
            ledger or self.ledger,
            self.clock,
            Reader(self.messages, self.inspector, lambda: self.rules, self.policy),
            self._destination,
            meter=self.meter,
        )

    def _destination(self, site: FinessET, name: str, rules: str = "") -> Destination | None:
        self.asked_by.add(rules)
        return self.destinations.get((site, name))

    def round(self, mailbox: Mailbox | None = None, ledger: Ledger | None = None) -> Round:
        """Return the work on the mailbox, as after a start of the program."""
        return Round(mailbox or self.mailbox, self.desk(ledger), keyword=KEYWORD, patience=0.5)

    def without(self, site: str) -> None:
        """Take a site out of the rules."""
        sites = {k: v for k, v in self.rules.sites.items() if str(k) != site}
        self.rules = replace(self.rules, sites=sites)

    def effects(self) -> int:
        """Return how many documents the destinations hold."""
        return sum(len(self.at(str(site), name).effects) for site, name in self.destinations)
