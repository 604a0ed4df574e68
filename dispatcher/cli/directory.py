"""`directory`: which BAL SI-DEP chooses for each site, why none, and what changed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli import directory_shapes as shapes
from dispatcher.cli import directory_views as views
from dispatcher.cli.decide import finess_et
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import (
    notes,
    plain,
    print_json,
)
from dispatcher.cli.shapes import Json
from dispatcher.cli.status import is_failing
from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.core.ledger import State
from dispatcher.errors import DispatcherError
from dispatcher.registry import finess as finess_file
from dispatcher.registry import mssante as mssante_file
from dispatcher.registry.beginning import beginning
from dispatcher.registry.changes import changes
from dispatcher.registry.matching import choose
from dispatcher.registry.oddities import Noted, not_whole
from dispatcher.registry.review import Ours, SiteReview, review, site_review
from dispatcher.registry.values import Directory, Register
from dispatcher.service.decisions import NotAsked

app = typer.Typer(
    name="directory",
    help="Say which BAL SI-DEP chooses for each site, and why none; works offline.",
    no_args_is_help=True,
)

Finess = Annotated[
    list[Path],
    typer.Option(
        "--finess",
        metavar="FILE",
        help="The FINESS establishments file; once more for the legal bodies file.",
    ),
]
Mssante = Annotated[
    Path,
    typer.Option("--mssante", metavar="FILE", help="The extraction of the MSSanté directory."),
]
Ej = Annotated[
    str | None,
    typer.Option("--ej", metavar="N", help="The legal body; else `lbm.finess_ej`."),
]
Bals = Annotated[
    list[str] | None,
    typer.Option(
        "--bal",
        metavar="ADDRESS",
        help="A BAL that is read here, where a mailbox's `username` is not its address.",
    ),
]


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    for command in (check, why, diff, init):
        app.command()(command)
    parent.add_typer(app)


def check(
    *,
    finess: Finess,
    mssante: Mssante,
    ej: Ej = None,
    bal: Bals = None,
    as_json: AsJson = False,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write the table as CSV; - is standard output."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Compare SI-DEP's choices with routing.yaml and the mailboxes."""
    if as_json and csv == Path("-"):
        raise NotAsked("--json and --csv - both write to standard output")
    chosen = _configuration(config)
    body = _legal_body(ej, chosen)
    register_, noted = _read_finess(finess)
    directory, more = _read_mssante(mssante)
    noted = (*noted, *more)
    found = review(body, register_, directory, ours=_ours(chosen, bal))
    if csv is not None:
        _write_csv(csv, shapes.review_csv(found))
    if as_json:
        print_json(shapes.review_shape(found, noted))
    elif csv != Path("-"):
        views.print_review(found, noted, compared=chosen is not None)
    raise _ended(noted, wrong=found.wrong)


