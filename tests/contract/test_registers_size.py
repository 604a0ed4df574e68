"""The whole nation's registers fit into little memory, and take little of the processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.registry import measured
from tests.registers import (
    DIRECTORY_LINES,
    ESTABLISHMENTS,
    national_directory,
    national_finess,
)

# Megabytes at the peak, the interpreter included.
MEMORY = 200
# Of the processor: how long that takes depends on who else is at work on the machine.
SECONDS = 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "write", "rows"),
    [
        pytest.param("finess", national_finess, ESTABLISHMENTS, id="establishments"),
        pytest.param("mssante", national_directory, DIRECTORY_LINES, id="directory"),
    ],
)
def test_a_register_of_the_national_size_is_read_with_little(
    tmp_path: Path, which: str, write: Callable[[Path], None], rows: int
) -> None:
    path = tmp_path / which
    write(path)
    found = measured(which, path)
    path.unlink()
    assert found.rows == rows
    assert found.rss_mb < MEMORY
    assert found.cpu_seconds < SECONDS
