"""`demo`: the whole thing in one process tree, with embedded mail servers and a simulator."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import AsJson
from dispatcher.cli.screen import notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, balance_shape
from dispatcher.core.ledger import Entry, State
from dispatcher.errors import ConfigInvalid
from dispatcher.service.desk import Desk
from dispatcher.service.loop import Loops, MailboxLoop

if TYPE_CHECKING:
    from dispatcher.simulator.embedded import EmbeddedServers
    from dispatcher.simulator.scenario import Sending

# How long the dispatcher may take after the last message was sent (seconds).
_PATIENCE: Final = 30.0
_LOOK: Final = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    count: Annotated[int, typer.Option("--count", min=1, max=2000, help="Certificates.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same messages.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep everything in this directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send made-up certificates, faulty and foreign mail, and show what became of them."""
    _need_extra()
    place = nullcontext(directory.resolve()) if directory else _passing_directory()
    with place as top:
        report = _rehearse(top, seed=seed, count=count)
    if as_json:
        print_json(report)
    else:
        _print_report(report, kept=directory)
    raise typer.Exit(Exit.DONE if report["as_meant"] == report["sent"] else Exit.ATTENTION)


def _need_extra() -> None:
    try:
        import dispatcher.simulator.embedded  # noqa: F401, PLC0415 - only with the extra
    except ModuleNotFoundError as error:
        what = f"the demo needs {error.name}; install pip's `sidep-dispatcher[demo]`"
        raise ConfigInvalid((what,)) from None


@contextmanager
def _passing_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sidep-demo-") as name:
        yield Path(name)


def _rehearse(top: Path, *, seed: int, count: int) -> Json:
    from dispatcher.simulator import scenario  # noqa: PLC0415 - only with the extra
    from dispatcher.simulator.embedded import EmbeddedServers  # noqa: PLC0415

    with EmbeddedServers() as servers:
        config = _write_files(top, servers)
        now = wiring.CLOCK.now() - timedelta(minutes=5)
        sendings = scenario.demo(seed, count, list(scenario.SITES), now)
        chosen = wiring.configuration(config)
        with wiring.daemon_lock(chosen), wiring.open_desk(chosen) as desk:
            loops = Loops(
                [MailboxLoop(m, desk, keyword=None) for m in wiring.mailboxes(chosen)]
            )
            loops.start()
            try:
                _send(sendings, servers)
                _await_all(desk, len(sendings))
            finally:
                loops.stop(5.0, desk.clock.monotonic)
            return _report(desk, sendings, top)


def _write_files(top: Path, servers: EmbeddedServers) -> Path:
    """Write the settings, the rules and the folders that a laboratory would have."""
    from dispatcher.simulator.scenario import SITES  # noqa: PLC0415 - only with the extra

    top.mkdir(parents=True, exist_ok=True)
    password = top / "password"
    password.write_text(servers.password, encoding="utf-8")
    password.chmod(0o600)
    for site in SITES:
        (top / "sites" / site).mkdir(parents=True, exist_ok=True)
    config = top / "dispatcher.yaml"
    config.write_text(
        f"""\
mailboxes:
  demo:
    host: 127.0.0.1
    port: {servers.imap_port}
    security: plaintext
    username: {servers.username}
    password_file: {password}
    settled_keyword: null
routing: routing.yaml
ledger: sqlite:///{top / "ledger.sqlite3"}
log: {{format: console, level: error}}
""",
        encoding="utf-8",
    )
    lines = [
        f'  "{number}": {{name: "{name}", profile: desk}}' for number, name in SITES.items()
    ]
    (top / "routing.yaml").write_text(
        f"""\
version: 1
lbm: {{name: LBM de démonstration, finess_ej: "990000903"}}
profiles:
  desk:
    - {{name: folder, folder: "{top}/sites/{{finess}}"}}
sites:
"""
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )
    return config


