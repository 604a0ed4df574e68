"""CUPS's keywords in words that a person at the desk understands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

# RFC 8011, 5.4.12 (printer-state-reasons), and CUPS's own, without the severity.
_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "media-empty": "out of paper",
        "media-needed": "out of paper",
        "media-low": "little paper left",
        "media-jam": "paper jam",
        "input-tray-missing": "a paper tray is missing",
        "output-tray-missing": "the output tray is missing",
        "output-area-full": "the output tray is full",
        "output-area-almost-full": "the output tray is nearly full",
        "toner-empty": "out of toner",
        "toner-low": "little toner left",
        "marker-supply-empty": "out of ink or toner",
        "marker-supply-low": "little ink or toner left",
        "marker-waste-full": "the waste box is full",
        "marker-waste-almost-full": "the waste box is nearly full",
        "developer-empty": "out of developer",
        "developer-low": "little developer left",
        "opc-near-eol": "the drum is nearly worn out",
        "opc-life-over": "the drum is worn out",
        "fuser-over-temp": "the fuser is too hot",
        "fuser-under-temp": "the fuser is not hot yet",
        "door-open": "a door is open",
        "cover-open": "a cover is open",
        "interlock-open": "a door is open",
        "interpreter-resource-unavailable": "the printer lacks a resource",
        "spool-area-full": "the printer's memory is full",
        "paused": "the queue is paused",
        "moving-to-paused": "the queue is about to pause",
        "stopping": "the printer is stopping",
        "stopped-partly": "part of the printer is stopped",
        "shutdown": "the printer is switched off",
        "offline": "the printer is offline",
        "connecting-to-device": "the printer cannot be reached yet",
        "timed-out": "the printer does not answer",
        "hold-new-jobs": "the queue holds every new job",
        "cups-missing-filter": "CUPS lacks a filter for this queue",
        "cups-insecure-filter": "CUPS refuses an insecure filter of this queue",
        "cups-ipp-missing-get-printer-attributes": "the printer answers IPP badly",
        "cups-ipp-conformance-failure": "the printer answers IPP badly",
        "other": "the printer reports a fault that it does not name",
    }
)
# What CUPS's own backends say (ipp, socket, lpd; CUPS 2.4) when they cannot reach a printer
# and give no reason: the printer is then `processing`, as one that prints.
_CANNOT_BE_REACHED: Final = frozenset(
    {
        "The printer configuration is incorrect or the printer no longer exists.",
        "The printer did not respond.",
        "The printer is in use.",
        "The printer is not connected.",
        "The printer is not responding.",
        "The printer is unreachable at this time.",
        "The printer may not exist or is unavailable at this time.",
        "Unable to locate printer.",
    }
)
_SEVERITIES: Final = ("-error", "-warning", "-report")
_LONGEST: Final = 60


def printer_reasons(reasons: Iterable[str]) -> str:
    """Return printer-state-reasons in words, joined by commas; unknown ones as they are."""
    words = (_word(reason) for reason in reasons if reason != "none")
    return ", ".join(dict.fromkeys(word for word in words if word))


def printer_message(message: str) -> str:
    """Return printer-state-message in words; empty unless it tells of a trouble we know."""
    known = message in _CANNOT_BE_REACHED or message.startswith("Unable to locate printer")
    return "the printer cannot be reached" if known else ""


def _word(reason: str) -> str:
    name = reason
    for severity in _SEVERITIES:
        name = name.removesuffix(severity)
    return _REASONS.get(name) or clean(reason)


def clean(text: str, longest: int = _LONGEST) -> str:
    """Return a server's text fit for one line of a log: printable ASCII, and short."""
    kept = "".join(c if " " <= c <= "~" else "?" for c in text)
    return kept[:longest].strip()
