"""`demo`: a rehearsal in one process tree, with embedded mail servers and a simulator."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from dispatcher.cli import rehearsal, rehearsal_views
from dispatcher.cli.exits import Exit
from dispatcher.cli.extras import need_demo
from dispatcher.cli.options import AsJson
from dispatcher.cli.rehearsal import Place
from dispatcher.cli.screen import print_json
from dispatcher.cli.signals import STOP, Signals
from dispatcher.service.decisions import NotAsked
from dispatcher.service.loop import Loops
from dispatcher.service.rulebook import Rulebook

# How often what people decided and changed rules are looked at (seconds).
_LOOK: Final = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(  # noqa: PLR0917 - typer reads every option from here
    count: Annotated[
        int, typer.Option("--count", min=1, max=2000, help="Sound certificates.")
    ] = 120,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same messages.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep everything in this directory.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Stay open for training until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rehearse a day of sixty sites: made-up certificates, faults, what became of them."""
    need_demo("the demo")
    top = nullcontext(_new(directory)) if directory else _passing_directory()
    with (
        top as kept,
        rehearsal.laboratory(kept) as place,
        rehearsal.dispatcher(place) as (desk, loops, rules),
    ):
        report = rehearsal.rehearse(place, desk, seed=seed, count=count)
        if as_json:
            print_json(report)
        else:
            rehearsal_views.print_day(report)
        if serve:
            _serve(place, loops, rules, told=not as_json)
    if directory is not None and not as_json:
        rehearsal_views.print_kept(directory.resolve())
    raise typer.Exit(Exit.DONE if report["as_meant"] == report["sent"] else Exit.ATTENTION)


def _new(directory: Path) -> Path:
    """Return a directory to keep everything in. Raises NotAsked when anything is in it.

    The demo writes a dispatcher.yaml, a routing.yaml and a password of its own, and counts
    what lies in the sites' folders: neither may meet those of somebody else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        empty = not any(directory.iterdir())
    except OSError as error:
        raise NotAsked(f"--dir: {error.strerror}", hint="Name a directory to make.") from error
    if not empty:
        raise NotAsked("--dir: the directory is not empty", hint="Take a new one.")
    return directory.resolve()


@contextmanager
def _passing_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sidep-demo-") as name:
        yield Path(name)


def _serve(place: Place, loops: Loops, rules: Rulebook, *, told: bool) -> None:
    """Keep everything running until SIGINT or SIGTERM; take what people decide and change."""
    signals = Signals(*STOP)
    if told:
        rehearsal_views.print_served(place)
        sys.stdout.flush()
    while signals.wait(_LOOK) is None and loops.broken is None:
        rules.look()
        loops.wake_due()
    if loops.broken is not None:
        raise loops.broken
