"""The entry point: commands together, errors as messages and exit statuses."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from dispatcher.cli import (
    alert,
    bordereau,
    checks,
    decide,
    demo,
    directory,
    exits,
    first,
    look,
    proof,
    purge,
    read,
    rebuild,
    report,
    rules,
    run,
    schema,
    simulate,
    status,
)  # fmt: skip
from dispatcher.cli.exits import Exit
from dispatcher.cli.screen import never_fail_on_a_letter, print_error
from dispatcher.errors import DispatcherError

app = typer.Typer(
    name="sidep-dispatcher",
    help="Brings SI-DEP certificates from a shared mailbox to each laboratory site, once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"sidep-dispatcher {version('sidep-dispatcher')}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Options before the command."""


for _module in (
    first, run, rebuild, checks, read, status, look, decide, purge, proof, bordereau, rules,
    report, alert, directory, demo, simulate, schema,
):  # fmt: skip
    _module.register(app)


def main() -> None:
    """Run the command line; the exit status is one of the contract's."""
    never_fail_on_a_letter()
    try:
        app()
    except DispatcherError as error:
        print_error(error)
        sys.exit(exits.of(error))
    except KeyboardInterrupt:
        sys.exit(Exit.TRY_LATER)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing more to say, and no traceback either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.DONE)
    except SystemExit as end:
        # The argument parser ends with 2 where sysexits.h has EX_USAGE.
        sys.exit(Exit.USAGE if end.code == 2 else end.code)  # noqa: PLR2004
