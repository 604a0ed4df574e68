"""No patient in logs, process titles, temporary names, the ledger's file or error texts."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


class Watch:
    """Collects what any user of the machine could see while a program runs."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.titles: set[str] = set()
        self.temporary: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.titles.add(
                        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
            for site in SITES:
                self.temporary |= {p.name for p in self._laboratory.folder(site).glob(".*")}
            self._end.wait(0.002)


def test_nothing_that_others_can_see_names_a_patient(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.demo(77, 40, list(SITES), NOW)
    secrets.add(sendings)
    for sending in sendings:
        bal.append(sending.raw)
    with Watch(laboratory) as watch:
        ended = laboratory.command("run", "--once", "--json")
    assert ended.document["delivered"] > 40
    assert any("dispatcher" in title for title in watch.titles)
    assert not secrets.found_in("\n".join(watch.titles | watch.temporary))
    assert not secrets.found_in(ended.err)
    for path in laboratory.ledger.parent.iterdir():
        names = {s.truth.last_name for s in sendings if s.truth.last_name}
        content = path.read_bytes()
        for name in (name for name in names if len(name) > 5):
            assert name.encode() not in content, "the ledger holds no names"


def test_the_search_finds_what_it_looks_for(secrets: Secrets) -> None:
    (sending,) = scenario.certificates(78, 1, list(SITES), NOW)
    searched = Secrets(Path("/nonexistent"))
    searched.add([sending])
    for text in (sending.truth.last_name, sending.truth.file_number, sending.truth.file_name):
        assert text is not None
        assert searched.found_in(f'{{"event": "x", "text": "{text.upper()}"}}')
    with pytest.raises(AssertionError):
        assert not searched.found_in(str(sending.truth.file_name))
    assert secrets is not searched
