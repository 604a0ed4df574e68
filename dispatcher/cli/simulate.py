"""`simulate`: the pretend SI-DEP sends a population's certificates to a real mail server."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from dispatcher.cli import relay, simulation, simulation_views
from dispatcher.cli.exits import Exit
from dispatcher.cli.extras import need_demo
from dispatcher.cli.options import AsJson
from dispatcher.cli.relay import Login
from dispatcher.cli.simulation import Wanted

_EVERYDAY: Final = "sent-again:0.5%,replacement:0.5%"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(  # noqa: PLR0917 - typer reads every option from here
    patients: Annotated[
        int, typer.Option("--patients", min=0, max=200_000, help="People to invent.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same people.")] = 1,
    finess_file: Annotated[
        list[Path] | None,
        typer.Option("--finess", help="FINESS establishments file; may be repeated."),
    ] = None,
    mssante_file: Annotated[
        Path | None, typer.Option("--mssante", help="MSSanté directory extraction.")
    ] = None,
    smtp: Annotated[
        str | None, typer.Option("--smtp", metavar="HOST:PORT", help="The server to send to.")
    ] = None,
    ej: Annotated[
        list[str] | None,
        typer.Option("--ej", help="Only sites of this legal body; may be repeated."),
    ] = None,
    files: Annotated[
        Path | None, typer.Option("--files", help="Patients of your own, CSV.")
    ] = None,
    faults: Annotated[
        str, typer.Option("--faults", help="NAME:SHARE% or NAME:COUNT, by commas; or none.")
    ] = _EVERYDAY,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="List the faults and end.")
    ] = False,
    without_contact: Annotated[
        float,
        typer.Option("--without-contact", min=0, max=100, help="Percent nobody can reach."),
    ] = 10.0,
    start: Annotated[
        datetime | None,
        typer.Option("--start", formats=["%Y-%m-%d"], help="The day of the tests."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, help="Send as that day goes, so much faster."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N/s", help="At most so many messages.")
    ] = None,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=32, help="SMTP connections at once.")
    ] = 4,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write what must arrive, as JSON.")
    ] = None,
    unrouted: Annotated[
        list[str] | None,
        typer.Option("--unrouted", metavar="ET", help="A site not in routing.yaml."),
    ] = None,
    refuses: Annotated[
        list[str] | None,
        typer.Option(
            "--refuses", metavar="ET:RESULT", help="A result that no target of it takes."
        ),
    ] = None,
    security: Annotated[
        str, typer.Option("--security", help="plaintext, starttls or tls.")
    ] = "plaintext",
    username: Annotated[str | None, typer.Option("--username", help="SMTP login.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="Holds the SMTP password.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="The server's authority, PEM.")
    ] = None,
    client_certificate: Annotated[
        Path | None, typer.Option("--client-certificate", help="PEM, for TLS.")
    ] = None,
    client_key: Annotated[
        Path | None, typer.Option("--client-key", help="PEM, where it is a file of its own.")
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option(
            "--yes-send-to", metavar="HOST", help="Allow a server beyond this machine."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Invent patients, choose channel and BAL as SI-DEP does, and send the certificates."""
    need_demo("simulate")
    if list_faults:
        simulation_views.list_faults(as_json=as_json)
        return
    if smtp is None or finess_file is None or mssante_file is None:
        raise typer.BadParameter("--smtp, --finess and --mssante are needed")
    if not patients and files is None:
        raise typer.BadParameter("--patients or --files is needed")
    if speed is not None and start is None:
        raise typer.BadParameter("--speed needs --start, the day that it goes through")
    login = Login(security, username, password_file, ca_file, client_certificate, client_key)
    server = relay.server(smtp, login, consent=consent)
    wanted = Wanted(
        finess=tuple(finess_file),
        mssante=mssante_file,
        patients=patients,
        seed=seed,
        legal_bodies=tuple(ej or ()),
        files=files,
        faults=faults,
        without_contact=without_contact / 100,
        start=None if start is None else start.date(),
        speed=speed,
        rate=rate,
        connections=connections,
        unrouted=tuple(unrouted or ()),
        refuses=tuple(refuses or ()),
    )
    if report_file is not None:
        simulation_views.require_writable(report_file)
    document = simulation.run(wanted, server)
    simulation_views.write(document, report_file, as_json=as_json)
    failed = any(document[name] for name in ("failed", "unsent", "not_dealt"))
    sound = document["registers_whole"] and not failed
    raise typer.Exit(Exit.DONE if sound else Exit.ATTENTION)
