"""An IMAP server that answers by a script: well, late, wrongly, in part or not at all."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

# What answers a command: bytes, in which TAG stands for the command's tag, or a function
# that does with the session as it likes. "" as a key is for the greeting.
Answer = bytes | Callable[["Session"], None]

_FETCHED = re.compile(rb"UID FETCH ([\d:,]+) \((.*)\)")


@dataclass(frozen=True, slots=True)
class Script:
    """How one connection goes. What `answers` does not name is answered well.

    Keys are commands in capitals; FETCH is told apart as SIZES, BODIES and HEADER. `sizes`
    are sizes that lie. After `reset_after` bytes the server resets the connection. With
    `tls` it speaks TLS from the first byte.
    """

    messages: Mapping[int, bytes] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    capabilities: bytes = b"IMAP4rev1 IDLE UIDPLUS AUTH=PLAIN"
    permanent_flags: bytes = rb"\Deleted \Seen \*"
    sizes: Mapping[int, int] = field(default_factory=dict)
    uidvalidity: int = 7
    reset_after: int | None = None
    tls: ssl.SSLContext | None = None


class Session:
    """One connection, played in a thread of its own."""

    def __init__(self, sock: socket.socket, script: Script) -> None:
        self.script = script
        self.tag = b""
        self.line = b""
        self.lines: list[bytes] = []
        self._sock = sock
        self._file = sock.makefile("rb")
        self._left = script.reset_after

    def play(self) -> None:
        """Greet, then answer commands until one side ends it."""
        with contextlib.suppress(OSError), contextlib.closing(self):
            if self.script.tls is not None:
                self.upgrade(self.script.tls)
            self._answer("", b"* OK ready\r\n")
            while self.read():
                self.tag, _, rest = self.line.partition(b" ")
                key = _key(rest)
                self._answer(key, self._well(key))
                if key == "LOGOUT":
                    return

    def read(self) -> bytes:
        """Read one line from the client; b"" at its end."""
        self.line = self._file.readline().rstrip(b"\r\n")
        if self.line:
            self.lines.append(self.line)
        return self.line

    def send(self, data: bytes) -> None:
        """Send bytes, TAG replaced; reset the connection where the script says so."""
        data = data.replace(b"TAG", self.tag)
        if self._left is not None:
            data, cut = data[: self._left], len(data) > self._left
            self._left -= len(data)
            self._sock.sendall(data)
            if cut:
                self.reset()
            return
        self._sock.sendall(data)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send byte by byte, with a pause after each."""
        for byte in data.replace(b"TAG", self.tag):
            self._sock.sendall(bytes([byte]))
            threading.Event().wait(seconds)

    def hang(self) -> None:
        """Say nothing more until the client gives up."""
        while self._file.read(1):
            pass
        raise OSError("over")

    def close(self) -> None:
        """Give the socket back."""
        self._file.close()
        self._sock.close()

    def upgrade(self, context: ssl.SSLContext) -> None:
        """Begin TLS; what the client sends from here on is read through it."""
        self._file.close()
        self._sock = context.wrap_socket(self._sock, server_side=True)
        self._file = self._sock.makefile("rb")

    def end(self) -> None:
        """End the connection in order (FIN)."""
        self._sock.shutdown(socket.SHUT_RDWR)
        raise OSError("over")

    def reset(self) -> None:
        """End the connection out of order (RST)."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self._sock.close()
        raise OSError("over")

    def bodies(self) -> bytes:
        """Return the good answer to the FETCH that was just read."""
        return self._fetched(
            lambda uid, raw: b"UID %d FLAGS () BODY[] %s" % (uid, literal(raw))
        )

    def _answer(self, key: str, well: bytes) -> None:
        answer = self.script.answers.get(key, well)
        if callable(answer):
            answer(self)
        else:
            self.send(answer)
        if key == "IDLE" and not callable(answer):
            self.read()
            self.send(b"TAG OK idled\r\n")
        if key == "AUTHENTICATE" and answer == b"+ \r\n":
            self.read()
            self.send(b"TAG OK in\r\n")

    def _well(self, key: str) -> bytes:
        script = self.script
        if key == "CAPABILITY":
            return b"* CAPABILITY %s\r\nTAG OK done\r\n" % script.capabilities
        if key in {"SELECT", "EXAMINE"}:
            return self._opened()
        if key == "SEARCH":
            return b"* SEARCH %s\r\nTAG OK done\r\n" % b" ".join(
                b"%d" % uid for uid in sorted(script.messages)
            )
        if key == "SIZES":
            return self._fetched(self._size)
        if key == "BODIES":
            return self.bodies()
        if key == "HEADER":
            return self._fetched(
                lambda uid, raw: b"UID %d BODY[HEADER]<0> %s" % (uid, literal(raw[:10]))
            )
        return {
            "AUTHENTICATE": b"+ \r\n",
            "IDLE": b"+ idling\r\n",
            "LOGOUT": b"* BYE\r\nTAG OK bye\r\n",
        }.get(key, b"TAG OK done\r\n")

    def _opened(self) -> bytes:
        script = self.script
        return (
            b"* %d EXISTS\r\n* OK [UIDVALIDITY %d] valid\r\n* OK [UIDNEXT %d] next\r\n"
            b"* OK [PERMANENTFLAGS (%s)] kept\r\nTAG OK [READ-WRITE] open\r\n"
            % (
                len(script.messages),
                script.uidvalidity,
                max(script.messages, default=0) + 1,
                script.permanent_flags,
            )
        )

    def _size(self, uid: int, raw: bytes) -> bytes:
        size = self.script.sizes.get(uid, len(raw))
        return b'UID %d RFC822.SIZE %d INTERNALDATE "01-Mar-2021 09:00:00 +0100"' % (uid, size)

    def _fetched(self, said: Callable[[int, bytes], bytes]) -> bytes:
        asked = self.asked()
        rows = [
            b"* %d FETCH (%s)\r\n" % (number, said(uid, raw))
            for number, (uid, raw) in enumerate(sorted(self.script.messages.items()), 1)
            if uid in asked
        ]
        return b"".join([*rows, b"TAG OK done\r\n"])

    def asked(self) -> set[int]:
        """Return the uids of the FETCH that was just read."""
        match = _FETCHED.search(self.line)
        spans = [part.split(b":") for part in match[1].split(b",")] if match else []
        return {uid for span in spans for uid in range(int(span[0]), int(span[-1]) + 1)}


class ScriptedServer:
    """Plays the first script on the first connection, and so on; the last one stays."""

    host = "127.0.0.1"

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self.sessions: list[Session] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # On Linux this ends accept() in the other thread; closing would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=20)
            assert not thread.is_alive(), "a client kept its connection"
        self._listener.close()

    @property
    def lines(self) -> list[bytes]:
        """Every line that clients sent."""
        return [line for session in self.sessions for line in session.lines]

    def said(self, word: bytes) -> int:
        """Return in how many of the clients' lines this word is."""
        return sum(word in line for line in self.lines)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(len(self.sessions), len(self._scripts) - 1)]
            session = Session(sock, script)
            self.sessions.append(session)
            thread = threading.Thread(target=session.play)
            self._threads.append(thread)
            thread.start()


def literal(raw: bytes) -> bytes:
    """Return bytes as a literal (RFC 3501, 4.3)."""
    return b"{%d}\r\n%s" % (len(raw), raw)


def in_turn(*answers: Answer) -> Callable[[Session], None]:
    """Answer with the first, then the second, and so on; the last one stays."""
    left: list[Answer] = list(answers)

    def answer(session: Session) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        if callable(now):
            now(session)
        else:
            session.send(now)

    return answer


def then(*steps: Answer) -> Callable[[Session], None]:
    """Do one after the other in the same answer."""

    def answer(session: Session) -> None:
        for step in steps:
            if callable(step):
                step(session)
            else:
                session.send(step)

    return answer


def _key(rest: bytes) -> str:
    words: Sequence[bytes] = rest.upper().split()
    if words[:2] == [b"UID", b"FETCH"]:
        if b"BODY.PEEK[]" in rest:
            return "BODIES"
        return "HEADER" if b"BODY.PEEK[HEADER]" in rest else "SIZES"
    if words[:1] == [b"UID"]:
        words = words[1:]
    return words[0].decode("ascii", "replace") if words else "?"
