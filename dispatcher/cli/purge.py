"""`purge`: what goes at its term, what stops it, and what a person confirms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import user
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import local, notes, plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, left_shape
from dispatcher.core.ledger import Delivery, Entry
from dispatcher.core.retention import term
from dispatcher.errors import DispatcherError, NotNow, Refused, Unavailable
from dispatcher.ports import Mailbox
from dispatcher.service.decisions import NotAsked, Person
from dispatcher.service.desk import Desk
from dispatcher.service.purge import TOLD, Braked, Item, Plan, Report, items, lying
from dispatcher.service.purge import brakes as remembered
from dispatcher.service.purge.by_hand import carry_out, look
from dispatcher.service.purge.copies import changed
from dispatcher.service.purge.pages import Page

# Why a copy stays that was due: it is the site's by now.
_THEIRS = "changed-there"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(purge)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a purge of one mailbox would do; `failed`: its server could not be asked."""

    mailbox: str
    plan: Plan
    braked: Braked | None
    failed: DispatcherError | None = None


def purge(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go when; change nothing.")
    ] = False,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Delete what is printed, though a brake stopped it."),
    ] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Delete what is past its term: mails, copies on sites, lines of the ledger."""
    if dry_run and confirm:
        raise NotAsked("give either --dry-run or --confirm")
    chosen = wiring.configuration(config, last_good=True)
    with wiring.open_desk(chosen) as desk:
        mailboxes = wiring.mailboxes(chosen)
        if dry_run:
            raise typer.Exit(_preview(mailboxes, desk, as_json=as_json))
        person = Person(user(), "purge --confirm") if confirm else None
        looks = _looks(mailboxes, desk) if confirm else []
        if confirm:
            _show(looks, desk, to_notes=as_json)
        # What could not be printed was not confirmed either.
        unseen = {one.mailbox: one.failed for one in looks if one.failed is not None}
        seen = [mailbox for mailbox in mailboxes if mailbox.name not in unseen]
        reports, failed = _carry_out(seen, desk, person)
        failed += unseen.values()
    if as_json:
        print_json({"mailboxes": [_report_shape(report) for report in reports]})
    else:
        _print_reports(reports)
    if failed:
        raise typer.Exit(_unreachable(failed))
    attention = any(report.braked or report.left for report in reports)
    raise typer.Exit(Exit.ATTENTION if attention else Exit.DONE)


def _carry_out(
    mailboxes: Sequence[Mailbox], desk: Desk, person: Person | None
) -> tuple[list[Report], list[DispatcherError]]:
    reports: list[Report] = []
    failed: list[DispatcherError] = []
    for mailbox in mailboxes:
        try:
            reports.append(carry_out(mailbox, desk, person))
        except (Unavailable, Refused) as error:
            failed.append(error)
            _tell(error)
        finally:
            mailbox.close()
    return reports, failed


def _looks(mailboxes: Sequence[Mailbox], desk: Desk) -> list[_Look]:
    return [_look(mailbox, desk) for mailbox in mailboxes]


def _look(mailbox: Mailbox, desk: Desk) -> _Look:
    try:
        plan, braked = look(mailbox, desk)
        return _Look(mailbox.name, plan, braked)
    except (Unavailable, Refused) as error:
        _tell(error)
        return _Look(mailbox.name, Plan(), remembered.read(desk.ledger, mailbox.name), error)
    finally:
        mailbox.close()


def _preview(mailboxes: Sequence[Mailbox], desk: Desk, *, as_json: bool) -> Exit:
    looks = _looks(mailboxes, desk)
    if as_json:
        print_json(_preview_shape(looks, desk))
    else:
        _show(looks, desk)
        _print_kept(desk)
    failed = [one.failed for one in looks if one.failed is not None]
    if failed:
        return _unreachable(failed)
    return Exit.ATTENTION if any(one.braked for one in looks) else Exit.DONE


def _unreachable(failed: Sequence[DispatcherError]) -> Exit:
    return Exit.TRY_LATER if all(isinstance(e, NotNow) for e in failed) else Exit.UNREACHABLE


def _tell(error: DispatcherError) -> None:
    notes().print(f"[red]error:[/] {plain(error)}", soft_wrap=True)
    if error.hint:
        notes().print(f"→ {plain(error.hint)}", soft_wrap=True)


# --- what it looks like


def _show(looks: Sequence[_Look], desk: Desk, *, to_notes: bool = False) -> None:
    """Print what would go, by mailbox, site and rule, and what stops it."""
    console = notes() if to_notes else screen()
    counts = Counter(
        (one.mailbox, *_group(entry, delivery, desk))
        for one in looks
        for entry, delivery in _parts(one.plan)
    )
    for (mailbox, site, what, rule), count in sorted(counts.items()):
        console.print(
            plain(f"to be deleted: {count} {what} · mailbox {mailbox} · site {site} · {rule}"),
            soft_wrap=True,
        )
    now = desk.clock.now()
    lists = Counter(page.lane for page in lying(desk.ledger) if page.due_at <= now)
    for (number, target), count in sorted(lists.items(), key=str):
        text = f"to be deleted: {count} list(s) of the day in {target} · site {number}"
        console.print(plain(text), soft_wrap=True)
    if not counts and not lists:
        console.print("Nothing is to be deleted now.")
    for one in looks:
        for brake in sorted(one.braked.brakes, key=str) if one.braked else ():
            text = f"stopped: mailbox {one.mailbox}: {brake.value}: {TOLD[brake]}"
            console.print(f"[red]{plain(text)}[/]", soft_wrap=True)


def _parts(plan: Plan) -> Iterator[tuple[Entry, Delivery | None]]:
    yield from ((entry, None) for entry in plan.mails)
    yield from plan.copies


def _group(entry: Entry, delivery: Delivery | None, desk: Desk) -> tuple[str, str, str]:
    site = entry.site if delivery is None else delivery.site or entry.site
    what = "mail(s)" if delivery is None else f"copies in {delivery.target}"
    return str(site or "unknown"), what, term(entry, desk.policy.terms).rule


def _print_kept(desk: Desk) -> None:
    now = desk.clock.now()
    left = [item for item in _items(desk) if not item.due.by(now)]
    lists = [page for page in lying(desk.ledger) if page.due_at > now]
    changed_there = changed(desk.ledger.changed_copies())
    print_table(
        "Kept (times in Europe/Paris)",
        ("id", "what", "site", "target", "until", "rule", "because"),
        [
            *(
                (
                    item.entry.id,
                    item.what.value,
                    item.entry.site,
                    item.delivery.target if item.delivery else "",
                    local(item.due.at),
                    item.term.rule,
                    item.due.why.value if item.due.why else "",
                )
                for item in left
            ),
            *(("", "list", *page.lane, local(page.due_at), "", "") for page in lists),
            *(
                (
                    entry.id,
                    "copy",
                    delivery.site or entry.site,
                    delivery.target,
                    "",
                    "",
                    _THEIRS,
                )
                for entry, delivery in changed_there
            ),
        ],
        empty="nothing",
    )


def _items(desk: Desk) -> list[Item]:
    return list(items(desk.ledger.entries(), desk.policy.terms))


def _preview_shape(looks: Sequence[_Look], desk: Desk) -> Json:
    now = desk.clock.now()
    every = _items(desk)
    return {
        "mailboxes": [
            {
                "mailbox": one.mailbox,
                "mails": len(one.plan.mails),
                "copies": len(one.plan.copies),
                "brakes": _words(one.braked),
            }
            for one in looks
        ],
        "due": [_item_shape(item) for item in every if item.due.by(now)],
        "kept": [_item_shape(item) for item in every if not item.due.by(now)],
        "lists": [_list_shape(page, now) for page in lying(desk.ledger)],
        "left_on_sites": [left_shape(*pair) for pair in changed(desk.ledger.changed_copies())],
    }


def _list_shape(page: Page, now: datetime) -> Json:
    site, target = page.lane
    due_at = page.due_at.isoformat()
    return {"site": str(site), "target": target, "due_at": due_at, "due": page.due_at <= now}


def _item_shape(item: Item) -> Json:
    site = item.delivery.site if item.delivery else None
    number = site or item.entry.site
    return {
        "id": item.entry.id,
        "mailbox": item.entry.ref.mailbox,
        "what": item.what.value,
        "site": None if number is None else str(number),
        "target": item.delivery.target if item.delivery else None,
        "state": item.entry.state.value,
        "due_at": None if item.due.at is None else item.due.at.isoformat(),
        "term": item.term.at.isoformat(),
        "rule": item.term.rule,
        "doubt": None if item.term.doubt is None else item.term.doubt.value,
        "why": None if item.due.why is None else item.due.why.value,
    }


def _words(braked: Braked | None) -> list[str]:
    return [] if braked is None else sorted(brake.value for brake in braked.brakes)


def _report_shape(report: Report) -> Json:
    return {
        "mailbox": report.mailbox,
        "mails": report.mails,
        "gone": report.gone,
        "copies": report.copies,
        "lines": report.lines,
        "left": report.left,
        "brakes": _words(report.braked),
    }


def _print_reports(reports: Sequence[Report]) -> None:
    print_table(
        "Deleted",
        ("mailbox", "mails", "gone before", "copies", "lines emptied", "left"),
        ((r.mailbox, r.mails, r.gone, r.copies, r.lines, r.left) for r in reports),
        empty="nothing",
    )
    for report in reports:
        for word in _words(report.braked):
            text = f"stopped: mailbox {report.mailbox}: {word}"
            screen().print(f"[red]{plain(text)}[/]", soft_wrap=True)
        if report.braked is not None:
            screen().print(
                "`purge --dry-run` shows what would go, `purge --confirm` deletes it."
            )
