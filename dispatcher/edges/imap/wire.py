"""Moves the bytes of one IMAP connection: every read and write ends in time and in bounds."""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
import time
from typing import Any, Final

from dispatcher.edges.imap.account import Limits
from dispatcher.edges.imap.trouble import TooMuch
from dispatcher.errors import Refused

# A SEARCH over a million messages is a line of 8 MB; imaplib stops at 1 MB.
_LONGEST_LINE: Final = 16 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_UID: Final = re.compile(rb"\* \d{1,10} FETCH \((?:.*[ (])?UID (\d{1,10})[ )]", re.IGNORECASE)


class Wire(imaplib.IMAP4):
    """imaplib's protocol over a connected socket, with our own reading and writing.

    Reading by our own buffer cures three things at once. Time is counted for the whole
    answer, so that a server that drips bytes cannot hold us. A literal is measured before
    memory is taken for it. And IDLE can see a line that came together with an earlier one:
    the library polls the socket and leaves such a line lying.
    """

    def __init__(self, sock: socket.socket, host: str, limits: Limits) -> None:
        self._given = sock
        self._limits = limits
        self._buffer = bytearray()
        self._line = b""
        self.allow(limits.connect)
        super().__init__(host)

    def allow(self, seconds: float, *, literal: int = _CHUNK, total: int | None = None) -> None:
        """Set how long, and how many bytes, what comes now may take."""
        self._deadline = time.monotonic() + seconds
        self._literal = literal
        self._left = self._limits.answer if total is None else total

    # --- what imaplib calls

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Take the socket that is connected already."""
        del timeout
        self.host, self.port, self.sock = host, port, self._given

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes; TooMuch when they may not come."""
        if size > self._literal:
            found = _UID.match(self._line)
            raise TooMuch(size, int(found[1]) if found else None)
        if size > self._left:
            raise self.abort("too many bytes for one answer")
        body = bytearray(size)
        view = memoryview(body)
        have = min(size, len(self._buffer))
        view[:have] = self._buffer[:have]
        del self._buffer[:have]
        while have < size:
            have += self._receive_into(view[have:])
        return bytes(body)

    def readline(self) -> bytes:
        """Return one line with its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            self._fill()
        self._line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return self._line

    def send(self, data: Any) -> None:
        """Send everything in time."""
        self.sock.settimeout(self._time_left())
        self.sock.sendall(data)

    def shutdown(self) -> None:
        """Close the socket. Never raises."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.sock.close()

    def _get_capabilities(self) -> None:
        # The greeting was read just now. PREAUTH would skip the login and, on a connection
        # that is to be upgraded, STARTTLS (RFC 3501, 7.1.4; RFC 8314, 3.2).
        if "PREAUTH" in self.untagged_responses:
            raise Refused(
                "the server greets as already logged in (PREAUTH)",
                hint="ask the operator; nothing is sent over such a connection",
            )
        super()._get_capabilities()  # type: ignore[misc]  # not in the stubs

    def _log(self, line: Any) -> None:
        """Keep no record: imaplib would hold the last lines, the password among them."""

    # --- what we call

    def upgrade(self, context: ssl.SSLContext, host: str) -> None:
        """Begin TLS on this connection, after STARTTLS was answered with OK."""
        if self._buffer:
            # Sent in clear and to be read as if it had come through TLS (CVE-2011-0411).
            raise Refused(
                "the server sent bytes between STARTTLS and TLS",
                hint="somebody may be tampering with the connection; ask the operator",
            )
        self.sock.settimeout(self._time_left())
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self._get_capabilities()

    def has_line(self) -> bool:
        """Return whether a whole line was received and not read yet."""
        return b"\n" in self._buffer

    def receive_waiting(self) -> bool:
        """Take in what has arrived, without waiting; return whether anything had.

        Raises abort at the end of the stream, so that it is never taken for silence.
        """
        self.sock.settimeout(0)
        try:
            received = self.sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not received:
            raise self.abort("end of stream")
        self._buffer += received
        self._check_line_length()
        return True

    def new_tag(self) -> str:
        """Return a tag for a command that is about to be sent."""
        tag: bytes = self._new_tag()
        return tag.decode("ascii")

    def answer_to(self, command: str, tag: str) -> tuple[str, list[Any]]:
        """Read to the end of a command's answer; return its status and text."""
        status, said = self._command_complete(command, tag.encode("ascii"))
        return status, said

    # --- IDLE (RFC 2177)

    def begin_idle(self) -> None:
        """Send IDLE and read to the server's `+`; other responses may come before it."""
        self._idle = self._command("IDLE")
        while self._get_response() is not None:
            self._check_idle()

    def next_in_idle(self) -> None:
        """Read one response; abort when it says that IDLE, or everything, is over."""
        self._get_response()
        self._check_idle()

    def end_idle(self) -> None:
        """Send DONE and read to the answer to IDLE."""
        self.send(b"DONE\r\n")
        status, _ = self._command_complete("IDLE", self._idle)
        if status != "OK":
            raise self.abort("IDLE ended badly")

    def _check_idle(self) -> None:
        if "BYE" in self.untagged_responses or self.tagged_commands.get(self._idle):
            raise self.abort("IDLE was refused or ended by the server")

    # --- bytes

    def _fill(self) -> None:
        chunk = bytearray(_CHUNK)
        count = self._receive_into(memoryview(chunk))
        self._buffer += chunk[:count]
        self._check_line_length()

    def _check_line_length(self) -> None:
        if len(self._buffer) > _LONGEST_LINE + _CHUNK:
            raise self.abort("line too long")

    def _receive_into(self, view: memoryview) -> int:
        self.sock.settimeout(min(self._time_left(), self._limits.silence))
        count = self.sock.recv_into(view)
        if not count:
            raise self.abort("end of stream")
        self._left -= count
        if self._left < 0:
            raise self.abort("too many bytes for one answer")
        return count

    def _time_left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        return left
