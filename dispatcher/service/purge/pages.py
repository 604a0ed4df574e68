"""Removes lists of the day (bordereaux) from their sites: they bear patients' names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

import structlog

from dispatcher.core.audit import Deed, What
from dispatcher.core.finess import FinessET
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import Terms, after, told
from dispatcher.errors import InDoubt, Refused, Unavailable
from dispatcher.ports import Copy, Destination, Ledger, Removal
from dispatcher.service.desk import Desk
from dispatcher.service.lanes import Ended, Lane, Lanes
from dispatcher.service.purge import stuck

_log = structlog.get_logger(__name__)

_PREFIX: Final = "page "

Answer = Removal | Unavailable | Refused | InDoubt


@dataclass(frozen=True, slots=True)
class Page:
    """A list that lies at a target of a site, and when it is to go."""

    lane: Lane
    copy: Copy
    due_at: datetime


def due_at(on: date, made_at: datetime, terms: Terms) -> datetime:
    """Return when the list of a day is to go: as if all of it were negative, just sampled.

    One that is made later has the grace of a certificate that came late.
    """
    begins = datetime.combine(on, time(), tzinfo=PARIS)
    return max(after(begins, terms.negative), after(made_at, terms.site_copy_grace))


def remember(desk: Desk, pages: Iterable[tuple[Lane, date, Copy]]) -> None:
    """Let the purge know of lists that are about to be delivered, or were just now.

    What is about to be has no reference yet: it is found by its name if nobody comes back
    to say how it ended.
    """
    now, terms = desk.clock.now(), desk.policy.terms
    with desk.ledger.writing() as writer:
        for (site, target), on, copy in pages:
            told_of = {
                "site": str(site),
                "target": target,
                "reference": copy.reference,
                "sha256": copy.sha256,
                "name": copy.name,
                "due_at": due_at(on, now, terms).isoformat(),
            }
            writer.note(_name(copy), json.dumps(told_of))


def lying(ledger: Ledger) -> list[Page]:
    """Return the lists that lie on sites, as far as the ledger knows, by their due times."""
    every = (_read(*item) for item in ledger.memos(_PREFIX).items())
    return sorted(every, key=lambda page: page.due_at)


def forget(desk: Desk, copies: Iterable[Copy]) -> None:
    """Let go what was surely not delivered."""
    with desk.ledger.writing() as writer:
        for copy in copies:
            writer.note(_name(copy), None)


class Pages:
    """The lists of all sites. Used by one thread; others may do the same work beside it."""

    def __init__(self, desk: Desk, *, patience: float) -> None:
        self._desk = desk
        self._lanes: Lanes[list[tuple[Page, Answer]]] = Lanes(desk.clock, patience=patience)

    def remove(self) -> int:
        """Remove what is due as far as the sites answer; return how many are gone."""
        gone = self._record(self._lanes.leftovers())
        by_lane: dict[Lane, list[Page]] = {}
        for page in self._due():
            if not self._lanes.busy(page.lane):
                by_lane.setdefault(page.lane, []).append(page)
        work = {lane: self._work(lane, pages) for lane, pages in by_lane.items()}
        return gone + sum(self._record(group) for group in self._lanes.run(work))

    def _due(self) -> list[Page]:
        now = self._desk.clock.now()
        return [page for page in lying(self._desk.ledger) if page.due_at <= now]

    def _work(
        self, lane: Lane, pages: Iterable[Page]
    ) -> Callable[[], list[tuple[Page, Answer]]]:
        destination = self._desk.destination(*lane)
        if destination is None:
            gone = Unavailable(stuck.NO_TARGET)
            return lambda: [(page, gone) for page in pages]
        return lambda: [(page, _removed(destination, page.copy)) for page in pages]

    def _record(self, group: Iterable[Ended[list[tuple[Page, Answer]]]]) -> int:
        gone = 0
        for ended in group:
            stuck.tell_broken(self._desk, ended)
            for page, answer in ended.result or ():
                if isinstance(answer, Removal):
                    gone += self._recorded(page, answer)
                else:
                    stuck.tell(self._desk, page.lane, answer)
        return gone

    def _recorded(self, page: Page, answer: Removal) -> bool:
        name, terms = _name(page.copy), self._desk.policy.terms
        site, target = page.lane
        with self._desk.ledger.writing() as writer:
            if self._desk.ledger.memo(name) is None:
                return False  # another thread was faster
            writer.note(name, None)
            verb = {Removal.REMOVED: "removed", Removal.CHANGED: "left"}.get(answer, "gone")
            rule = f"list of the day {told(terms.negative)}"
            where = f"{site} {target}"
            now = self._desk.clock.now()
            writer.trace(
                Deed(verb, What.COPY, now, where=where, rule=rule, answer=answer.value)
            )
        if answer is Removal.CHANGED:
            _log.error("changed_list_was_left", site=str(site), target=target)
        return answer is not Removal.CHANGED


def _removed(destination: Destination, copy: Copy) -> Answer:
    try:
        return destination.remove(copy)
    except (Unavailable, Refused, InDoubt) as error:
        return error


def _name(copy: Copy) -> str:
    # The list of a place and day keeps its id; one that is drawn anew is another file.
    return f"{_PREFIX}{copy.delivery} {copy.sha256[:16]}"


def _read(name: str, text: str) -> Page:
    found = json.loads(text)
    delivery = name.removeprefix(_PREFIX).partition(" ")[0]
    copy = Copy(delivery, found["reference"], found["sha256"], found["name"])
    lane = (FinessET(found["site"]), found["target"])
    return Page(lane, copy, datetime.fromisoformat(found["due_at"]))
