"""`status`: the balance, the mailboxes, and how far each site's certificates are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Final

import typer

from dispatcher import wiring
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import local_text, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, balance_shape, left_shape
from dispatcher.core.delivery import MAYBE_TWICE
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, State
from dispatcher.core.telling import Standing
from dispatcher.core.vitals import LaneVitals, MailboxVitals
from dispatcher.ports import Ledger
from dispatcher.service import herald, vitals
from dispatcher.service.daily import last_day
from dispatcher.service.lanes import Lane
from dispatcher.service.purge import TOLD, Brake
from dispatcher.service.purge.copies import changed

# So many mistakes of a refused file are shown.
_PROBLEMS: Final = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Show the balance, the oldest unsettled message, mailboxes, sites and targets."""
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_ledger(chosen) as ledger:
        shape = _status_shape(ledger, chosen)
    if as_json:
        print_json(shape)
    else:
        _print_status(shape)
    balance = shape["balance"]
    wrong = shape["difference"] or shape["failing"] or shape["removed_by_others"]
    wrong = (
        wrong
        or shape["rules"]["refused"]
        or shape["left_on_sites"]
        or any(map(_alarming, shape["mailboxes"]))
    )
    attention = balance["held"] or wrong
    raise typer.Exit(Exit.ATTENTION if attention else Exit.DONE)


def _status_shape(ledger: Ledger, chosen: wiring.Configuration) -> Json:
    # Only a pending or held message has a delivery that has not come about (core.life).
    both = (ledger.entries(state=state) for state in (State.PENDING, State.HELD))
    unsettled = sorted(chain.from_iterable(both), key=lambda e: e.received_at)
    oldest = next(iter(unsettled), None)
    now = wiring.CLOCK.now()
    vital = vitals.take(ledger, chosen.rules, tuple(chosen.settings.mailboxes), now=now)
    return {
        "balance": balance_shape(vital.balance),
        "difference": vital.balance.difference,
        "failing": sum(1 for e in unsettled if is_failing(e)),
        "removed_by_others": [e.id for e in unsettled if not e.present],
        "left_on_sites": [left_shape(e, d) for e, d in changed(ledger.changed_copies())],
        "maybe_printed_twice": list(ledger.remarked(MAYBE_TWICE)),
        "held": dict(Counter(one.reason.value for one in vital.held)),
        "oldest_unsettled": None if oldest is None else _oldest_shape(oldest, now),
        "mailboxes": [_mailbox_shape(ledger, box) for box in vital.mailboxes],
        "targets": [_target_shape(ledger, lane, unsettled) for lane in vital.lanes],
        "rules": _rules_shape(ledger, chosen),
        "alarms": [_alarm_shape(one) for one in herald.standing(ledger)],
        "service": {"running": wiring.is_running(chosen)},
    }


def _rules_shape(ledger: Ledger, chosen: wiring.Configuration) -> Json:
    """Return what the service goes by; without one, what the next start will."""
    state = ledger.rules_state()
    running = wiring.is_running(chosen)
    known = (
        state
        if state is not None and (running or state.digest == chosen.rules.digest)
        else None
    )
    refusal = state.refusal if state is not None and running else None
    problems = refusal.problems if refusal else chosen.draft.problems
    since = refusal or (state and state.refusal)
    return {
        "digest": chosen.rules.digest if known is None else known.digest,
        "sites": len(chosen.rules.sites),
        "since": None if known is None else known.since_at.isoformat(),
        "refused": None
        if not problems
        else {
            "since": since.since_at.isoformat() if since else None,
            "problems": list(problems),
        },
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


def _mailbox_shape(ledger: Ledger, box: MailboxVitals) -> Json:
    place, quota = ledger.place(box.name), box.quota
    return {
        "name": box.name,
        "last_good_contact": _time(box.checked_at),
        "uidvalidity": None if place is None else place.uidvalidity,
        "last_purge": _time(box.purged_at),
        "brakes": [] if box.stopped is None else sorted(box.stopped.brakes),
        "quota": None
        if quota is None
        else {"used": quota.used, "limit": quota.limit, "percent": quota.percent},
    }


def _alarming(mailbox: Json) -> bool:
    """Whether a brake is an alarm; before the first purge it is only a question."""
    return bool(mailbox["brakes"]) and Brake.FIRST_PURGE.value not in mailbox["brakes"]


def _target_shape(ledger: Ledger, lane: LaneVitals, entries: Iterable[Entry]) -> Json:
    key = (lane.site, lane.target)
    waiting = [one for one in _deliveries(entries, key) if one.state is DeliveryState.WAITING]
    openings = [one.next_try_at for one in waiting if one.next_try_at is not None]
    listed = last_day(ledger, key)
    hindrance = lane.hindrance
    return {
        "site": str(lane.site),
        "target": lane.target,
        "waits_until": _time(min(openings, default=None)),
        "waits_for_a_person": len(waiting) - len(openings),
        "last_bordereau": None if listed is None else listed.isoformat(),
        **{state.value: lane.count(state) for state in DeliveryState},
        "because": None if hindrance is None else hindrance.because,
        "since": None if hindrance is None else _time(hindrance.since_at),
    }


def _deliveries(entries: Iterable[Entry], lane: Lane) -> Iterator[Delivery]:
    for entry in entries:
        for delivery in entry.deliveries:
            if (delivery.site or entry.site, delivery.target) == lane:
                yield delivery


def _alarm_shape(standing: Standing) -> Json:
    alarm = standing.alarm
    return {
        "kind": alarm.kind.value,
        "subject": alarm.subject,
        "since": _time(standing.seen_at),
        "told_at": _time(standing.told_at),
        "text": alarm.french,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _print_status(shape: Json) -> None:
    print_table(
        "Balance", tuple(shape["balance"]), [tuple(shape["balance"].values())], empty=""
    )
    if shape["difference"]:
        screen().print(f"[red]{shape['difference']} message(s) unaccounted for: run verify[/]")
    running = "running" if shape["service"]["running"] else "[yellow]not running[/]"
    screen().print(f"Service: {running}")
    _print_rules(shape["rules"])
    for alarm in shape["alarms"]:
        text = f"[{alarm['kind']}] {alarm['text']}"
        screen().print(f"[red]{plain(text)}[/]", soft_wrap=True)
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


def _print_rules(rules: Json) -> None:
    since = f" since {local_text(rules['since'])}" if rules["since"] else ""
    screen().print(f"Rules: {rules['digest'][:12]}, {rules['sites']} site(s){since}")
    refused = rules["refused"]
    if refused is None:
        return
    since = f" since {local_text(refused['since'])}" if refused["since"] else ""
    screen().print(f"[red]The file routing.yaml is refused{since}; the rules above stay:[/]")
    for problem in refused["problems"][:_PROBLEMS]:
        screen().print(f"  {plain(problem)}", soft_wrap=True)
    more = len(refused["problems"]) - _PROBLEMS
    if more > 0:
        screen().print(f"  and {more} more: `sidep-dispatcher check` tells all")


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
