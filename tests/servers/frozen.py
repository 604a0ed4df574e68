"""Freezes a process so that not even SIGKILL ends it, as a dead disk or driver does.

By ptrace(2): a traced process that is killed stops once more on its way out, until its
tracer lets it go. Tracing a child of one's own child is allowed to anybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

_SEIZE, _INTERRUPT, _DETACH, _TRACE_EXIT = 0x4206, 0x4207, 17, 0x40
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Keep a process still and unkillable for the time of the block; then it is killed.

    To be called and left in the same thread: a tracer is a thread.
    """
    _ptrace(_SEIZE, pid, _TRACE_EXIT)
    try:
        _ptrace(_INTERRUPT, pid)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0x40000000)  # __WALL: the stop on its way out
            _ptrace(_DETACH, pid)


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _LIBC.ptrace(request, pid, None, data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