def _send(sendings: list[Sending], servers: EmbeddedServers) -> None:
    from dispatcher.simulator.sender import Server, send_all  # noqa: PLC0415 - only with the extra

    with notes().status(f"sending {len(sendings)} messages over SMTP…"):
        send_all(sendings, Server(servers.host, servers.smtp_port))


def _await_all(desk: Desk, sent: int) -> None:
    """Wait until every message is accounted for and nothing is pending."""
    until = desk.clock.monotonic() + _PATIENCE
    pause = threading.Event()
    with notes().status("waiting for the dispatcher…"):
        while desk.clock.monotonic() < until:
            balance = desk.ledger.balance()
            if balance.received + balance.foreign >= sent and not balance.pending:
                return
            pause.wait(_LOOK)


def _report(desk: Desk, sendings: list[Sending], top: Path) -> Json:
    entries = list(desk.ledger.entries())
    balance = desk.ledger.balance()
    meant = Counter(sending.truth.state for sending in sendings)
    sites = [
        _site_report(site.name, str(site.finess), top / "sites" / str(site.finess), sendings)
        for site in desk.rules.sites.values()
    ]
    held = Counter(e.reason.value for e in entries if e.state is State.HELD and e.reason)
    found = balance_shape(balance)
    agreeing: int = sum(site["right"] for site in sites) + _held_as_meant(held, sendings)
    others = [state for state in meant if state not in {"delivered", "held"}]
    agreeing += sum(min(meant[state], found.get(state, 0)) for state in others)
    return {
        "sent": len(sendings),
        "as_meant": agreeing,
        "balance": found,
        "difference": balance.difference,
        "sites": sites,
        "held": dict(held.most_common()),
        "examples": [_held_example(entry) for entry in entries if entry.state is State.HELD],
    }


def _held_as_meant(held: Counter[str], sendings: list[Sending]) -> int:
    """Return how many were held for the reason meant; where any will do, for any."""
    reasons = [s.truth.reason for s in sendings if s.truth.state == "held"]
    named = Counter(reason for reason in reasons if reason is not None)
    right = (held & named).total()
    return right + min(reasons.count(None), (held - named).total())


def _site_report(name: str, number: str, folder: Path, sendings: list[Sending]) -> Json:
    """Compare a folder with what the simulator knows was sent to that site."""
    files = [path.read_bytes() for path in folder.iterdir()]
    meant = [
        sending.truth.document
        for sending in sendings
        if sending.truth.state == "delivered"
        and sending.truth.site == number
        and sending.truth.document is not None
    ]
    right = sum((Counter(files) & Counter(meant)).values())
    return {
        "site": number,
        "name": name,
        "sent": len(meant),
        "files": len(files),
        "right": right,
        "wrong": len(files) - right,
        "bytes": sum(len(content) for content in files),
    }


def _held_example(entry: Entry) -> Json:
    return {
        "id": entry.id,
        "reason": None if entry.reason is None else entry.reason.value,
        "detail": entry.detail,
    }


def _print_report(report: Json, *, kept: Path | None) -> None:
    print_table(
        "What lies in each site's folder",
        ("site", "name", "sent to it", "files", "right, byte for byte", "wrong"),
        (
            (s["site"], s["name"], s["sent"], s["files"], s["right"], s["wrong"])
            for s in report["sites"]
        ),
        empty="nothing",
    )
    print_table(
        "What was held, and why",
        ("id", "reason", "what a person is told"),
        ((e["id"], e["reason"], e["detail"]) for e in report["examples"]),
        empty="nothing",
    )
    print_table(
        "Balance", tuple(report["balance"]), [tuple(report["balance"].values())], empty=""
    )
    colour = "green" if report["as_meant"] == report["sent"] else "red"
    screen().print(
        f"[{colour}]{report['as_meant']} of {report['sent']} messages came to the end that the "
        f"simulator meant for them; unaccounted for: {report['difference']}.[/]"
    )
    if kept is not None:
        screen().print(f"Everything is kept in {plain(kept)}.")
        screen().print(f"Look on: sidep-dispatcher list --config {plain(kept)}/dispatcher.yaml")
