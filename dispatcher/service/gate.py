"""Says when a delivery may be made: at once, when its site opens, or when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dispatcher.core.finess import FinessET
from dispatcher.core.hours import Hours, is_open, next_opening
from dispatcher.core.ledger import Delivery
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import PrintWhen, Rules, Target


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a delivery is not made now. `until` None: until a person asks for it."""

    because: str
    until: datetime | None = None


def target_of(rules: Rules, site: FinessET, name: str) -> Target | None:
    """Return a site's target in the rules in force."""
    known = rules.site_of(site)
    targets = known.targets if known else ()
    return next((target for target in targets if target.name == name), None)


def wait_for(rules: Rules, site: FinessET, delivery: Delivery, now: datetime) -> Wait | None:
    """Return what a delivery has to wait for; None: nothing.

    What a person asked for is printed at any hour. Hours that never come within a year
    are a mistake in the rules: then it waits for a person.
    """
    target = target_of(rules, site, delivery.target)
    if target is None or delivery.asked:
        return None
    return wait_at(rules, site, target, now)


def wait_at(rules: Rules, site: FinessET, target: Target, now: datetime) -> Wait | None:
    """Return what a page for this target has to wait for when nobody asked for it."""
    if target.printing is None:
        return None
    known = rules.site_of(site)
    hours = known.hours if known else None
    match target.printing.when:
        case PrintWhen.HOLD:
            return Wait("printed when somebody asks for it")
        case PrintWhen.OPEN if hours is not None and not is_open(hours, now):
            return _closed(hours, now)
        case _:
            return None


def _closed(hours: Hours, now: datetime) -> Wait:
    until = next_opening(hours, now)
    if until is None:
        return Wait("the site never opens, by its hours")
    return Wait(f"the site opens on {until.astimezone(PARIS):%Y-%m-%d at %H:%M}", until)
