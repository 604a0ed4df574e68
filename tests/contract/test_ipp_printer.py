"""A CUPS queue on a real IPP Everywhere printer: what it says is understood, once on paper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.core.delivery import Receipt
from dispatcher.core.routing import Printing
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import CupsQueue, CupsServer
from tests.contract.test_cups import because, ended, order, reference
from tests.servers.cupsd import Cupsd
from tests.servers.ipp_printer import IppPrinter


@pytest.fixture
def printer() -> Iterator[IppPrinter]:
    with IppPrinter() as printer:
        yield printer


@pytest.mark.slow
def test_a_real_printer_prints_once_says_what_it_lacks_and_is_waited_for_when_off(
    cupsd: Cupsd, printer: IppPrinter
) -> None:
    name = cupsd.add_printer("everywhere", printer.uri)
    server = CupsServer(str(cupsd.socket), clock=SystemClock())
    queue = CupsQueue(server, name, Printing())
    plain, dry, off = order(b"%PDF plain"), order(b"%PDF dry"), order(b"%PDF off")

    text = reference(queue.deliver([plain])[0])
    assert ended(queue, plain, text) == Receipt(text)
    assert printer.printed() == [b"%PDF plain"]

    printer.out_of_paper()
    text = reference(queue.deliver([dry])[0])
    because(queue, dry, text, "out of paper")
    assert len(printer.printed()) == 1
    printer.load()
    assert ended(queue, dry, text) == Receipt(text)

    printer.stop()
    text = reference(queue.deliver([off])[0])
    because(queue, off, text, "cannot be reached")
    printer.start()
    assert ended(queue, off, text) == Receipt(text)
    assert sorted(printer.printed()) == [b"%PDF dry", b"%PDF off", b"%PDF plain"]
    server.close()
