"""Finds the committed files, the documents, and what stands in them."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.architecture.generate import DOCS, ROOT

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document."""

    language: str
    text: str


def documents() -> list[Path]:
    """Return the documents for people, README first."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def name_of(path: Path) -> str:
    """Return a file's name as it appears in the output of tests."""
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document, also those that are indented in a list."""
    for match in _FENCE.finditer(path.read_text(encoding="utf-8")):
        yield Block(match[2], textwrap.dedent(match[3]))


def code(path: Path) -> Iterator[str]:
    """Yield what stands between single backticks, outside of fenced blocks."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    yield from _CODE.findall(text)


def command_lines(path: Path) -> Iterator[str]:
    """Yield every line or bit of code of a document, without its comment."""
    for block in blocks(path):
        yield from (re.sub(r"\s#.*", "", line) for line in block.text.splitlines())
    yield from code(path)


def section(path: Path, title: str) -> str:
    """Return the text of a section up to the next heading of its level or above."""
    text = path.read_text(encoding="utf-8")
    level, _, _ = title.partition(" ")
    after = text.split(f"\n{title}\n", maxsplit=1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def committed() -> list[Path]:
    """Return every file that is or will be committed; all files where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        hidden = {".git", ".venv", "build", "dist"}
        paths = [p for p in ROOT.rglob("*") if not hidden & set(p.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]
