"""What the program is measured against, each a process of its own that prints what it did.

`bulk`: the script that a laboratory would write, with imap-tools, 50 messages at a time,
files written and never flushed, nothing checked. `floor`: the same bytes fetched raw (4 MiB
a command, the next one asked for before this one is written), base64 undone, written with
the program's durability (temporary file, fsync, link, fsync of the folder, 32 at a time by
16 threads) and nothing read: what no program can beat by much.
"""

from __future__ import annotations

import argparse
import binascii
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile(r": {1,2}([0-9]{9}) \|")
_TOGETHER: Final = 32
_THREADS: Final = 16
_COMMAND_BYTES: Final = 4 * 1024 * 1024


def bulk(options: argparse.Namespace) -> int:
    """Fetch everything by imap-tools, and write each attachment where its subject says."""
    from imap_tools import MailBox, MailBoxUnencrypted  # noqa: PLC0415 - only in the bench's group

    count = 0
    context = _context(options)
    made = (
        MailBoxUnencrypted("127.0.0.1", options.port)
        if context is None
        else MailBox("127.0.0.1", options.port, ssl_context=context)
    )
    with made.login(options.user, options.password) as box:
        for message in box.fetch(bulk=50, mark_seen=False):
            found = _NUMBER.search(message.subject)
            site = found[1] if found else "unknown"
            for attachment in message.attachments:
                target = options.folders / site / f"{message.uid}.pdf"
                target.write_bytes(attachment.payload)
                count += 1
    return count


class Floor:
    """Raw bytes in, durable files out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._folders = sorted(path for path in options.folders.iterdir() if path.is_dir())
        sock = socket.create_connection(("127.0.0.1", options.port))
        context = _context(options)
        self._sock = (
            sock if context is None else context.wrap_socket(sock, server_hostname="localhost")
        )
        self._stream = self._sock.makefile("rb", 1 << 16)
        self._stream.readline()
        self._command(f"LOGIN {options.user} {options.password}")
        list(self._answer())
        self._command("SELECT INBOX")
        list(self._answer())

    def run(self) -> int:
        """Fetch and write everything; return how many files there are."""
        count = 0
        sizes = self._sizes()
        batches = _batches(sizes)
        waiting: list[tuple[int, bytes]] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            self._ask(next(batches))
            for following in [*batches, []]:
                bodies = [body for _, body in self._answer() if body is not None]
                if following:
                    self._ask(following)
                for body in bodies:
                    waiting.append((count, _document(body)))
                    count += 1
                    if len(waiting) == _TOGETHER:
                        self._write(pool, waiting)
                        waiting = []
            self._write(pool, waiting)
        return count

    def _ask(self, numbers: Sequence[int]) -> None:
        self._command(f"FETCH {numbers[0]}:{numbers[-1]} (UID FLAGS BODY.PEEK[])")

    def _sizes(self) -> list[int]:
        self._command("FETCH 1:* (RFC822.SIZE)")
        lines = [line for line, _ in self._answer()]
        return [int(line.rpartition(b"SIZE ")[2].split(b")")[0]) for line in lines]

    def _command(self, text: str) -> None:
        self._sock.sendall(f"a {text}\r\n".encode())

    def _answer(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each response to a FETCH: its line, and its literal if it has one."""
        while not (line := self._stream.readline()).startswith(b"a "):
            if not line:
                raise SystemExit("the server closed the connection")
            if line.endswith(b"}\r\n"):
                size = int(line[line.rindex(b"{") + 1 : -3])
                body = self._stream.read(size)
                self._stream.readline()
                yield line, body
            elif b" FETCH " in line:
                yield line, None
        if not line.startswith(b"a OK"):
            raise SystemExit(f"the server refused: {line!r}")

    def _write(self, pool: ThreadPoolExecutor, group: Sequence[tuple[int, bytes]]) -> None:
        by_folder: dict[Path, list[tuple[int, bytes]]] = {}
        for number, content in group:
            folder = self._folders[number % len(self._folders)]
            by_folder.setdefault(folder, []).append((number, content))
        list(pool.map(_write_folder, by_folder.items()))


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    total = 0
    for number, size in enumerate(sizes, 1):
        if batch and total + size > _COMMAND_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(number)
        total += size
    yield batch


def _document(body: bytes) -> bytes:
    """Cut the attachment at its empty line and its boundary; nothing else is looked at."""
    begin = body.index(b"\r\n\r\n", body.rindex(b"base64\r\n")) + 4
    return binascii.a2b_base64(body[begin : body.index(b"\r\n--", begin)])


def _write_folder(work: tuple[Path, Sequence[tuple[int, bytes]]]) -> None:
    folder, documents = work
    for number, content in documents:
        temporary = folder / f".{number}.part"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(fd, content)
        os.fsync(fd)
        os.close(fd)
        os.link(temporary, folder / f"{number}.pdf")
        temporary.unlink()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def _context(options: argparse.Namespace) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=options.ca) if options.ca else None


def main() -> None:
    """Run one of them and print seconds, seconds of CPU and how many files it wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("bulk", "floor"))
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("folders", type=Path)
    parser.add_argument("--ca")
    options = parser.parse_args()
    if options.which == "bulk":
        import imap_tools  # noqa: F401, PLC0415 - loaded before the clock starts
    began, before = time.monotonic(), time.process_time()
    count = bulk(options) if options.which == "bulk" else Floor(options).run()
    seconds = time.monotonic() - began
    shown = {"count": count, "seconds": seconds, "cpu": time.process_time() - before}
    sys.stdout.write(json.dumps(shown) + "\n")


if __name__ == "__main__":
    main()
