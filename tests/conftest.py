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


# What takes a minute and more, mostly in waiting: begun last, each would be waited for alone.
_LONGEST = (
    "test_every_command_of_a_document_does_what_it_says[README.md]",
    "test_whoever_is_killed_no_delivery_has_two_jobs_and_none_is_forgotten",
    "test_what_is_held_is_told_once_over_a_restart_and_then_its_recovery",
    "test_killed_at_random_moments_every_certificate_lies_once_in_its_folder",
    "test_killed_in_a_purge_everything_due_goes_once_and_nothing_else",
    "test_what_the_simulator_sent_is_what_the_dispatcher_accounts_for",
    "test_readiness_follows_the_mail_server_and_life_does_not",
    "test_200_certificates_end_printed_waiting_or_held_as_the_rules_say",
    "test_a_rehearsal_ends_as_meant_stays_open_and_ends_cleanly",
    "test_each_day_of_a_year_nothing_is_too_old_and_nothing_young_is_missing",
)
# How many processes share the tests (Makefile), each beginning with a part of the list.
_AT_ONCE = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each process begin with some of the tests that take longest."""
    longest = sorted(
        (item for item in items if item.name in _LONGEST),
        key=lambda item: _LONGEST.index(item.name),
    )
    others = [item for item in items if item.name not in _LONGEST]
    part = len(items) // _AT_ONCE
    items.clear()
    for number in range(_AT_ONCE):
        mine = longest[number::_AT_ONCE]
        count = max(0, part - len(mine))
        items += mine + others[:count]
        del others[:count]
    items += others


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
