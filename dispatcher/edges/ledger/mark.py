"""Evidence beside the ledger of which ledger worked here and how far it came.

Why: docs/adr/0021.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from dispatcher.edges.ledger.owner import give_to_owner
from dispatcher.errors import NotNow
from dispatcher.ports import Clock

# What was noted reaches the disk at the start, at the end, and this often (seconds). Until
# then it survives the program's death; only a power cut may leave an older, lower mark.
_DURABLE_EVERY: Final = 60.0
_NOBODY: Final = "-" * 32


class Suspicion(Enum):
    """Why a ledger is not the one that worked here last; sentences for people."""

    LOST = "the ledger was lost"
    OTHER = "another ledger worked here before"
    OLDER = "the ledger is an older copy"
    COPIED = "the ledger's files were copied here"


@dataclass(frozen=True, slots=True)
class Mark:
    """Which ledger worked here, and the number of its last line of history.

    `lock_changed_at` is when the lock's file last changed by the kernel's clock (stat(2),
    st_ctime, nanoseconds), which nobody can set: files that were put back from a copy of the
    whole directory have another one. 0: there was no lock.
    """

    ledger: str
    events: int
    lock_changed_at: int


class MarkFile:
    """The mark on the disk: one line of fixed length beside the ledger.

    Its name begins with a dot and not with the ledger's, so that who clears the ledger away
    leaves it. It holds no identity and nothing secret.
    """

    def __init__(self, ledger: Path) -> None:
        self._path = ledger.with_name(f".{ledger.name}.mark")
        self._lock = lock_path(ledger)

    def read(self) -> Mark | None:
        """Return the mark; None where no ledger ever worked. An unreadable one is nobody's."""
        try:
            text = self._path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from error
        try:
            ledger, events, changed_at = text.split()
            return Mark(ledger, int(events), int(changed_at))
        except ValueError:
            return Mark(_NOBODY, 0, 0)

    def write(self, mark: Mark, *, durable: bool) -> None:
        """Write the mark, in place where there is one. Raises OSError."""
        line = f"{mark.ledger} {mark.events:020d} {mark.lock_changed_at:020d}\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self._make(line.encode("ascii"))
            return
        try:
            os.pwrite(descriptor, line.encode("ascii"), 0)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Say, durably, that the ledger of this place is gone. Raises OSError."""
        self.write(Mark(_NOBODY, 0, 0), durable=True)

    def lock_changed_at(self) -> int:
        """Return when the lock's file last changed; 0: there is none."""
        with suppress(FileNotFoundError):
            return self._lock.stat().st_ctime_ns
        return 0

    def lock_was_signed(self, changed_at: int) -> None:
        """Carry the mark over a change of the lock that we made; `changed_at` was before.

        A lock that somebody else had changed before stays told.
        """
        mark = self.read()
        if mark is not None and mark.lock_changed_at == changed_at:
            # Failing, it leaves a doubt that a person resolves; work need not stop for it.
            with suppress(OSError):
                self.write(replace(mark, lock_changed_at=self.lock_changed_at()), durable=False)

    def _make(self, line: bytes) -> None:
        unborn = self._path.with_name(self._path.name + ".new")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        unborn.unlink(missing_ok=True)  # left by one that was killed here
        descriptor = os.open(unborn, flags, 0o600)
        try:
            give_to_owner(descriptor, unborn.parent)
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unborn.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class Witness:
    """Compares one ledger with the mark, and keeps the mark up with it from then on."""

    def __init__(self, ledger: Path, secret: bytes, clock: Clock) -> None:
        self._file = MarkFile(ledger)
        # The ledger's own random id; its secret cannot be told from it.
        self._id = hashlib.sha256(b"which ledger this is\0" + secret).hexdigest()[:32]
        self._clock = clock
        self._mark: Mark | None = None
        self._durable_at = 0.0

    @property
    def keeping(self) -> bool:
        """Whether the mark is kept up with the ledger."""
        return self._mark is not None

    def suspicion(self, events: int) -> Suspicion | None:
        """Return why this ledger, with so many lines of history, is not the last one here."""
        mark = self._file.read()
        if mark is None:
            return None
        if mark.ledger != self._id:
            return Suspicion.OTHER if events else Suspicion.LOST
        if events < mark.events:
            return Suspicion.OLDER
        if mark.lock_changed_at not in {0, self._file.lock_changed_at()}:
            return Suspicion.COPIED
        return None

    def vouch(self, events: int) -> None:
        """Take this ledger for the one that works here. Raises NotNow when the mark fails."""
        mark = Mark(self._id, events, self._file.lock_changed_at())
        try:
            self._file.write(mark, durable=True)
        except OSError as error:
            raise _unusable(error) from error
        self._mark = mark
        self._durable_at = self._clock.monotonic()

    def note(self, events: int, *, last: bool = False) -> None:
        """Say how far the ledger came. Called after a commit, so the mark is never ahead."""
        if self._mark is None or (events <= self._mark.events and not last):
            return
        now = self._clock.monotonic()
        durable = last or now - self._durable_at >= _DURABLE_EVERY
        self._mark = replace(self._mark, events=max(events, self._mark.events))
        # A mark that stays behind tells less; the deliveries go on without it.
        with suppress(OSError):
            self._file.write(self._mark, durable=durable)
            self._durable_at = now if durable else self._durable_at


def lock_path(ledger: Path) -> Path:
    """Return where the lock of a ledger lies: beside it."""
    return ledger.with_name(ledger.name + ".lock")


def _unusable(error: OSError) -> NotNow:
    return NotNow(
        f"the mark beside the ledger cannot be used: {error.strerror}",
        hint="Look at the disk and at the rights of the ledger's directory.",
    )
