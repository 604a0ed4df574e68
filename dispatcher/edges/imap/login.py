"""Logs in: by password, by client certificate, or by a token."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable
from typing import Final

from dispatcher.edges.imap.account import Account
from dispatcher.edges.imap.client import Client
from dispatcher.edges.imap.trouble import TEMPORARY, coded, response_code
from dispatcher.errors import LoginRefused, Refused, Unavailable

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def log_in(client: Client, account: Account) -> None:
    """Log in, with secrets read now.

    Raises LoginRefused when the server says no, Unavailable when it says no for a reason
    that passes (RFC 5530, 3), Refused when the settings name no way that it offers.
    """
    attempt = _way(client, account)
    try:
        attempt()
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        code = response_code(error)
        if code in TEMPORARY:
            raise Unavailable(f"the server takes no login now [{code}]") from None
        raise LoginRefused(coded("the login was refused", code), hint=_hint(account)) from None
    client.note_capabilities()


def _way(client: Client, account: Account) -> Callable[[], None]:
    """Return the login to try, secrets in hand, or raise Refused when there is none."""
    if account.token is not None:
        return _by_token(client, account, _clean(account.token(), "token_command's token"))
    password = account.password()
    if password is not None:
        return _by_password(client, account, _clean(password, "password"))
    if account.client_certificate is not None:
        _demand(client, "EXTERNAL")
        # The certificate may open several accounts: say which one (RFC 4422, appendix A).
        return lambda: client.authenticate("EXTERNAL", [account.username])
    raise Refused(
        "there is nothing to log in with",
        hint="give a password file, a client certificate or a token command",
    )


def _by_password(client: Client, account: Account, password: str) -> Callable[[], None]:
    if client.offers("AUTH=PLAIN"):
        # RFC 4616; UTF-8, so that accents work, which LOGIN does not promise.
        return lambda: client.authenticate("PLAIN", [f"\0{account.username}\0{password}"])
    if client.offers("LOGINDISABLED"):
        raise Refused(
            "the server takes no password on this connection (LOGINDISABLED)",
            hint="use `security: tls`, or ask the operator which logins it takes",
        )
    return lambda: client.login_command(account.username, password)


def _by_token(client: Client, account: Account, token: str) -> Callable[[], None]:
    if client.offers("AUTH=OAUTHBEARER"):
        name = account.username.replace("=", "=3D").replace(",", "=2C")
        # RFC 7628, 3.1; when refused, one control-A ends the exchange (3.2.3).
        bearer = (
            f"n,a={name},\1host={account.host}\1port={account.port}\1auth=Bearer {token}\1\1"
        )
        return lambda: client.authenticate("OAUTHBEARER", [bearer, "\1"])
    _demand(client, "XOAUTH2")
    xoauth = f"user={account.username}\1auth=Bearer {token}\1\1"
    return lambda: client.authenticate("XOAUTH2", [xoauth, ""])


def _demand(client: Client, mechanism: str) -> None:
    if not client.offers(f"AUTH={mechanism}"):
        raise Refused(
            f"the server offers no login by {mechanism}",
            hint="ask the operator which logins it takes, and correct the settings",
        )


def _clean(secret: str, what: str) -> str:
    if not secret or _CONTROL.search(secret):
        raise Refused(
            f"the {what} is empty or holds a line end or another control character",
            hint="write the secret alone on one line",
        )
    return secret


def _hint(account: Account) -> str:
    if account.token is not None:
        return "look at what token_command prints, and at the account with the operator"
    return "correct the user name, password or client certificate; too many tries lock it"
