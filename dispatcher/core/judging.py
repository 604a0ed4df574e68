"""Decides from the vitals which alarms there are. Limits are the issue's, or settings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dispatcher.core.alarm import Alarm, AlarmKind
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import RulesState
from dispatcher.core.vitals import (
    Credential,
    Deadline,
    HeldVitals,
    MailboxVitals,
    PlaceVitals,
    Room,
    Stopped,
    Vitals,
)

# No good check of a mailbox for so long: nobody sees what comes.
_STALLED: Final = timedelta(minutes=15)
# Delivering takes seconds.
_OLD: Final = timedelta(minutes=30)
# After a start the service first works off what came meanwhile.
_CATCHES_UP: Final = timedelta(minutes=5)
_ENDS_IN: Final = (60, 30, 7, 1)  # days
_DAILY_FROM: Final = 7
_NEAR: Final = (24, 4)  # hours
_QUOTA: Final = (75, 90)  # percent
# A figure that moves about a limit is one alarm and not many.
_SLACK: Final = 5  # percent
_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say: how long a printer may be down, how full a disk may be."""

    printer_down: timedelta = timedelta(minutes=15)
    disk_share: float = 0.9


def judge(vitals: Vitals, limits: Limits) -> tuple[Alarm, ...]:
    """Return every alarm there is at the moment of the vitals, at most one for each key."""
    return tuple(_judged(vitals, limits))


def _judged(vitals: Vitals, limits: Limits) -> Iterator[Alarm]:
    for box in vitals.mailboxes:
        yield from _intake(box, vitals)
        yield from _login(box)
        yield from _oldest(box, vitals)
        yield from _quota(box)
        yield from _purge(box)
    yield from map(_credential, _ending(vitals))
    yield from _places(vitals, limits)
    yield from _held(vitals.held)
    yield from _deadlines(vitals.deadlines, vitals)
    yield from _vanished(vitals.vanished)
    yield from _balance(vitals)
    yield from _rules(vitals.rules)
    yield from _ledger_disk(vitals.room, limits)
    yield from _leftovers(vitals)
    yield from _silent(vitals)


# --- mailboxes


def _started(vitals: Vitals, before: timedelta) -> bool:
    return vitals.started_at is None or vitals.at - vitals.started_at >= before


def _intake(box: MailboxVitals, vitals: Vitals) -> Iterator[Alarm]:
    since = box.checked_at or vitals.started_at
    if since is None or vitals.at - since < _STALLED:
        return
    yield Alarm(
        AlarmKind.INTAKE_STALLED,
        box.name,
        f"Aucune relève réussie de la BAL « {box.name} » depuis {_moment(since)}.",
        f"No good check of mailbox {box.name} since then.",
        firm=_started(vitals, _STALLED),
        since_at=since,
    )


def _login(box: MailboxVitals) -> Iterator[Alarm]:
    if box.refused_at is not None:
        yield Alarm(
            AlarmKind.LOGIN_REFUSED,
            box.name,
            f"Le serveur refuse la connexion à la BAL « {box.name} » depuis "
            f"{_moment(box.refused_at)} ({box.refusals} refus).",
            f"The server refuses the login of mailbox {box.name}.",
            since_at=box.refused_at,
        )


def _oldest(box: MailboxVitals, vitals: Vitals) -> Iterator[Alarm]:
    oldest = box.oldest
    if oldest is None or vitals.at - oldest.since_at < _OLD:
        return
    yield Alarm(
        AlarmKind.OLDEST_UNSETTLED,
        box.name,
        f"Un certificat (id {oldest.id}) de la BAL « {box.name} » attend sa remise depuis "
        f"{_moment(oldest.since_at)}.",
        f"Certificate {oldest.id} of mailbox {box.name} is not delivered since then.",
        firm=_started(vitals, _CATCHES_UP),
        since_at=oldest.since_at,
    )


def _quota(box: MailboxVitals) -> Iterator[Alarm]:
    if box.quota is None or box.quota.percent < min(_QUOTA) - _SLACK:
        return
    percent = box.quota.percent
    passed = frozenset(str(limit) for limit in _QUOTA if percent >= limit)
    yield Alarm(
        AlarmKind.QUOTA,
        box.name,
        f"La BAL « {box.name} » est remplie à {percent} % de son quota.",
        f"Mailbox {box.name} is {percent} % full.",
        parts=passed,
        firm=bool(passed),
    )


