"""The alarms: their kinds, and one alarm as a value. No text in it names a patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class AlarmKind(Enum):
    """What an alarm is about. Stored as these words; each has a section in docs/alerts.md."""

    INTAKE_STALLED = "intake-stalled"
    OLDEST_UNSETTLED = "oldest-unsettled"
    LOGIN_REFUSED = "login-refused"
    CREDENTIAL_ENDS = "credential-ends"
    PRINTER_DOWN = "printer-down"
    FOLDER_DOWN = "folder-down"
    HELD = "held"
    DEADLINE_NEAR = "deadline-near"
    REMOVED_BY_OTHERS = "removed-by-others"
    BALANCE_BROKEN = "balance-broken"
    DISK_NEARLY_FULL = "disk-nearly-full"
    QUOTA = "quota"
    RULES_REFUSED = "rules-refused"
    PURGE_STOPPED = "purge-stopped"
    SPOOL_KEPT = "spool-kept"
    SITE_SILENT = "site-silent"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know now.

    `subject` says of what: a mailbox, a site, a target; with `kind` it is the alarm's
    identity. `french` and `english` are one sentence each, ids and counts at most. `parts`
    are what it is made of (ids, thresholds passed): a new one is news. An alarm that is not
    `firm` keeps one going and begins none. `repeats`: it is told daily while it lasts.
    """

    kind: AlarmKind
    subject: str
    french: str
    english: str
    parts: frozenset[str] = frozenset()
    firm: bool = True
    repeats: bool = True
    since_at: datetime | None = None

    @property
    def key(self) -> tuple[AlarmKind, str]:
        """What makes two alarms the same one."""
        return self.kind, self.subject
