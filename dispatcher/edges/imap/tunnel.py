"""Passes an HTTP proxy by CONNECT (RFC 9110, 9.3.6): from its answer on, bytes go through."""

from __future__ import annotations

import base64
import re
import socket
import time
from typing import Final

from dispatcher.edges.imap.account import Proxy
from dispatcher.errors import DispatcherError, LoginRefused, Refused, Unavailable

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r\n)")
_LARGEST: Final = 16 * 1024
_OK, _FORBIDDEN, _LOGIN = 200, 403, 407
_BEYOND: Final = frozenset({500, 502, 503, 504})


def pass_through(
    sock: socket.socket, proxy: Proxy, *, host: str, port: int, deadline: float
) -> None:
    """Ask the proxy at the other end of `sock` for a way to host and port.

    Nothing of what comes behind the proxy's answer is read. `deadline` is on the monotonic
    clock. Raises OSError when the connection fails, Unavailable when the proxy cannot reach
    the server now, LoginRefused when it refuses our name and password, Refused when it lets
    nobody through.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    password = proxy.password()
    if proxy.username is not None and password is not None:
        pair = base64.b64encode(f"{proxy.username}:{password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    sock.settimeout(_left(deadline))
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    status = _answer(sock, deadline)
    if not _OK <= status < _OK + 100:
        raise _refusal(status, logged_in=len(lines) > 2)  # noqa: PLR2004 - the third is ours


def _answer(sock: socket.socket, deadline: float) -> int:
    """Read to the empty line and not a byte further: the server may speak at once."""
    said = bytearray()
    while not said.endswith(b"\r\n\r\n"):
        sock.settimeout(_left(deadline))
        byte = sock.recv(1)
        if not byte:
            raise Unavailable(
                "the proxy closed the connection without an answer", hint=_LOOK_AT_IT
            )
        said += byte
        if len(said) > _LARGEST or not said.startswith(b"HTTP/"[: len(said)]):
            raise _no_proxy()
    match = _STATUS.match(said)
    if match is None:
        raise _no_proxy()
    return int(match[1])


def _refusal(status: int, *, logged_in: bool) -> DispatcherError:
    if status == _LOGIN and logged_in:
        return LoginRefused(
            "the proxy refused our name and password (407)",
            hint="correct proxy_username and proxy_password; too many tries may lock them",
        )
    if status == _LOGIN:
        return Refused(
            "the proxy wants a login (407)",
            hint="set proxy_username and proxy_password_file; it must take Basic",
        )
    if status == _FORBIDDEN:
        return Refused(
            "the proxy lets nobody through to this server (403)",
            hint="let whoever runs the proxy allow CONNECT to `host` and `port`",
        )
    if status in _BEYOND:
        return Unavailable(
            f"the proxy cannot reach the server ({status})",
            hint="is `host` right, does the proxy know the name, is the server up?",
        )
    return Refused(f"the proxy refuses to connect us ({status})", hint=_LOOK_AT_IT)


_LOOK_AT_IT: Final = "correct `proxy`, or ask whoever runs the proxy"


def _no_proxy() -> Refused:
    return Refused("what answers at the proxy's address is no HTTP proxy", hint=_LOOK_AT_IT)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline")
    return left
