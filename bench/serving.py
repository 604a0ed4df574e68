"""The service as a process, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 120.0
_LOOK = 0.02


@contextlib.contextmanager
def service(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service on this configuration; yield it when it says that it has started."""
    log = config.parent / "service.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=compiled(),
        )
    try:
        until(lambda: b"service_started" in log.read_bytes(), process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE)


def compiled() -> dict[str, str]:
    """Return an environment in which modules are compiled once, as where it is installed."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def until(
    condition: object,
    process: subprocess.Popen[bytes] | None = None,
    *,
    patience: float = _PATIENCE,
) -> None:
    """Wait until a condition holds; end the bench when it never does."""
    assert callable(condition)
    end = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            raise SystemExit("the service did not come that far; see service.log")
        pause.wait(_LOOK)
