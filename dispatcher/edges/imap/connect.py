"""Connects to an IMAP server: name, address, TLS with name and chain checked, greeting."""

from __future__ import annotations

import dataclasses
import imaplib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.tls import tls_context, trouble
from dispatcher.edges.imap.trouble import coded, network_error, response_code
from dispatcher.edges.imap.tunnel import pass_through
from dispatcher.edges.imap.wire import Wire
from dispatcher.errors import Refused, Unavailable

if TYPE_CHECKING:
    from dispatcher.edges.imap.own_tls import OwnCertificate

# (family, address) as socket.connect takes it.
_Address = tuple[socket.AddressFamily, tuple[str | int, ...] | tuple[int, bytes]]

Tell = Callable[[str], None]
"""Hears of each step that went well, in a few words."""


def connect(
    account: Account, limits: Limits, own: OwnCertificate | None = None, *, tell: Tell
) -> Wire:
    """Return a connection that was greeted and, unless plaintext, is under TLS.

    Not a byte of a login is sent before that. Raises Unavailable when the network, a proxy
    or the server fails, Refused when the server cannot be trusted or the settings are wrong.
    """
    deadline = time.monotonic() + limits.connect
    context = tls_context(account, own) if account.security != "plaintext" else None
    sock = _reached(account, deadline, tell)
    try:
        sock.settimeout(_left(deadline))
        if context is not None and account.security == "tls":
            sock = context.wrap_socket(sock, server_hostname=account.host)
        wire = Wire(sock, account.host, _within(limits, deadline))
    except ssl.SSLError as error:
        sock.close()
        raise trouble(error) from error
    except BaseException:
        sock.close()
        raise
    if context is not None and account.security == "starttls":
        _start_tls(wire, context, account.host)
    return wire


def _reached(account: Account, deadline: float, tell: Tell) -> socket.socket:
    """Return a connection to the server's port, by itself or through the proxy."""
    proxy = account.proxy
    if proxy is None:
        server = _Peer("server", "host", account.host, account.port)
        return _connected(server, deadline, tell, loopback=account.security == "plaintext")
    if account.security == "plaintext":
        raise _not_in_clear()
    sock = _connected(_Peer("proxy", "proxy", proxy.host, proxy.port), deadline, tell)
    try:
        pass_through(sock, proxy, host=account.host, port=account.port, deadline=deadline)
    except BaseException:
        sock.close()
        raise
    tell(f"the proxy connected us to {account.host}, port {account.port}")
    return sock


@dataclass(frozen=True, slots=True)
class _Peer:
    """Whom to connect to: in words, by which setting, and where."""

    word: str
    setting: str
    host: str
    port: int


def _connected(
    peer: _Peer, deadline: float, tell: Tell, *, loopback: bool = False
) -> socket.socket:
    """Connect in time; with `loopback` every address of the name must be this machine's."""
    addresses = _addresses(peer, deadline)
    if loopback and not all(map(_is_loopback, addresses)):
        raise _not_in_clear()
    tell(f"the {peer.word}'s name {peer.host} is {_shown(addresses)}")
    failure: OSError = TimeoutError()
    for index, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A dead first address (IPv6, mostly) leaves time for the others.
            sock.settimeout(_left(deadline) / (len(addresses) - index))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # What follows a command that is not answered yet waits for nothing (RFC 896).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tell(f"the {peer.word} answers at {address[0]!s}, port {peer.port}")
            return sock
    raise Unavailable(
        f"cannot connect to port {peer.port} of the {peer.word}: {network_error(failure)}",
        hint=f"is the {peer.word} up, and may this machine reach it?",
    ) from failure


def _not_in_clear() -> Refused:
    return Refused(
        "plaintext is for loopback addresses only",
        hint="set `security: tls` or `security: starttls`",
    )


def _shown(addresses: list[_Address]) -> str:
    return " and ".join(dict.fromkeys(str(address[0]) for _, address in addresses))


def _addresses(peer: _Peer, deadline: float) -> list[_Address]:
    """Look the name up in time."""
    answer: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()
    # getaddrinfo takes no time limit. A look-up that hangs ends in a thread left behind.
    threading.Thread(target=_look_up, args=(peer.host, peer.port, answer), daemon=True).start()
    try:
        found = answer.get(timeout=_left(deadline))
    except queue.Empty as error:
        raise Unavailable(
            f"the {peer.word}'s name could not be looked up in time",
            hint="look at this machine's name service",
        ) from error
    if isinstance(found, OSError):
        raise Unavailable(
            f"the {peer.word}'s name could not be looked up: {type(found).__name__}",
            hint=f"correct `{peer.setting}`, or look at this machine's name service",
        ) from found
    return found


def _look_up(host: str, port: int, answer: queue.SimpleQueue[list[_Address] | OSError]) -> None:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer.put([(row[0], row[4]) for row in rows])
    except UnicodeError:  # a label that is empty or too long for IDNA
        answer.put(socket.gaierror(socket.EAI_NONAME, "not a host name"))
    except OSError as error:
        answer.put(error)


def _is_loopback(address: _Address) -> bool:
    ip = ipaddress.ip_address(str(address[1][0]).partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _start_tls(wire: Wire, context: ssl.SSLContext, host: str) -> None:
    """Upgrade or give up: a missing STARTTLS may be somebody's doing (RFC 8314, 3)."""
    try:
        _ask_for_tls(wire)
        wire.upgrade(context, host)
    except ssl.SSLError as error:
        wire.shutdown()
        raise trouble(error) from error
    except BaseException:
        wire.shutdown()
        raise


def _ask_for_tls(wire: Wire) -> None:
    if "STARTTLS" not in wire.capabilities:
        raise Refused("the server offers no STARTTLS", hint=_NO_STARTTLS)
    code = ""
    try:
        status, lines = wire.xatom("STARTTLS")
        code = response_code(lines[0] if lines else "")
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        status = "BAD"
    if status != "OK":
        raise Refused(coded("the server refused STARTTLS", code), hint=_NO_STARTTLS)


_NO_STARTTLS: Final = "nothing was sent in clear; set `security: tls` with the TLS port"


def _within(limits: Limits, deadline: float) -> Limits:
    return dataclasses.replace(limits, connect=_left(deadline))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline")
    return left
