"""A laboratory for each test; what all of them log is searched for patients at the end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.acceptance.laboratory import Laboratory
from tests.acceptance.printers import Printers, lay_out
from tests.acceptance.privacy import Secrets
from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secrets]:
    """Yield what no log may hold; every log of the run is searched when all is done."""
    collected = Secrets(tmp_path_factory.mktemp("logs"))
    yield collected
    collected.assert_nowhere()


@pytest.fixture
def logs(secrets: Secrets, request: pytest.FixtureRequest) -> Iterator[IO[bytes]]:
    """Yield the file that this test's programs log into."""
    with secrets.log_of(request.node.nodeid) as stream:
        yield stream


@pytest.fixture
def laboratory(tmp_path: Path, bal: Bal, logs: IO[bytes]) -> Iterator[Laboratory]:
    """Yield a laboratory with one mailbox; its balance must close when the test ends."""
    found = Laboratory(tmp_path, {"lbm": bal}, logs=logs)
    yield found
    if found.ledger.exists():
        found.assert_closed()


@pytest.fixture
def printers(cupsd: Cupsd) -> Printers:
    """Return a printer for each of the six sites."""
    return Printers(cupsd)


@pytest.fixture
def printing(laboratory: Laboratory, printers: Printers) -> Laboratory:
    """Return a laboratory whose six sites have a folder and a printer each."""
    lay_out(laboratory, printers, str(printers.cupsd.socket))
    return laboratory


Build = Callable[..., Laboratory]


@pytest.fixture
def unlogged() -> IO[bytes]:
    """Return a place for logs that nobody reads."""
    return io.BytesIO()
