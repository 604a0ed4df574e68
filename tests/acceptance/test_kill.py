"""The real process is killed at random moments; nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from dispatcher.simulator import foreign, scenario
from dispatcher.simulator.scenario import RECIPIENT, SITES
from tests.acceptance.laboratory import Laboratory, until
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
MESSAGES = 200
KILLS = 24


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_moments_every_certificate_lies_once_in_its_folder(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    rng = random.Random(20261120)
    sendings = scenario.certificates(11, MESSAGES, list(SITES), NOW)
    strangers = foreign.all_kinds(rng, NOW, recipient=RECIPIENT)
    secrets.add(sendings)
    uids = bal.append_all([one.raw for one in [*sendings, *strangers]])
    bal.set_flags(uids[-1], "\\Flagged")
    theirs = {uid: bal.flags()[uid] for uid in uids[MESSAGES:]}
    raw = bal.messages()

    kills = 0
    while kills < KILLS:
        process = laboratory.start()
        _live_a_little(process, laboratory, rng)
        assert process.poll() is None, "the service ended by itself"
        process.send_signal(signal.SIGKILL)
        kills += 1
        process.wait(timeout=60)
        _assert_no_copy_twice(laboratory)

    for _ in range(5):
        _, numbers = laboratory.once()
        if not numbers["pending"] and not numbers["received"]:
            break
    assert laboratory.all_files() == {
        site: sorted(
            s.truth.document for s in sendings if s.truth.site == site and s.truth.document
        )
        for site in SITES
    }
    assert not laboratory.leftovers()
    assert {uid: bal.flags()[uid] for uid in theirs} == theirs
    assert bal.messages() == raw
    found = laboratory.status()
    assert found["balance"]["received"] == found["balance"]["delivered"] == MESSAGES
    assert laboratory.command("verify").status == 0


def _live_a_little(
    process: subprocess.Popen[bytes], laboratory: Laboratory, rng: random.Random
) -> None:
    """Let the process reach its work, then go on for a random while."""
    before = sum(len(laboratory.files(site)) for site in SITES)
    if before < MESSAGES and rng.random() < 0.75:
        until(
            lambda: (
                sum(len(laboratory.files(s)) for s in SITES) > before
                or process.poll() is not None
            ),
            "the first delivery of this life",
        )
    time.sleep(rng.uniform(0, 0.25))  # noqa: TID251 - the random moment is the test


def _assert_no_copy_twice(laboratory: Laboratory) -> None:
    for site in SITES:
        assert all(count == 1 for count in Counter(laboratory.files(site).values()).values())
