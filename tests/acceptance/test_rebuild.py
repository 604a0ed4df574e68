"""A ledger that is lost or set back, with printers: nothing on paper twice without a yes."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.edges.clock import SystemClock
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.acceptance.laboratory import Laboratory, stop, until
from tests.acceptance.printers import Printers, documents
from tests.acceptance.privacy import Secrets
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
FIRST, SECOND = slice(0, 4), slice(4, 7)


@pytest.fixture
def eight(secrets: Secrets) -> list[Sending]:
    sendings = scenario.certificates(43, 8, list(SITES), NOW)
    secrets.add(sendings)
    return sendings


@pytest.fixture
def working(printing: Laboratory, printers: Printers) -> Laboratory:
    """Return a laboratory with printers and no keywords whose mailbox, empty, was looked at."""
    printing.write_settings(
        f"cups: {{server: {printers.cupsd.socket}}}\n", "    settled_keyword: null\n"
    )
    assert printing.once()[0] == 0
    return printing


def receive(laboratory: Laboratory, bal: Bal, sendings: list[Sending]) -> None:
    """Let certificates arrive and be delivered, on paper too."""
    later = SystemClock().now() + timedelta(minutes=1)
    for sending in sendings:
        bal.append(sending.raw, internal_at=later)
    until(lambda: laboratory.once()[0] == 0, "everything is delivered and printed")


def backup(laboratory: Laboratory, to: Path) -> None:
    with (
        closing(sqlite3.connect(laboratory.ledger)) as found,
        closing(sqlite3.connect(to)) as new,
    ):
        found.backup(new)


def remove(laboratory: Laboratory) -> None:
    for path in laboratory.ledger.parent.glob("ledger.sqlite3*"):
        path.unlink()


def _lost(laboratory: Laboratory, _: Path) -> None:
    remove(laboratory)


def _looked_at(laboratory: Laboratory, _: Path) -> None:
    remove(laboratory)
    assert laboratory.command("status").status == 0


def _older(laboratory: Laboratory, kept: Path) -> None:
    remove(laboratory)
    shutil.copy(kept / "backup", laboratory.ledger)


def _whole_directory(laboratory: Laboratory, kept: Path) -> None:
    shutil.rmtree(laboratory.ledger.parent)
    shutil.copytree(kept / "state", laboratory.ledger.parent)


@pytest.mark.parametrize(
    ("loss", "doubted"),
    [
        pytest.param(_lost, 7, id="deleted"),
        pytest.param(_looked_at, 7, id="deleted, and a command was run"),
        pytest.param(_older, 3, id="an older copy"),
        pytest.param(_whole_directory, 3, id="its whole directory from an older copy"),
    ],
)
def test_nothing_is_printed_twice(  # noqa: PLR0917 - fixtures
    working: Laboratory,
    bal: Bal,
    printers: Printers,
    eight: list[Sending],
    tmp_path_factory: pytest.TempPathFactory,
    loss: Callable[[Laboratory, Path], None],
    doubted: int,
) -> None:
    kept = tmp_path_factory.mktemp("kept")
    receive(working, bal, eight[FIRST])
    backup(working, kept / "backup")
    shutil.copytree(working.ledger.parent, kept / "state")
    receive(working, bal, eight[SECOND])
    papers, files = printers.papers(), working.all_files()
    assert papers == documents(eight[:7])
    loss(working, kept)

    status, numbers = working.once()
    assert (status, numbers["received"], numbers["held"]) == (1, doubted, doubted)
    assert working.once()[0] == 1
    held = working.listed("--state", "held")
    assert {entry["reason"] for entry in held} == {"in-doubt"}
    assert (printers.papers(), working.all_files()) == (papers, files)

    # What comes from now on goes its way; what is held waits for a person.
    bal.append(eight[7].raw, internal_at=SystemClock().now() + timedelta(minutes=2))
    working.once()
    until(
        lambda: printers.papers() == documents(eight) or working.once()[0] < 0,
        "the new one is printed",
    )
    seen, again, *_ = held
    reason = ("--reason", "regardé au bac")
    assert working.command("release", seen["id"], *reason).status == 0
    assert working.command("retry", again["id"], *reason).status == 0
    working.once()
    sheets = sum((count for count in printers.papers().values()), Counter())
    assert sum(sheets.values()) == 9
    assert {e["id"] for e in working.listed("--state", "held")} == {e["id"] for e in held[2:]}


def test_a_site_prints_all_of_its_own_that_is_in_doubt(
    printing: Laboratory, bal: Bal, printers: Printers, eight: list[Sending]
) -> None:
    receive(printing, bal, eight[:7])
    remove(printing)
    assert printing.once()[0] == 1
    site = printing.listed("--state", "held")[0]["site"]
    mine = [entry for entry in printing.listed("--state", "held") if entry["site"] == site]
    assert printing.command("print", "--site", site).status == 0
    until(
        lambda: printing.once()[0] == 1 and not printing.listed("--state", "pending"),
        "what the site asked for is printed",
    )
    sheets = {one: sum(count.values()) for one, count in printers.papers().items()}
    once = {one: sum(count.values()) for one, count in documents(eight[:7]).items()}
    assert sheets == once | {site: 2 * len(mine)}


# --- the command


def held(laboratory: Laboratory) -> list[str]:
    return [entry["id"] for entry in laboratory.listed("--state", "held")]


def aside(laboratory: Laboratory) -> list[Path]:
    found = laboratory.ledger.parent.glob("ledger.sqlite3.aside-*")
    return [path for path in found if not path.name.endswith(("-wal", "-shm"))]


def test_a_rebuild_is_looked_at_and_agreed_to_before_anything_happens(
    working: Laboratory, bal: Bal, printers: Printers, eight: list[Sending]
) -> None:
    receive(working, bal, eight[:7])
    taken = working.files(str(eight[0].truth.site)).keys()
    for name in taken:
        (working.folder(str(eight[0].truth.site)) / name).unlink()
    content, papers = working.ledger.read_bytes(), printers.papers()
    bal.append(eight[7].raw)
    for words in (("--dry-run", "--json"), ("--json",)):
        ended = working.command("rebuild", *words)
        assert ended.status == (0 if "--dry-run" in words else 1), ended.err
        lines = ended.document["deliveries"]
        assert sum(line["in_doubt"] for line in lines if line["kind"] == "print") == 8
        files = [line for line in lines if line["kind"] == "folder"]
        assert sum(line["there"] for line in files) == 7 - len(taken)
        assert sum(line["to_deliver"] for line in files) == 1 + len(taken)
        assert (ended.document["rebuilt"], ended.document["aside"]) == (False, None)
    assert working.command("rebuild").status == 1
    assert working.command("rebuild", "--dry-run", "--confirm").status == 64
    assert (working.ledger.read_bytes(), printers.papers()) == (content, papers)
    assert not aside(working)


def test_a_damaged_ledger_is_moved_aside_and_made_anew(
    working: Laboratory, bal: Bal, printers: Printers, eight: list[Sending]
) -> None:
    receive(working, bal, eight[:7])
    papers, files = printers.papers(), working.all_files()
    damaged = b"not a database" + working.ledger.read_bytes()[14:]
    working.ledger.write_bytes(damaged)
    assert working.command("run", "--once").status == 78
    ended = working.command("rebuild", "--confirm", "--json")
    assert ended.status == 1, ended.err
    (old,) = aside(working)
    assert (ended.document["aside"], ended.document["rebuilt"]) == (str(old), True)
    assert ended.document["run"] == {
        "received": 7, "delivered": 0, "held": 7, "pending": 0,
        "duplicate": 0, "expired": 0, "foreign": 0,
    }  # fmt: skip
    assert old.read_bytes() == damaged
    assert (printers.papers(), working.all_files()) == (papers, files)
    assert len(held(working)) == 7


def test_what_the_new_ledger_does_not_know_is_told_and_the_old_one_exports_it(
    laboratory: Laboratory, bal: Bal, eight: list[Sending]
) -> None:
    bal.append(eight[0].raw)
    assert laboratory.once()[0] == 0
    (entry,) = laboratory.listed()
    words = ("--until", "2036-12-31", "--reason", "réquisition")
    assert laboratory.command("hold", entry["id"], *words).status == 0
    ended = laboratory.command("rebuild", "--confirm")
    assert ended.status == 0, ended.err
    assert "neither its audit trail nor what `hold` keeps" in ended.err
    (old,) = aside(laboratory)
    settings = laboratory.config.read_text("utf-8")
    laboratory.config.write_text(settings.replace(str(laboratory.ledger), str(old)), "utf-8")
    exported = laboratory.command("audit", "export").out
    laboratory.config.write_text(settings, "utf-8")
    assert (exported.count("réquisition"), exported.count(entry["id"])) == (1, 1)


def test_no_rebuild_while_the_service_works(working: Laboratory) -> None:
    service = working.start()
    try:
        # Not by `run --once`: it takes the lock itself, and the service might come too late.
        until(lambda: working.logged("service_started") == 1, "the service works")
        ended = working.command("rebuild", "--confirm")
        assert (ended.status, aside(working)) == (75, [])
    finally:
        assert stop(service)[0] == 0


def test_a_rebuild_that_is_killed_prints_nothing_and_the_next_start_goes_on(
    working: Laboratory, bal: Bal, printers: Printers, eight: list[Sending]
) -> None:
    receive(working, bal, eight[:7])
    papers, files = printers.papers(), working.all_files()
    moments: list[Callable[[], bool]] = [
        lambda: bool(aside(working)),
        working.ledger.exists,
        lambda: _entries(working) > 0,
        lambda: _entries(working) >= 7,
    ]
    for number, moment in enumerate(moments):
        rebuild = working.begin("rebuild", "--confirm")
        before = len(aside(working))
        until(
            lambda before=before, rebuild=rebuild: (  # type: ignore[misc]
                len(aside(working)) > before or rebuild.poll() is not None
            ),
            "the old ledger is moved aside",
        )
        until(
            lambda moment=moment, rebuild=rebuild: moment() or rebuild.poll() is not None,  # type: ignore[misc]
            f"moment {number}",
        )
        rebuild.kill()
        rebuild.wait(timeout=60)
        if number % 2:
            assert working.once()[0] == 1
            assert len(held(working)) == 7
        assert (printers.papers(), working.all_files()) == (papers, files)
    assert working.command("run", "--once").status == 1
    assert (printers.papers(), working.all_files()) == (papers, files)


def _entries(laboratory: Laboratory) -> int:
    try:
        with closing(
            sqlite3.connect(f"{laboratory.ledger.as_uri()}?mode=ro", uri=True)
        ) as made:
            (count,) = made.execute("SELECT count(*) FROM entry").fetchone()
    except sqlite3.Error:
        return 0
    return int(count)
