"""Reading a suspected message apart: the real thing, with a message that kills its reader."""

from __future__ import annotations

import pytest

from dispatcher.core import certificate
from dispatcher.core.certificate import Certificate
from dispatcher.edges.apart import ReadApart
from dispatcher.simulator.scenario import SITES
from tests.fakes.office import SENDERS, certificates


def test_a_message_read_apart_reads_as_it_does_here() -> None:
    (sending,) = certificates(5, 1)
    found = ReadApart().read(sending.raw, SENDERS)
    assert isinstance(found, Certificate)
    assert str(found.site) in SITES
    assert found == certificate.read(sending.raw, SENDERS)


@pytest.mark.parametrize("fate", ["killed", "too slow"])
def test_a_reader_that_goes_down_is_told_and_the_next_one_works(fate: str) -> None:
    (sending,) = certificates(5, 1)
    # More than the helper may have in memory, or no time at all.
    raw = sending.raw + b" " * (600 << 20) if fate == "killed" else sending.raw
    apart = ReadApart(seconds=20.0 if fate == "killed" else 0.001)
    assert apart.read(raw, SENDERS) is None
    assert isinstance(ReadApart().read(sending.raw, SENDERS), Certificate)
