"""Listens on a loopback address and answers GET: few at once, each in bounded time."""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar, Final

import structlog

from dispatcher.errors import Unavailable, place_of
from dispatcher.ports import Finding

_log = structlog.get_logger(__name__)

# So many questions are answered at once; whoever comes beyond that is turned away.
_AT_ONCE: Final = 8
# A client that neither asks nor reads for so long is left (seconds).
_PATIENCE: Final = 5.0
_HINTS: Final = {
    errno.EADDRINUSE: "another program listens there: choose another port for metrics.listen",
    errno.EACCES: "choose a port from 1024 on for metrics.listen",
    errno.EPERM: "systemd forbids this port: add it by SocketBindAllow=, see "
    "network.conf.example",
    errno.EADDRNOTAVAIL: "this machine has no such address: write 127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: HTTP status, media type, body."""

    status: int
    media_type: str
    body: bytes


Answer = Callable[[str, str], Page | None]
"""Answers for a path and the client's Accept header; None: there is no such page."""


class HttpDoor:
    """See `dispatcher.ports.Door`."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        self._host = host
        self._port = port
        self._answer = answer
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, the one that the system chose for 0."""
        server = self._server
        return self._port if server is None else int(server.server_address[1])

    def open(self) -> None:
        """See `Door.open`."""
        server = self._bound()
        with self._lock:
            self._server = server
        threading.Thread(
            target=server.serve_forever, args=(0.2,), name="metrics", daemon=True
        ).start()

    def close(self) -> None:
        """See `Door.close`."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def check(self) -> Finding:
        """Return whether it could be opened now, or is already. Changes nothing."""
        try:
            self._bound().server_close()
        except Unavailable as error:
            if self._answers():
                return Finding("ok", f"metrics: the service shows them at {self._where}")
            return Finding("problem", f"metrics: {error}", error.hint)
        return Finding("ok", f"metrics: {self._where} is free for them")

    @property
    def _where(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def _bound(self) -> _Server:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return _Server(family, (self._host, self._port), self._answer)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            raise Unavailable(
                f"nobody can listen at {self._where}: {name}",
                hint=_HINTS.get(error.errno or 0, "correct metrics.listen"),
            ) from error

    def _answers(self) -> bool:
        """Return whether a program like this one answers there already."""
        asking = http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE)
        try:
            asking.request("GET", "/healthz")
            return b'"alive"' in asking.getresponse().read(4096)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # server_close would wait for the clients that are being answered.
    block_on_close = False

    def __init__(
        self, family: socket.AddressFamily, address: tuple[str, int], answer: Answer
    ) -> None:
        self.address_family = family
        self.answer = answer
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, _Asked)

    def server_bind(self) -> None:
        # Not the base class's: it asks the name service for our own name, which may hang.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Called where an exception is handled; the base class would print its frames.
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            place = place_of(error)
            _log.error("metrics_request_failed", error=type(error).__name__, place=place)


class _Asked(BaseHTTPRequestHandler):
    server: _Server
    timeout: ClassVar[float] = _PATIENCE
    # One question a connection: nobody occupies a place by keeping one open.
    protocol_version = "HTTP/1.0"
    server_version = "sidep-dispatcher"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page, and its body."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with a page, without its body."""
        self._send(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep no record of questions."""

    def _send(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        page = self.server.answer(path, self.headers.get("Accept", ""))
        if page is None:
            page = Page(404, "text/plain; charset=utf-8", b"/metrics, /healthz or /readyz\n")
        with contextlib.suppress(OSError):  # the client has gone
            self.send_response(page.status)
            self.send_header("Content-Type", page.media_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(page.body)
