"""`schema`: the JSON Schemas of the two files, for editors and reviews."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from dispatcher import rules, settings
from dispatcher.cli.screen import print_json


class Which(Enum):
    """The two files."""

    SETTINGS = "settings"
    ROUTING = "routing"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(which: Annotated[Which, typer.Argument(help="Which file's schema.")]) -> None:
    """Print the JSON Schema of dispatcher.yaml (settings) or routing.yaml (routing)."""
    print_json(settings.json_schema() if which is Which.SETTINGS else rules.json_schema())
