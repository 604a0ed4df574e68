"""The mails about alarms: subject and text, in French with English beside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatcher.core.alarm import AlarmKind
from dispatcher.core.paris import PARIS
from dispatcher.core.telling import News, Notice

TITLES: Final = {
    AlarmKind.INTAKE_STALLED: ("relève arrêtée", "intake stalled"),
    AlarmKind.OLDEST_UNSETTLED: ("certificat en retard", "oldest unsettled message"),
    AlarmKind.LOGIN_REFUSED: ("connexion refusée", "login refused"),
    AlarmKind.CREDENTIAL_ENDS: ("certificat TLS ou jeton bientôt périmé", "credential ends"),
    AlarmKind.PRINTER_DOWN: ("imprimante hors service", "printer down"),
    AlarmKind.FOLDER_DOWN: ("dossier de site hors service", "site folder down"),
    AlarmKind.HELD: ("certificats à décider", "certificates held"),
    AlarmKind.DEADLINE_NEAR: ("échéance légale proche", "legal deadline near"),
    AlarmKind.REMOVED_BY_OTHERS: ("messages retirés de la BAL", "removed by others"),
    AlarmKind.BALANCE_BROKEN: ("bilan faux", "balance broken"),
    AlarmKind.DISK_NEARLY_FULL: ("disque ou partage presque plein", "disk nearly full"),
    AlarmKind.QUOTA: ("BAL presque pleine", "mailbox quota"),
    AlarmKind.RULES_REFUSED: ("règles de routage refusées", "routing rules refused"),
    AlarmKind.PURGE_STOPPED: ("suppression arrêtée", "deletion stopped"),
    AlarmKind.SPOOL_KEPT: ("documents gardés à l'impression", "documents kept in the spool"),
    AlarmKind.SITE_SILENT: ("site silencieux", "site silent"),
}
"""A few words for each kind, French and English."""

_NEWS: Final = {
    News.BEGAN: ("ALERTE", "alarm"),
    News.GREW: ("AGGRAVATION", "it grew"),
    News.LASTS: ("TOUJOURS EN COURS", "it lasts"),
    News.ENDED: ("RÉTABLI", "recovered"),
    News.PASSED: ("PASSÉ : survenu puis rétabli", "came and went"),
}

_FOOT: Final = (
    "Que faire : voir docs/alerts.md, à l'entrée nommée entre crochets.",
    "What to do: see docs/alerts.md, at the entry named in brackets.",
    "Ce message est automatique ; il ne contient aucune donnée de patient.",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to send. `mark` goes into its Message-ID: tried again, it is the same mail."""

    subject: str
    text: str
    mark: str
    written_at: datetime


def letter(subject: str, lines: Iterable[str], at: datetime, *, salt: str = "") -> Letter:
    """Return a mail with these lines; `salt` sets apart mails that say the same."""
    text = "\n".join(lines) + "\n"
    mark = hashlib.sha256(f"{subject}\n{text}\n{salt}".encode()).hexdigest()[:32]
    return Letter(subject, text, mark, at)


def of_notices(notices: Sequence[Notice], lbm: str, at: datetime) -> Letter:
    """Return the mail that tells these notices; several make one digest."""
    if len(notices) == 1:
        subject = f"[SI-DEP {lbm}] {_headline(notices[0])}"
    else:
        subject = f"[SI-DEP {lbm}] {len(notices)} alertes"
    lines = [line for notice in notices for line in _told(notice)]
    # What is repeated daily says the same each day, and is another mail all the same.
    salt = " ".join(str(notice.standing.told_at) for notice in notices)
    return letter(subject, [*lines, *_FOOT], at, salt=salt)


def of_test(lbm: str, at: datetime) -> Letter:
    """Return the mail of `alert test`."""
    told = at.astimezone(PARIS)
    return letter(
        f"[SI-DEP {lbm}] Essai des alertes",
        [
            f"Ceci est un essai, demandé le {told:%d/%m/%Y à %H:%M:%S} : les alertes arrivent.",
            "This is a test of the alerts: they arrive.",
            "",
            _FOOT[-1],
        ],
        at,
    )


def _headline(notice: Notice) -> str:
    alarm = notice.standing.alarm
    about = f" ({alarm.subject})" if alarm.subject else ""
    return f"{_NEWS[notice.news][0]} : {TITLES[alarm.kind][0]}{about}"


def _told(notice: Notice) -> Iterator[str]:
    standing = notice.standing
    alarm = standing.alarm
    yield f"{_headline(notice)} [{alarm.kind.value}]"
    yield f"  {alarm.french}"
    yield f"  {_NEWS[notice.news][1]}: {TITLES[alarm.kind][1]}. {alarm.english}"
    seen = f"  Constaté le {standing.seen_at.astimezone(PARIS):%d/%m/%Y à %H:%M}"
    if standing.ended_at is not None:
        seen += f", rétabli le {standing.ended_at.astimezone(PARIS):%d/%m/%Y à %H:%M}"
    yield seen + "."
    yield ""
