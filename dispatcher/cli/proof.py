"""`audit` and `sizing`: the proof of what was deleted, and how much room it all needs."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.bordereau import day_of
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import plain, print_json, print_table, screen
from dispatcher.core.audit import Trace
from dispatcher.core.paris import PARIS
from dispatcher.core.sizing import Size, Traffic, size
from dispatcher.errors import Unavailable
from dispatcher.ports import Ledger
from dispatcher.service.decisions import NotAsked

_COLUMNS = (
    "seq", "id", "at", "verb", "what", "certificate", "where", "rule", "answer", "by",
    "reason", "digest",
)  # fmt: skip


# The full-width signs count as well.
_FORMULA = re.compile(r"(^|[;,|\"'])(\s*[=+\-@＝＋－＠])")

_MANY = 1_000_000  # more patients a day than the country has tests


class Action(Enum):
    """What to do with the audit trail."""

    VERIFY = "verify"
    EXPORT = "export"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(audit)
    app.command()(sizing)


def audit(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="What to do with it.")],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="YYYY-MM-DD", help="Export from this day on."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write this new file instead.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Check the trail of deletions and decisions, or export it as CSV."""
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger:
        if action is Action.VERIFY:
            _verify(ledger)
            return
        begin = None if since is None else datetime.combine(day_of(since), time(), PARIS)
        text = _table(ledger.trail(begin))
    if to is None:
        sys.stdout.write(text)
    else:
        _write(to, text)


def _verify(ledger: Ledger) -> None:
    flaw = ledger.trail_flaw()
    if flaw is not None:
        screen().print(f"[red]The audit trail is broken:[/] {plain(flaw)}", soft_wrap=True)
        raise typer.Exit(Exit.ATTENTION)
    lines = list(ledger.trail())
    if not lines:
        screen().print("The audit trail is whole: it has no line.")
        return
    first, last = lines[0], lines[-1]
    screen().print(
        f"The audit trail is whole: lines {first.seq} to {last.seq}, "
        f"{first.deed.at:%Y-%m-%d} to {last.deed.at:%Y-%m-%d}."
    )
    # Written down elsewhere, this proves later that nothing before it was changed.
    screen().print(f"Its last line: {last.seq} {last.digest}", soft_wrap=True)


def _table(traces: Iterable[Trace]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180, 2
    writer.writerow(_COLUMNS)
    for trace in traces:
        deed = trace.deed
        writer.writerow(
            _cell(value)
            for value in (
                trace.seq, trace.id, deed.at.isoformat(), deed.verb, deed.what.value,
                deed.entry or "", deed.where, deed.rule, deed.answer, deed.by, deed.reason,
                trace.digest,
            )
        )  # fmt: skip
    return out.getvalue()


def _cell(value: object) -> str:
    """Return a text that no spreadsheet takes for a formula (OWASP, CSV injection).

    Not in its middle either: where the comma is the decimal sign, as in France, a
    spreadsheet may take a semicolon or a tab for the end of a cell.
    """
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return _FORMULA.sub(r"\1'\2", text)


def _write(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise NotAsked("that file is there already", hint="Name a new one.") from None
    except OSError as error:
        raise Unavailable(f"the file cannot be made: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise Unavailable(f"the file cannot be written: {error.strerror}") from error


# --- how much room


def sizing(
    patients: Annotated[
        float,
        typer.Option("--patients-per-day", metavar="N", help="Tests a day, of all sites."),
    ],
    without_contact: Annotated[
        str,
        typer.Option(
            "--without-contact", metavar="SHARE", help="Have neither mobile number nor e-mail."
        ),
    ] = "10%",
    positives: Annotated[
        str, typer.Option("--positives", metavar="SHARE", help="Share of positive results.")
    ] = "5%",
    *,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say how large the BAL must be (guide, section 5), and as measured here."""
    traffic = Traffic(_number(patients), _share(without_contact), _share(positives))
    chosen = wiring.configuration(config, last_good=True)
    sizes: list[int] = []
    if wiring.ledger_path(chosen).exists():
        with wiring.open_ledger(chosen) as ledger:
            sizes = [entry.identity.size for entry in ledger.entries()]
    terms = chosen.settings.terms
    found = size(
        traffic,
        negative=terms.negative,
        positive=terms.positive,
        mean_bytes=sum(sizes) / len(sizes) if sizes else None,
    )
    if as_json:
        print_json(
            {
                "mails_per_day": found.mails_per_day,
                "mails": found.mails,
                "negatives": found.negatives,
                "positives": found.positives,
                "bytes_at_most": found.bytes_at_most,
                "bytes_as_measured": found.bytes_as_measured,
                "measured": len(sizes),
            }
        )
        return
    _print_size(found, len(sizes))


def _print_size(found: Size, measured: int) -> None:
    rows: list[tuple[str, str]] = [
        ("mails a day", f"{found.mails_per_day:g}"),
        ("negative certificates at once", str(found.negatives)),
        ("positive certificates at once", str(found.positives)),
        ("with 1 MB each, the guide's maximum", _megabytes(found.bytes_at_most)),
    ]
    if found.bytes_as_measured is not None:
        what = f"with the mean size of {measured} mails measured here"
        rows.append((what, _megabytes(found.bytes_as_measured)))
    print_table("Size of the BAL", ("what", "value"), rows, empty="")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:,.0f} MB".replace(",", " ")


def _number(patients: float) -> float:
    if not 0 < patients < _MANY:
        raise NotAsked("that is no number of patients", hint="Write, for example, 800.")
    return patients


def _share(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%", text.strip(), re.ASCII)
    if match is None or float(match[1]) > 100:  # noqa: PLR2004 - per cent
        raise NotAsked("a share belongs here", hint="Write it in per cent, such as 10%.")
    return float(match[1]) / 100
