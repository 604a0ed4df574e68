"""The examples for Prometheus and Grafana: valid, and of figures that the program shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.architecture.generate import DOCS, families

HERE = DOCS / "monitoring"
RULES = HERE / "alerts.yml"
BOARD = json.loads((HERE / "grafana.json").read_text(encoding="utf-8"))
# What Prometheus itself adds, and its own library shows.
OTHERS = {"up", "process_resident_memory_bytes"}


def promtool(*words: str | Path) -> str:
    found = shutil.which("promtool")
    assert found, "promtool is not installed: apt-get install prometheus (Debian)"
    ended = subprocess.run(
        [found, *map(str, words)], capture_output=True, text=True, check=False, cwd=HERE
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load(RULES)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def board_expressions() -> Iterator[str]:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def shown() -> set[str]:
    """Return the names of all samples, with the labels of each."""
    return {sample.name for family in families() for sample in family.samples}


EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in rules()),
    *(pytest.param(one, id=f"board {n}") for n, one in enumerate(board_expressions())),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_of_figures_that_are_shown(expression: str) -> None:
    names = set(re.findall(r"\b(?:sidep_\w+|process_\w+|up)\b", expression))
    assert names
    assert names <= shown() | OTHERS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_in_an_expression_is_one_of_its_figure(expression: str) -> None:
    labels = {s.name: set(s.labels) for f in families() for s in f.samples}
    for name, matchers in re.findall(r"(sidep_\w+)\{(.*?)\}", expression):
        assert set(re.findall(r"(\w+)\s*=", matchers)) <= labels[name]


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "config", "prometheus.yml")


def test_each_alarm_is_provoked_and_silent_when_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    provoked = re.findall(r'alertname="(\w+)"', (HERE / "alerts_test.yml").read_text())
    assert sorted(provoked) == sorted(rule["alert"] for rule in rules())


def test_prometheus_understands_every_expression_of_the_board(tmp_path: Path) -> None:
    path = tmp_path / "board.yml"
    recorded = [
        {"record": f"board:{n}", "expr": one} for n, one in enumerate(board_expressions())
    ]
    path.write_text(json.dumps({"groups": [{"name": "board", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in promtool("check", "rules", path)


def test_each_alarm_says_what_it_means_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_board_has_no_two_panels_in_one_place() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
