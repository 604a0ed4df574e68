"""No committed file tells on which machine, with which tools or by whom it was made."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.architecture.generate import ROOT
from tests.architecture.texts import committed, name_of

# Written in pieces, so that this file may be read like every other.
_FORBIDDEN: Final = {
    "a path of one machine": rf"/{'work'}(?![\w-])|/{'root'}(?![\w-])|/home/\w|/tmp{'/'}",
    "a place outside the project": rf"\.\./{'shared'}|{'shared'}/[a-z]+",
    "a package index of one machine": rf"/opt/{'pypi'}|localhost:\d+/simple|devpi",
    "a tool of one workplace": rf"\bissues {'show'}\b",
    "how the work was divided": rf"\bsub-?{'agent'}|\bA{'I'} (assistant|model)|\b{'LLM'}\b",
}
# A corpus of mail holds what mailers wrote; the lock is the tool's own.
_SKIPPED: Final = ("tests/corpus/", "uv.lock", "tests/architecture/test_words.py")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Return every committed file by its name, save those that are skipped."""
    found = {name_of(path): path for path in committed()}
    return {
        name: path.read_bytes().decode("utf-8", "replace")
        for name, path in found.items()
        if not name.startswith(_SKIPPED)
    }


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_holds(what: str, texts: dict[str, str]) -> None:
    pattern = re.compile(_FORBIDDEN[what])
    found = [f"{name}: {m[0]}" for name, text in texts.items() for m in pattern.finditer(text)]
    assert not found


def test_the_lock_takes_packages_from_the_public_index_only() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/\"]+)/", lock))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_files_are_looked_at(texts: dict[str, str]) -> None:
    assert {"README.md", "Makefile", "pyproject.toml", "dispatcher/errors.py"} <= set(texts)
