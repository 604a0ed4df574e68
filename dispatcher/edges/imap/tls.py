"""What TLS demands of a server, and what to do when it comes to nothing."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dispatcher.edges.imap.account import Account
from dispatcher.edges.imap.trouble import network_error
from dispatcher.errors import DispatcherError, Refused, Unavailable

if TYPE_CHECKING:
    from dispatcher.edges.imap.own_tls import OwnCertificate

# OpenSSL's X509_V_ERR_ numbers with what an operator can do about them (x509_vfy.h).
_NOT_YET: Final = (9,)
_EXPIRED: Final = (10,)
_UNKNOWN_AUTHORITY: Final = (2, 18, 19, 20, 21)
_WRONG_NAME: Final = (62, 64)
_REVOKED: Final = (23,)

# The server's alerts about our certificate (RFC 8446, 6.2), as OpenSSL names them.
_OURS: Final = {
    "CERTIFICATE_EXPIRED": "our client certificate has expired, says the server",
    "CERTIFICATE_REVOKED": "our client certificate was revoked, says the server",
    "UNKNOWN_CA": "the server does not know the authority of our client certificate",
    "CERTIFICATE_REQUIRED": "the server wants a client certificate",
    "BAD_CERTIFICATE": "the server refuses our client certificate",
    "UNSUPPORTED_CERTIFICATE": "the server takes no client certificate of this kind",
    "CERTIFICATE_UNKNOWN": "the server refuses our client certificate",
    "ACCESS_DENIED": "the server refuses our client certificate",
}
_OLD: Final = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW")
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def tls_context(account: Account, own: OwnCertificate | None = None) -> ssl.SSLContext:
    """Return what TLS demands: version 1.2, the name, and the chain (RFC 8314, 4 and 5).

    `own` is shown to the server. Raises Refused when a file of the settings cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and demands a chain
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if account.ca_file is None:
        context.load_default_certs()
    else:
        with _usable("ca_file"):
            context.load_verify_locations(cafile=account.ca_file)
    if own is not None:
        own.present(context)
    return context


@contextlib.contextmanager
def _usable(setting: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise Refused(
            f"{setting} cannot be used: {network_error(error)}",
            hint=f"give {setting} as PEM, unchanged as the authority publishes it",
        ) from error
    except OSError as error:
        raise Refused(
            f"{setting} cannot be read: {network_error(error)}",
            hint=f"correct {setting} or the rights of the file",
        ) from error


def trouble(error: ssl.SSLError) -> DispatcherError:
    """Return what a failed handshake means for whoever waits for it."""
    reason = error.reason or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error.verify_code)
    for name, sentence in _OURS.items():
        if reason.endswith("ALERT_" + name):
            return Refused(f"{sentence} ({reason})", hint=_OURS_HINT)
    if reason.endswith(_OLD):
        return Refused(
            f"the server speaks no TLS 1.2 or later ({reason})",
            hint="older TLS is not safe and not used; ask the operator for TLS 1.2",
        )
    if reason.endswith(_NO_TLS):
        return Refused(
            f"what answers on this port speaks no TLS ({reason})",
            hint="correct `port` (993 for tls), or set `security: starttls`",
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "INTERNAL" in reason:
        return Unavailable(f"the server broke off TLS ({reason})")
    return Refused(
        f"no TLS with this server ({reason})",
        hint="it must speak TLS 1.2 or later on this port, and may want a client certificate",
    )


_OURS_HINT: Final = (
    "look at client_certificate with the operator: is it the one for this BAL, complete "
    "with its intermediates, and valid today?"
)


def _untrusted(code: int) -> Refused:
    if code in _WRONG_NAME:
        what = "is for another name"
        hint = "its certificate is for another name; set `host` to the name it bears"
    elif code in _EXPIRED:
        what = "has expired"
        hint = "its certificate is not valid today; look at the clock, then ask the operator"
    elif code in _NOT_YET:
        what = "is not valid yet"
        hint = "its certificate begins later; look at the clock, then ask the operator"
    elif code in _UNKNOWN_AUTHORITY:
        what = "is from an unknown authority"
        hint = "its authority is not known here; set `ca_file` to the operator's authority"
    elif code in _REVOKED:
        what, hint = "was revoked", "nobody may trust this server any more; ask the operator"
    else:
        what, hint = "is not trusted", "ask the operator"
    return Refused(f"the server's TLS certificate {what} ({code})", hint=hint)
