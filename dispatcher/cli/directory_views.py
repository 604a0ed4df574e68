"""What people see of the `directory` commands: tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from dispatcher.cli.screen import local, notes, plain, print_findings, print_table, screen
from dispatcher.cli.shapes import Json
from dispatcher.ports import Finding
from dispatcher.registry.changes import Change
from dispatcher.registry.matching import Choice
from dispatcher.registry.oddities import Noted, not_whole
from dispatcher.registry.remarks import Flaw, Remark
from dispatcher.registry.review import Review, SiteReview


def print_review(found: Review, noted: Sequence[Noted], *, compared: bool) -> None:
    """Print what becomes of each site's certificates, and what to look at."""
    print_noted(noted)
    if not compared:
        notes().print("No dispatcher.yaml: nothing is compared with routing.yaml.")
    print_table(
        f"Legal body {found.legal_body} {plain(found.name)}".rstrip(),
        ("site", "name", "SI-DEP sends to", "by", "look at"),
        (_review_row(site) for site in found.sites),
        empty="no site",
    )
    print_findings(_finding(remark) for remark in found.all_remarks)
    if not found.wrong and not not_whole(noted):
        screen().print("[green]Nothing is wrong.[/]")


def _review_row(site: SiteReview) -> tuple[object, ...]:
    route = site.choice.route
    flaws = ", ".join(remark.flaw.value for remark in site.remarks)
    sends_to = site.choice.address or f"nobody ({site.choice.why.value})"
    return (site.site, site.name, sends_to, route.value if route else "", flaws)


def _finding(remark: Remark) -> Finding:
    return Finding("problem" if remark.wrong else "warning", remark.what, remark.hint)


def print_noted(noted: Iterable[Noted]) -> None:
    """Print what is odd in the registers' files, beside the answer."""
    for one in noted:
        level = "[red]problem[/]" if not_whole([one]) else "[yellow]warning[/]"
        notes().print(f"{level} {plain(one)}", soft_wrap=True)


def print_why(found: SiteReview, past: Json | None) -> None:
    """Print sentences about one site; `past` is what the ledger says of it."""
    about = f"Site {found.site} {found.name}".rstrip()
    screen().print(plain(about), style="bold")
    if found.row is None:
        screen().print("It is not in the FINESS register.")
    else:
        body = found.row.legal_body or "not given"
        where = ", ".join(filter(None, (found.row.category_name, found.row.town)))
        screen().print(plain(f"{where or 'No category'}. Legal body: {body}."))
    # Of a legal body's number the sentence would speak as of a site's.
    if all(remark.flaw is not Flaw.SWAPPED for remark in found.remarks):
        screen().print(plain(_sentence(found.choice)))
    for bal in found.choice.passed_over:
        screen().print(
            plain(
                f"Passed over: {bal.address} (number {bal.structure}, type {bal.kind.value}, "
                f"mention @SIDEP: {bal.stamp.value})"
            )
        )
    # That nobody gets its mail, and why, has just been said.
    others = (remark for remark in found.remarks if remark.flaw is not Flaw.SILENT)
    print_findings(_finding(remark) for remark in others)
    _print_past(past)


def _sentence(choice: Choice) -> str:
    return f"{choice.sentence[0].upper()}{choice.sentence[1:]}."


def _print_past(past: Json | None) -> None:
    if past is None:
        screen().print("There is no ledger: nothing is known of its messages.")
    elif not past["received"]:
        screen().print("No message of this site has come yet.")
    else:
        screen().print(
            f"{past['received']} message(s) of this site have come, the last one on "
            f"{_day_of(past['last_received_at'])}; {past['held']} held, {past['failing']} "
            "failing."
        )


def _day_of(text: str) -> str:
    return local(datetime.fromisoformat(text))


def print_changes(found: Iterable[Change], count: int) -> None:
    """Print which of so many sites changed, and the lines that made them."""
    print_table(
        f"What changed, of {count} site(s)",
        ("site", "name", "before", "now"),
        (
            (one.site, one.name, *(_told(choice) for choice in (one.before, one.after)))
            for one in found
        ),
        empty="no site's choice",
    )
    for one in found:
        for mark, bals in (("-", one.gone), ("+", one.new)):
            for bal in bals:
                line = (
                    f"{one.site} {mark} {bal.address} ({bal.structure}, {bal.kind.value}, "
                    f"mention: {bal.stamp.value})"
                )
                screen().print(plain(line), soft_wrap=True)


def _told(choice: Choice) -> str:
    route = choice.route
    return (
        f"nobody ({choice.why.value})" if route is None else f"{choice.address} ({route.value})"
    )
