"""Speaks IMAP commands over a wire: what was answered, and what came unasked."""

from __future__ import annotations

import imaplib
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from imapclient import IMAPClient
from imapclient.imap_utf7 import encode as utf7

from dispatcher.edges.imap.account import Limits
from dispatcher.edges.imap.parse import Responses
from dispatcher.edges.imap.trouble import response_code
from dispatcher.edges.imap.wire import Wire

_NUMBER: Final = re.compile(rb"\d{1,10}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command was answered: its status, its text, and the untagged responses."""

    ok: bool
    text: bytes
    untagged: Responses

    @property
    def code(self) -> str:
        """The response code (RFC 5530), "" when there is none known."""
        return response_code(self.text)


@dataclass(slots=True)
class Begun:
    """A command that was sent: what its answer may take, then what it was answered."""

    tag: str
    command: str
    seconds: float
    literal: int
    total: int | None
    reply: Reply | None = None
    error: Exception | None = None


class Client(IMAPClient):  # type: ignore[misc]  # the library ships no types
    """imapclient without its socket, its debug log and its reading of answers.

    Every command clears what came before it and looks at what came unasked: a message
    announced in the answer to a FETCH is not announced again in IDLE.
    """

    def __init__(self, wire: Wire, limits: Limits) -> None:
        self.wire = wire
        self.limits = limits
        self.exists = 0
        self.news = False
        self._begun: deque[Begun] = deque()
        super().__init__(wire.host, wire.port, ssl=False)
        # The library formats every answer for its debug log: 2 ms for a message of 165 kB.
        wire.debug = 0
        self.note_capabilities()

    def _create_IMAP4(self) -> Wire:  # noqa: N802 - the library's name
        return self.wire

    def _set_read_timeout(self) -> None:
        """Leave time to the wire, which counts whole answers."""

    # --- login

    def note_capabilities(self) -> None:
        """Learn what the server offers now; a login changes that."""
        self.wire.allow(self.limits.command)
        self._cached_capabilities = None
        self.offered = frozenset(bytes(word).upper() for word in self.capabilities())

    def offers(self, capability: str) -> bool:
        """Return whether the server listed this capability."""
        return capability.upper().encode() in self.offered

    def authenticate(self, mechanism: str, answers: Sequence[str]) -> None:
        """Log in by SASL: give each challenge its answer, cancel when there are more."""
        self.wire.allow(self.limits.command)
        self.wire.untagged_responses = {}
        left = iter(answers)
        # Not sasl_login of the library: it makes a broken connection a refused login.
        self.wire.authenticate(mechanism, lambda _: next((a.encode() for a in left), None))

    def login_command(self, username: str, password: str) -> None:
        """Log in by LOGIN; what is not ASCII goes as a literal, in UTF-8."""
        reply = self.run("LOGIN", _astring(username), _astring(password))
        if not reply.ok:
            raise imaplib.IMAP4.error(reply.text.decode("ascii", "replace"))
        self.wire.state = "AUTH"
        if capability := reply.untagged.get("CAPABILITY"):
            # Given in the answer to LOGIN: not to be asked again.
            self.wire.untagged_responses["CAPABILITY"] = capability

    # --- commands

    def run(
        self,
        command: str,
        *arguments: bytes,
        uid: bool = False,
        seconds: float | None = None,
        literal: int = 64 * 1024,
        total: int | None = None,
    ) -> Reply:
        """Run one command to its end; raise the library's errors for BAD, BYE and noise.

        What was begun before is finished first.
        """
        self._catch_up()
        self.wire.allow(seconds or self.limits.command, literal=literal, total=total)
        self.wire.untagged_responses = {}
        status, data = self._raw_command(command.encode(), list(arguments), uid=uid)
        return self._reply(status, data)

    def begin(
        self, command: str, *arguments: bytes, seconds: float, literal: int, total: int
    ) -> Begun:
        """Send a UID command and do not wait for its answer (RFC 3501, 5.5); see `finish`."""
        self.wire.allow(self.limits.command)
        begun = Begun(self.wire.new_tag(), command, seconds, literal, total)
        words = (begun.tag.encode(), b"UID", command.encode(), *arguments)
        self.wire.send(b" ".join(words) + b"\r\n")
        self._begun.append(begun)
        return begun

    def finish(self, begun: Begun) -> Reply:
        """Read the answer to a command, after those to what was begun before it."""
        while begun.reply is None:
            self._finish_first()
        return begun.reply

    def _catch_up(self) -> None:
        while self._begun:
            self._finish_first()

    def _finish_first(self) -> None:
        begun = self._begun[0]
        self.wire.allow(begun.seconds, literal=begun.literal, total=begun.total)
        try:
            begun.reply = self._reply(*self.wire.answer_to(begun.command, begun.tag))
        except Exception as error:
            begun.error = error
            raise
        self._begun.popleft()

    def _reply(self, status: str, said: list[Any]) -> Reply:
        self.note_changes()
        untagged, self.wire.untagged_responses = self.wire.untagged_responses, {}
        text = said[0] if said and isinstance(said[0], bytes) else b""
        return Reply(status == "OK", text, untagged)

    def note_changes(self) -> None:
        """Count messages that came or went unasked; `news` is set when some came."""
        untagged = self.wire.untagged_responses
        self.exists -= len(untagged.get("EXPUNGE", ()))
        for line in untagged.get("EXISTS", ()):
            number = _NUMBER.match(line) if isinstance(line, bytes) else None
            count = int(number[0]) if number else 0
            self.news = self.news or count > self.exists
            self.exists = count

    def leave(self) -> None:
        """Log out if that is quick, and close. May raise; the socket is closed all the same."""
        try:
            self.wire.allow(self.limits.farewell)
            # What is still on its way is of no more use, and could take long.
            if not self._begun:
                self.wire.logout()
        finally:
            self.wire.shutdown()

    # --- IDLE (RFC 2177)

    def begin_idle(self) -> None:
        """Send IDLE and wait for the server's `+`."""
        self._catch_up()
        self.wire.allow(self.limits.command)
        self.wire.untagged_responses = {}
        self.wire.begin_idle()
        self.note_changes()

    def hear(self) -> bool:
        """Read the lines that have come during IDLE; return whether mail may be among them."""
        while self.wire.has_line():
            self.wire.allow(self.limits.command)
            self.wire.next_in_idle()
            self.note_changes()
            self.wire.untagged_responses = {}
        return self.news

    def end_idle(self, seconds: float) -> None:
        """Send DONE and read to the end of IDLE; raises when that takes longer."""
        self.wire.allow(seconds)
        self.wire.end_idle()
        self.note_changes()
        self.wire.untagged_responses = {}


def mailbox_name(name: str) -> bytes:
    """Return a mailbox name as it is sent: modified UTF-7, quoted (RFC 3501, 5.1.3)."""
    return quoted(utf7(name))


def quoted(text: bytes) -> bytes:
    """Return a quoted string (RFC 3501, 4.3)."""
    return b'"' + text.replace(b"\\", rb"\\").replace(b'"', rb"\"") + b'"'


def _astring(text: str) -> bytes:
    return quoted(text.encode()) if text.isascii() else text.encode()
