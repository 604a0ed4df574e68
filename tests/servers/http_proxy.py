r"""An HTTP proxy that connects (CONNECT, RFC 9110, 9.3.6), or answers what it is told to.

with HttpProxy() as proxy:
    proxy.port                      # on 127.0.0.1
    proxy.login = "name", "word"    # asks for it (Basic)
    proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"   # connects nobody
    proxy.leads_to = port           # connects to this port, wherever the client wants to go
    proxy.asked                     # the requests it got: method and place
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

_SECONDS = 20.0
_CHUNK = 65_536


class HttpProxy:
    """Listens on 127.0.0.1; a thread for each direction of each connection."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.login: tuple[str, str] | None = None
        self.answer: bytes | None = None
        self.silent = False
        self.leads_to: int | None = None
        self.asked: list[str] = []
        self.tried: list[tuple[str, str] | None] = []
        self.port = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="http-proxy", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection that goes through it."""
        with self._lock:
            ending, self._open = self._open, []
        for sock in ending:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._keep(sock)
            head = _head(sock)
            method, place = head[0].split()[:2]
            self.asked.append(f"{method} {place}")
            self.tried.append(_login(head[1:]))
            if self.silent:
                sock.recv(1)
            elif self.answer is not None:
                sock.sendall(self.answer)
            elif self.login is not None and self.tried[-1] != self.login:
                sock.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="test"\r\nContent-Length: 0\r\n\r\n'
                )
            else:
                self._connect(sock, place)

    def _connect(self, sock: socket.socket, place: str) -> None:
        host, _, port = place.rpartition(":")
        if self.leads_to is not None:
            host, port = self.host, str(self.leads_to)
        try:
            beyond = socket.create_connection((host.strip("[]"), int(port)), _SECONDS)
        except OSError:
            sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        beyond.settimeout(None)
        with beyond:
            self._keep(beyond)
            sock.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            back = threading.Thread(target=_pass, args=(beyond, sock), daemon=True)
            back.start()
            _pass(sock, beyond)
            back.join(_SECONDS)

    def _keep(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.append(sock)


def _head(sock: socket.socket) -> list[str]:
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise OSError("the client went away")
        said += byte
    return said.decode().strip().split("\r\n")


def _login(fields: list[str]) -> tuple[str, str] | None:
    for one in fields:
        name, _, value = one.partition(": ")
        if name.lower() == "proxy-authorization":
            kind, _, pair = value.partition(" ")
            assert kind == "Basic"
            user, _, word = base64.b64decode(pair).decode().partition(":")
            return user, word
    return None


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
