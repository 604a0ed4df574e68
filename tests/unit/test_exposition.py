"""What Prometheus is shown: each figure by name, label and value, and nobody's identity."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.core.routing import Kind
from dispatcher.ports import Figures
from tests.fakes.figures_samples import ID, NOW, SITE, ago, exposition, full

# The only labels; the values of each are the settings' words, or fixed.
LABELS: Final = {"mailbox", "site", "target", "state", "kind", "outcome", "part", "what", "le"}


def text(figures: Figures | None = None) -> str:
    return exposition().text(figures or full(), NOW, "")[0].decode()


def samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield sample.name.removeprefix("sidep_dispatcher_"), sample.labels, sample.value


def value(page: str, name: str, **labels: str) -> float:
    (found,) = (v for n, given, v in samples(page) if n == name and given == labels)
    return found


def site(**more: str) -> dict[str, str]:
    return {"site": str(SITE), **more}


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("build_info", {"version": "1.2.3"}, 1),
        ("figures_timestamp_seconds", {}, ago(seconds=3).timestamp()),
        ("messages", {"state": "delivered"}, 9),
        ("messages", {"state": "held"}, 4),
        ("messages", {"state": "expired"}, 1),
        ("messages_received", {}, 20),
        ("balance_difference", {}, 1),
        ("oldest_unsettled_seconds", {"mailbox": "lbm"}, 3600),
        ("oldest_unsettled_seconds", {"mailbox": "second"}, 0),
        (
            "last_good_check_timestamp_seconds",
            {"mailbox": "lbm"},
            ago(minutes=20).timestamp(),
        ),
        ("last_good_check_timestamp_seconds", {"mailbox": "second"}, 0),
        ("login_refusals", {"mailbox": "lbm"}, 2),
        ("retention_backlog", {"mailbox": "lbm"}, 3),
        ("retention_overdue_seconds", {"mailbox": "lbm"}, 86_400),
        ("purge_stopped", {"mailbox": "lbm"}, 1),
        ("purge_stopped", {"mailbox": "second"}, 0),
        ("quota_used_ratio", {"mailbox": "lbm"}, 0.75),
        ("mailbox_failing", {"mailbox": "lbm"}, 1),
        ("mailbox_failing", {"mailbox": "second"}, 0),
        ("print_jobs", site(target="papier", state="waiting"), 2),
        ("print_jobs", site(target="papier", state="in_doubt"), 1),
        ("print_jobs", site(target="papier", state="held"), 0),
        ("deliveries_open", {"kind": "print", "state": "waiting"}, 2),
        ("deliveries_open", {"kind": "folder", "state": "decided"}, 0),
        ("target_hindered_seconds", site(target="papier"), 600),
        ("rules_valid", {}, 0),
        ("rules_in_force_timestamp_seconds", {}, ago(days=1).timestamp()),
        ("ledger_writable", {}, 0),
        ("part_silence_seconds", {"part": "mailbox lbm"}, 1.5),
        (
            "login_end_timestamp_seconds",
            {"mailbox": "lbm", "what": "client certificate"},
            NOW.timestamp() + 40 * 86_400,
        ),
        ("deliveries_total", site(target="papier", outcome="held"), 1),
        ("delivery_seconds_count", {"kind": "folder"}, 1),
        ("delivery_seconds_sum", {"kind": "print"}, 400),
        ("delivery_seconds_bucket", {"kind": "print", "le": "300.0"}, 0),
        ("delivery_seconds_bucket", {"kind": "print", "le": "900.0"}, 1),
    ],
)
def test_each_figure_is_shown(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(text(), name, **labels) == expected


def test_what_is_not_known_is_not_shown() -> None:
    page = text()
    assert not [1 for n, labels, _ in samples(page)
                if n == "quota_used_ratio" and labels == {"mailbox": "second"}]  # fmt: skip


def test_before_the_first_figures_there_is_the_program_alone() -> None:
    page, media_type = exposition().text(None, NOW, "")
    names = {name for name, _, _ in samples(page.decode())}
    assert {"build_info", "deliveries_total", "process_resident_memory_bytes"} <= names
    assert "messages" not in names
    assert media_type.startswith("text/plain")


def test_labels_are_words_of_the_settings_and_never_ids() -> None:
    page = text()
    assert ID not in page
    ours = [labels for name, labels, _ in samples(page) if not name.startswith("process_")]
    assert {label for labels in ours for label in labels} <= LABELS | {"version"}


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    made = exposition()
    made.ended(SITE, "dossier", Kind.FOLDER, outcome="delivered", seconds=-5.0)
    page = made.text(full(), NOW, "")[0].decode()
    assert value(page, "delivery_seconds_sum", kind="folder") == 3.0


def test_openmetrics_is_spoken_to_whoever_asks_for_it() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    page, media_type = exposition().text(full(), NOW, accept)
    assert media_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_prometheus_itself_finds_nothing_to_say_against_it() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: apt-get install prometheus (Debian)"
    ended = subprocess.run(
        [promtool, "check", "metrics"],
        input=text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