def _purge(box: MailboxVitals) -> Iterator[Alarm]:
    if box.stopped is not None:
        yield Alarm(
            AlarmKind.PURGE_STOPPED,
            box.name,
            f"La suppression à échéance est arrêtée pour la BAL « {box.name} » : "
            f"{_brakes(box.stopped)}.",
            f"Deletion at the term is stopped in mailbox {box.name}.",
            parts=box.stopped.brakes,
            since_at=box.stopped.since_at,
        )


_BRAKES: Final = {
    "first-purge": "première suppression, à confirmer",
    "large-share": "trop de messages à supprimer d'un coup",
    "mailbox-shrank": "la moitié de la BAL a disparu",
    "clock-ahead": "l'horloge de cette machine avance",
    "clock-behind": "l'horloge de cette machine retarde",
}


def _brakes(stopped: Stopped) -> str:
    return ", ".join(_BRAKES.get(word, word) for word in sorted(stopped.brakes))


def _ending(vitals: Vitals) -> Iterator[tuple[Credential, int]]:
    """Yield what ends within the first of the steps, with the days that are left."""
    for one in vitals.credentials:
        days = (one.ends_at - vitals.at) // timedelta(days=1)
        if days < max(_ENDS_IN):
            yield one, days


def _credential(ending: tuple[Credential, int]) -> Alarm:
    one, days = ending
    left = "est périmé" if days < 0 else f"se termine dans {days} jour(s)"
    steps = [str(step) for step in (*_ENDS_IN, 0) if days < step]
    return Alarm(
        AlarmKind.CREDENTIAL_ENDS,
        f"{one.mailbox} {one.what}",
        f"{_WHAT.get(one.what, one.what)} de la BAL « {one.mailbox} » {left} "
        f"({_moment(one.ends_at)}).",
        f"The {one.what} of mailbox {one.mailbox} ends at that time.",
        parts=frozenset(steps),
        # 60 and 30 days before, once is enough.
        repeats=days < _DAILY_FROM,
    )


_WHAT: Final = {
    "client certificate": "Le certificat client TLS",
    "server certificate": "Le certificat TLS du serveur",
    "token": "Le jeton de connexion",
}


# --- places


def _places(vitals: Vitals, limits: Limits) -> Iterator[Alarm]:
    for place in vitals.places:
        yield from _down(place, vitals.at, limits)
        room = place.health.room
        if room is not None:
            name = f"{place.site}/{place.target}"
            yield from _full(name, f"le dossier « {place.target} » du site {place.site}", room,
                             limits)  # fmt: skip


def _down(place: PlaceVitals, now: datetime, limits: Limits) -> Iterator[Alarm]:
    if not place.health.trouble or place.since_at is None:
        return
    printer = place.kind is Kind.PRINT
    what = "L'imprimante" if printer else "Le dossier"
    yield Alarm(
        AlarmKind.PRINTER_DOWN if printer else AlarmKind.FOLDER_DOWN,
        f"{place.site}/{place.target}",
        f"{what} « {place.target} » du site {place.site} est hors service depuis "
        f"{_moment(place.since_at)} : {place.health.trouble}.",
        f"Target {place.target} of site {place.site} takes nothing.",
        firm=now - place.since_at >= limits.printer_down,
        since_at=place.since_at,
    )


def _ledger_disk(room: Room | None, limits: Limits) -> Iterator[Alarm]:
    if room is not None:
        yield from _full("ledger", "le disque du registre", room, limits)


def _full(subject: str, where: str, room: Room, limits: Limits) -> Iterator[Alarm]:
    if room.used >= limits.disk_share - _SLACK / 100:
        yield Alarm(
            AlarmKind.DISK_NEARLY_FULL,
            subject,
            f"Place presque épuisée : {where} est plein à {room.used:.0%} "
            f"({room.free >> 20} Mio libres).",
            f"Nearly full: {subject}.",
            firm=room.used >= limits.disk_share,
        )


def _leftovers(vitals: Vitals) -> Iterator[Alarm]:
    for one in vitals.leftovers:
        yield Alarm(
            AlarmKind.SPOOL_KEPT,
            f"{one.site}/{one.target}",
            f"Le serveur d'impression garde {one.count} document(s) déjà imprimé(s) du site "
            f"{one.site} (« {one.target} »).",
            f"The print spool of {one.target}, site {one.site}, keeps documents.",
        )


