"""Tries an account step by step and says what IT should know. Changes nothing."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from dispatcher.edges.imap import gauges
from dispatcher.edges.imap.account import Account, Limits
from dispatcher.edges.imap.client import Client
from dispatcher.edges.imap.login import LoggedIn
from dispatcher.edges.imap.opening import open_mailbox
from dispatcher.edges.imap.parse import Opened
from dispatcher.edges.imap.removing import can_remove
from dispatcher.edges.imap.session import Reached, endings, enter, reach, read_files
from dispatcher.edges.imap.trouble import translated
from dispatcher.errors import DispatcherError, Refused, Unavailable
from dispatcher.ports import Ending, Finding

# From so many days on somebody is told that a certificate must be renewed.
_RENEW_DAYS: Final = 60
_FILLING_PERCENT: Final = 75
_FULL_PERCENT: Final = 90


def probe(account: Account, now: datetime, limits: Limits) -> list[Finding]:
    """Return the findings in the order of the steps; a step that fails is the last."""
    findings: list[Finding] = []
    reached: Reached | None = None

    def tell(what: str) -> None:
        findings.append(Finding("ok", f"mailbox {account.name}: {what}"))

    try:
        reached = reach(account, limits, now, tell=tell)
        findings += _connection(reached)
        client, how = enter(reached, limits)
        findings += _login(reached, how)
        findings += _capabilities(account, client)
        with translated("opening the mailbox"):
            findings += _mailbox(account, client)
        with translated("asking for the quota"):
            findings += _quota(account, client)
        with contextlib.suppress(Unavailable), translated("logging out"):
            client.leave()
    except (Unavailable, Refused) as error:
        findings.append(_problem(account, error))
    finally:
        if reached is not None:
            reached.close()
    return findings


def try_files(account: Account) -> Finding:
    """Read the password, the authorities and the client certificate; no network."""
    try:
        read_files(account)
    except (Unavailable, Refused) as error:
        return _problem(account, error)
    return Finding("ok", f"mailbox {account.name}: what it needs to log in can be read")


def _problem(account: Account, error: DispatcherError) -> Finding:
    hint = error.hint or "try again later; when it stays, ask the operator"
    return Finding("problem", f"mailbox {account.name}: {error}", hint)


def _connection(reached: Reached) -> Iterator[Finding]:
    account, sock = reached.account, reached.wire.sock
    name = f"mailbox {account.name}"
    if not isinstance(sock, ssl.SSLSocket):
        yield Finding("ok", f"{name}: without TLS, on this machine")
        return
    yield Finding("ok", f"{name}: {sock.version()}, name and chain of the server are right")
    if reached.server_ends_at is not None:
        yield _ending(reached, Ending("server certificate", reached.server_ends_at))
    where = f"ca_file {account.ca_file}" if account.ca_file else "the system's authorities"
    yield Finding("ok", f"{name}: its authority {reached.issuer} is trusted by {where}")


def _login(reached: Reached, how: LoggedIn) -> Iterator[Finding]:
    yield Finding(
        "ok",
        f"mailbox {reached.account.name}: logged in by {how.means} ({how.mechanism})",
    )
    for one in endings(reached, how):
        if one.what != "server certificate":
            yield _ending(reached, one)


_RENEWAL: Final = {
    "server certificate": "ask the operator to renew it",
    "client certificate": "ask the operator or IGC-Santé for a new one",
    "token": "get a new one, or let token_command make a fresh one at each login",
}


def _ending(reached: Reached, ending: Ending) -> Finding:
    days = (ending.ends_at - reached.now).days
    soon = days < _RENEW_DAYS
    return Finding(
        "warning" if soon else "ok",
        f"mailbox {reached.account.name}: the {ending.what} ends on "
        f"{ending.ends_at:%Y-%m-%d}, {days} days left",
        _RENEWAL[ending.what] if soon else "",
    )


def _capabilities(account: Account, client: Client) -> Iterator[Finding]:
    wanted = {
        "IDLE": "new mail is seen at the next look only; lower poll_interval if that is late",
        "UIDPLUS": "no mail is deleted there at its term: ask the operator for UIDPLUS, and "
        "delete by hand meanwhile",
        "QUOTA": "nobody will be told when the mailbox is nearly full; look at it by hand",
    }
    if account.watch == "poll":
        del wanted["IDLE"]
    for capability, hint in wanted.items():
        offered = client.offers(capability)
        verb = "offers" if offered else "does not offer"
        # Mail kept past its term breaks the rule that it is kept under; the rest is comfort.
        lack: Literal["problem", "warning"] = (
            "problem" if capability == "UIDPLUS" else "warning"
        )
        yield Finding(
            "ok" if offered else lack,
            f"mailbox {account.name}: the server {verb} {capability}",
            "" if offered else hint,
        )


def _mailbox(account: Account, client: Client) -> Iterator[Finding]:
    name = f"mailbox {account.name}"
    selected, said = open_mailbox(client, account, read_only=True)
    yield Finding("ok", f"{name}: opened to read (EXAMINE), {selected.exists} messages")
    if client.offers("UIDPLUS") and not can_remove(client, said):
        yield Finding(
            "problem",
            f"{name}: the account may not delete there",
            "no mail is deleted there at its term: ask the operator for the right to delete",
        )
    if account.keyword is None:
        return
    yield _keyword(account, said)


def _keyword(account: Account, said: Opened) -> Finding:
    # EXAMINE may list no permanent flags at all, so an empty list proves nothing.
    if said.keeps(account.keyword) or not said.permanent_flags:
        return Finding("ok", f"mailbox {account.name}: nothing speaks against the keyword")
    return Finding(
        "warning",
        f"mailbox {account.name}: the server keeps no keyword of ours",
        "set `settled_keyword: null`, or ask the operator; the ledger alone is enough",
    )


def _quota(account: Account, client: Client) -> Iterator[Finding]:
    if not client.offers("QUOTA"):
        return
    quota = gauges.quota(client, account.folder)
    if quota is None:
        yield Finding("ok", f"mailbox {account.name}: no limit on its size is set")
        return
    percent = 100 * quota.used // quota.limit
    filling = percent >= _FILLING_PERCENT
    yield Finding(
        "problem" if percent >= _FULL_PERCENT else "warning" if filling else "ok",
        f"mailbox {account.name}: {percent} % of its quota of {quota.limit >> 20} MiB is used",
        "when it is full SI-DEP's mail is refused: make room or ask for more"
        if filling
        else "",
    )
