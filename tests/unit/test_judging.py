"""Which alarms there are, by how everything stands: every kind, at and before its limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from dispatcher.core.alarm import Alarm, AlarmKind
from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.judging import Limits, judge
from dispatcher.core.ledger import Balance
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import Refusal, RulesState
from dispatcher.core.vitals import (
    Credential,
    Deadline,
    Filling,
    HeldVitals,
    Leftover,
    MailboxVitals,
    Oldest,
    PlaceHealth,
    PlaceVitals,
    Room,
    Silence,
    Stopped,
    Vitals,
)

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SITE = FinessET("990000010")
K = AlarmKind

GOOD = Vitals(
    at=NOW,
    balance=Balance(),
    mailboxes=(MailboxVitals("lbm", checked_at=NOW - MINUTE),),
    started_at=NOW - 3 * DAY,
)


NO_INODES = PlaceHealth("", Room(500, 1000, free_files=1, files=100))


def box(**changes: Any) -> Vitals:
    return replace(GOOD, mailboxes=(replace(GOOD.mailboxes[0], **changes),))


def place(kind: Kind, trouble: str, since: timedelta) -> Vitals:
    found = PlaceVitals(SITE, "accueil", kind, PlaceHealth(trouble), NOW - since)
    return replace(GOOD, places=(found,))


def disk(percent: int) -> Vitals:
    return replace(GOOD, room=Room(100 - percent, 100))


def credential(left: timedelta) -> Vitals:
    return replace(GOOD, credentials=(Credential("lbm", "client certificate", NOW + left),))


def deadline(left: timedelta) -> Vitals:
    return replace(GOOD, deadlines=(Deadline("abc", SITE, NOW + left),))


def quota(percent: int) -> Vitals:
    return box(quota=Filling(percent, 100, NOW))


REFUSED = RulesState("d", NOW, Refusal(NOW - HOUR, "e", ("routing.yaml:1:1: x; y",)))

RAISED = [
    pytest.param(box(checked_at=NOW - 15 * MINUTE), K.INTAKE_STALLED, "lbm", id="no check"),
    pytest.param(
        replace(box(checked_at=None), started_at=NOW - HOUR),
        K.INTAKE_STALLED,
        "lbm",
        id="no check ever",
    ),
    pytest.param(
        box(oldest=Oldest("abc", NOW - 30 * MINUTE)), K.OLDEST_UNSETTLED, "lbm", id="old"
    ),
    pytest.param(box(refused_at=NOW, refusals=1), K.LOGIN_REFUSED, "lbm", id="login"),
    pytest.param(
        credential(59 * DAY), K.CREDENTIAL_ENDS, "lbm client certificate", id="60 days"
    ),
    pytest.param(credential(-DAY), K.CREDENTIAL_ENDS, "lbm client certificate", id="it ended"),
    pytest.param(
        place(Kind.PRINT, "paper jam", 15 * MINUTE), K.PRINTER_DOWN, f"{SITE}/accueil", id="jam"
    ),
    pytest.param(
        place(Kind.FOLDER, "missing", HOUR), K.FOLDER_DOWN, f"{SITE}/accueil", id="folder"
    ),
    pytest.param(
        replace(GOOD, held=(HeldVitals("abc", SITE, HoldReason.NOT_A_PDF),)),
        K.HELD,
        str(SITE),
        id="held",
    ),
    pytest.param(
        replace(GOOD, held=(HeldVitals("abc", None, HoldReason.FINESS_MISMATCH),)),
        K.HELD,
        "inconnu",
        id="held, nobody knows for whom",
    ),
    pytest.param(deadline(24 * HOUR), K.DEADLINE_NEAR, str(SITE), id="24 hours"),
    pytest.param(deadline(-HOUR), K.DEADLINE_NEAR, str(SITE), id="past it"),
    pytest.param(replace(GOOD, vanished=("abc",)), K.REMOVED_BY_OTHERS, "", id="vanished"),
    pytest.param(
        replace(GOOD, balance=Balance(received=2, held=1)), K.BALANCE_BROKEN, "", id="balance"
    ),
    pytest.param(disk(90), K.DISK_NEARLY_FULL, "ledger", id="disk"),
    pytest.param(
        replace(
            GOOD,
            places=(PlaceVitals(SITE, "d", Kind.FOLDER, NO_INODES),),
        ),
        K.DISK_NEARLY_FULL,
        f"{SITE}/d",
        id="a share without inodes",
    ),
    pytest.param(quota(75), K.QUOTA, "lbm", id="quota"),
    pytest.param(replace(GOOD, rules=REFUSED), K.RULES_REFUSED, "", id="rules"),
    pytest.param(
        box(stopped=Stopped(frozenset({"mailbox-shrank"}), NOW)), K.PURGE_STOPPED, "lbm",
        id="brake",
    ),
    pytest.param(
        replace(GOOD, leftovers=(Leftover(SITE, "accueil", 2),)),
        K.SPOOL_KEPT,
        f"{SITE}/accueil",
        id="spool",
    ),
    pytest.param(
        replace(GOOD, silent=(Silence(SITE, date(2026, 11, 25), 40.0),)),
        K.SITE_SILENT,
        str(SITE),
        id="silent",
    ),
]  # fmt: skip


def firm(vitals: Vitals) -> list[Alarm]:
    return [alarm for alarm in judge(vitals, Limits()) if alarm.firm]


@pytest.mark.parametrize(("vitals", "kind", "subject"), RAISED)
def test_what_is_wrong_is_one_alarm_of_its_kind(
    vitals: Vitals, kind: AlarmKind, subject: str
) -> None:
    (alarm,) = firm(vitals)
    assert alarm.key == (kind, subject)
    assert alarm.french
    assert alarm.english


def test_every_kind_is_raised_by_something() -> None:
    assert {param.values[1] for param in RAISED} == set(AlarmKind)


@pytest.mark.parametrize(
    "vitals",
    [
        pytest.param(GOOD, id="all is well"),
        pytest.param(box(checked_at=NOW - 14 * MINUTE), id="a check in time"),
        pytest.param(
            replace(box(checked_at=NOW - DAY), started_at=NOW - MINUTE), id="just started"
        ),
        pytest.param(box(oldest=Oldest("abc", NOW - 29 * MINUTE)), id="not old yet"),
        pytest.param(
            replace(box(oldest=Oldest("abc", NOW - DAY)), started_at=NOW - MINUTE),
            id="what came while it was off",
        ),
        pytest.param(credential(61 * DAY), id="61 days"),
        pytest.param(place(Kind.PRINT, "paper jam", 14 * MINUTE), id="a jam for 14 minutes"),
        pytest.param(place(Kind.PRINT, "", HOUR), id="a printer that prints"),
        pytest.param(deadline(25 * HOUR), id="25 hours"),
        pytest.param(disk(89), id="a disk at 89 %"),
        pytest.param(quota(74), id="a quota at 74 %"),
        pytest.param(replace(GOOD, rules=replace(REFUSED, refusal=None)), id="good rules"),
    ],
)
def test_what_is_well_or_not_yet_wrong_begins_no_alarm(vitals: Vitals) -> None:
    assert firm(vitals) == []


@pytest.mark.parametrize(
    "vitals",
    [
        pytest.param(disk(86), id="a disk"),
        pytest.param(quota(71), id="a quota"),
        pytest.param(
            replace(box(checked_at=NOW - DAY), started_at=NOW - MINUTE), id="a restart"
        ),
        pytest.param(place(Kind.PRINT, "paper jam", MINUTE), id="a printer after a restart"),
    ],
)
def test_what_is_between_keeps_an_alarm_going(vitals: Vitals) -> None:
    (alarm,) = judge(vitals, Limits())
    assert not alarm.firm


@pytest.mark.parametrize(
    ("days", "steps", "repeats"),
    [
        (59, {"60"}, False),
        (29, {"60", "30"}, False),
        (6, {"60", "30", "7"}, True),
        (0, {"60", "30", "7", "1"}, True),
        (-1, {"60", "30", "7", "1", "0"}, True),
    ],
)
def test_each_step_of_a_certificate_is_a_part(
    days: int, steps: set[str], repeats: bool
) -> None:
    (alarm,) = firm(credential(days * DAY + HOUR))
    assert (set(alarm.parts), alarm.repeats) == (steps, repeats)


def test_a_deadline_has_its_steps_and_the_quota_too() -> None:
    (near,) = firm(deadline(4 * HOUR))
    assert set(near.parts) == {"abc/24", "abc/4"}
    (full,) = firm(quota(90))
    assert set(full.parts) == {"75", "90"}


def test_what_is_held_is_counted_by_reason_with_ids_alone() -> None:
    held = tuple(
        HeldVitals(f"id{number:02d}", SITE, reason)
        for number, reason in enumerate(
            [HoldReason.NOT_A_PDF] * 20 + [HoldReason.TOO_LARGE] * 5
        )
    )
    (alarm,) = firm(replace(GOOD, held=held))
    assert "not-a-pdf : 20" in alarm.french
    assert "too-large : 5" in alarm.french
    assert "id00" in alarm.french
    assert "et 5 autre(s)" in alarm.french
    assert len(alarm.parts) == 25


def test_a_silent_site_is_no_alarm_while_nobody_reads_the_mailbox() -> None:
    blind = replace(
        box(checked_at=NOW - HOUR), silent=(Silence(SITE, date(2026, 11, 25), 40.0),)
    )
    assert [alarm.kind for alarm in firm(blind)] == [K.INTAKE_STALLED]


def test_the_settings_limits_count() -> None:
    vitals = replace(place(Kind.PRINT, "jam", 5 * MINUTE), room=Room(30, 100))
    found = judge(vitals, Limits(printer_down=5 * MINUTE, disk_share=0.7))
    assert {alarm.kind for alarm in found if alarm.firm} == {K.PRINTER_DOWN, K.DISK_NEARLY_FULL}