def why(
    site: Annotated[str, typer.Argument(metavar="ET", help="The site's number.")],
    *,
    finess: Finess,
    mssante: Mssante,
    bal: Bals = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say in sentences where a site's certificates go, and what came from it so far."""
    number = finess_et(site)
    chosen = _configuration(config)
    register_, noted = _read_finess(finess)
    directory, more = _read_mssante(mssante)
    noted = (*noted, *more)
    found = site_review(number, register_, directory, ours=_ours(chosen, bal))
    past = None if chosen is None else _history(number, chosen)
    if as_json:
        print_json(_why_shape(found, past, noted))
    else:
        views.print_noted(noted)
        views.print_why(found, past)
    wrong = found.choice.address is None or any(remark.wrong for remark in found.remarks)
    raise _ended(noted, wrong=wrong)


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The earlier extraction.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The later extraction.")],
    *,
    finess: Finess,
    ej: Ej = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say which sites' certificates go elsewhere by a newer extraction of the directory."""
    chosen = _configuration(config)
    body = _legal_body(ej, chosen)
    known, noted = _read_finess(finess)
    before, noted_before = _read_mssante(old)
    after, noted_after = _read_mssante(new)
    sites = {row.site for row in known.sites_of(body)}
    if chosen is not None:
        sites |= set(chosen.rules.sites)
    if not sites:
        raise _no_site(body, known)
    found = changes(sites, known, old=before, new=after)
    odd = (*noted, *noted_before, *noted_after)
    if as_json:
        print_json(
            {
                "legal_body": str(body),
                "sites": len(sites),
                "changes": [shapes.change_shape(change) for change in found],
                "oddities": [shapes.noted_shape(one) for one in odd],
            }
        )
    else:
        views.print_noted(odd)
        views.print_changes(found, len(sites))
    raise _ended(odd, wrong=any(change.moves_mail for change in found))


def init(
    *,
    ej: Annotated[str, typer.Option("--ej", metavar="N", help="The legal body's number.")],
    finess: Finess,
    mssante: Annotated[
        Path | None,
        typer.Option(
            "--mssante",
            metavar="FILE",
            help="The directory: adds each site's BAL as a comment.",
        ),
    ] = None,
) -> None:
    """Print the beginning of a routing.yaml with every site of a legal body."""
    body = _finess_ej(ej)
    known, noted = _read_finess(finess)
    rows = known.sites_of(body)
    if not any(row.closed_on is None for row in rows):
        raise _no_site(body, known)
    choices = {}
    if mssante is not None:
        listed, more = _read_mssante(mssante)
        noted = (*noted, *more)
        choices = {row.site: choose(row.site, known, listed) for row in rows}
    views.print_noted(noted)
    owner = known.legal_bodies.get(body)
    name = owner.name if owner else ""
    sys.stdout.write(beginning(body, name, rows, choices=choices))


# --- what the commands take ---------------------------------------------------------------


def _configuration(path: Path) -> wiring.Configuration | None:
    """Load both files; None where nobody named a file and the usual one does not exist.

    The registers can be asked before anything is installed.
    """
    if path == DEFAULT_CONFIG:
        try:
            path.stat()
        except FileNotFoundError:
            return None
        except OSError:
            pass  # it is there: loading it says why it cannot be read
    return wiring.configuration(path)


def _legal_body(text: str | None, chosen: wiring.Configuration | None) -> FinessEJ:
    if text is not None:
        return _finess_ej(text)
    if chosen is None or chosen.rules.legal_body is None:
        raise NotAsked(
            "which legal body?", hint="Give --ej N, or lbm.finess_ej in routing.yaml."
        )
    return chosen.rules.legal_body


def _finess_ej(text: str) -> FinessEJ:
    return FinessEJ(finess_et(text).number)


def _no_site(body: FinessEJ, known: Register) -> NotAsked:
    row = known.establishments.get(FinessET(body.number))
    hint = "Compare the number, and the date of the file."
    if row is not None:
        hint = f"It is the number of a site, whose legal body is {row.legal_body or 'unknown'}."
    return NotAsked(f"the register has no open site of the legal body {body}", hint=hint)


def _ours(chosen: wiring.Configuration | None, named: list[str] | None) -> Ours:
    """Return the laboratory's own side; a login name that is no address names no BAL."""
    bals = [address.strip().lower() for address in named or ()]
    if chosen is None:
        return Ours(bals=tuple(bals))
    boxes = chosen.settings.mailboxes.values()
    bals += [box.username.lower() for box in boxes if box.username and "@" in box.username]
    sites = chosen.rules.sites.values()
    return Ours(
        {site.finess: site.name for site in sites},
        frozenset(alias for site in sites for alias in site.aliases),
        tuple(dict.fromkeys(bals)),
    )


def _read_finess(paths: list[Path]) -> tuple[Register, tuple[Noted, ...]]:
    with notes().status("reading the FINESS register…"):
        return finess_file.load(*paths)


def _read_mssante(path: Path) -> tuple[Directory, tuple[Noted, ...]]:
    with notes().status("reading the MSSanté directory…"):
        return mssante_file.load(path)


# --- what they answer -----------------------------------------------------------------


def _ended(noted: Iterable[Noted], *, wrong: bool) -> typer.Exit:
    """Return the end of a command; no answer made from half a register is a good one."""
    return typer.Exit(Exit.ATTENTION if wrong or not_whole(noted) else Exit.DONE)


def _why_shape(found: SiteReview, past: Json | None, noted: Iterable[Noted]) -> Json:
    return {
        **shapes.site_shape(found),
        "remarks": [shapes.remark_shape(remark) for remark in found.remarks],
        "history": past,
        "oddities": [shapes.noted_shape(one) for one in noted],
    }


def _write_csv(path: Path, text: str) -> None:
    if path == Path("-"):
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise NotAsked(f"{path} cannot be written ({reason})") from None


# --- our own history ----------------------------------------------------------------------


def _history(site: FinessET, chosen: wiring.Configuration) -> Json | None:
    """Return what the ledger says of a site; None without a ledger that can be read."""
    try:
        if not wiring.ledger_path(chosen).exists():
            return None
        with wiring.open_ledger(chosen) as ledger:
            entries = list(ledger.entries(site=site))
    except (DispatcherError, PermissionError) as error:
        notes().print(f"[yellow]the ledger cannot be read:[/] {plain(error)}", soft_wrap=True)
        return None
    last = max((entry.received_at for entry in entries), default=None)
    return {
        "received": len(entries),
        "last_received_at": None if last is None else last.isoformat(),
        "held": sum(entry.state is State.HELD for entry in entries),
        "failing": sum(is_failing(entry) for entry in entries),
    }
