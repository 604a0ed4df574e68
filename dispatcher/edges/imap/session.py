"""Gets from an account to an open session: connection, TLS, login, and what ends when."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.client import Client
from dispatcher.edges.imap.connect import Tell, connect
from dispatcher.edges.imap.login import LoggedIn, log_in
from dispatcher.edges.imap.tls import tls_context
from dispatcher.edges.imap.trouble import translated
from dispatcher.edges.imap.wire import Wire
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Ending

if TYPE_CHECKING:
    from dispatcher.edges.imap.own_tls import OwnCertificate

# A token that is made anew for each login ends within hours; nobody has to renew it.
_LASTING: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection before its login. `server_ends_at` and `issuer` are known under TLS."""

    account: Account
    now: datetime
    wire: Wire
    own: OwnCertificate | None
    server_ends_at: datetime | None
    issuer: str

    def close(self) -> None:
        """Give the connection back. Never raises."""
        self.wire.shutdown()


def reach(account: Account, limits: Limits, now: datetime, *, tell: Tell) -> Reached:
    """Connect, unless the settings' own files forbid it; see `connect`."""
    own = _own(account)
    with _explained(own, now), translated("connecting"):
        wire = connect(account, limits, own, tell=tell)
    sock = wire.sock
    shown = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    ends, ends_at = (shown or {}).get("notAfter"), None
    if isinstance(ends, str):
        ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
    return Reached(account, now, wire, own, ends_at, _issuer(shown or {}))


def enter(reached: Reached, limits: Limits) -> tuple[Client, LoggedIn]:
    """Log in. Raises what `log_in` does; the connection is then of no use."""
    with _explained(reached.own, reached.now), translated("logging in"):
        client = Client(reached.wire, limits)
        return client, log_in(client, reached.account, reached.now)


def read_files(account: Account) -> None:
    """Read what a login needs from this machine. Raises Refused when one cannot be used."""
    account.password()
    own = _own(account)
    if account.security != "plaintext":
        tls_context(account, own)


def endings(reached: Reached, logged_in: LoggedIn | None = None) -> tuple[Ending, ...]:
    """Return what this login rests on and somebody must renew in time, as far as is known."""
    found = []
    if reached.own is not None:
        found.append(Ending("client certificate", reached.own.ends_at))
    if reached.server_ends_at is not None:
        found.append(Ending("server certificate", reached.server_ends_at))
    life = None if logged_in is None else logged_in.token
    if life is not None and life.lasts(reached.now) > _LASTING:
        found.append(Ending("token", life.ends_at))
    return tuple(found)


def _own(account: Account) -> OwnCertificate | None:
    if account.client_certificate is None:
        return None
    # Who has no such certificate does not pay for the library that reads it.
    from dispatcher.edges.imap import own_tls  # noqa: PLC0415 - see above

    return own_tls.load(account)


@contextlib.contextmanager
def _explained(own: OwnCertificate | None, now: datetime) -> Iterator[None]:
    """Add to a failure what our certificate's own dates say of it.

    The server decides whether they matter, by its clock: so they are told afterwards.
    """
    try:
        yield
    except (Refused, Unavailable) as error:
        flaw = None if own is None else _flaw(own, now)
        if flaw is None:
            raise
        hint = "look at this machine's clock, then get a new client certificate"
        raise type(error)(f"{error}; {flaw}", hint=hint) from error


def _flaw(own: OwnCertificate, now: datetime) -> str | None:
    if own.ends_at <= now:
        return f"our client certificate ended on {own.ends_at:%Y-%m-%d}"
    if own.begins_at > now:
        return f"our client certificate begins on {own.begins_at:%Y-%m-%d} only"
    return None


def _issuer(shown: Mapping[str, Any]) -> str:
    """Return the name of the authority that issued the server's certificate."""
    named = {key: value for part in shown.get("issuer", ()) for key, value in part}
    found = named.get("commonName") or named.get("organizationName") or "without a name"
    return str(found)
