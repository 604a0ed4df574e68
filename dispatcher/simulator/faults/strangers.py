"""Foreign mail beside a certificate: the certificate is delivered, the rest is not touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dispatcher.simulator import foreign
from dispatcher.simulator.cases import Case, Sending, certificate
from dispatcher.simulator.faults.shape import Fault


def _beside(kind: str) -> Fault:
    name = f"foreign-{kind}"

    def build(about: Case) -> tuple[Sending, ...]:
        other = foreign.of_kind(kind, about.rng, about.now, recipient=about.recipient)
        return (
            replace(certificate(about), case=name),
            replace(other, case=name, lane=f"{other.lane} foreign"),
        )

    must = "deliver the certificate, leave the other mail untouched"
    return Fault(name, build, must=must, messages=2)


STRANGERS: Final = tuple(_beside(name) for name in foreign.NAMES)
