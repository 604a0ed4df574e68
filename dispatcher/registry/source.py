"""Opens a register's file, plain, zipped or gzipped, and hands out its lines within limits."""

from __future__ import annotations

import codecs
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol, TypeVar

from dispatcher.errors import Refused
from dispatcher.registry.oddities import Oddities, Oddity

_CHUNK: Final = 1 << 20
_HEAD: Final = 4096
_MEMBERS: Final = 50
_TEXTS: Final = (".csv", ".txt")

# What to do about a file that is not the published one.
AGAIN: Final = "Download the published file, and give it as it is."

T = TypeVar("T")


class NotARegister(Refused):
    """A file is not the register that it was given as, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is read of one file, unpacked: bytes, lines, characters of a line.

    What is several times as large as the national file was made to hurt; it is put down
    while the memory is still a small machine's.
    """

    size: int
    lines: int
    line: int = 100_000


class Lines:
    """The lines of a text, without their ends, from its beginning.

    `number` is that of the line handed out last; `open_end` whether that line is the last
    one and no line break follows it. Raises UnicodeDecodeError where the text is not in
    the encoding; in Windows-1252 an undefined byte becomes a sign and an oddity. A line with
    a NUL in it, which a broken download or disk leaves, is an oddity and not handed out.
    """

    def __init__(
        self, stream: Bounded, encoding: str, oddities: Oddities, *, limits: Limits
    ) -> None:
        self._lenient: Final = encoding != "utf-8"
        errors = "replace" if self._lenient else "strict"
        self._decoder: Final = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder(encoding)(errors), translate=True
        )
        self._stream = stream
        self._oddities = oddities
        self._limits = limits
        self.number = 0
        self.open_end = False

    def __iter__(self) -> Iterator[str]:
        pending = ""
        while chunk := self._stream.read():
            found = (pending + self._decoder.decode(chunk)).split("\n")
            # Half a million lines: they are looked at one by one only where there is cause.
            suspect = self._lenient or b"\0" in chunk or "\0" in pending
            pending = found.pop()
            for line in found:
                self.number += 1
                if suspect and self._is_damaged(line):
                    continue
                yield line
            self._refuse_monsters(pending)
        pending += self._rest()
        if pending:
            self.number += 1
            self.open_end = True
            if not self._is_damaged(pending):
                yield pending

    def _is_damaged(self, line: str) -> bool:
        """Note bytes that no text has; whether nothing of the line can be believed."""
        if self._lenient and "\ufffd" in line:
            self._oddities.add(Oddity.UNDECODABLE, self.number)
        if "\0" not in line:
            return False
        self._oddities.add(Oddity.DAMAGED, self.number)
        return True

    def _refuse_monsters(self, pending: str) -> None:
        if len(pending) > self._limits.line:
            raise NotARegister(f"line {self.number + 1} does not end", hint=AGAIN)
        if self.number > self._limits.lines:
            raise NotARegister(f"it has more than {self._limits.lines:,} lines", hint=AGAIN)

    def _rest(self) -> str:
        try:
            return self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            # The file was cut inside a character; what came before it was UTF-8.
            self._oddities.add(Oddity.CUT_OFF, self.number + 1)
            return ""


def read(
    path: Path,
    *,
    begins: Callable[[str], bool],
    parse: Callable[[Lines, Oddities], T],
    limits: Limits,
) -> tuple[T, Oddities]:
    """Return what `parse` makes of a file's lines, and what was odd.

    `begins` says whether a first line is that of the register: it chooses among the files
    of an archive. The text is UTF-8, else Windows-1252, for the whole file. Raises
    NotARegister when the file cannot be read or is something else.
    """
    try:
        try:
            return _attempt(path, "utf-8", begins, parse=parse, limits=limits)
        except UnicodeDecodeError:
            return _attempt(path, "cp1252", begins, parse=parse, limits=limits)
    except NotARegister as error:
        raise NotARegister(f"{path}: {error}", hint=error.hint) from error.__cause__


def _attempt(
    path: Path,
    encoding: str,
    begins: Callable[[str], bool],
    *,
    parse: Callable[[Lines, Oddities], T],
    limits: Limits,
) -> tuple[T, Oddities]:
    oddities = Oddities(path)
    if encoding != "utf-8":
        oddities.add(Oddity.NOT_UTF8, 1)
    with _opened(path, begins, limits) as stream:
        lines = Lines(stream, encoding, oddities, limits=limits)
        return parse(lines, oddities), oddities


