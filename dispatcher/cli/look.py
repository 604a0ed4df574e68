"""`list`, `show`, `verify`: what the ledger says, and whether it is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import finess_et
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config, EntryId
from dispatcher.cli.screen import (
    local,
    local_text,
    notes,
    plain,
    print_json,
    print_table,
    screen,
)
from dispatcher.cli.shapes import Json, assessment_shape, entry_shape
from dispatcher.core.certificate import HoldReason
from dispatcher.core.ledger import Act, Delivery, DeliveryState, Entry, Event, State
from dispatcher.errors import DispatcherError
from dispatcher.service.assess import Assessment, assess
from dispatcher.service.decisions import NotAsked
from dispatcher.service.verify import verify as differences_of


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_entries)
    app.command()(show)
    app.command()(verify)


def list_entries(
    state: Annotated[State | None, typer.Option("--state", help="Only this state.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Only this ET number.")] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List the messages of the ledger, oldest first."""
    number = None if site is None else finess_et(site)
    with wiring.open_ledger(wiring.configuration(config, last_good=True)) as ledger:
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
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger, wiring.open_inspector() as inspector:
        entry = ledger.entry(entry_id)
        if entry is None:
            raise NotAsked("no message has this id", hint="`list` shows the ids.")
        history, acts = ledger.history(entry_id), ledger.acts(entry_id)
        assessment = _read_again(entry, chosen, inspector)
    shape = entry_shape(entry)
    shape["detail"] = entry.detail
    shape["rules"] = entry.rules
    shape["copies"] = [_copy_shape(one, history, acts) for one in entry.deliveries]
    shape["kept_until"] = None if entry.kept_until is None else entry.kept_until.isoformat()
    shape["emptied_at"] = None if entry.emptied_at is None else entry.emptied_at.isoformat()
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
    chosen = wiring.configuration(config, last_good=True)
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


def _print_entry(entry: Entry, shape: Json) -> None:
    deliveries, copies = shape.pop("deliveries"), shape.pop("copies")
    history, decisions = shape.pop("history"), shape.pop("decisions")
    message = shape.pop("message")
    print_table(f"Message {entry.id}", ("what", "value"), shape.items(), empty="")
    print_table(
        "Deliveries",
        ("target", "kind", "copy", "state", "attempts", "because", "asked for by", "why"),
        (
            (
                d["target"],
                d["kind"],
                c["copy"] + 1,
                d["state"],
                d["attempts"],
                c["because"],
                c["asked_by"],
                c["asked_why"],
            )
            for d, c in zip(deliveries, copies, strict=True)
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
        told = ({**row, "at": local_text(row["at"])} for row in rows)
        print_table(title, tuple(rows[0]), (tuple(row.values()) for row in told), empty="")


def _copy_shape(delivery: Delivery, history: Sequence[Event], acts: Sequence[Act]) -> Json:
    """Return what only `show` tells of a delivery: its copy, and who asked for that one."""
    act = _asked_in(delivery, history, acts)
    return {
        "id": delivery.id,
        "target": delivery.target,
        "copy": delivery.copy,
        "rules": delivery.rules,
        "because": delivery.because,
        "asked_by": None if act is None else act.by,
        "asked_why": None if act is None else act.reason,
    }


def _asked_in(delivery: Delivery, history: Sequence[Event], acts: Sequence[Act]) -> Act | None:
    """Return the decision in which a person asked for this very print, if one did."""
    if not delivery.asked:
        return None
    verb, was = ("reprint", None) if delivery.copy else ("print", DeliveryState.WAITING)
    asked_at = [
        event.at
        for event in history
        if event.delivery == delivery.id
        and event.was is was
        and event.became is DeliveryState.DECIDED
    ]
    # A decision is dated just before the transaction in which it is carried out.
    said = [act for act in acts if act.verb == verb and asked_at and act.at <= asked_at[-1]]
    return said[-1] if said else None


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
