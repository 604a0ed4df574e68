"""Reads a message that is suspected of bringing the program down, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from dispatcher.core import certificate
from dispatcher.core.certificate import Reading
from dispatcher.errors import Unavailable

_SECONDS: Final = 30.0
_MEMORY: Final = 512 * 1024 * 1024


class ReadApart:
    """See `dispatcher.ports.Apart`. A fresh interpreter for each: suspects are rare."""

    def __init__(self, *, seconds: float = _SECONDS) -> None:
        self._seconds = seconds

    def read(self, raw: bytes, senders: frozenset[str]) -> Reading | None:
        """See `Apart.read`."""
        # Spawned, not forked: a forked child would hold the ledger's lock after our death.
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_limit)
        try:
            return pool.submit(certificate.read, raw, senders).result(self._seconds)
        except (BrokenProcessPool, TimeoutError, MemoryError):
            return None
        except OSError as error:
            raise Unavailable(f"no helper can be started: {error.strerror}") from error
        finally:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no kill()
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
