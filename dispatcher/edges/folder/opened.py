"""One directory held open; every step is relative to it, so that it cannot be swapped."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.edges.folder.faults import NO_FLUSH, NO_LINKS, code_of
from dispatcher.edges.folder.names import part_name
from dispatcher.errors import Refused, Unavailable

# Readable by the site's group, by nobody else (faults, threat "files").
_MODE: Final = 0o640
_CHUNK: Final = 1 << 18
# Never through a symlink, and never so that a pipe or a device could block.
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# What the kernel adds to the path of a directory that was removed.
_DELETED: Final = " (deleted)"
_RENAME_NOREPLACE: Final = 1  # linux/fs.h


@dataclass(frozen=True, slots=True)
class Part:
    """A document written whole and flushed under a temporary name."""

    name: str
    written: os.stat_result

    def is_at(self, found: os.stat_result | None) -> bool:
        """Return whether this is the very file that was found, unchanged."""
        return found is not None and _same(found) == _same(self.written)


class Held:
    """A file held open for reading while it is used in a `with`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Held:
        self._opened = os.fstat(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def sha256(self) -> str:
        """Return the digest of its content; "" when it is no regular file. Raises OSError."""
        if not stat.S_ISREG(self._opened.st_mode):
            return ""
        digest = hashlib.sha256()
        while chunk := os.read(self._fd, _CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def is_at(self, found: os.stat_result) -> bool:
        """Return whether this very file was found, unchanged since it was opened."""
        return _same(found) == _same(self._opened) == _same(os.fstat(self._fd))


class OpenFolder:
    """A directory of a site, open. Methods raise OSError unless they say otherwise."""

    def __init__(self, directory: Path) -> None:
        """Open it. Raises Refused when a symlink or another thing is in its place."""
        self._directory = directory
        try:
            self._fd = os.open(
                directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise not_a_folder(directory) from error
            raise

    def __enter__(self) -> OpenFolder:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)

    @property
    def fd(self) -> int:
        """The descriptor, for looking at the directory itself."""
        return self._fd

    def real_path(self) -> str:
        """Return its path without symlinks, as the kernel knows it (proc(5), /proc/pid/fd)."""
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{self._fd}")
            if path.startswith("/") and not path.endswith(_DELETED):
                return path
        return os.path.realpath(self._directory)

    def ensure_in_place(self) -> None:
        """Raise Refused or Unavailable when the path leads elsewhere by now."""
        ours, there = os.fstat(self._fd), os.lstat(self._directory)
        if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
            return
        if not stat.S_ISDIR(there.st_mode):
            raise not_a_folder(self._directory)
        raise Unavailable(
            f"another folder took the place of {self._directory}",
            hint="A share was mounted or unmounted just now; it is tried again.",
        )

    def names(self) -> list[str]:
        """Return every name in it."""
        return os.listdir(self._fd)

    def look(self, name: str) -> os.stat_result | None:
        """Return what bears this name, a symlink itself and not its target; or None."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def holds(self, name: str, content: bytes) -> bool:
        """Return whether this is a regular file with this content, flushed to disk.

        Only then is it opened, and never so that a pipe or a device could block.
        """
        found = self.look(name)
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != len(content):
            return False
        with _closing(os.open(name, _READING, dir_fd=self._fd)) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode) or not _reads_as(fd, content):
                return False
            # Whoever wrote it may have been killed before it was durable.
            os.fsync(fd)
        return True

    def hold(self, name: str) -> Held | None:
        """Open a file for reading, not what a symlink of that name leads to; None: gone."""
        try:
            return Held(os.open(name, _READING, dir_fd=self._fd))
        except FileNotFoundError:
            return None

    def unlink(self, name: str) -> None:
        """Remove a name; that it is gone already is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def write(self, order_id: str, content: bytes) -> Part:
        """Write a document under its temporary name and flush it; nothing is left on error.

        Raises Refused when something other than an old temporary file has that name.
        """
        name = part_name(order_id)
        fd = self._create(name)
        try:
            try:
                part = self._fill(fd, name, content)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(fd)
                raise
            os.close(fd)  # some shares tell only now that the quota is used up
        except BaseException:
            # A failed fsync is never repeated: the kernel may have dropped the pages.
            self.remove(name)
            raise
        return part

    def publish(self, part: Part, name: str) -> None:
        """Give the part its final name. Raises FileExistsError rather than overwrite."""
        try:
            os.link(
                part.name,
                name,
                src_dir_fd=self._fd,
                dst_dir_fd=self._fd,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            _rename_without_overwriting(self._fd, part.name, name)

    def remove(self, name: str) -> None:
        """Remove a temporary name where that is possible."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def remove_part(self, order_id: str) -> None:
        """Remove the temporary file of this order, if it is one."""
        name = part_name(order_id)
        found = self.look(name)
        if found is not None and stat.S_ISREG(found.st_mode):
            self.remove(name)

    def flush(self) -> None:
        """Make the names durable."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in NO_FLUSH:
                raise

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, _MODE, dir_fd=self._fd)
        except FileExistsError:
            found = self.look(name)
            if found is not None and not stat.S_ISREG(found.st_mode):
                raise Refused(
                    f"something that is no file has a temporary name in {self._directory}",
                    hint="Find out who put it there, and remove it.",
                ) from None
        os.unlink(name, dir_fd=self._fd)  # left by a crash; it may be incomplete
        return os.open(name, flags, _MODE, dir_fd=self._fd)

    def _fill(self, fd: int, name: str, content: bytes) -> Part:
        self._give_to_group(fd)
        left = memoryview(content)
        while left:
            written = os.write(fd, left)
            if written == 0:
                raise OSError(errno.EIO, "nothing was written")
            left = left[written:]
        os.fsync(fd)
        found = os.fstat(fd)
        if found.st_size != len(content):
            raise OSError(errno.EIO, "another size than was written")
        return Part(name, found)

    def _give_to_group(self, fd: int) -> None:
        """Let the folder's group read a file of ours, and nobody else."""
        made, folder = os.fstat(fd), os.fstat(self._fd)
        # Shares that know neither groups nor modes refuse this, and that is their way.
        if made.st_gid != folder.st_gid:
            with contextlib.suppress(OSError):
                os.fchown(fd, -1, folder.st_gid)
        if stat.S_IMODE(made.st_mode) != _MODE:
            with contextlib.suppress(OSError):
                os.fchmod(fd, _MODE)


def _same(found: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file apart; its number alone may go to the next file at once."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def not_a_folder(directory: Path) -> Refused:
    """Return the refusal of a path that is a symlink, a file or the like."""
    what = "a symlink" if directory.is_symlink() else "no directory"
    return Refused(f"{directory} is {what}", hint="Name the directory itself in routing.yaml.")


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _reads_as(fd: int, content: bytes) -> bool:
    at = 0
    while chunk := os.read(fd, _CHUNK):
        if content[at : at + len(chunk)] != chunk:
            return False
        at += len(chunk)
    return at == len(content)


def _rename_without_overwriting(fd: int, old: str, new: str) -> None:
    """Rename where the name is free: renameat2(2) with RENAME_NOREPLACE (Linux 3.15)."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.EOPNOTSUPP, "no renameat2")
    if renameat2(fd, os.fsencode(old), fd, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS}:  # the file system does not know the flag
        code = errno.EOPNOTSUPP
    # The kernel's sentence without the names; FileExistsError comes by itself for EEXIST.
    raise OSError(code, code_of(OSError(code, "")))
