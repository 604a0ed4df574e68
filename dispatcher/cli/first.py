"""`init`: a first configuration by asking, tried before it counts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.first_files import FirstFiles
from dispatcher.cli.options import DEFAULT_CONFIG
from dispatcher.cli.screen import plain, print_findings, screen
from dispatcher.core.paris import PARIS
from dispatcher.errors import DispatcherError
from dispatcher.service.decisions import NotAsked
from dispatcher.settings import Login, Security
from dispatcher.settings.first import FirstMailbox, FirstSite, first_routing, first_settings

_DIRECTORY: Final = DEFAULT_CONFIG.parent
_STATE: Final = Path("/var/lib/sidep-dispatcher")
_ALL: Final = "all"
# The option that answers how to log in; where none is given, it is asked.
_WAYS: Final[Mapping[str, Login]] = {
    "password_file": Login.PASSWORD,
    "client_certificate": Login.CERTIFICATE,
    "token_command": Login.TOKEN,
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(  # noqa: PLR0917 - an option for each answer
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the files go.", show_default=str(_DIRECTORY))
    ] = _DIRECTORY,
    mailbox: Annotated[
        str | None, typer.Option(help="A name of your own for the BAL, such as lbm.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The IMAP server.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port, if it is unusual.")] = None,
    security: Annotated[
        Security, typer.Option(help="How the connection is protected.")
    ] = Security.TLS,
    ca_file: Annotated[
        str | None, typer.Option(help="The operator's authorities, PEM; empty: the system's.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="Login name of the BAL.")] = None,
    password_file: Annotated[
        str | None, typer.Option(help="Log in with the password in this file.")
    ] = None,
    client_certificate: Annotated[
        str | None, typer.Option(help="Log in with this certificate, PKCS#12 or PEM.")
    ] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Its key, if it lies in another file.")
    ] = None,
    client_passphrase_file: Annotated[
        str | None, typer.Option(help="Open the PKCS#12 file with the passphrase in this file.")
    ] = None,
    token_command: Annotated[
        str | None, typer.Option(help="Log in with the token that this command prints.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Leave mail from before this day alone; or `all`.")
    ] = None,
    lbm: Annotated[str | None, typer.Option(help="The laboratory's name.")] = None,
    finess_ej: Annotated[
        str | None, typer.Option(help="The laboratory's FINESS EJ; may be empty.")
    ] = None,
    finess: Annotated[str | None, typer.Option(help="A first site's FINESS ET.")] = None,
    site: Annotated[str | None, typer.Option(help="That site's name.")] = None,
    folder: Annotated[str | None, typer.Option(help="That site's folder.")] = None,
    state: Annotated[
        Path, typer.Option(help="Where the ledger lies.", show_default=str(_STATE))
    ] = _STATE,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing: options and defaults answer.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try the login.")] = False,
) -> None:
    """Write a first configuration by asking, and try the login; overwrite nothing."""
    given = {name: value for name, value in locals().items() if isinstance(value, str)}
    files = FirstFiles(directory)
    files.ensure_free("dispatcher.yaml", "routing.yaml")
    ask = _Ask(given, allowed=not no_input)
    box = _mailbox(ask, security, port)
    first = _site(ask)
    with files.writing():
        box = _with_secret(ask, box, files)
        files.write("routing.yaml", first_routing(first))
        chosen = files.settle(first_settings(box, _ledger(state)))
    screen().print(f"Written: {plain(files.config)} and routing.yaml beside it.")
    refused = not offline and _login_fails(chosen)
    _tell_next(files.config, refused=refused)
    raise typer.Exit(Exit.ATTENTION if refused else Exit.DONE)


class _Ask:
    """Answers from the options; asks a person for the rest, where that is allowed."""

    def __init__(self, given: Mapping[str, str], *, allowed: bool) -> None:
        self.given = given
        self._allowed = allowed
        self.way = self._way()

    def __call__(self, name: str, question: str, default: str | None = None) -> str:
        """Return an answer; raises NotAsked where none is given and nobody may be asked."""
        if name in self.given:
            return self.given[name].strip()
        if self._allowed:
            return str(typer.prompt(question, default=default)).strip()
        if default is None:
            raise self._missing(name)
        return default

    def path(self, name: str, question: str) -> Path | None:
        """Return a file's absolute path; None for an empty answer."""
        answer = self(name, question, "")
        return Path(answer).expanduser().absolute() if answer else None

    def secret(self, name: str, question: str) -> str:
        """Return what is typed unseen."""
        if not self._allowed:
            raise self._missing(name)
        return str(typer.prompt(question, hide_input=True))

    def _way(self) -> Login:
        chosen = [way for name, way in _WAYS.items() if name in self.given]
        if len(chosen) > 1:
            raise NotAsked("more than one way to log in is given", hint="Give one of them.")
        if chosen:
            return chosen[0]
        words = ", ".join(way.value for way in Login)
        answer = self("way", f"How the BAL is logged in to ({words})", Login.PASSWORD.value)
        try:
            return Login(answer.lower())
        except ValueError:
            raise NotAsked("there is no such way to log in", hint=f"One of: {words}.") from None

    @staticmethod
    def _missing(name: str) -> NotAsked:
        option = "--" + name.replace("_", "-")
        return NotAsked(f"an answer is missing: {option}", hint=f"Give {option}.")


