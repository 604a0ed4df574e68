"""Rules that change while the real program works on a real mailbox: live, history, back."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from dispatcher.core.ledger import DeliveryState
from dispatcher.core.rulebook import Origin, RulesState
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.ledger import SqlLedger
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
EDITS = 1000
ROUNDS = 20


def certificates(secrets: Secrets, seed: int, count: int) -> list[Sending]:
    sendings = scenario.certificates(seed, count, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


def count(laboratory: Laboratory) -> int:
    return sum(len(laboratory.files(site)) for site in SITES)


def holds(laboratory: Laboratory, number: int) -> bool:
    return count(laboratory) == number


def ledger_of(laboratory: Laboratory) -> SqlLedger:
    return SqlLedger(f"sqlite:///{laboratory.ledger}", clock=SystemClock())


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def by_name(text: str, name: str) -> str:
    """Return the same rules under another name of the laboratory."""
    assert "LBM Exemple" in text
    return text.replace("LBM Exemple", name)


# --- 1,000 edits --------------------------------------------------------------------------


class Editor:
    """Somebody, or some tool, that edits routing.yaml in every way there is."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self.good = path.read_text(encoding="utf-8")
        self.valid: set[str] = {digest_of(path)}
        self._dice = dice
        self._number = 0
        self._broken: tuple[Callable[[str], str], ...] = (
            lambda text: text[: text.index("sites:") + 8] + "{",
            lambda text: text + "sites: {}\n",
            lambda text: text + "x: &a [y]\nz: [*a, *a]\n",
            lambda text: text + "lbm2: !!python/object/apply:os.abort []\n",
            lambda text: text.replace('"', ""),
            lambda text: text.replace("name: LBM", "name: no #"),
            lambda text: text.replace('"990000903"', "010000903"),
            lambda text: text + 'tests: [{finess: "990000999", expect: [dossier]}]\n',
            lambda _: "",
            lambda _: "\x00\x01\x02",
            lambda text: text + "#" * 5_000_000,
        )  # fmt: skip

    def sound(self) -> str:
        """Return rules that were never there before; each of them serves every site."""
        self._number += 1
        text = by_name(self.good, f"LBM {self._number}")
        self.valid.add(hashlib.sha256(text.encode()).hexdigest())
        return text

    def wrong(self) -> str:
        return self._dice.choice(self._broken)(self.sound())

    def edit(self) -> None:
        """Make one edit of a random kind."""
        ways = (
            self._in_place,
            self._in_halves,
            self._renamed_over,
            self._deleted,
            self._linked,
        )
        self._clear()
        self._dice.choice(ways)(self._dice.choice((self.sound, self.wrong))())

    def leave(self, text: str) -> None:
        """Make the last edit of a round, after which the file rests."""
        self._clear()
        self._dice.choice((self._in_place, self._renamed_over, self._linked))(text)

    def _clear(self) -> None:
        if self.path.is_symlink() or self._dice.random() < 0.1:
            self.path.unlink(missing_ok=True)

    def _in_place(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def _in_halves(self, text: str) -> None:
        # Within a site's line: whatever the machine does in between, that is no valid file.
        cut = max(1, text.find("desk}"))
        with self.path.open("w", encoding="utf-8") as file:
            for part in (text[:cut], text[cut:]):
                file.write(part)
                file.flush()

    def _renamed_over(self, text: str) -> None:
        beside = self.path.with_name("routing.yaml.new")
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.path)

    def _deleted(self, text: str) -> None:
        self.path.unlink(missing_ok=True)
        self._in_place(text)

    def _linked(self, text: str) -> None:
        real = self.path.with_name(f"routing-{self._dice.randrange(3)}.yaml")
        real.write_text(text, encoding="utf-8")
        link = self.path.with_name("routing.yaml.link")
        link.unlink(missing_ok=True)
        link.symlink_to(real.name)
        link.rename(self.path)


