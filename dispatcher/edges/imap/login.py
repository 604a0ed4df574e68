"""Logs in: by password, by client certificate, or by a token."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatcher.edges.imap.account import Account
from dispatcher.edges.imap.claims import Life, life_of
from dispatcher.edges.imap.client import Client
from dispatcher.edges.imap.trouble import TEMPORARY, coded, response_code
from dispatcher.errors import LoginRefused, Refused, Unavailable

_PASSWORD: Final = "password"  # noqa: S105 - the word for one
_CERTIFICATE: Final = "client certificate"
_BOTH: Final = "client certificate and password"
_TOKEN: Final = "token"  # noqa: S105 - the word for one

_BY_MEANS: Final = {
    _PASSWORD: "correct username and password; too many tries lock the account",
    _CERTIFICATE: "is it the client certificate of this BAL, not revoked, and `username` the "
    "BAL's name? Ask the operator",
    _BOTH: "correct username and password, and look whether the client certificate is this "
    "BAL's; too many tries lock the account",
    _TOKEN: "look at what token_command prints, and at the account with the operator",
}
# RFC 5530, 3.
_BY_CODE: Final = {
    "EXPIRED": "the password or account has expired: set a new one with the operator",
    "AUTHORIZATIONFAILED": "who we are is accepted, but not for this BAL: correct `username`, "
    "or ask the operator for access to it",
    "PRIVACYREQUIRED": "the server wants TLS first: set `security: tls`",
}
_NOT_OFFERED: Final = {
    "EXTERNAL": "it did not accept our client certificate, or takes no login by it: ask the "
    "operator, or give the password as well",
    "XOAUTH2": "nor by OAUTHBEARER: ask the operator which logins it takes",
}

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """How a login was made: the mechanism, by what, and the life of a token that tells it."""

    mechanism: str
    means: str
    token: Life | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    how: LoggedIn
    attempt: Callable[[], None]


def log_in(client: Client, account: Account, now: datetime) -> LoggedIn:
    """Log in, with secrets read now.

    Raises LoginRefused when the server says no, Unavailable when it says no for a reason
    that passes (RFC 5530, 3), Refused when the settings name no way that it offers.
    """
    way = _way(client, account)
    try:
        way.attempt()
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        code = response_code(error)
        if code in TEMPORARY:
            raise Unavailable(f"the server takes no login now [{code}]") from None
        raise _refused(way.how, code, now) from None
    client.note_capabilities()
    return way.how


def _refused(how: LoggedIn, code: str, now: datetime) -> LoginRefused:
    what = coded(f"the login by {how.means} was refused", code)
    if how.token is not None and how.token.ends_at <= now:
        return LoginRefused(
            f"{what}: token_command printed a token that ended at "
            f"{how.token.ends_at:%Y-%m-%d %H:%M:%S} UTC",
            hint="it must print a fresh one at each run; look at this machine's clock too",
        )
    return LoginRefused(what, hint=_BY_CODE.get(code) or _BY_MEANS[how.means])


def _way(client: Client, account: Account) -> _Way:
    """Return the login to try, secrets in hand, or raise Refused when there is none."""
    if account.token is not None:
        return _by_token(client, account, _clean(account.token(), "token_command's token"))
    password = account.password()
    if password is not None:
        return _by_password(client, account, _clean(password, "password"))
    if account.client_certificate is not None:
        _demand(client, "EXTERNAL")
        # The certificate may open several accounts: say which one (RFC 4422, appendix A).
        return _Way(
            LoggedIn("EXTERNAL", _CERTIFICATE),
            lambda: client.authenticate("EXTERNAL", [account.username]),
        )
    raise Refused(
        "there is nothing to log in with",
        hint="give a password file, a client certificate or a token command",
    )


def _by_password(client: Client, account: Account, password: str) -> _Way:
    means = _BOTH if account.client_certificate is not None else _PASSWORD
    if client.offers("AUTH=PLAIN"):
        # RFC 4616; UTF-8, so that accents work, which LOGIN does not promise.
        plain = f"\0{account.username}\0{password}"
        return _Way(LoggedIn("PLAIN", means), lambda: client.authenticate("PLAIN", [plain]))
    if client.offers("LOGINDISABLED"):
        raise Refused(
            "the server takes no password on this connection (LOGINDISABLED)",
            hint="use `security: tls`, or ask the operator which logins it takes",
        )
    return _Way(
        LoggedIn("LOGIN", means), lambda: client.login_command(account.username, password)
    )


def _by_token(client: Client, account: Account, token: str) -> _Way:
    life = life_of(token)
    if client.offers("AUTH=OAUTHBEARER"):
        name = account.username.replace("=", "=3D").replace(",", "=2C")
        # RFC 7628, 3.1; when refused, one control-A ends the exchange (3.2.3).
        bearer = (
            f"n,a={name},\1host={account.host}\1port={account.port}\1auth=Bearer {token}\1\1"
        )
        return _Way(
            LoggedIn("OAUTHBEARER", _TOKEN, life),
            lambda: client.authenticate("OAUTHBEARER", [bearer, "\1"]),
        )
    _demand(client, "XOAUTH2")
    xoauth = f"user={account.username}\1auth=Bearer {token}\1\1"
    return _Way(
        LoggedIn("XOAUTH2", _TOKEN, life), lambda: client.authenticate("XOAUTH2", [xoauth, ""])
    )


def _demand(client: Client, mechanism: str) -> None:
    if not client.offers(f"AUTH={mechanism}"):
        raise Refused(
            f"the server offers no login by {mechanism}",
            hint=_NOT_OFFERED[mechanism],
        )


def _clean(secret: str, what: str) -> str:
    if not secret or _CONTROL.search(secret):
        raise Refused(
            f"the {what} is empty or holds a line end or another control character",
            hint="write the secret alone on one line",
        )
    return secret
