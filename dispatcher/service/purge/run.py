"""One purge of one mailbox: what is due, what stops it, what goes, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from dispatcher.core.audit import Deed, What
from dispatcher.core.ledger import Entry
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Mailbox, Selected
from dispatcher.service.decisions import Person
from dispatcher.service.desk import Desk
from dispatcher.service.purge import brakes, deadlines, due, lines, quota
from dispatcher.service.purge.brakes import (
    OF_THE_CLOCK,
    TOLD,
    Braked,
    Circumstances,
    ClockWatch,
)
from dispatcher.service.purge.copies import Copies, changed
from dispatcher.service.purge.due import Plan
from dispatcher.service.purge.mails import Mails
from dispatcher.service.purge.pages import Pages
from dispatcher.service.purge.told import is_news
from dispatcher.service.whereabouts import Whereabouts

_log = structlog.get_logger(__name__)

# After a purge that failed or was stopped, the next one waits so long at most (seconds).
_PAUSE: Final = 600.0
# A server that broke off is asked again with the next turn, so often in a row: it may have done
# so at one mail, which is left out as soon as it is found (`edges.imap.suspects`).
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Report:
    """What a purge came to: `due` mails and `copies_due` were to go, `left` is what stayed.

    `braked` says why nothing went at all.
    """

    mailbox: str
    due: int = 0
    copies_due: int = 0
    mails: int = 0
    gone: int = 0
    copies: int = 0
    lines: int = 0
    left: int = 0
    braked: Braked | None = None


class Purge:
    """The purge of one mailbox, by the thread that owns its connection.

    After a turn over the mailbox: `whereabouts` must know what lies there.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        desk: Desk,
        whereabouts: Whereabouts,
        *,
        patience: float = 2.0,
    ) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._whereabouts = whereabouts
        self._copies = Copies(mailbox, desk, patience=patience)
        self._pages = Pages(desk, patience=patience)
        self._mails = Mails(mailbox, desk, whereabouts)
        self._clock = ClockWatch()
        self._not_before = 0.0
        self._failures = 0

    @property
    def is_due(self) -> bool:
        """Whether a purge is to be made now; the ledger remembers the last one."""
        if self._desk.clock.monotonic() < self._not_before:
            return False
        last, now = self._desk.ledger.last_did(self._errand), self._desk.clock.now()
        return last is None or not last <= now < last + self._desk.policy.purging.every

    def plan(self) -> Plan:
        """Return what is to go now, by the settings of today."""
        now, name = self._desk.clock.now(), self._mailbox.name
        # A preview changes nothing, so the terms in the ledger may be those of before.
        recorded = lines.are_terms_recorded(self._desk, name)
        ledger = self._desk.ledger
        entries = ledger.past_term(name, now) if recorded else lines.unemptied(self._desk, name)
        return due.plan(entries, self._desk.policy.terms, now)

    def stops(self, plan: Plan, selected: Selected) -> Braked | None:
        """Return what stops this plan: found now, or found before and waiting for a person."""
        found = frozenset(brakes.tripped(self._circumstances(plan, selected)))
        before = brakes.read(self._desk.ledger, self._mailbox.name)
        if before is not None:
            found |= before.brakes - OF_THE_CLOCK
        if not found & OF_THE_CLOCK:
            self._clock.believe(self._desk.clock.now(), self._desk.clock.monotonic())
        if not found:
            return None
        since = before.since if before is not None else self._desk.clock.now()
        return Braked(found, since, len(plan.mails), len(plan.copies))

    def finish(self, seconds: float = 0.0) -> None:
        """Record what slow sites came to since the last purge, waiting at most so long."""
        until = self._desk.clock.monotonic() + seconds
        copies = 0
        while not self._copies.idle:
            left = until - self._desk.clock.monotonic()
            copies += self._copies.leftovers(max(0.0, left))
            if left <= 0:
                break
        if copies:
            over = [entry.id for entry in self.plan().over]
            emptied = lines.empty(self._desk, over)
            lines.scour(self._desk)
            self._tell(Report(self._mailbox.name, copies=copies, lines=emptied))

    def look(self, selected: Selected) -> tuple[Plan, Braked | None]:
        """Return what would go and what would stop it. Changes nothing anywhere."""
        plan = self.plan()
        return plan, self.stops(plan, selected)

    def run(self, *, person: Person | None = None, unread: bool = False) -> Report:
        """Make one purge. `person` has seen what it removes and wants it, whatever stops it.

        `unread`: mail lies there that nobody has read yet, so that what is missing may be
        among it. Raises Unavailable or Refused when the mailbox or the ledger does not
        answer; what was begun is finished by the next purge.
        """
        self._not_before = self._desk.clock.monotonic() + min(_PAUSE, self._every)
        try:
            report = self._run(person, unread=unread)
        except Unavailable:
            self._failures += 1
            if self._failures % _TRIES:
                self._not_before = 0.0
            raise
        self._failures = 0
        return report

    def _run(self, person: Person | None, *, unread: bool) -> Report:
        name = self._mailbox.name
        lines.renew_terms(self._desk, name)
        deadlines.warn(self._desk, name)
        plan = self.plan()
        report = Report(name, len(plan.mails), len(plan.copies), left=len(plan.entries))
        stopped = self.stops(plan, self._whereabouts.selected)
        if stopped is not None and person is None:
            self._stop(stopped)
            report = replace(report, braked=stopped)
        else:
            self._go(plan, person)
            chosen = plan if person else plan.first(self._desk.policy.purging.max_deletions)
            report = self._carry_out(chosen, report, unread=unread)
        self._watch_quota()
        return report

    def _carry_out(self, plan: Plan, report: Report, *, unread: bool) -> Report:
        desk = self._desk
        settled = self._whereabouts.complete and not unread
        copies = self._copies.leftovers()
        unsure = self._copies.locate(plan.entries)
        located = self._as_now(entry for entry in plan.entries if entry.id not in unsure)
        again = changed(desk.ledger.changed_copies())
        copies += self._copies.remove([*located.copies, *again])
        copies += self._pages.remove()
        sure = self._as_now(located.mails).mails
        gone = self._mails.record_gone(sure) if settled else 0
        mails = self._mails.remove([entry for entry in sure if entry.present])
        emptied = lines.empty(desk, [entry.id for entry in plan.entries])
        lines.tidy(desk)
        lines.scour(desk)
        self._done()
        done = replace(
            report,
            mails=mails,
            gone=gone,
            copies=copies,
            lines=emptied,
            left=len(self.plan().entries),
        )
        self._tell(done)
        return done

    def _as_now(self, entries: Iterable[Entry]) -> Plan:
        """Return what of these messages is still to go, as the ledger has them now."""
        found = (self._desk.ledger.entry(entry.id) for entry in entries)
        terms, now = self._desk.policy.terms, self._desk.clock.now()
        return due.plan(filter(None, found), terms, now)

    # --- what stops it

    def _circumstances(self, plan: Plan, selected: Selected) -> Circumstances:
        desk, name = self._desk, self._mailbox.name
        last_at = desk.ledger.last_did(self._errand)
        shown = [at for at in (self._mailbox.newest(), self._whereabouts.newest) if at]
        before = desk.ledger.memo(self._vanished)
        vanished = desk.ledger.vanished(name)
        return Circumstances(
            now=desk.clock.now(),
            born_at=desk.ledger.born_at,
            due=sum(entry.present for entry in plan.mails),
            oldest_at=min((e.identity.internal_at for e in plan.mails), default=None),
            listed=selected.exists,
            ours=desk.ledger.lying(name),
            max_share=desk.policy.purging.max_share,
            confirmed=desk.ledger.last_did(self._confirmed) is not None,
            last_at=last_at,
            shown_at=max(shown, default=None),
            elapsed_at=self._clock.elapsed_at(last_at, desk.clock.monotonic()),
            vanished=vanished,
            vanished_before=int(before) if before else 0,
        )

    def _stop(self, stopped: Braked) -> None:
        name = self._mailbox.name
        news = is_news(self._desk, f"brake {name} {sorted(b.value for b in stopped.brakes)}")
        with self._desk.ledger.writing() as writer:
            brakes.write(writer, name, stopped)
        if news:
            _log.error(
                "purge_was_stopped",
                mailbox=name,
                brakes=sorted(brake.value for brake in stopped.brakes),
                because="; ".join(sorted(TOLD[brake] for brake in stopped.brakes)),
                mails=stopped.mails,
                copies=stopped.copies,
                hint="`purge --dry-run` shows what would go, `purge --confirm` deletes it.",
            )

    def _go(self, plan: Plan, person: Person | None) -> None:
        """Record that nothing stops this purge, or that a person wants it all the same."""
        name, now = self._mailbox.name, self._desk.clock.now()
        with self._desk.ledger.writing() as writer:
            brakes.write(writer, name, None)
            if person is None:
                return
            if not plan.empty:
                # Who confirmed nothing has seen nothing.
                writer.did(self._confirmed, now)
            writer.trace(
                Deed(
                    "purge",
                    What.MAILBOX,
                    now,
                    where=name,
                    answer=f"{len(plan.mails)} mails, {len(plan.copies)} copies",
                    by=person.name,
                    reason=person.reason,
                )
            )

    def _done(self) -> None:
        now = self._desk.clock.now()
        vanished = self._desk.ledger.vanished(self._mailbox.name)
        with self._desk.ledger.writing() as writer:
            writer.did(self._errand, now)
            writer.note(self._vanished, str(vanished))
        self._clock.believe(now, self._desk.clock.monotonic())

    def _tell(self, report: Report) -> None:
        if report.mails or report.gone or report.copies or report.lines:
            _log.info(
                "purge_was_made",
                mailbox=report.mailbox,
                mails=report.mails,
                gone=report.gone,
                copies=report.copies,
                lines=report.lines,
            )

    def _watch_quota(self) -> None:
        try:
            quota.watch(self._mailbox, self._desk)
        except (Unavailable, Refused) as error:
            # A server that trips over it must not keep anything past its time.
            name = self._mailbox.name
            _log.warning("quota_could_not_be_asked", mailbox=name, because=str(error))

    @property
    def _every(self) -> float:
        return self._desk.policy.purging.every.total_seconds()

    @property
    def _errand(self) -> str:
        return f"purge {self._mailbox.name}"

    @property
    def _confirmed(self) -> str:
        return f"purge confirmed {self._mailbox.name}"

    @property
    def _vanished(self) -> str:
        return f"vanished {self._mailbox.name}"
