"""Connects to an IMAP server: name, address, TLS with name and chain checked, greeting."""

from __future__ import annotations

import contextlib
import dataclasses
import imaplib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Final

from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.trouble import coded, network_error, response_code
from dispatcher.edges.imap.wire import Wire
from dispatcher.errors import DispatcherError, Refused, Unavailable

# (family, address) as socket.connect takes it.
_Address = tuple[socket.AddressFamily, tuple[str | int, ...] | tuple[int, bytes]]

# OpenSSL's X509_V_ERR_ numbers with what an operator can do about them (x509_vfy.h).
_EXPIRED: Final = (9, 10)
_UNKNOWN_AUTHORITY: Final = (2, 18, 19, 20, 21)
_WRONG_NAME: Final = (62, 64)


def connect(account: Account, limits: Limits) -> Wire:
    """Return a connection that was greeted and, unless plaintext, is under TLS.

    Not a byte of a login is sent before that. Raises Unavailable when the network or the
    server fails, Refused when the server cannot be trusted or the settings are wrong.
    """
    deadline = time.monotonic() + limits.connect
    context = tls_context(account) if account.security != "plaintext" else None
    sock = _connected(account, deadline)
    try:
        sock.settimeout(_left(deadline))
        if context is not None and account.security == "tls":
            sock = context.wrap_socket(sock, server_hostname=account.host)
        wire = Wire(sock, account.host, _within(limits, deadline))
    except ssl.SSLError as error:
        sock.close()
        raise _tls_trouble(error) from error
    except BaseException:
        sock.close()
        raise
    if context is not None and account.security == "starttls":
        _start_tls(wire, context, account.host)
    return wire


def tls_context(account: Account) -> ssl.SSLContext:
    """Return what TLS demands: version 1.2, the name, and the chain (RFC 8314, 4 and 5).

    Raises Refused when a file of the settings cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and demands a chain
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if account.ca_file is None:
        context.load_default_certs()
    else:
        with _usable("ca_file"):
            context.load_verify_locations(cafile=account.ca_file)
    if account.client_certificate is not None:
        with _usable("client_certificate or client_key"):
            # Without a callback OpenSSL would ask the terminal for an encrypted key's phrase.
            context.load_cert_chain(
                account.client_certificate, account.client_key, password=lambda: ""
            )
    return context


@contextlib.contextmanager
def _usable(setting: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise Refused(
            f"{setting} cannot be used: {network_error(error)}",
            hint=f"give {setting} as unencrypted PEM that belong together",
        ) from error
    except OSError as error:
        raise Refused(
            f"{setting} cannot be read: {network_error(error)}",
            hint=f"correct {setting} or the rights of the file",
        ) from error


def _connected(account: Account, deadline: float) -> socket.socket:
    addresses = _addresses(account, deadline)
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
            return sock
    raise Unavailable(
        f"cannot connect to port {account.port}: {network_error(failure)}",
        hint="is the server up, and may this machine reach it?",
    ) from failure


def _addresses(account: Account, deadline: float) -> list[_Address]:
    """Look the name up in time; with plaintext every address must be a loopback one."""
    answer: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()
    # getaddrinfo takes no time limit. A look-up that hangs ends in a thread left behind.
    threading.Thread(
        target=_look_up, args=(account.host, account.port, answer), daemon=True
    ).start()
    try:
        found = answer.get(timeout=_left(deadline))
    except queue.Empty as error:
        raise Unavailable("the server's name could not be looked up in time") from error
    if isinstance(found, OSError):
        raise Unavailable(
            f"the server's name could not be looked up: {type(found).__name__}",
            hint="correct `host`, or look at this machine's name service",
        ) from found
    if account.security == "plaintext" and not all(map(_is_loopback, found)):
        raise Refused(
            "plaintext is for loopback addresses only",
            hint="set `security: tls` or `security: starttls`",
        )
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
        raise _tls_trouble(error) from error
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


def _tls_trouble(error: ssl.SSLError) -> DispatcherError:
    reason = error.reason or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(
            f"the server's TLS certificate is not trusted ({error.verify_code})",
            hint=_untrusted_hint(error.verify_code),
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "INTERNAL" in reason:
        return Unavailable(f"the server broke off TLS ({reason})")
    return Refused(
        f"no TLS with this server ({reason})",
        hint="it must speak TLS 1.2 or later on this port, and accept our client certificate",
    )


def _untrusted_hint(code: int) -> str:
    if code in _WRONG_NAME:
        return "its certificate is for another name; set `host` to the name it bears"
    if code in _EXPIRED:
        return "its certificate is not valid today; look at the clock, then ask the operator"
    if code in _UNKNOWN_AUTHORITY:
        return "its authority is not known here; set `ca_file` to the operator's authority"
    return "ask the operator"


def _within(limits: Limits, deadline: float) -> Limits:
    return dataclasses.replace(limits, connect=_left(deadline))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline")
    return left
