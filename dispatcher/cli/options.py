"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = Path("/etc/sidep-dispatcher/dispatcher.yaml")

Config = Annotated[
    Path,
    typer.Option(
        "--config",
        envvar="SIDEP_DISPATCHER_CONFIG",
        help="The settings file.",
        show_default=str(DEFAULT_CONFIG),
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, and nothing else.")
]
EntryId = Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; it goes to the audit trail with your name.")
]
