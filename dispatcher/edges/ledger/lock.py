"""One daemon for one ledger: a lock that the kernel releases, whatever ends its holder."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from dispatcher.edges.ledger.database import path_of
from dispatcher.edges.ledger.mark import MarkFile, lock_path
from dispatcher.edges.ledger.owner import give_to_owner
from dispatcher.errors import ConfigInvalid, NotNow
from dispatcher.ports import Clock

_READ_AT_MOST: Final = 200


class DaemonLock:
    """Held from `with` to its end. The file stays: removing it would let two in.

    A child that this process forks without exec would keep the lock after its death;
    helpers are therefore started as new programs.
    """

    def __init__(self, ledger_url: str, *, clock: Clock) -> None:
        path = path_of(ledger_url)
        self._path = lock_path(path)
        self._mark = MarkFile(path)
        self._clock = clock
        self._descriptor: int | None = None

    @property
    def path(self) -> Path:
        """Where the lock lies: beside the ledger."""
        return self._path

    def acquire(self) -> None:
        """Take the lock, or raise NotNow that names its holder and since when."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _READ_AT_MOST, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise NotNow(
                f"another daemon works with this ledger: {holder or 'it has just started'}",
                hint="Stop it first, or let it do the work: one daemon for one ledger.",
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise NotNow(f"the daemon's lock cannot be taken: {error.strerror}") from error
        self._descriptor = descriptor
        changed_at = os.fstat(descriptor).st_ctime_ns
        self._sign(descriptor)
        self._mark.lock_was_signed(changed_at)

    def is_held(self) -> bool:
        """Whether anybody holds the lock now. Takes nothing and changes nothing.

        The kernel lists every flock with the holder's pid and the file's inode (proc(5),
        /proc/locks); the pid in our file alone could be that of a dead process.
        """
        try:
            inode = self._path.stat().st_ino
            lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        except OSError:
            return False
        return any(
            line.split()[1] == "FLOCK" and line.split()[5].endswith(f":{inode}")
            for line in lines
            if "->" not in line
        )

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DaemonLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _open(self) -> int:
        if not self._path.parent.is_dir():
            raise ConfigInvalid(
                (f"ledger: {self._path.parent} is not a directory; make it, with mode 0700",)
            )
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with suppress(FileExistsError):  # another process was quicker
                descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
                give_to_owner(descriptor, self._path.parent)
                return descriptor
            return os.open(self._path, flags)
        except OSError as error:
            raise NotNow(
                f"the daemon's lock cannot be opened: {error.strerror}",
                hint=f"Check the owner and the mode of {self._path}.",
            ) from error

    def _sign(self, descriptor: int) -> None:
        since = self._clock.now().isoformat(timespec="seconds")
        signed = f"pid {os.getpid()}, since {since}\n".encode("ascii")
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, signed, 0)
        except OSError as error:
            self.release()
            raise NotNow(
                f"the daemon's lock cannot be signed: {error.strerror}",
                hint="Look at the disk that holds the ledger.",
            ) from error
