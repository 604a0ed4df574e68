"""`status`, `list`, `show`, `verify`: what the ledger says, and whether it is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import finess_et
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config, EntryId
from dispatcher.cli.screen import local, notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, assessment_shape, balance_shape, entry_shape
from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import Act, DeliveryState, Entry, Event, State
from dispatcher.errors import DispatcherError
from dispatcher.ports import Ledger
from dispatcher.service.assess import Assessment, assess
from dispatcher.service.decisions import NotAsked
from dispatcher.service.verify import verify as differences_of


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command("list")(list_entries)
    app.command()(show)
    app.command()(verify)


def status(as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Show the balance, the oldest unsettled message, mailboxes, sites and targets."""
    chosen = wiring.configuration(config)
    with wiring.open_ledger(chosen) as ledger:
        shape = _status_shape(ledger, chosen)
    if as_json:
        print_json(shape)
    else:
        _print_status(shape)
    balance = shape["balance"]
    wrong = shape["difference"] or shape["failing"] or shape["removed_by_others"]
    attention = balance["held"] or wrong
    raise typer.Exit(Exit.ATTENTION if attention else Exit.DONE)


def list_entries(
    state: Annotated[State | None, typer.Option("--state", help="Only this state.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Only this ET number.")] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List the messages of the ledger, oldest first."""
    number = None if site is None else finess_et(site)
    with wiring.open_ledger(wiring.configuration(config)) as ledger:
        entries = list(ledger.entries(state=state, site=number))
    if as_json:
        print_json([entry_shape(entry) for entry in entries])
        return
    print_table(
        "Messages (times in Europe/Paris)",
        ("id", "state", "reason", "site", "result", "received", "kept until", "deliveries"),
        (_entry_row(entry) for entry in entries),
        empty="none",
    )


def show(entry_id: EntryId, as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Show one message; its details are read again from the mailbox."""
    chosen = wiring.configuration(config)
    with wiring.open_ledger(chosen) as ledger, wiring.open_inspector() as inspector:
        entry = ledger.entry(entry_id)
        if entry is None:
            raise NotAsked("no message has this id", hint="`list` shows the ids.")
        history, acts = ledger.history(entry_id), ledger.acts(entry_id)
        assessment = _read_again(entry, chosen, inspector)
    shape = entry_shape(entry)
    shape["detail"] = entry.detail
    shape["history"] = [_event_shape(event) for event in history]
    shape["decisions"] = [_act_shape(act) for act in acts]
    until = entry.purge_at
    shape["message"] = None if assessment is None else assessment_shape(assessment, until)
    if as_json:
        print_json(shape)
    else:
        _print_entry(entry, shape)


def verify(config: Config = DEFAULT_CONFIG) -> None:
    """Check the ledger again against mailboxes, folders and itself."""
    chosen = wiring.configuration(config)
    found = 0
    with wiring.open_desk(chosen) as desk, notes().status("comparing…"):
        for difference in differences_of(wiring.mailboxes(chosen), desk):
            found += 1
            screen().print(f"[red]different[/] {plain(difference.id)} {plain(difference.what)}")
    if found:
        screen().print(f"{found} difference(s)")
        raise typer.Exit(Exit.ATTENTION)
    screen().print("The ledger, the mailboxes and the folders say the same.")


def _read_again(
    entry: Entry, chosen: wiring.Configuration, inspector: wiring.PdfInspector
) -> Assessment | None:
    mailbox = next((m for m in wiring.mailboxes(chosen) if m.name == entry.ref.mailbox), None)
    if mailbox is None or not entry.present:
        return None
    try:
        if mailbox.select(read_only=True).uidvalidity != entry.ref.uidvalidity:
            return None
        fetched = list(mailbox.fetch([entry.ref.uid]))
    except DispatcherError as error:
        notes().print(f"[yellow]the mailbox cannot be read now:[/] {plain(error)}")
        return None
    finally:
        mailbox.close()
    reader = wiring.reader(chosen, inspector)
    found = assess([one.raw for one in fetched], reader)
    return found[0] if found else None


def _status_shape(ledger: Ledger, chosen: wiring.Configuration) -> Json:
    balance = ledger.balance()
    entries = list(ledger.entries())
    unsettled = [e for e in entries if e.state in {State.PENDING, State.HELD}]
    oldest = min(unsettled, key=lambda e: e.received_at, default=None)
    now = wiring.CLOCK.now()
    return {
        "balance": balance_shape(balance),
        "difference": balance.difference,
        "failing": sum(1 for e in entries if is_failing(e)),
        "removed_by_others": [e.id for e in unsettled if not e.present],
        "held": dict(Counter(e.reason.value for e in entries if e.reason is not None)),
        "oldest_unsettled": None if oldest is None else _oldest_shape(oldest, now),
        "mailboxes": [_mailbox_shape(ledger, name) for name in chosen.settings.mailboxes],
        "targets": _target_shapes(entries, chosen),
        "rules": {"digest": chosen.rules.digest, "sites": len(chosen.rules.sites)},
        "service": {"running": wiring.is_running(chosen)},
    }


def is_failing(entry: Entry) -> bool:
    """Whether some delivery of a message was tried and has not come about."""
    waits = {DeliveryState.DECIDED, DeliveryState.IN_DOUBT}
    return any(d.attempts and d.state in waits for d in entry.deliveries)


def _oldest_shape(entry: Entry, now: datetime) -> Json:
    age = (now - entry.received_at).total_seconds()
    return {
        "id": entry.id,
        "state": entry.state.value,
        "received_at": entry.received_at.isoformat(),
        "age_seconds": round(age),
    }


def _mailbox_shape(ledger: Ledger, name: str) -> Json:
    place = ledger.place(name)
    return {
        "name": name,
        "last_good_contact": None if place is None else place.checked_at.isoformat(),
        "uidvalidity": None if place is None else place.uidvalidity,
    }


def _target_shapes(entries: Iterable[Entry], chosen: wiring.Configuration) -> list[Json]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    because: dict[tuple[str, str], str] = {}
    for site in chosen.rules.sites.values():
        for target in site.targets:
            counts[str(site.finess), target.name] = Counter()
    for entry in entries:
        for delivery in entry.deliveries:
            key = (str(entry.site), delivery.target)
            counts.setdefault(key, Counter())[delivery.state.value] += 1
            if delivery.state is not DeliveryState.DELIVERED and delivery.because:
                because[key] = delivery.because
    states = [state.value for state in DeliveryState]
    return [
        {"site": key[0], "target": key[1], "because": because.get(key)}
        | {state: count[state] for state in states}
        for key, count in sorted(counts.items())
    ]


def _print_status(shape: Json) -> None:
    print_table(
        "Balance", tuple(shape["balance"]), [tuple(shape["balance"].values())], empty=""
    )
    if shape["difference"]:
        screen().print(f"[red]{shape['difference']} message(s) unaccounted for: run verify[/]")
    running = "running" if shape["service"]["running"] else "[yellow]not running[/]"
    screen().print(f"Service: {running}")
    oldest = shape["oldest_unsettled"]
    if oldest:
        age = oldest["age_seconds"] // 60
        screen().print(f"Oldest unsettled: {oldest['id']} ({oldest['state']}), {age} min")
    if shape["removed_by_others"]:
        ids = ", ".join(shape["removed_by_others"])
        screen().print(f"[red]Removed from the mailbox by others before delivery: {ids}[/]")
    print_table(
        "Mailboxes",
        ("mailbox", "last good contact", "uidvalidity"),
        (
            (box["name"], _local(box["last_good_contact"]), box["uidvalidity"])
            for box in shape["mailboxes"]
        ),
        empty="none",
    )
    waits = ("waiting", "delivering", "in_doubt")
    print_table(
        "Sites",
        ("site", "target", "delivered", "to do", "under way", "held", "because"),
        (
            (
                t["site"], t["target"], t["delivered"], t["decided"],
                sum(t[state] for state in waits), t["held"], t["because"],
            )
            for t in shape["targets"]
        ),
        empty="none",
    )  # fmt: skip
    if shape["held"]:
        print_table("Held", ("reason", "count"), shape["held"].items(), empty="")


def _print_entry(entry: Entry, shape: Json) -> None:
    deliveries = shape.pop("deliveries")
    history, decisions = shape.pop("history"), shape.pop("decisions")
    message = shape.pop("message")
    print_table(f"Message {entry.id}", ("what", "value"), shape.items(), empty="")
    print_table(
        "Deliveries",
        ("target", "kind", "state", "attempts", "because"),
        (
            (d["target"], d["kind"], d["state"], d["attempts"], delivery.because)
            for d, delivery in zip(deliveries, entry.deliveries, strict=True)
        ),
        empty="none",
    )
    if message and message["outcome"] != "foreign":
        rows = [
            (source, *(claim or {}).values()) for source, claim in message["sources"].items()
        ]
        columns = ("source", "site (ET)", "file number", "last name", "first name")
        print_table("What each source says", columns, rows, empty="")
    elif entry.reason is HoldReason.TOO_LARGE:
        screen().print("The message is too large to be read here; look at it in the mailbox.")
    else:
        screen().print("The message is not in the mailbox any more, or cannot be read now.")
    _print_rows("History", history)
    _print_rows("Decisions", decisions)


def _print_rows(title: str, rows: list[Json]) -> None:
    if rows:
        told = ({**row, "at": _local(row["at"])} for row in rows)
        print_table(title, tuple(rows[0]), (tuple(row.values()) for row in told), empty="")


def _local(text: str | None) -> str:
    return local(None if text is None else datetime.fromisoformat(text))


def _event_shape(event: Event) -> Json:
    return {
        "at": event.at.isoformat(),
        "delivery": event.delivery,
        "was": None if event.was is None else event.was.value,
        "became": event.became.value,
        "because": event.because,
    }


def _act_shape(act: Act) -> Json:
    return {"at": act.at.isoformat(), "verb": act.verb, "by": act.by, "reason": act.reason}


def _entry_row(entry: Entry) -> tuple[object, ...]:
    deliveries = ", ".join(f"{d.target}: {d.state.value}" for d in entry.deliveries)
    return (
        entry.id,
        entry.state.value,
        None if entry.reason is None else entry.reason.value,
        entry.site,
        None if entry.result is None else entry.result.value,
        local(entry.received_at),
        local(entry.purge_at),
        deliveries,
    )
