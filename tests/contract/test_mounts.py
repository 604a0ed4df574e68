"""What the ledger remembers of the mounts under the folders, as the folders use it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dispatcher.core.certificate import Document
from dispatcher.core.delivery import Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.edges.folder import SiteFolder
from dispatcher.edges.ledger import Mounts, SqlLedger
from dispatcher.errors import Unavailable
from dispatcher.ports import Outcome
from tests.fakes.ledger_samples import StillClock

SITE = FinessET("990000010")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


def opened(address: str) -> SqlLedger:
    return SqlLedger(address, clock=StillClock())


def delivered(ledger: SqlLedger, folder: Path) -> Outcome:
    """Deliver one document there, as the service does that has just begun."""
    place = SiteFolder(folder, secret=ledger.secret, remembered_mount=Mounts(ledger))
    document = Document("990000010_21048BC000020_A_B.pdf", b"%PDF-1.7 one %%EOF")
    (outcome,) = place.deliver([Order("4f2a", SITE, "dossier", document)])
    return outcome


def test_a_folder_is_remembered_by_its_first_delivery(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "gare"
    folder.mkdir()
    assert isinstance(delivered(opened(address), folder), Receipt)
    assert list(opened(address).mounts()) == [str(folder)]


def test_a_share_that_is_gone_after_a_restart_gets_nothing(
    address: str, tmp_path: Path
) -> None:
    folder = tmp_path / "gare"
    folder.mkdir()
    opened(address).remember_mounts({str(folder): str(folder)})
    outcome = delivered(opened(address), folder)
    assert isinstance(outcome, Unavailable)
    assert "no longer on the share" in str(outcome)
    assert list(folder.iterdir()) == []


def test_folders_that_come_at_once_are_all_remembered(address: str) -> None:
    ledger = opened(address)
    mounts = Mounts(ledger)
    paths = [f"/srv/sidep/{number}" for number in range(40)]
    began = threading.Barrier(len(paths))

    def first_delivery(path: str) -> None:
        began.wait()
        assert mounts.get(path) is None
        mounts.set(path, "/srv")

    threads = [threading.Thread(target=first_delivery, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(address).mounts() == dict.fromkeys(paths, "/srv")
    assert {mounts.get(path) for path in paths} == {"/srv"}
