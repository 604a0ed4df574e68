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
from typing import ClassVar, Self

# What answers a command: bytes, in which TAG stands for the command's tag, or a function
# that does with the session as it likes. "" as a key is for the greeting.
Answer = bytes | Callable[["Session"], None]

_DATED = b'INTERNALDATE "01-Mar-2021 09:00:00 +0100"'
_SET = re.compile(rb"UID (?:FETCH|STORE|EXPUNGE|SEARCH UID) ([\d:,]+)(?![\d:,*])")


@dataclass(slots=True)
class Kept:
    r"""What a mailbox keeps over connections: uids marked \Deleted, and uids expunged."""

    deleted: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Script:
    """How one connection goes. What `answers` does not name is answered well.

    Keys are commands in capitals; FETCH is told apart as SIZES, BODIES, HEADER, SHOWN, FLAGS
    and LAST, STORE as STORE and, when flags are taken off, UNSTORE. `sizes` are sizes that
    lie. `kept` is what STORE and EXPUNGE change; scripts may share it. After `reset_after`
    bytes the server resets the connection. With `tls` it speaks TLS from the first byte.
    """

    messages: Mapping[int, bytes] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    capabilities: bytes = b"IMAP4rev1 IDLE UIDPLUS AUTH=PLAIN"
    permanent_flags: bytes = rb"\Deleted \Seen \*"
    sizes: Mapping[int, int] = field(default_factory=dict)
    uidvalidity: int = 7
    reset_after: int | None = None
    tls: ssl.SSLContext | None = None
    kept: Kept = field(default_factory=Kept)

    @property
    def there(self) -> dict[int, bytes]:
        """The messages that were not expunged, by uid."""
        return {u: raw for u, raw in sorted(self.messages.items()) if u not in self.kept.gone}


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
            self._answer("")
            while self.read():
                self.tag, _, rest = self.line.partition(b" ")
                key = _key(rest)
                self._answer(key)
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
        return self._fetched(self._body)

    def expunge(self, uids: set[int]) -> bytes:
        r"""Expunge those of these uids that are marked \Deleted; return the good answer."""
        kept, rows = self.script.kept, []
        for uid in sorted(uids & kept.deleted - kept.gone):
            rows.append(b"* %d EXPUNGE\r\n" % ([*self.script.there].index(uid) + 1))
            kept.gone.add(uid)
        return b"".join([*rows, b"TAG OK done\r\n"])

    def _answer(self, key: str) -> None:
        # What is answered otherwise is not done either.
        given = self.script.answers.get(key)
        answer = self.well(key) if given is None else given
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

    def well(self, key: str) -> bytes:
        """Return the good answer to a command, as `answers` names it."""
        script = self.script
        if key == "CAPABILITY":
            return b"* CAPABILITY %s\r\nTAG OK done\r\n" % script.capabilities
        if key in {"SELECT", "EXAMINE"}:
            return self._opened()
        if key == "SEARCH":
            asked = self.asked() if _SET.search(self.line) else set(script.there)
            return b"* SEARCH %s\r\nTAG OK done\r\n" % b" ".join(
                b"%d" % uid for uid in script.there if uid in asked
            )
        if key in self._SHOWS:
            return self._fetched(self._SHOWS[key].__get__(self))
        if key in {"STORE", "UNSTORE"}:
            there = self.asked() & set(script.there)
            deleted = script.kept.deleted
            (deleted.update if key == "STORE" else deleted.difference_update)(there)
        if key == "LAST":
            first = int(self.line.split()[2].partition(b":")[0])
            rows = [*enumerate(script.there, 1)][first - 1 :]
            listed = [b"* %d FETCH (UID %d)\r\n" % (n, uid) for n, uid in rows]
            return b"".join([*listed, b"TAG OK done\r\n"])
        if key == "EXPUNGE":
            return self.expunge(self.asked())
        return {
            "": b"* OK ready\r\n",
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
                len(script.there),
                script.uidvalidity,
                max(script.messages, default=0) + 1,
                script.permanent_flags,
            )
        )

    def _size(self, uid: int, raw: bytes) -> bytes:
        size = self.script.sizes.get(uid, len(raw))
        return b"UID %d RFC822.SIZE %d %s" % (uid, size, _DATED)

    def _body(self, uid: int, raw: bytes) -> bytes:
        return b"UID %d FLAGS () BODY[] %s" % (uid, literal(raw))

    def _header(self, uid: int, raw: bytes) -> bytes:
        return b"UID %d BODY[HEADER]<0> %s" % (uid, literal(raw[:10]))

    def _field(self, uid: int, raw: bytes) -> bytes:
        lines = [line for line in raw.split(b"\r\n") if line.startswith(b"Message-ID:")]
        name = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
        said = b"".join(line + b"\r\n" for line in [*lines, b""])
        return b"%s %s %s" % (self._size(uid, raw), name, literal(said))

    def _flags(self, uid: int, _raw: bytes) -> bytes:
        marked = rb"\Deleted" if uid in self.script.kept.deleted else b""
        return b"UID %d FLAGS (%s)" % (uid, marked)

    _SHOWS: ClassVar[Mapping[str, Callable[[Session, int, bytes], bytes]]] = {
        "SIZES": _size, "BODIES": _body, "HEADER": _header, "SHOWN": _field, "FLAGS": _flags,
    }  # fmt: skip

    def _fetched(self, said: Callable[[int, bytes], bytes]) -> bytes:
        asked = self.asked()
        rows = [
            b"* %d FETCH (%s)\r\n" % (number, said(uid, raw))
            for number, (uid, raw) in enumerate(self.script.there.items(), 1)
            if uid in asked
        ]
        return b"".join([*rows, b"TAG OK done\r\n"])

    def asked(self) -> set[int]:
        """Return the uids that the command just read names."""
        match = _SET.search(self.line)
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


_FETCHES = (
    (b"BODY.PEEK[]", "BODIES"),
    (b"BODY.PEEK[HEADER]", "HEADER"),
    (b"BODY.PEEK[HEADER.FIELDS", "SHOWN"),
    (b"(UID FLAGS)", "FLAGS"),
)


def _key(rest: bytes) -> str:
    words: Sequence[bytes] = rest.upper().split()
    if words[:2] == [b"UID", b"FETCH"]:
        return next((key for words, key in _FETCHES if words in rest), "SIZES")
    if words[:2] == [b"UID", b"STORE"] and b"-FLAGS" in rest:
        return "UNSTORE"
    if words[:1] == [b"FETCH"]:
        return "LAST"
    if words[:1] == [b"UID"]:
        words = words[1:]
    return words[0].decode("ascii", "replace") if words else "?"
