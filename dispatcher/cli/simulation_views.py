"""How `simulate` tells what it sent: tables for people, the report for programs."""

from __future__ import annotations

import json
from pathlib import Path

from dispatcher.cli.screen import plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json
from dispatcher.errors import ConfigInvalid


def require_writable(file: Path) -> None:
    """Refuse a place where no report can be written, before anything is sent."""
    try:
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigInvalid((f"--report: {error.strerror}",)) from None


def write(document: Json, file: Path | None, *, as_json: bool) -> None:
    """Write the report to its file, and tell people or programs."""
    if file is not None:
        text = json.dumps(document, ensure_ascii=False, indent=1)
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigInvalid((f"--report: {error.strerror}",)) from None
    if as_json:
        print_json(document)
    else:
        _print(document)
        if file is not None:
            screen().print(f"What must have arrived is in {plain(file)}.", soft_wrap=True)


def _print(document: Json) -> None:
    channels, routes = document["channels"], document["routes"]
    print_table(
        "How patients are reached",
        ("patients", "SMS", "e-mail", "MSSanté", "by P1", "by P2", "no mail"),
        [
            (
                document["patients"],
                *(channels[name] for name in ("sms", "email", "mssante")),
                *(routes[name] for name in ("P1", "P2", "none")),
            )
        ],
        empty="",
    )
    _print_sites(document["sites"])
    silent = [site for site in document["sites"] if site["bal"] is None and site["mssante"]]
    print_table(
        "Sites that get nothing, and why",
        ("site", "patients", "why"),
        ((site["site"], site["mssante"], site["sentence"]) for site in silent),
        empty="none",
    )
    _print_messages(document)


def _print_sites(sites: list[Json]) -> None:
    print_table(
        "By site",
        ("site", "patients", "SMS", "e-mail", "MSS", "by", "mails"),
        (
            (
                site["site"],
                *(site[name] for name in ("patients", "sms", "email", "mssante")),
                site["route"] or "none",
                site["messages"],
            )
            for site in sites
        ),
        empty="none",
    )


def _print_messages(document: Json) -> None:
    balance = dict(document["balance"])
    uncertain = balance.pop("uncertain")
    print_table(
        "What the dispatcher must come to", tuple(balance), [tuple(balance.values())], empty=""
    )
    if uncertain:
        screen().print(
            f"{uncertain} connection(s) were lost at the final dot and the message sent again: "
            "so many duplicates more are possible."
        )
    for code, count in document["refused"].items():
        screen().print(f"[red]{count} message(s) were not taken: {_said(code)}[/]")
    if document["unsent"]:
        screen().print(f"[red]Interrupted: {document['unsent']} message(s) were not sent.[/]")
    for name, count in document["not_dealt"].items():
        screen().print(
            f"[yellow]{name}: {count} fewer than asked for; too few patients, or what it "
            "needs is missing (see --list-faults)[/]"
        )


def _said(code: str) -> str:
    return "the server did not answer" if code == "0" else f"the server answered {code}"


def list_faults(*, as_json: bool) -> None:
    """Print every fault with what the dispatcher must do, and the groups."""
    from dispatcher.simulator import faults, mix  # noqa: PLC0415 - only with the extra

    groups = {name: [one.name for one in members] for name, members in faults.GROUPS.items()}
    rows = mix.listing()
    if as_json:
        listed = [
            {"name": n, "expected": must, "needs": needs or None} for n, must, needs in rows
        ]
        print_json({"faults": listed, "groups": groups})
        return
    print_table("Faults", ("name", "what the dispatcher must do"), map(_row, rows), empty="")
    print_table(
        "Groups",
        ("name", "faults"),
        ((name, _members(names)) for name, names in groups.items()),
        empty="",
    )


def _row(listed: tuple[str, str, str]) -> tuple[str, str]:
    name, must, needs = listed
    return name, f"{must} (needs {needs})" if needs else must


def _members(names: list[str]) -> str:
    few = 8
    return ", ".join(names) if len(names) <= few else f"{len(names)} of them"
