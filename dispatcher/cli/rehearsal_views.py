"""How `demo` tells its day: each site's folder, what was held and what IT would do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.cli.rehearsal import REFUSED, Place
from dispatcher.cli.screen import plain, print_table, screen
from dispatcher.cli.shapes import Json
from dispatcher.core.certificate import HoldReason

if TYPE_CHECKING:
    from dispatcher.simulator.region import Region

# What a person of IT or reception does first; docs/reasons.md says it at length.
ADVICE: Final = {
    HoldReason.SENDER_NOT_ALLOWED: "look at the exact address; discard unless sure",
    HoldReason.SUBJECT_UNREADABLE: "original there too? discard; else release",
    HoldReason.ATTACHMENT_MISSING: "ask for it again, then discard",
    HoldReason.ATTACHMENT_NAME_UNREADABLE: "compare with the PDF, then release",
    HoldReason.SEVERAL_CERTIFICATES: "hand the right one over, then discard",
    HoldReason.NOT_A_PDF: "do not open it; discard, ask for it again",
    HoldReason.PDF_ENCRYPTED: "can the site open it? release; else discard",
    HoldReason.PDF_ACTIVE_CONTENT: "do not open it: may be an attack; discard",
    HoldReason.PDF_UNREADABLE: "discard, ask for it again",
    HoldReason.TOO_LARGE: "see to it by hand in the BAL, then discard",
    HoldReason.FINESS_MISMATCH: "find the right site: release --site ET",
    HoldReason.FILE_NUMBER_MISMATCH: "compare PDF and LIS; release or discard",
    HoldReason.PATIENT_MISMATCH: "same person? release; else discard, tell SI-DEP",
    HoldReason.SITE_UNKNOWN: "ours? add it to routing.yaml, then retry",
    HoldReason.TARGET_REFUSED: "mend routing.yaml or the folder, then retry",
    HoldReason.IN_DOUBT: "ask the site: has it? release; else retry",
}


def print_day(report: Json) -> None:
    """Print the rehearsal's report; fits 80 columns."""
    _print_patients(report)
    _print_sites(report["sites"])
    _print_silent(report["sites"])
    _print_held(report)
    print_table(
        "Balance", tuple(report["balance"]), [tuple(report["balance"].values())], empty=""
    )
    colour = "green" if report["as_meant"] == report["sent"] else "red"
    screen().print(
        f"[{colour}]{report['as_meant']} of {report['sent']} messages came to the end that "
        f"the simulator meant for them; unaccounted for: {report['difference']}.[/]"
    )


def _print_patients(report: Json) -> None:
    channels, routes = report["channels"], report["routes"]
    screen().print(
        f"{report['patients']} patients were tested: {channels['sms']} get an SMS, "
        f"{channels['email']} an e-mail. For the other {channels['mssante']}: "
        f"{routes['P2']} mails to the shared BAL (P2), {routes['P1']} to a site's own (P1), "
        f"{routes['none']} to nobody."
    )


def _print_sites(sites: Iterable[Json]) -> None:
    print_table(
        "What lies in each site's folder",
        ("site", "name", "by", "sent", "files", "right", "wrong"),
        (
            (s["site"], s["name"], s["route"], s["sent"], s["files"], s["right"], s["wrong"])
            for s in sites
        ),
        empty="nothing",
    )
    screen().print("by: P1 the site's own BAL, P2 the shared one. right: byte for byte.")


def _print_silent(sites: Iterable[Json]) -> None:
    print_table(
        "Sites that SI-DEP sends nothing for",
        ("site", "patients", "why"),
        (
            (s["site"], s["waiting"], s["sentence"])
            for s in sites
            if s["why"] and not s["route"]
        ),
        empty="none",
    )
    screen().print("What to do: `sidep-dispatcher directory why ET` says it for each site.")


def _print_held(report: Json) -> None:
    print_table(
        "What was held, and what IT would do",
        ("reason", "held", "do"),
        (
            (reason, count, ADVICE[HoldReason(reason)])
            for reason, count in report["held"].items()
        ),
        empty="nothing",
    )


def print_kept(top: Path) -> None:
    """Say where everything lies and how to look at it."""
    screen().print(f"Everything is kept in {plain(top)}.", soft_wrap=True)
    config = f"--config {plain(top)}/dispatcher.yaml"
    screen().print(f"Look on: sidep-dispatcher list --state held {config}", soft_wrap=True)


def _known_of(shown: Region) -> str:
    """Return the options that tell `simulate` what its report must expect of this routing."""
    refusing = (f"--refuses {site}:{REFUSED}" for site in shown.choosy)
    return " ".join((f"--unrouted {shown.unrouted}", *refusing))


def print_served(place: Place) -> None:
    """Say how to reach the servers, and what to try."""
    servers, top = place.servers, plain(place.top)
    config = f"--config {top}/dispatcher.yaml"
    lines = (
        "",
        "[bold]The laboratory stays open. Ctrl-C ends it.[/]",
        f"IMAP    {servers.host}:{servers.imap_port}, without TLS",
        f"SMTP    {servers.host}:{servers.smtp_port}, without TLS or login",
        f"account {place.region.bals[0]}",
        f"password {servers.password} (also of the BALs of single sites)",
        f"folders {top}/sites",
        "",
        "In another terminal:",
        f"  sidep-dispatcher list --state held {config}",
        f"  sidep-dispatcher release ID --reason 'vu avec le site' {config}",
        "  sidep-dispatcher simulate --patients 200 --seed 7 --faults all:1% \\",
        f"    --finess {plain(place.finess)} --mssante {plain(place.mssante)} \\",
        f"    --smtp {servers.host}:{servers.smtp_port} \\",
        f"    {_known_of(place.region)}",
    )
    for line in lines:
        screen().print(line, soft_wrap=True)
