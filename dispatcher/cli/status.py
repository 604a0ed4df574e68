"""`status`: the balance, the mailboxes, and how far each site's certificates are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import local_text, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, balance_shape
from dispatcher.core.delivery import MAYBE_TWICE
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, State
from dispatcher.ports import Ledger
from dispatcher.service import refused_rules
from dispatcher.service.daily import last_day
from dispatcher.service.hindrance import Hindrance, hindrances
from dispatcher.service.lanes import Lane
from dispatcher.service.purge import TOLD, Brake, brakes, quota
from dispatcher.service.purge.copies import changed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Show the balance, the oldest unsettled message, mailboxes, sites and targets."""
    chosen, problems = wiring.configuration_to_look(config)
    with wiring.open_ledger(chosen) as ledger:
        shape = _status_shape(ledger, chosen, problems)
    if as_json:
        print_json(shape)
    else:
        _print_status(shape)
    balance = shape["balance"]
    wrong = shape["difference"] or shape["failing"] or shape["removed_by_others"]
    wrong = wrong or shape["left_on_sites"] or any(map(_alarming, shape["mailboxes"]))
    wrong = wrong or shape["rules"]["refused"]
    attention = balance["held"] or wrong
    raise typer.Exit(Exit.ATTENTION if attention else Exit.DONE)


def _status_shape(
    ledger: Ledger, chosen: wiring.Configuration, problems: Sequence[str]
) -> Json:
    balance = ledger.balance()
    entries = list(ledger.entries())
    unsettled = [e for e in entries if e.state in {State.PENDING, State.HELD}]
    oldest = min(unsettled, key=lambda e: e.received_at, default=None)
    now = wiring.CLOCK.now()
    running = wiring.is_running(chosen)
    return {
        "balance": balance_shape(balance),
        "difference": balance.difference,
        "failing": sum(1 for e in entries if is_failing(e)),
        "removed_by_others": [e.id for e in unsettled if not e.present],
        "left_on_sites": [_left_shape(e, d) for e, d in changed(ledger.changed_copies())],
        "maybe_printed_twice": [e.id for e in entries if _maybe_twice(e)],
        "held": dict(Counter(e.reason.value for e in entries if e.reason is not None)),
        "oldest_unsettled": None if oldest is None else _oldest_shape(oldest, now),
        "mailboxes": [_mailbox_shape(ledger, name) for name in chosen.settings.mailboxes],
        "targets": _target_shapes(ledger, entries, chosen),
        "rules": {
            "digest": chosen.rules.digest,
            "sites": len(chosen.rules.sites),
            "refused": _refused_shape(ledger, problems, running=running),
        },
        "service": {"running": running},
    }


def _refused_shape(ledger: Ledger, problems: Sequence[str], *, running: bool) -> Json | None:
    """Return since when the old rules stay, by the running service, and what is wrong."""
    kept = refused_rules.read(ledger) if running else None
    told = list(problems) or ([] if kept is None else list(kept.problems))
    if not told:
        return None
    return {"since": None if kept is None else kept.since_at.isoformat(), "problems": told}


def is_failing(entry: Entry) -> bool:
    """Whether some delivery of a message was tried and has not come about."""
    waits = {DeliveryState.DECIDED, DeliveryState.IN_DOUBT}
    return any(d.attempts and d.state in waits for d in entry.deliveries)


def _maybe_twice(entry: Entry) -> bool:
    return any(MAYBE_TWICE in delivery.because for delivery in entry.deliveries)


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
    last, filling = ledger.last_did(f"purge {name}"), quota.read(ledger, name)
    braked = brakes.read(ledger, name)
    return {
        "name": name,
        "last_good_contact": None if place is None else place.checked_at.isoformat(),
        "uidvalidity": None if place is None else place.uidvalidity,
        "last_purge": None if last is None else last.isoformat(),
        "brakes": [] if braked is None else sorted(one.value for one in braked.brakes),
        "quota": None
        if filling is None
        else {"used": filling.used, "limit": filling.limit, "percent": filling.percent},
    }


def _alarming(mailbox: Json) -> bool:
    """Whether a brake is an alarm; before the first purge it is only a question."""
    return bool(mailbox["brakes"]) and Brake.FIRST_PURGE.value not in mailbox["brakes"]


def _left_shape(entry: Entry, delivery: Delivery) -> Json:
    site = delivery.site or entry.site
    return {"id": entry.id, "site": str(site or ""), "target": delivery.target}


def _target_shapes(
    ledger: Ledger, entries: Sequence[Entry], chosen: wiring.Configuration
) -> list[Json]:
    found: dict[Lane, list[Delivery]] = {
        (site.finess, target.name): []
        for site in chosen.rules.sites.values()
        for target in site.targets
    }
    for entry in entries:
        for delivery in entry.deliveries:
            site = delivery.site or entry.site
            if site is not None:
                found.setdefault((site, delivery.target), []).append(delivery)
    hindered = hindrances(ledger, entries)
    return [
        _target_shape(ledger, lane, deliveries) | _hindrance_shape(hindered.get(lane))
        for lane, deliveries in sorted(found.items(), key=_place)
    ]


