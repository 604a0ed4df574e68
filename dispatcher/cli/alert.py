"""`alert test`: sends one mail now, and says what the mail server answered."""

from __future__ import annotations

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, Config
from dispatcher.cli.screen import plain, print_error, screen
from dispatcher.errors import ConfigInvalid, InDoubt, Refused, Unavailable
from dispatcher.service.herald import send_test


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The alerts by mail.", no_args_is_help=True)
    group.command("test")(send)
    app.add_typer(group, name="alert")


def send(config: Config = DEFAULT_CONFIG) -> None:
    """Send one mail to everybody in `alerts.to`, and say what the server answered."""
    chosen = wiring.configuration(config, last_good=True)
    alerts = wiring.alerts(chosen)
    if alerts is None:
        raise ConfigInvalid((f"{config}: there is no `alerts.smtp`; see docs/alerts.md",))
    try:
        answer = send_test(alerts, wiring.CLOCK, chosen.rules.lbm)
    except (Unavailable, Refused, InDoubt) as error:
        print_error(error)
        raise typer.Exit(Exit.UNREACHABLE) from None
    screen().print(f"taken: {plain(answer)}", soft_wrap=True)