# --- files and archives ------------------------------------------------------------------


class _Stream(Protocol):
    """What can be read in pieces."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        ...


class Bounded:
    """Reads a stream that may be hostile: no more than a limit, and one kind of error."""

    def __init__(self, stream: _Stream, limits: Limits) -> None:
        """Read the beginning. Raises NotARegister when it is no text."""
        self._stream = stream
        self._left = limits.size
        self._first = self._read(_CHUNK)
        _refuse_no_text(self._first[:_HEAD])

    def read(self) -> bytes:
        """Return the next piece; empty at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first.removeprefix(codecs.BOM_UTF8)
        return self._read(_CHUNK)

    def _read(self, size: int) -> bytes:
        with _told():
            found = self._stream.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise NotARegister("it is larger than any register, once unpacked")
        return found


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the libraries raise on a broken file into the one error of this module."""
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, struct.error) as error:
        hint = "Download it again."
        raise NotARegister("the archive is broken or incomplete", hint=hint) from error
    except (NotImplementedError, RuntimeError, ValueError, OverflowError) as error:
        hint = "Unpack it, and give the file that was in it."
        raise NotARegister("the archive cannot be unpacked here", hint=hint) from error
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise NotARegister(f"the file cannot be read: {reason}") from error


@contextmanager
def _opened(path: Path, begins: Callable[[str], bool], limits: Limits) -> Iterator[Bounded]:
    with _told():
        # Opening a pipe would wait for its writer, and a pipe cannot be read twice.
        if path.exists() and not path.is_file():
            raise NotARegister("this is not a file", hint="Give the path of the file itself.")
        file = path.open("rb")
    with file:
        with _told():
            head = file.read(4)
            file.seek(0)
        if head.startswith(b"PK"):
            with _told():
                archive = zipfile.ZipFile(file)
            with archive, _member(archive, begins, limits).open() as stream:
                yield Bounded(stream, limits)
        elif head.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield Bounded(unpacked, limits)
        else:
            yield Bounded(file, limits)


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of an archive."""

    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo

    def open(self) -> IO[bytes]:
        """Open it. Other methods than deflate unpack without a limit on memory: refused."""
        with _told():
            if self.entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise NotImplementedError("compression method")
            return self.archive.open(self.entry)

    def begins(self, wanted: Callable[[str], bool], limits: Limits) -> bool:
        """Whether its first line is the wanted one; what is no text has none."""
        try:
            with self.open() as stream:
                head = Bounded(stream, limits).read()[:_HEAD]
        except NotARegister:
            return False
        return wanted(head.decode("utf-8-sig", "replace").split("\n")[0])


def _member(archive: zipfile.ZipFile, begins: Callable[[str], bool], limits: Limits) -> _Member:
    names = [entry.filename for entry in archive.infolist()]
    texts = [
        _Member(archive, entry)
        for entry in archive.infolist()
        if _is_text(PurePosixPath(entry.filename))
    ]
    if not texts:
        sheet = any(name.startswith(("xl/", "content.xml")) for name in names)
        what = "this is a spreadsheet's file" if sheet else "the archive holds no .txt or .csv"
        raise NotARegister(what, hint=AGAIN)
    if len(texts) > 1:
        texts = [one for one in texts[:_MEMBERS] if one.begins(begins, limits)]
    if len(texts) != 1:
        several = "several such registers" if texts else "no such register"
        raise NotARegister(
            f"the archive holds {several}", hint="Unpack it, and give the file that is meant."
        )
    return texts[0]


def _is_text(name: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__")) for part in name.parts)
    return name.suffix.lower() in _TEXTS and not hidden


_OTHERS: Final = (
    (b"%PDF", "this is a PDF file"),
    (b"\xd0\xcf\x11\xe0", "this is a spreadsheet's file"),
    (b"\xff\xfe", "this is UTF-16, as a spreadsheet saves it"),
    (b"\xfe\xff", "this is UTF-16, as a spreadsheet saves it"),
    (b"7z", "this is a 7z archive"),
    (b"Rar!", "this is a RAR archive"),
)


def _refuse_no_text(head: bytes) -> None:
    if not head.strip():
        raise NotARegister("the file is empty", hint=AGAIN)
    for magic, what in _OTHERS:
        if head.startswith(magic):
            raise NotARegister(what, hint=AGAIN)
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"<":
        raise NotARegister("this is a web page", hint=AGAIN)
    if b"\0" in head:
        raise NotARegister("this is not a text", hint=AGAIN)