def _place(item: tuple[Lane, object]) -> tuple[str, str]:
    (site, target), _ = item
    return str(site), target


def _target_shape(ledger: Ledger, lane: Lane, deliveries: Sequence[Delivery]) -> Json:
    site, target = lane
    counts = Counter(delivery.state for delivery in deliveries)
    waiting = [one for one in deliveries if one.state is DeliveryState.WAITING]
    openings = [one.next_try_at for one in waiting if one.next_try_at is not None]
    until = min(openings, default=None)
    listed = last_day(ledger, lane)
    return {
        "site": str(site),
        "target": target,
        "waits_until": None if until is None else until.isoformat(),
        "waits_for_a_person": len(waiting) - len(openings),
        "last_bordereau": None if listed is None else listed.isoformat(),
    } | {state.value: counts[state] for state in DeliveryState}


def _hindrance_shape(hindrance: Hindrance | None) -> Json:
    if hindrance is None:
        return {"because": None, "since": None}
    return {"because": hindrance.because, "since": hindrance.since_at.isoformat()}


def _print_status(shape: Json) -> None:
    print_table(
        "Balance", tuple(shape["balance"]), [tuple(shape["balance"].values())], empty=""
    )
    if shape["difference"]:
        screen().print(f"[red]{shape['difference']} message(s) unaccounted for: run verify[/]")
    running = "running" if shape["service"]["running"] else "[yellow]not running[/]"
    screen().print(f"Service: {running}")
    _print_refused(shape["rules"]["refused"])
    oldest = shape["oldest_unsettled"]
    if oldest:
        age = oldest["age_seconds"] // 60
        screen().print(f"Oldest unsettled: {oldest['id']} ({oldest['state']}), {age} min")
    if shape["removed_by_others"]:
        ids = ", ".join(shape["removed_by_others"])
        screen().print(f"[red]Removed from the mailbox by others before delivery: {ids}[/]")
    if shape["maybe_printed_twice"]:
        ids = ", ".join(shape["maybe_printed_twice"])
        screen().print(f"[yellow]Perhaps on paper twice (CUPS was restarted): {ids}[/]")
    print_table(
        "Mailboxes",
        ("mailbox", "last good contact", "uidvalidity", "last purge", "quota used"),
        (
            (
                box["name"],
                local_text(box["last_good_contact"]),
                box["uidvalidity"],
                local_text(box["last_purge"]),
                "" if box["quota"] is None else f"{box['quota']['percent']} %",
            )
            for box in shape["mailboxes"]
        ),
        empty="none",
    )
    _print_purge(shape)
    columns = (
        "site", "target", "delivered", "to do", "waiting", "under way", "held", "because",
        "since",
    )  # fmt: skip
    print_table("Sites", columns, map(_target_row, shape["targets"]), empty="none")
    if shape["held"]:
        print_table("Held", ("reason", "count"), shape["held"].items(), empty="")


def _print_refused(refused: Json | None) -> None:
    if refused is None:
        return
    since = refused["since"]
    what = (
        "is not valid: the service will not start with it"
        if since is None
        else f"was refused: the old rules stay in force since {local_text(since)}"
    )
    screen().print(f"[red]routing.yaml {what}[/]")
    for problem in refused["problems"]:
        screen().print(f"  {plain(problem)}", soft_wrap=True)


def _print_purge(shape: Json) -> None:
    for box in shape["mailboxes"]:
        for word in box["brakes"]:
            text = f"Deletion is stopped in mailbox {box['name']}: {word}: {TOLD[Brake(word)]}"
            screen().print(f"[red]{plain(text)}[/] (`purge --dry-run`, then `purge --confirm`)")
    for left in shape["left_on_sites"]:
        text = f"Changed on its site and therefore left there: {left['id']}"
        where = f"site {left['site']}, target {left['target']}: delete it by hand"
        screen().print(f"[red]{plain(text)}[/], {plain(where)}")


def _target_row(target: Json) -> tuple[object, ...]:
    return (
        target["site"],
        target["target"],
        target["delivered"],
        target["decided"],
        _waiting(target),
        target["delivering"] + target["in_doubt"],
        target["held"],
        target["because"],
        local_text(target["since"]),
    )


def _waiting(target: Json) -> str:
    """Return how many wait and until when, or that a person has to ask for them."""
    asked = target["waits_for_a_person"]
    timed = target["waiting"] - asked
    parts = [f"{timed} until {local_text(target['waits_until'])}"] if timed else []
    parts += [f"{asked} for a person"] if asked else []
    return ", ".join(parts) or "0"
