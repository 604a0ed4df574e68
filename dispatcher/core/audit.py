"""The audit trail: what was deleted and what people decided, each line bound to the last."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from dispatcher.core.ledger import Act


class What(Enum):
    """What a line is about. Stored as these words."""

    MAIL = "mail"  # a message in its mailbox
    COPY = "copy"  # a delivered copy, on a site's disk or in a print spool
    LINE = "line"  # a line of the ledger
    MAILBOX = "mailbox"  # a whole purge of a mailbox
    RULES = "rules"  # the rules in force
    LIST = "list"  # a list of the day that a person had made
    DECISION = "decision"  # what a person decided about a certificate


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to write into the trail. Bears no content, name, subject or file name.

    `verb` is what was done, `where` the place (mailbox, uidvalidity/uid; or site and
    target), `rule` why it was time, `answer` what the server or the disk said of it. `by`
    is a system user's name, empty where the program acted by itself.
    """

    verb: str
    what: What
    at: datetime
    entry: str | None = None
    where: str = ""
    rule: str = ""
    answer: str = ""
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A line of the trail: `seq` counts from 1 without a gap, `id` is random.

    `digest` is keyed and covers the digest of the line before it.
    """

    seq: int
    id: str
    deed: Deed
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the trail: the line after which it begins, or with which it ends."""

    seq: int = 0
    digest: str = ""


START: Final = Mark()
"""Before the first line ever."""

_JSON: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def deed_of(act: Act) -> Deed:
    """Return the line for a person's decision."""
    at = act.at.astimezone(UTC)
    return Deed(
        act.verb, What.DECISION, at, entry=act.entry or None, by=act.by, reason=act.reason
    )


def act_of(deed: Deed) -> Act:
    """Return the decision that a line tells of."""
    return Act(deed.verb, deed.entry or "", deed.by, deed.reason, deed.at)


def linked(secret: bytes, before: Mark, trace_id: str, deed: Deed) -> Trace:
    """Return the line that follows `before`."""
    draft = Trace(before.seq + 1, trace_id, deed)
    return Trace(draft.seq, trace_id, deed, digest(secret, before.digest, draft))


def digest(secret: bytes, before: str, trace: Trace) -> str:
    """Return the keyed digest (HMAC-SHA-256) of a line and of the digest before it.

    It finds a line that was changed, removed or put in without the program; it is no
    defence against one who reads the secret in the same file.
    """
    deed = trace.deed
    at = deed.at.astimezone(UTC).isoformat(timespec="microseconds")
    told = [deed.verb, deed.what.value, at, deed.entry, deed.where, deed.rule, deed.answer]
    content = _JSON.encode([before, trace.seq, trace.id, *told, deed.by, deed.reason])
    return hmac.digest(secret, content.encode("ascii"), "sha256").hex()


def flaw(secret: bytes, traces: Iterable[Trace], *, start: Mark, end: Mark) -> str | None:
    """Return where a trail is broken, None where it is whole.

    `start` is the line before the oldest one that is kept, `end` the newest one written.
    """
    last = start
    for trace in traces:
        if trace.seq != last.seq + 1:
            return f"lines {last.seq + 1} to {trace.seq - 1} are missing"
        if trace.digest != digest(secret, last.digest, trace):
            return f"line {trace.seq} was changed, or put in, without the program"
        last = Mark(trace.seq, trace.digest)
    if last.seq < end.seq:
        return f"lines {last.seq + 1} to {end.seq} are missing at the end"
    if last != end:
        return f"line {last.seq} is not the one that was written last"
    return None
