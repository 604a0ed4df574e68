"""Servers that tests share. `dovecot` is one for the whole run; `bal` a fresh account on it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal, Dovecot

# Its limit of 200 ms an example is a timed assertion: a busy machine exceeds it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Name what failed once more, a line each, as the very last words of a run.

    Where only the end of a long output is kept, it says at least which tests to look at.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    for kind in ("failed", "error"):
        for report in reporter.stats.get(kind, ()):
            crash = getattr(report.longrepr, "reprcrash", None)
            first = crash.message.partition("\n")[0] if crash else ""
            reporter.write_line(f"{kind}: {report.nodeid}: {first[:200]}")


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """Put the process's log back as it was: a command that a test runs sets it up anew.

    A level that one test's configuration names would else hide events from the next one's
    `capture_logs`, which replaces the processors alone.
    """
    before, hooks = structlog.get_config(), (sys.excepthook, threading.excepthook)
    root = logging.root
    handlers, level, raises = list(root.handlers), root.level, logging.raiseExceptions
    yield
    structlog.configure(**before)
    sys.excepthook, threading.excepthook = hooks
    root.handlers, logging.raiseExceptions = handlers, raises
    root.setLevel(level)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Yield a running Dovecot. A test that stops it must start it again.

    Where it is not installed the test fails and names the Debian packages.
    """
    with Dovecot() as server:
        yield server


@pytest.fixture
def bal(dovecot: Dovecot) -> Bal:
    """Return an account with an empty INBOX that no other test uses."""
    return dovecot.bal()


@pytest.fixture(scope="session")
def cupsd() -> Iterator[Cupsd]:
    """Yield a running cupsd. Take queues of one's own; a test that stops it starts it again.

    Where it is not installed the test fails and names the Debian packages.
    """
    with Cupsd() as server:
        yield server
