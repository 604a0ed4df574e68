"""Reads which faults are wanted, and deals them out over the messages to be sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from dispatcher.errors import ConfigInvalid
from dispatcher.simulator import faults
from dispatcher.simulator.cases import Case
from dispatcher.simulator.faults import Fault

# What happens in any laboratory without anybody's asking.
EVERYDAY: Final = "sent-again:0.5%,replacement:0.5%"
NOTHING: Final = "none"

_ITEM: Final = re.compile(
    r"(?P<name>[a-z0-9-]+):(?:(?P<share>[0-9]+(?:\.[0-9]+)?)%|(?P<count>[0-9]+))", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Mix:
    """Which faults are wanted: shares of all messages, and numbers of messages."""

    shares: tuple[tuple[tuple[Fault, ...], float], ...] = ()
    counts: tuple[tuple[Fault, int], ...] = ()


@dataclass(slots=True)
class Dealt:
    """Which fault which case gets, by the case's place; and what found no case to fit."""

    faults: dict[int, Fault] = field(default_factory=dict)
    left_over: dict[str, int] = field(default_factory=dict)


def read(text: str) -> Mix:
    """Read `NAME:SHARE%` and `NAME:COUNT`, separated by commas; `none` or nothing is no fault.

    A name is a fault's or a group's. A share of a group is spread over its faults, a count
    is of each of them. Raises ConfigInvalid with every mistake.
    """
    shares: list[tuple[tuple[Fault, ...], float]] = []
    counts: list[tuple[Fault, int]] = []
    problems = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        if item == NOTHING:
            continue
        found = _ITEM.fullmatch(item)
        members = _members(found["name"]) if found else ()
        if found is None:
            problems.append(f"--faults: `{item}` is neither NAME:SHARE% nor NAME:COUNT")
        elif not members:
            problems.append(
                f"--faults: there is no fault `{found['name']}`; `--list-faults` lists them"
            )
        elif found["share"]:
            shares.append((members, float(found["share"]) / 100))
        else:
            counts.extend((member, int(found["count"])) for member in members)
    if sum(share for _, share in shares) > 1:
        problems.append("--faults: the shares come to more than 100 %")
    if problems:
        raise ConfigInvalid(tuple(problems))
    return Mix(tuple(shares), tuple(counts))


def _members(name: str) -> tuple[Fault, ...]:
    if name in faults.GROUPS:
        return faults.GROUPS[name]
    try:
        return (faults.named(name),)
    except KeyError:
        return ()


def fault_in(file_number: str) -> Fault | None:
    """Return the fault that a file number asks for by its beginning, if it does.

    `two-certificates.17` does: the name of a fault, or of a group of one, and a full stop.
    """
    name, stop, _ = file_number.partition(".")
    members = _members(name) if stop else ()
    return members[0] if len(members) == 1 else None


def deal(
    mix: Mix, cases: Mapping[int, Case], *, asked: Mapping[int, Fault], seed: int
) -> Dealt:
    """Give each case at most one fault: what was asked for it, then counts, then shares.

    The same for a same seed. A count that finds too few cases is told in `left_over`.
    """
    rng = Random(f"{seed}:faults")
    dealt = Dealt(dict(asked))
    free = [place for place in cases if place not in asked]
    rng.shuffle(free)
    for fault, count in mix.counts:
        fitting = [place for place in free if fault.fits(cases[place])][:count]
        dealt.faults.update((place, fault) for place in fitting)
        taken = set(fitting)
        free = [place for place in free if place not in taken]
        if len(fitting) < count:
            dealt.left_over[fault.name] = count - len(fitting)
    for place in free:
        fault_or_none = _drawn(mix, rng)
        if fault_or_none is not None and fault_or_none.fits(cases[place]):
            dealt.faults[place] = fault_or_none
    return dealt


def _drawn(mix: Mix, rng: Random) -> Fault | None:
    left = rng.random()
    for members, share in mix.shares:
        if left < share:
            return rng.choice(members)
        left -= share
    return None


def listing() -> Sequence[tuple[str, str, str]]:
    """Return each fault's name, what the dispatcher must do with it, and what it needs."""
    return [(fault.name, fault.expected, fault.needs) for fault in faults.EVERY]
