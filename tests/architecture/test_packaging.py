"""The package's recipe names files that are there; its scripts are sound."""

from __future__ import annotations

import re
import subprocess

import pytest
from ruamel.yaml import YAML

from tests.architecture.generate import ROOT

RECIPE = ROOT / "packaging" / "nfpm.yaml"


def test_every_file_of_the_package_comes_from_somewhere() -> None:
    recipe = YAML(typ="safe").load(RECIPE.read_text(encoding="utf-8"))
    sources = [one["src"] for one in recipe["contents"] if "src" in one]
    sources += recipe["scripts"].values()
    ours = [one for one in sources if not one.startswith(("build/", "/"))]
    assert len(ours) > 10
    assert [one for one in ours if not (ROOT / one).exists()] == []


def test_what_lies_in_etc_is_kept_over_upgrades() -> None:
    recipe = YAML(typ="safe").load(RECIPE.read_text(encoding="utf-8"))
    kinds = {
        one["type"]
        for one in recipe["contents"]
        if one["dst"].startswith("/etc/") and one.get("type") != "dir"
    }
    assert kinds == {"config|noreplace"}


def test_every_program_that_the_unit_starts_comes_with_the_package() -> None:
    """A small Debian has no /bin/kill, and the unit could not reload."""
    recipe = YAML(typ="safe").load(RECIPE.read_text(encoding="utf-8"))
    known = {one["dst"] for one in recipe["contents"]}
    depends = {one.split()[0] for one in recipe["depends"]}
    unit = (ROOT / "systemd" / "sidep-dispatcher.service").read_text(encoding="utf-8")
    programs = re.findall(r"(?m)^Exec\w+=(\S+)", unit)
    assert len(programs) > 1
    assert [one for one in programs if one not in known and owner(one) not in depends] == []


def owner(program: str) -> str:
    """Return the Debian package that a program of this machine belongs to."""
    found = subprocess.run(
        ["dpkg-query", "--search", program], capture_output=True, text=True, check=True
    ).stdout
    return found.split(":")[0]


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm", "build_deb.sh"])
def test_a_script_of_the_package_parses(name: str) -> None:
    path = ROOT / "packaging" / name
    shell = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", path], check=True)
