"""Checks the keys of dispatcher.yaml against each other and against the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dispatcher.settings.outline import Keys
from dispatcher.settings.secret import Secret, exposed, variable
from dispatcher.settings.shape import SIDEP
from dispatcher.settings.values import loopback

Discord = tuple[Keys, str, str]

_PKCS12: Final = (".p12", ".pfx")
_FILES: Final = ("ca_file", "password_file", "client_certificate", "client_key")


def secret_of(keys: Keys, file: Path | None, environ: Mapping[str, str]) -> Secret:
    """Return where the password of a section may stand: `mailboxes.lbm`, `alerts.smtp`."""
    credential = keys[1] if keys[0] == "mailboxes" else ".".join(keys)
    return Secret(
        owner=f"{keys[0]} {keys[1]}",
        variable=variable(*keys, "password"),
        credential=f"{credential}.password",
        environ=environ,
        file=file,
    )


def discords(given: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Discord]:
    """Yield what does not go together, even where single values are wrong as well."""
    boxes = {
        name: box for name, box in _table(given, "mailboxes").items() if isinstance(box, dict)
    }
    for name, box in boxes.items():
        keys = ("mailboxes", name)
        secret = secret_of(keys, _path(box, "password_file"), environ)
        yield from _connection(keys, box, secret)
        yield from _login(keys, box, secret)
    yield from _same_name(boxes)
    yield from _same_account(boxes)
    yield from _alerts(given, boxes, environ)


def _table(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = given.get(key)
    return found if isinstance(found, dict) else {}


def _string(section: Mapping[str, Any], key: str) -> str | None:
    found = section.get(key)
    return found if isinstance(found, str) and found else None


def _path(section: Mapping[str, Any], key: str) -> Path | None:
    found = _string(section, key)
    # Paths are absolute by now; one that is not was refused as a value.
    return Path(found) if found is not None and found.startswith("/") else None


def _connection(keys: Keys, section: Mapping[str, Any], secret: Secret) -> Iterator[Discord]:
    host = _string(section, "host")
    if section.get("security") == "plaintext" and host is not None and not loopback(host):
        yield (
            (*keys, "security"),
            "plaintext would carry the password and the certificates openly over a network",
            "write tls or starttls; plaintext is for 127.0.0.1, ::1 and localhost",
        )
    for key in _FILES:
        path = _path(section, key)
        if path is not None:
            yield from _file((*keys, key), path)
    for key in ("password_file", "client_key"):
        path = _path(section, key)
        flaw = None if path is None else exposed(path, secret.credentials)
        if flaw is not None:
            yield ((*keys, key), *flaw)


def _file(keys: Keys, path: Path) -> Iterator[Discord]:
    try:
        there = path.exists()
    except OSError:
        return  # not for us to see: the service's own user may see it
    if not there:
        yield keys, f"there is no file {path}", "correct the path, or create the file"
    elif path.is_dir():
        yield keys, f"{path} is a directory", "write the path of a file"


def _login(keys: Keys, box: Mapping[str, Any], secret: Secret) -> Iterator[Discord]:
    certificate = _string(box, "client_certificate")
    ways = list(secret.sources()[:1])
    ways += ["client_certificate"] if certificate else []
    ways += ["token_command"] if box.get("token_command") else []
    if not ways:
        what = f"the mailbox {keys[1]} has no way to log in"
        instead = (
            "write password_file, client_certificate or token_command, or give the password "
            f"as {secret.variable} or as the systemd credential {secret.credential}"
        )
        yield keys, what, instead
    if len(ways) > 1:
        yield (
            keys,
            f"the mailbox {keys[1]} has several ways to log in: {', '.join(ways)}",
            "keep one of them",
        )
    if ways != ["client_certificate"] and box.get("username") is None:
        yield (
            keys,
            f"`mailboxes.{keys[1]}.username` is missing",
            "add `username: sidep@lbm.example.mssante.fr`",
        )
    if certificate is None and box.get("client_key") is not None:
        yield (
            (*keys, "client_key"),
            "there is a key without its certificate",
            "add client_certificate, or delete this",
        )
    if certificate is not None and certificate.casefold().endswith(_PKCS12):
        yield (
            (*keys, "client_certificate"),
            "this version reads PEM, not PKCS#12",
            "convert it: openssl pkcs12 -in FILE.p12 -out FILE.pem -noenc",
        )


def _same_name(boxes: Mapping[str, Any]) -> Iterator[Discord]:
    seen: dict[str, str] = {}
    for name in boxes:
        other = seen.setdefault(variable(name), name)
        if other != name:
            yield (
                ("mailboxes", name),
                f"the names {other} and {name} are one in the environment",
                "choose names that differ in letters or digits",
            )


def _same_account(boxes: Mapping[str, Any]) -> Iterator[Discord]:
    seen: dict[tuple[str, ...], str] = {}
    for name, box in boxes.items():
        host, username = _string(box, "host"), _string(box, "username")
        if host is None or username is None:
            continue
        account = (host.casefold(), username.casefold(), _string(box, "folder") or "INBOX")
        other = seen.setdefault(account, name)
        if other != name:
            yield (
                ("mailboxes", name),
                f"the mailboxes {other} and {name} are the same account and folder",
                "delete one of the two",
            )


def _alerts(
    given: Mapping[str, Any], boxes: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Discord]:
    alerts = _table(given, "alerts")
    yield from _whole(alerts)
    yield from _smtp(_table(alerts, "smtp"), boxes, environ)
    watched = {_folded(box.get("username")) for box in boxes.values()} - {""}
    senders = given.get("senders")
    never = watched | {SIDEP}
    never |= {_folded(sender) for sender in senders} if isinstance(senders, list) else set()
    recipients = alerts.get("to")
    for recipient in recipients if isinstance(recipients, list) else ():
        if _without_tag(_folded(recipient)) in never - {""}:
            yield (
                ("alerts", "to"),
                "alerts would go to SI-DEP or into a watched mailbox",
                "write the address of a person who can act",
            )
    if _without_tag(_folded(alerts.get("from"))) in never - {""}:
        yield (
            ("alerts", "from"),
            "alerts would bear the address of a watched mailbox or of SI-DEP",
            "write an address of their own: what comes back must not lie in the BAL",
        )


def _whole(alerts: Mapping[str, Any]) -> Iterator[Discord]:
    """Yield what mail lacks: it takes a server, a sender and somebody to read it."""
    examples = {
        "smtp": "{host: smtp.example.fr}",
        "from": "sidep@example.fr",
        "to": "[it@example.fr]",
    }
    there = examples.keys() & alerts.keys()
    for key, example in examples.items() if there else ():
        if alerts.get(key) is None:
            yield (
                ("alerts", key),
                f"`alerts.{key}` is missing",
                f"add `{key}: {example}`",
            )


def _smtp(
    smtp: Mapping[str, Any], boxes: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Discord]:
    if not smtp:
        return
    keys = ("alerts", "smtp")
    secret = secret_of(keys, _path(smtp, "password_file"), environ)
    yield from _connection(keys, smtp, secret)
    username = _string(smtp, "username")
    if username and not secret.sources():
        yield (
            keys,
            "alerts.smtp has a username and no password",
            f"write password_file, or give the password as {secret.variable}",
        )
    if username and _folded(username) in {
        _folded(box.get("username")) for box in boxes.values()
    }:
        yield (
            (*keys, "username"),
            "alerts would be sent through a watched mailbox's own account",
            "use another account: the alert must not depend on what it is about",
        )


def _without_tag(address: str) -> str:
    """Return an address without its subaddress (RFC 5233): it lies in the same mailbox."""
    local, at, domain = address.partition("@")
    return local.partition("+")[0] + at + domain


def _folded(value: object) -> str:
    return value.casefold() if isinstance(value, str) else ""
