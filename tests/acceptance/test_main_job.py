"""A certificate arrives in the shared BAL and lies in the right site's folder."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def scene(secrets: Secrets) -> list[Sending]:
    """Return sound, faulty and foreign mail for six sites."""
    sendings = scenario.demo(7, 60, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


def delivered_documents(sendings: list[Sending]) -> dict[str, list[bytes]]:
    """Return what must lie in each site's folder, by the simulator's own knowledge."""
    found: dict[str, list[bytes]] = {site: [] for site in SITES}
    for sending in sendings:
        if sending.truth.state == "delivered":
            assert sending.truth.site is not None
            assert sending.truth.document is not None
            found[sending.truth.site].append(sending.truth.document)
    return {site: sorted(documents) for site, documents in found.items()}


def deliver(bal: Bal, sendings: list[Sending]) -> dict[int, Sending]:
    """Bring the scene into the mailbox; return each message by its uid."""
    uids = {}
    for sending in sendings:
        if sending.flags:
            uids[bal.append(sending.raw, flags=sending.flags)] = sending
        else:
            bal.deliver(sending.raw)
            uids[max(uids, default=0) + 1] = sending
    return uids


def test_every_message_of_a_mixed_mailbox_ends_as_it_must(
    laboratory: Laboratory, bal: Bal, scene: list[Sending]
) -> None:
    sent = deliver(bal, scene)
    raw, flags = bal.messages(), bal.flags()
    meant = Counter(sending.truth.state for sending in scene)

    status, numbers = laboratory.once()

    assert status == 1, "something is held"
    assert numbers == {
        "received": len(scene) - meant["foreign"],
        "delivered": meant["delivered"],
        "held": meant["held"],
        "pending": 0,
        "duplicate": meant["duplicate"],
        "expired": 0,
        "foreign": meant["foreign"],
    }
    assert laboratory.all_files() == delivered_documents(scene)

    entries = {entry["uid"]: entry for entry in laboratory.listed()}
    for uid, sending in sent.items():
        if sending.truth.state == "foreign":
            assert uid not in entries
            assert bal.flags()[uid] == flags[uid], "foreign mail is untouched down to its flags"
            continue
        entry = entries[uid]
        assert (entry["state"], sending.case) == (sending.truth.state, sending.case)
        if sending.truth.reason is not None:
            assert (entry["reason"], sending.case) == (sending.truth.reason, sending.case)
        if sending.truth.state == "delivered":
            assert entry["site"] == sending.truth.site
            assert entry["file_number"] == sending.truth.file_number
            assert entry["result"] == sending.truth.result
            assert "SidepDispatched" in bal.flags()[uid]
            assert bool(entry["replaces"]) == sending.truth.replaces
    assert bal.messages() == raw, "no message was changed or removed"


def test_a_second_run_changes_nothing(
    laboratory: Laboratory, bal: Bal, scene: list[Sending]
) -> None:
    deliver(bal, scene)
    laboratory.once()
    files, flags, listed = laboratory.all_files(), bal.flags(), laboratory.listed()

    _, numbers = laboratory.once()

    assert set(numbers.values()) == {0}
    assert (laboratory.all_files(), bal.flags()) == (files, flags)
    assert laboratory.listed() == listed


def test_a_mailbox_without_trouble_ends_with_status_zero(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = scenario.certificates(3, 6, list(SITES), NOW)
    secrets.add(sendings)
    deliver(bal, sendings)
    status, numbers = laboratory.once()
    assert (status, numbers["delivered"]) == (0, 6)


def test_a_dry_run_says_the_same_and_writes_nothing(
    laboratory: Laboratory, bal: Bal, scene: list[Sending]
) -> None:
    sent = deliver(bal, scene)
    flags = bal.flags()
    ended = laboratory.command("dry-run", "--json")
    assert ended.status == 1
    by_uid = {one["uid"]: one for one in ended.document}
    assert set(by_uid) == set(sent)
    for uid, sending in sent.items():
        outcome = {"delivered": "deliver", "duplicate": "deliver", "held": "hold"}
        meant = outcome.get(sending.truth.state, "foreign")
        assert (by_uid[uid]["outcome"], sending.case) == (meant, sending.case)
    assert bal.flags() == flags
    assert not laboratory.ledger.exists()
    assert not any(laboratory.files(site) for site in SITES)


def test_mail_from_before_a_date_is_left_alone(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    old, new = scenario.certificates(5, 2, list(SITES), NOW)
    secrets.add([old, new])
    bal.append(old.raw, internal_at=NOW - timedelta(days=30))
    bal.append(new.raw, internal_at=NOW)
    since = f"    since: {(NOW - timedelta(days=1)).date().isoformat()}\n"
    laboratory.write_settings(mailbox=since)
    _, numbers = laboratory.once()
    assert (numbers["received"], numbers["delivered"]) == (1, 1)
    assert bal.flags()[1] == frozenset()
    # Taken back: what was left alone is read after all.
    laboratory.write_settings()
    _, numbers = laboratory.once()
    assert (numbers["received"], numbers["delivered"]) == (1, 1)