def test_1000_edits_under_load_stop_no_delivery_and_apply_no_invalid_file(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = certificates(secrets, 61, 3 * ROUNDS)
    editor = Editor(laboratory.routing, random.Random(61))
    process = laboratory.start()
    try:
        until(laboratory.ledger.exists, "the ledger")
        with closing(ledger_of(laboratory)) as ledger:
            until(lambda: ledger.rules_state() is not None, "the first rules")
            for turn in range(ROUNDS):
                bal.deliver(*(one.raw for one in sendings[3 * turn : 3 * turn + 3]))
                for _ in range(EDITS // ROUNDS - 1):
                    editor.edit()
                broken = turn % 4 in {1, 2}
                text = editor.wrong() if broken else editor.sound()
                editor.leave(text)
                if turn % 2:
                    process.send_signal(signal.SIGHUP)
                digest = hashlib.sha256(text.encode()).hexdigest()
                until(partial(is_so, ledger, digest, broken), f"round {turn}")
                until(partial(holds, laboratory, 3 * turn + 3), f"the mail of round {turn}")
            history = ledger.rules_history()
            assert {change.digest for change in history} <= editor.valid
            assert len({change.digest for change in history}) >= ROUNDS // 2
            for entry in ledger.entries():
                for delivery in entry.deliveries:
                    assert delivery.state is DeliveryState.DELIVERED
                    assert {entry.rules, delivery.rules} <= editor.valid
    finally:
        status, _ = stop(process)
    assert status == 0
    for site in SITES:
        meant = [one.truth.document or b"" for one in sendings if str(one.truth.site) == site]
        assert sorted(laboratory.files(site).values()) == sorted(meant)


def is_so(ledger: SqlLedger, digest: str, broken: bool) -> bool:
    """Whether the file that lies there now is in force, or refused."""
    state = ledger.rules_state()
    if state is None:
        return False
    if not broken:
        return (state.digest, state.refusal) == (digest, None)
    return state.refusal is not None and state.digest != digest


# --- one change ---------------------------------------------------------------------------


def in_force(laboratory: Laboratory) -> RulesState | None:
    with closing(ledger_of(laboratory)) as ledger:
        return ledger.rules_state()


def test_a_directory_made_anew_is_watched_like_the_first_one(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    (one,) = certificates(secrets, 62, 1)
    place = laboratory.top / "rules"
    place.mkdir()
    good = laboratory.routing.read_text(encoding="utf-8")
    laboratory.write_settings()
    settings = laboratory.config.read_text(encoding="utf-8")
    laboratory.config.write_text(
        settings.replace("routing: routing.yaml", "routing: rules/routing.yaml"),
        encoding="utf-8",
    )
    (place / "routing.yaml").write_text(good, encoding="utf-8")
    process = laboratory.start()
    try:
        until(laboratory.ledger.exists, "the ledger")
        until(lambda: in_force(laboratory) is not None, "the first rules")
        for number in range(2):
            shutil.rmtree(place)
            place.mkdir()
            text = by_name(good, f"LBM {number}")
            (place / "routing.yaml").write_text(text, encoding="utf-8")
            digest = hashlib.sha256(text.encode()).hexdigest()
            until(partial(has, laboratory, digest), f"the new directory {number}")
        bal.deliver(one.raw)
        until(lambda: count(laboratory) == 1, "a delivery")
    finally:
        stop(process)


def has(laboratory: Laboratory, digest: str) -> bool:
    state = in_force(laboratory)
    return state is not None and state.digest == digest


def test_a_copy_is_looked_for_and_deleted_where_the_rules_said_when_it_was_delivered(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    (one,) = certificates(secrets, 63, 1)
    laboratory.write_settings(retention="negative: 72h, positive: 72h, other: 72h")
    bal.deliver(one.raw)
    assert laboratory.once()[0] == 0
    before = digest_of(laboratory.routing)
    site = str(one.truth.site)
    other = laboratory.top / "elsewhere"
    other.mkdir()
    lines = laboratory.routing.read_text(encoding="utf-8").splitlines()
    changed = f'deliver: [{{name: dossier, folder: "{other}"}}]'
    moved = [one.replace("profile: desk", changed) if site in one else one for one in lines]
    laboratory.write_routing("\n".join(moved) + "\n")
    assert digest_of(laboratory.routing) != before
    laboratory.once()
    (entry,) = laboratory.listed()
    shown = laboratory.command("show", entry["id"], "--json").document
    assert (shown["rules"], [copy["rules"] for copy in shown["copies"]]) == (before, [before])
    verified = laboratory.command("verify")
    assert verified.status == 0, verified.out
    assert len(laboratory.files(site)) == 1
    laboratory.ahead = "+73h"
    laboratory.command("purge", "--confirm", deadline=120)
    assert laboratory.files(site) == {}
    assert list(other.iterdir()) == []


# --- the commands -------------------------------------------------------------------------


def test_diff_tells_which_certificates_would_go_elsewhere(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    sendings = certificates(secrets, 64, 6)
    bal.deliver(*(one.raw for one in sendings))
    laboratory.once()
    assert laboratory.command("rules", "diff").status == 0
    site = str(sendings[0].truth.site)
    theirs = sum(str(one.truth.site) == site for one in sendings)
    text = laboratory.routing.read_text(encoding="utf-8")
    new = laboratory.top / "new.yaml"
    lines = [line for line in text.splitlines() if site not in line]
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ended = laboratory.command("rules", "diff", str(new), "--json")
    assert ended.status == 1
    found = ended.document
    assert found["sites"] == {"added": [], "removed": [site]}
    assert (found["certificates"], len(found["changes"])) == (6, theirs)
    for change in found["changes"]:
        assert change["before"]["site"] == site
        assert change["before"]["targets"][0]["place"] == str(laboratory.folder(site))
        assert change["after"] == {"site": None, "targets": []}
    told = laboratory.command("rules", "diff", str(new))
    assert (told.status, "held: site unknown" in told.out) == (1, True)
    new.write_text(text + "nonsense: 1\n", encoding="utf-8")
    ended = laboratory.command("rules", "diff", str(new))
    assert (ended.status, "nonsense" in ended.err) == (78, True)


def test_a_rollback_while_the_service_runs_is_taken_by_it(
    laboratory: Laboratory, bal: Bal, secrets: Secrets
) -> None:
    (one,) = certificates(secrets, 65, 1)
    good = laboratory.routing.read_text(encoding="utf-8")
    first = digest_of(laboratory.routing)
    process = laboratory.start()
    try:
        until(laboratory.ledger.exists, "the ledger")
        until(lambda: has(laboratory, first), "the first rules")
        laboratory.write_routing("broken: [\n")
        until(lambda: laboratory.status()["rules"]["refused"] is not None, "the refusal")
        ended = laboratory.command("rules", "rollback", "--reason", "a slip")
        assert ended.status == 0, ended.err
        assert laboratory.routing.read_text(encoding="utf-8") == good
        until(lambda: laboratory.status()["rules"]["refused"] is None, "the end of it")
        bal.deliver(one.raw)
        until(lambda: count(laboratory) == 1, "a delivery")
    finally:
        stop(process)


def test_history_show_and_rollback_lose_no_version(laboratory: Laboratory) -> None:
    good = laboratory.routing.read_text(encoding="utf-8")
    laboratory.routing.chmod(0o604)
    laboratory.once()
    laboratory.write_routing(by_name(good, "LBM Deux"))
    laboratory.once()
    first, second = (change["digest"] for change in history(laboratory))
    laboratory.write_routing("broken: [\n")
    broken = digest_of(laboratory.routing)
    assert laboratory.command("rules", "rollback").status == 64
    assert digest_of(laboratory.routing) == broken

    assert laboratory.command("rules", "rollback", "--reason", "a slip").status == 0
    assert digest_of(laboratory.routing) == second, "what is in force comes back first"
    assert laboratory.command("rules", "rollback", "--reason", "wrong name").status == 0
    assert laboratory.routing.read_text(encoding="utf-8") == good
    assert stat.S_IMODE(laboratory.routing.stat().st_mode) == 0o604

    refused = laboratory.command("rules", "rollback", broken[:12], "--reason", "no")
    assert (refused.status, digest_of(laboratory.routing)) == (78, first)
    told = history(laboratory)
    assert [(change["digest"], change["origin"]) for change in told] == [
        (first, "start"),
        (second, "start"),
        (broken, "set-aside"),
        (second, "rollback"),
        (first, "rollback"),
    ]
    assert (told[-1]["reason"], bool(told[-1]["by"])) == ("wrong name", True)
    shown = laboratory.command("rules", "show", broken[:12])
    assert (shown.status, shown.out) == (0, "broken: [\n")
    assert laboratory.command("rules", "show", "0" * 12).status == 64
    trail = laboratory.command("audit", "export").out
    assert (trail.count("rules-rollback"), "wrong name" in trail) == (4, True)
    assert laboratory.command("audit", "verify").status == 0


def history(laboratory: Laboratory) -> list[dict[str, str]]:
    found: list[dict[str, str]] = laboratory.command("rules", "history", "--json").document
    return found


def test_a_rollback_that_cannot_write_changes_nothing(laboratory: Laboratory) -> None:
    laboratory.once()
    first = digest_of(laboratory.routing)
    text = by_name(laboratory.routing.read_text(encoding="utf-8"), "LBM Deux")
    real = laboratory.top / "gone" / "routing.yaml"
    real.parent.mkdir()
    real.write_text(text, encoding="utf-8")
    laboratory.routing.unlink()
    laboratory.routing.symlink_to(real)
    laboratory.once()
    # A directory that nobody can write into, not even root.
    shutil.rmtree(real.parent)
    os.symlink("/proc/self/nowhere", real.parent)
    ended = laboratory.command("rules", "rollback", first[:12], "--reason", "try")
    assert ended.status == 69, ended.err
    assert "cannot be written" in ended.err
    with closing(ledger_of(laboratory)) as ledger:
        assert Origin.ROLLBACK not in {change.origin for change in ledger.rules_history()}
        last = list(ledger.trail())[-1]
        assert last.deed.answer.startswith("failed: ")


@pytest.mark.parametrize("word", ["history", "diff"])
def test_before_the_first_start_there_is_nothing_to_tell(
    laboratory: Laboratory, word: str
) -> None:
    assert laboratory.command("rules", word).status == 0
    assert laboratory.command("rules", "rollback", "--reason", "x").status == 1
