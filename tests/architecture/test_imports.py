"""The import rules of pyproject.toml hold, and the commands people run check them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.generate import ROOT


def test_the_import_rules_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


def test_the_test_command_runs_every_gate() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    gates = re.search(r"^test: (.+?) +##", makefile, flags=re.MULTILINE)
    assert gates is not None
    assert {"lint", "types", "imports", "deps"} <= set(gates[1].split())
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
