"""Each certificate on paper at its site, once: the program as a process, on a real cupsd."""

from __future__ import annotations

from datetime import UTC, datetime

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.printers import Printers, documents, finish, lay_out
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def test_every_certificate_is_printed_once_at_its_site(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(41, 24, list(SITES), NOW)
    secrets.add(sendings)
    bal.append_all([s.raw for s in sendings])
    finish(printing, 24)
    assert printers.papers() == documents(sendings)
    assert not secrets.found_in(printers.cupsd.log()), "the spooler's logs name nobody"


def test_what_waits_for_a_person_is_printed_when_asked_and_again_when_asked(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    (sending,) = scenario.certificates(44, 1, list(SITES), NOW)
    secrets.add([sending])
    lay_out(printing, printers, str(printers.cupsd.socket), held=str(sending.truth.site))
    bal.deliver(sending.raw)
    printing.once()
    assert printers.sheets() == []
    (entry,) = printing.listed()
    assert printing.command("print", entry["id"]).status == 0
    finish(printing, 1)
    assert len(printers.sheets()) == 1
    assert printing.command("reprint", entry["id"], "--reason", "froissé").status == 0
    finish(printing, 1)
    assert len(printers.sheets()) == 2
    assert printing.command("verify").status == 0


def test_one_run_prints_more_than_a_queue_takes_at_a_time(
    printing: Laboratory, printers: Printers, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(45, 25, [next(iter(SITES))], NOW)
    secrets.add(sendings)
    bal.append_all([s.raw for s in sendings])
    status, ran = printing.once()
    assert (status, ran["delivered"], ran["pending"]) == (0, 25, 0)
    assert printers.papers() == documents(sendings)
