"""The JSON documents and the CSV of the `directory` commands."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from dispatcher.cli.shapes import Json
from dispatcher.registry.changes import Change
from dispatcher.registry.matching import Choice
from dispatcher.registry.oddities import Noted, not_whole
from dispatcher.registry.remarks import Remark
from dispatcher.registry.review import Review, SiteReview
from dispatcher.registry.values import Bal, Establishment


def choice_shape(choice: Choice) -> Json:
    """Return what SI-DEP chooses for one site."""
    return {
        "bal": choice.address,
        "route": None if choice.route is None else choice.route.value,
        "why": choice.why.value,
        "sentence": choice.sentence,
        "local": list(choice.local),
        "legal": list(choice.legal),
        "passed_over": [bal_shape(bal) for bal in choice.passed_over],
    }


def bal_shape(bal: Bal) -> Json:
    """Return one line of the directory."""
    return {
        "bal": bal.address,
        "type": bal.kind.value,
        "mention": bal.stamp.value,
        "structure": bal.structure or None,
    }


def row_shape(site: str, name: str, row: Establishment | None) -> Json:
    """Return what the register says of a site; null where it does not have it."""
    return {
        "finess": site,
        "name": name,
        "town": row.town if row else None,
        "category": row.category if row else None,
        "category_name": row.category_name if row else None,
        "legal_body": str(row.legal_body) if row and row.legal_body else None,
        "declared": row is not None,
        "closed_on": row.closed_on.isoformat() if row and row.closed_on else None,
    }


def remark_shape(remark: Remark) -> Json:
    """Return one thing to look at."""
    return {
        "level": "problem" if remark.wrong else "warning",
        "flaw": remark.flaw.value,
        "site": None if remark.site is None else str(remark.site),
        "bal": remark.bal,
        "what": remark.what,
        "hint": remark.hint,
    }


def noted_shape(noted: Noted) -> Json:
    """Return what is odd in a file."""
    return {
        "file": noted.file.name,
        "oddity": noted.oddity.value,
        "sentence": noted.oddity.sentence,
        "count": noted.count,
        "lines": list(noted.lines),
    }


def review_shape(review: Review, noted: Sequence[Noted]) -> Json:
    """Return the document of `directory check --json`."""
    return {
        "legal_body": {"finess": str(review.legal_body), "name": review.name or None},
        "wrong": review.wrong or not_whole(noted),
        "sites": [site_shape(site) for site in review.sites],
        "remarks": [remark_shape(remark) for remark in review.all_remarks],
        "oddities": [noted_shape(one) for one in noted],
    }


def site_shape(site: SiteReview) -> Json:
    """Return one line of `directory check --json`."""
    return {
        **row_shape(str(site.site), site.name, site.row),
        "routed": site.routed,
        "ours": site.ours,
        **choice_shape(site.choice),
        "look_at": [remark.flaw.value for remark in site.remarks],
    }


def change_shape(change: Change) -> Json:
    """Return one site of `directory diff --json`."""
    return {
        "finess": str(change.site),
        "name": change.name,
        "moves_mail": change.moves_mail,
        "before": choice_shape(change.before),
        "after": choice_shape(change.after),
        "gone": [bal_shape(bal) for bal in change.gone],
        "new": [bal_shape(bal) for bal in change.new],
    }


# --- CSV ---------------------------------------------------------------------------------

_COLUMNS: Final = (
    "finess",
    "name",
    "town",
    "category_name",
    "declared",
    "closed_on",
    "routed",
    "bal",
    "route",
    "ours",
    "why",
    "look_at",
    "sentence",
)
# What makes a spreadsheet take a cell for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}")


def review_csv(review: Review) -> str:
    """Return the table of sites as French spreadsheets read it: UTF-8 with BOM, semicolons."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for site in review.sites:
        shape = site_shape(site)
        writer.writerow([_harmless(_cell(shape[column])) for column in _COLUMNS])
    return "\N{ZERO WIDTH NO-BREAK SPACE}" + out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def _harmless(text: str) -> str:
    """Return a cell that no spreadsheet computes, whatever a public file holds."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
