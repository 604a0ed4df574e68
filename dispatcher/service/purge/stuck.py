"""Tells of places whose copies do not go, once a day each."""

from __future__ import annotations

from typing import Any

import structlog

from dispatcher.errors import InDoubt, InvariantBroken, NotNow, Refused, Unavailable
from dispatcher.service.desk import Desk
from dispatcher.service.lanes import Ended, Lane
from dispatcher.service.purge.told import is_news

_log = structlog.get_logger(__name__)

NO_TARGET = "the target is no longer in routing.yaml"


def tell(desk: Desk, lane: Lane, error: Unavailable | Refused | InDoubt) -> None:
    """Say why the copies of one target stay; they are tried again at each purge."""
    site, target = lane
    if is_news(desk, f"copies {site} {target}"):
        _log.error(
            "copies_could_not_be_removed",
            site=str(site),
            target=target,
            because=str(error),
            hint=error.hint,
        )


def tell_broken(desk: Desk, ended: Ended[Any]) -> None:
    """Say that an edge broke down in a removal; what is not the edge's is raised again."""
    error = ended.error
    if error is None:
        return
    if isinstance(error, InvariantBroken | NotNow) or not isinstance(error, Exception):
        raise error
    tell(desk, ended.lane, Unavailable(f"broke down: {type(error).__name__}"))
