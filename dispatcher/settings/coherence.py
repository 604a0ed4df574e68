"""Checks the keys of dispatcher.yaml against each other and against the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dispatcher.settings.outline import Keys
from dispatcher.settings.secret import SECRETS, Secret, exposed, variable
from dispatcher.settings.shape import SIDEP
from dispatcher.settings.values import loopback

Discord = tuple[Keys, str, str]

_PRIVATE: Final = (*sorted(f"{name}_file" for name in SECRETS), "client_key")
_FILES: Final = ("ca_file", "client_certificate", *_PRIVATE)


def secret_of(
    keys: Keys, file: Path | None, environ: Mapping[str, str], name: str = "password"
) -> Secret:
    """Return where a secret of a section may stand: `mailboxes.lbm`, `alerts.smtp`."""
    credential = keys[1] if keys[0] == "mailboxes" else ".".join(keys)
    return Secret(
        owner=f"{keys[0]} {keys[1]}",
        variable=variable(*keys, name),
        credential=f"{credential}.{name}",
        environ=environ,
        file=file,
        name=name,
    )


def secrets_of(
    keys: Keys, files: Mapping[str, Path | None], environ: Mapping[str, str]
) -> dict[str, Secret]:
    """Return where each secret of a mailbox may stand, by name; `files` by name too."""
    return {name: secret_of(keys, files.get(name), environ, name) for name in SECRETS}


def discords(given: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Discord]:
    """Yield what does not go together, even where single values are wrong as well."""
    boxes = {
        name: box for name, box in _table(given, "mailboxes").items() if isinstance(box, dict)
    }
    for name, box in boxes.items():
        keys = ("mailboxes", name)
        files = {name: _path(box, f"{name}_file") for name in SECRETS}
        secrets = secrets_of(keys, files, environ)
        yield from _connection(keys, box, secrets["password"])
        yield from _login(keys, box, secrets["password"])
        yield from _client_key(keys, box, secrets["client_passphrase"])
        yield from _proxy(keys, box, secrets["proxy_password"])
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
    for key in _PRIVATE + (() if _string(section, "client_key") else ("client_certificate",)):
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
    ways += ["token_command"] if box.get("token_command") else []
    if not ways and certificate is None:
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
    if (ways or certificate is None) and box.get("username") is None:
        yield (
            keys,
            f"`mailboxes.{keys[1]}.username` is missing",
            "add `username: sidep@lbm.example.mssante.fr`",
        )


def _client_key(keys: Keys, box: Mapping[str, Any], passphrase: Secret) -> Iterator[Discord]:
    if _string(box, "client_certificate") is not None:
        return
    if box.get("client_key") is not None:
        yield (
            (*keys, "client_key"),
            "there is a key without its certificate",
            "add client_certificate, or delete this",
        )
    if passphrase.sources():
        yield (
            (*keys, "client_passphrase_file"),
            f"there is a passphrase ({passphrase.sources()[0]}) and nothing that it opens",
            "add client_certificate, or delete this",
        )


def _proxy(keys: Keys, box: Mapping[str, Any], password: Secret) -> Iterator[Discord]:
    given, name = _string(box, "proxy"), _string(box, "proxy_username")
    if given is None and (name is not None or password.sources()):
        yield (
            (*keys, "proxy_username"),
            "there is a login for a proxy and no proxy",
            "add `proxy: http://proxy.example:3128`, or delete this",
        )
    if given is not None and (name is None) is bool(password.sources()):
        yield (
            (*keys, "proxy"),
            "the proxy's login is a name and a password, and one of them is missing",
            f"write proxy_username, and proxy_password_file or {password.variable}",
        )
    if given is not None and box.get("security") == "plaintext":
        yield (
            (*keys, "proxy"),
            "plaintext is for this machine only, and a proxy leads to another",
            "write `security: tls`, or delete the proxy",
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