def _mailbox(ask: _Ask, security: Security, port: int | None) -> FirstMailbox:
    box = FirstMailbox(
        name=ask("mailbox", "A name of your own for the BAL, in logs and commands", "lbm"),
        host=ask("host", "IMAP server of your MSSanté operator"),
        security=security,
        port=port,
        ca_file=ask.path("ca_file", "Its CA file, PEM (IGC-Santé; empty: the system's)"),
        username=_username(ask),
        since=_since(
            ask("since", f"Leave mail from before this day alone, or {_ALL}", _today())
        ),
    )
    match ask.way:
        case Login.PASSWORD:
            return replace(box, password_file=_given_path(ask, "password_file"))
        case Login.CERTIFICATE:
            own = ask.path("client_certificate", "Certificate file, PKCS#12 or PEM")
            question = "Its key file, PEM (empty: the same file)"
            return replace(
                box,
                client_certificate=own,
                client_key=None if _is_pkcs12(own) else ask.path("client_key", question),
                client_passphrase_file=_given_path(ask, "client_passphrase_file"),
            )
        case Login.TOKEN:
            command = ask("token_command", "Command that prints a fresh token")
            return replace(box, token_command=tuple(shlex.split(command)))


def _given_path(ask: _Ask, name: str) -> Path | None:
    """Return a path that an option gives; it is not asked for."""
    return ask.path(name, "") if name in ask.given else None


def _is_pkcs12(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() in {".p12", ".pfx"}


def _with_secret(ask: _Ask, box: FirstMailbox, files: FirstFiles) -> FirstMailbox:
    """Ask for the secret of the login, where no file of it is given, and write it down."""
    if ask.way is Login.PASSWORD and box.password_file is None:
        written = _written(ask, box, files, name="password", question="Password of the BAL")
        return replace(box, password_file=written)
    if _is_pkcs12(box.client_certificate) and box.client_passphrase_file is None:
        question = "Passphrase of the PKCS#12 file"
        written = _written(ask, box, files, name="client_passphrase", question=question)
        return replace(box, client_passphrase_file=written)
    return box


def _written(
    ask: _Ask, box: FirstMailbox, files: FirstFiles, *, name: str, question: str
) -> Path:
    file = f"{box.name}.{name}"
    files.ensure_free(file)
    secret = ask.secret(f"{name}_file", f"{question} (not shown)")
    return files.write(file, secret + "\n", secret=True)


def _username(ask: _Ask) -> str | None:
    needed = ask.way is not Login.CERTIFICATE
    return ask("username", "Login name of the BAL", None if needed else "") or None


def _site(ask: _Ask) -> FirstSite:
    lbm = ask("lbm", "Name of the laboratory")
    finess_ej = ask("finess_ej", "Its FINESS EJ (may be empty)", "")
    finess = ask("finess", "FINESS ET of a first site")
    return FirstSite(
        lbm=lbm,
        finess_ej=finess_ej or None,
        finess=finess,
        name=ask("site", "Name of that site", f"Site {finess}"),
        folder=Path(ask("folder", "Its folder", f"/srv/sidep/{finess}")),
    )


def _today() -> str:
    return wiring.CLOCK.now().astimezone(PARIS).date().isoformat()


def _since(answer: str) -> date | None:
    if answer == _ALL:
        return None
    try:
        return date.fromisoformat(answer)
    except ValueError:
        raise NotAsked("--since is no day", hint=f"Write 2026-11-01, or {_ALL}.") from None


def _ledger(state: Path) -> str | None:
    return None if state == _STATE else f"sqlite:///{state.absolute()}/ledger.sqlite3"


def _login_fails(chosen: wiring.Configuration) -> bool:
    bad = False
    for mailbox in wiring.mailboxes(chosen):
        try:
            bad = print_findings(mailbox.check()) or bad
        except DispatcherError as error:
            screen().print(f"[red]problem[/]  {plain(error)}\n         → {plain(error.hint)}")
            bad = True
        finally:
            mailbox.close()
    return bad


def _tell_next(config: Path, *, refused: bool) -> None:
    option = "" if config == DEFAULT_CONFIG else f" --config {config}"
    if refused:
        screen().print("[yellow]The login does not work yet: put it right first.[/]")
    screen().print(
        "Next:\n"
        "  1. Add your other sites to routing.yaml, and make each site's folder.\n"
        f"  2. sudo -u sidep-dispatcher sidep-dispatcher check{option}\n"
        "  3. sudo systemctl start sidep-dispatcher     (it starts at each boot from now on)",
        soft_wrap=True,
        markup=False,
    )