# --- messages


def _held(held: Iterable[HeldVitals]) -> Iterator[Alarm]:
    by_site: dict[str, list[HeldVitals]] = defaultdict(list)
    for one in held:
        by_site[_named(one.site)].append(one)
    for site, some in sorted(by_site.items()):
        reasons = Counter(one.reason.value for one in some)
        told = ", ".join(f"{reason} : {count}" for reason, count in sorted(reasons.items()))
        yield Alarm(
            AlarmKind.HELD,
            site,
            f"{len(some)} certificat(s) en attente d'une décision, site {site} ({told}) ; "
            f"{_ids(one.id for one in some)}.",
            f"{len(some)} certificate(s) held, site {site}: a person decides.",
            parts=frozenset(one.id for one in some),
        )


def _deadlines(deadlines: Iterable[Deadline], vitals: Vitals) -> Iterator[Alarm]:
    by_site: dict[str, list[Deadline]] = defaultdict(list)
    for one in deadlines:
        if one.at - vitals.at <= timedelta(hours=max(_NEAR)):
            by_site[_named(one.site)].append(one)
    for site, some in sorted(by_site.items()):
        first = min(one.at for one in some)
        yield Alarm(
            AlarmKind.DEADLINE_NEAR,
            site,
            f"{len(some)} certificat(s) non remis arrivent à échéance légale, site {site}, "
            f"le premier {_moment(first)} ; {_ids(one.id for one in some)}.",
            f"{len(some)} certificate(s) of site {site} are not delivered and near their term.",
            parts=frozenset(part for one in some for part in _steps(one, vitals.at)),
            firm=_started(vitals, _CATCHES_UP),
        )


def _steps(deadline: Deadline, now: datetime) -> Iterator[str]:
    for hours in (*_NEAR, 0):
        if deadline.at - now <= timedelta(hours=hours):
            yield f"{deadline.id}/{hours}"


def _vanished(ids: tuple[str, ...]) -> Iterator[Alarm]:
    if ids:
        yield Alarm(
            AlarmKind.REMOVED_BY_OTHERS,
            "",
            f"{len(ids)} certificat(s) non remis ont été retirés de la BAL par quelqu'un "
            f"d'autre ; {_ids(ids)}.",
            f"{len(ids)} undelivered certificate(s) were removed from the mailbox by others.",
            parts=frozenset(ids),
        )


def _balance(vitals: Vitals) -> Iterator[Alarm]:
    difference = vitals.balance.difference
    if difference:
        yield Alarm(
            AlarmKind.BALANCE_BROKEN,
            "",
            f"Le bilan ne tombe pas juste : {difference} message(s) d'écart.",
            f"The balance does not close: {difference} message(s).",
        )


def _rules(rules: RulesState | None) -> Iterator[Alarm]:
    refusal = None if rules is None else rules.refusal
    if refusal is not None:
        yield Alarm(
            AlarmKind.RULES_REFUSED,
            "",
            f"routing.yaml est refusé depuis {_moment(refusal.since_at)} "
            f"({len(refusal.problems)} erreur(s)) ; les règles précédentes restent en vigueur.",
            "The changed routing.yaml is refused; the rules before it stay in force.",
            since_at=refusal.since_at,
        )


def _silent(vitals: Vitals) -> Iterator[Alarm]:
    # A mailbox that nobody can read makes every site silent, and has its own alarm.
    read = all(
        box.checked_at is not None and vitals.at - box.checked_at < _STALLED
        for box in vitals.mailboxes
    )
    for one in vitals.silent:
        yield Alarm(
            AlarmKind.SITE_SILENT,
            str(one.site),
            f"Aucun certificat pour le site {one.site} depuis le {one.since_on:%d/%m/%Y} ; "
            f"ses semaines précédentes en auraient apporté environ {one.expected:.0f}.",
            f"No certificate for site {one.site} since that day; about {one.expected:.0f} "
            "were to be expected.",
            firm=read,
        )


def _named(site: object) -> str:
    return str(site) if site is not None else "inconnu"


def _ids(ids: Iterable[str]) -> str:
    every = sorted(ids)
    more = f" et {len(every) - _LISTED} autre(s)" if len(every) > _LISTED else ""
    return "ids : " + ", ".join(every[:_LISTED]) + more


def _moment(at: datetime) -> str:
    return f"le {at.astimezone(PARIS):%d/%m/%Y à %H:%M}"
