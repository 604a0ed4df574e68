"""A link to a cupsd that breaks at a chosen piece of what passes, or at a chosen request.

with Link(server.port) as link:
    link.break_at(request=CREATE_JOB, moment="after")   # the request passes, its answer not
    link.break_at(piece=7, act=server.kill)             # and something happens meanwhile
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Literal, Self

# Operations of IPP, RFC 8011, 5.4.15.
CREATE_JOB: Final = 0x05
SEND_DOCUMENT: Final = 0x06
CANCEL_JOB: Final = 0x08
GET_JOBS: Final = 0x0A

# before: the request does not pass. after: it passes, and nothing more, its answer neither.
# silent: like after, but the link stays open.
Moment = Literal["before", "after", "silent"]


@dataclass(slots=True)
class _Plan:
    request: int | None
    piece: int | None
    moment: Moment
    act: Callable[[], object]


@dataclass(slots=True)
class _Pair:
    """A connection and the one to the server that it is passed on to."""

    client: socket.socket
    server: socket.socket
    # Set before the request passes: the answer is quick, and would slip through.
    mute: bool = False


class Link:
    """A TCP link to 127.0.0.1:port. Its own `address` is what a client is to be told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._plan: _Plan | None = None
        self._lock = threading.Lock()
        self.pieces = 0
        self.broken = False

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = [self._listener]
        self._threads = [self._spawn(self._accept)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in list(self._open):
            _shut(sock)
        for thread in list(self._threads):
            thread.join(20)
        for sock in self._open:
            sock.close()

    def break_at(
        self,
        *,
        request: int | None = None,
        piece: int | None = None,
        moment: Moment = "before",
        act: Callable[[], object] = lambda: None,
    ) -> None:
        """Break once, at the first such request, or at that piece counted from now on."""
        with self._lock:
            self.pieces, self.broken = 0, False
            self._plan = _Plan(request, piece, moment, act)

    def mend(self) -> None:
        """Forget the plan; new connections pass whole."""
        with self._lock:
            self._plan = None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    _shut(client)
                    continue
                self._open.append(server)
                pair = _Pair(client, server)
                self._threads += [
                    self._spawn(partial(self._pass, pair, asking=True)),
                    self._spawn(partial(self._pass, pair, asking=False)),
                ]

    def _pass(self, pair: _Pair, *, asking: bool) -> None:
        source, target = (pair.client, pair.server) if asking else (pair.server, pair.client)
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                plan = self._due(piece, asking=asking)
                if plan is None:
                    if asking or not pair.mute:
                        target.sendall(piece)
                    continue
                if plan.moment != "before":
                    pair.mute = plan.request is not None
                    target.sendall(piece)
                plan.act()
                if plan.moment == "silent":
                    return
                break
        _shut(source)
        _shut(target)

    def _due(self, piece: bytes, *, asking: bool) -> _Plan | None:
        with self._lock:
            self.pieces += 1
            plan = self._plan
            if plan is None:
                return None
            request = _operation(piece) if asking else None
            if self.pieces != plan.piece and (request is None or request != plan.request):
                return None
            self._plan, self.broken = None, True
            return plan

    @staticmethod
    def _spawn(run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def _operation(piece: bytes) -> int | None:
    """Return the operation of the IPP request that begins in a piece (RFC 8010, 3.1.1)."""
    # Version, operation, request number, then the group of operation attributes begins
    # with attributes-charset.
    found = re.search(
        rb"[\x01\x02][\x00-\x02]\x00(.)....\x01\x47\x00\x12attributes-charset", piece, re.DOTALL
    )
    return found[1][0] if found else None


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
