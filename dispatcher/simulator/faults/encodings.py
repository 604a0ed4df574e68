"""Every mailer's way to write a message, well or badly: all of it is read and delivered."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dispatcher.simulator import people
from dispatcher.simulator.cases import Case, Sending, certificate
from dispatcher.simulator.faults.shape import DELIVER, Fault
from dispatcher.simulator.mailers import MAILERS, Mailer


def _by(mailer: Mailer) -> Fault:
    name = f"encoding-{mailer.name}"

    def build(about: Case) -> tuple[Sending, ...]:
        # A name that needs encoding: in plain ASCII all mailers write the same.
        about = replace(about, patient=people.patient(about.rng, about.now.date(), odd=True))
        return (replace(certificate(about, mailer), case=name),)

    return Fault(name, build, must=DELIVER)


ENCODINGS: Final = tuple(_by(mailer) for mailer in MAILERS)
