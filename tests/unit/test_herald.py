"""What is told of the alarms, on a ledger and a way to people that may both fail."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.alarm import Alarm, AlarmKind
from dispatcher.core.letter import TITLES, Letter
from dispatcher.errors import InDoubt, NotNow, Refused, Unavailable
from dispatcher.ports import Sent
from dispatcher.service import herald as service
from dispatcher.service.herald import Herald
from tests.fakes.memory_alerts import MemoryAlerts
from tests.fakes.memory_ledger import MemoryLedger, MemoryWriter
from tests.fakes.office import Office

SOON, HOUR = timedelta(minutes=1), timedelta(hours=1)


def alarm(subject: str = "lbm", kind: AlarmKind = AlarmKind.INTAKE_STALLED) -> Alarm:
    return Alarm(kind, subject, f"Rien de {subject}.", f"Nothing of {subject}.")


class People:
    """A herald with all that it works with."""

    def __init__(self) -> None:
        self.office = Office()
        self.alerts = MemoryAlerts()
        self.herald = Herald(self.office.desk(), self.alerts)

    def restart(self, per_hour: int = 10) -> None:
        self.herald = Herald(self.office.desk(), self.alerts, per_hour=per_hour)

    def look(self, *alarms: Alarm, after: timedelta = SOON) -> None:
        self.office.clock.go(after)
        self.herald.look(alarms)


@pytest.fixture
def people() -> People:
    return People()


def test_an_alarm_and_its_recovery_are_a_mail_each(people: People) -> None:
    for _ in range(3):
        people.look(alarm())
    for _ in range(3):
        people.look()
    first, second = people.alerts.letters
    assert first.subject == "[SI-DEP LBM] ALERTE : relève arrêtée (lbm)"
    assert second.subject == "[SI-DEP LBM] RÉTABLI : relève arrêtée (lbm)"
    assert "Rien de lbm." in first.text
    assert "Nothing of lbm." in first.text
    assert "[intake-stalled]" in first.text


def test_a_restart_repeats_nothing(people: People) -> None:
    people.look(alarm())
    people.look(alarm())
    for _ in range(3):
        people.restart()
        people.look(alarm())
        people.look(alarm())
    assert len(people.alerts.letters) == 1


def test_a_recovery_that_came_while_the_program_was_off_is_told(people: People) -> None:
    people.look(alarm())
    people.look(alarm())
    people.restart()
    people.look()
    people.look()
    assert [s.split(" : ")[0] for s in people.alerts.subjects] == [
        "[SI-DEP LBM] ALERTE",
        "[SI-DEP LBM] RÉTABLI",
    ]
    assert people.office.ledger.memos("alarm ") == {}


@pytest.mark.parametrize(
    "error", [Unavailable("it is down"), Refused("550 no"), InDoubt("broken off")]
)
def test_a_mail_that_does_not_go_is_kept_and_sent_later_over_a_restart_too(
    people: People, error: Unavailable | Refused | InDoubt
) -> None:
    people.alerts.down = error
    with capture_logs() as logs:
        for _ in range(5):
            people.look(alarm("a"))
    told = [log for log in logs if log["event"] == "alert_could_not_be_sent"]
    assert [log["log_level"] for log in told].count("error") == 1
    assert told[0]["because"] == str(error)
    people.restart()
    people.look()
    people.look()
    people.alerts.down = None
    people.look(after=HOUR)
    (letter,) = people.alerts.letters
    assert "PASSÉ" in letter.subject


def test_a_server_that_is_down_is_asked_less_and_less(people: People) -> None:
    asked = []

    class Counting(MemoryAlerts):
        def send(self, _letter: Letter, /) -> Sent:
            asked.append(people.office.clock.now())
            raise Unavailable("down")

    people.herald = Herald(people.office.desk(), Counting())
    for _ in range(60 * 4):
        people.look(alarm(), after=timedelta(seconds=15))
    between = [later - before for before, later in itertools.pairwise(asked)]
    assert between[0] < timedelta(minutes=2)
    assert max(between) <= timedelta(minutes=16)
    assert len(asked) < 12


def test_several_at_once_are_one_mail(people: People) -> None:
    alarms = [alarm(name) for name in "abc"]
    people.look(*alarms)
    people.look(*alarms)
    (letter,) = people.alerts.letters
    assert letter.subject == "[SI-DEP LBM] 3 alertes"
    assert letter.text.count("ALERTE") == 3


def test_a_flood_ends_in_a_digest(people: People) -> None:
    people.restart(per_hour=3)
    alarms = []
    for number in range(20):
        alarms.append(alarm(f"m{number:02d}"))
        people.look(*alarms)
    assert len(people.alerts.letters) == 3
    people.restart(per_hour=3)
    people.look(*alarms)
    assert len(people.alerts.letters) == 3, "a restart opens no new hour"
    people.look(*alarms, after=HOUR)
    digest = people.alerts.letters[-1]
    assert digest.subject.endswith("17 alertes")
    assert len(people.alerts.letters) == 4


def test_without_room_in_the_ledger_people_are_told_all_the_same() -> None:
    class Full(MemoryLedger):
        full = True

        @contextmanager
        def writing(self) -> Iterator[MemoryWriter]:
            if self.full:
                raise NotNow("SQLITE_FULL")
            with super().writing() as writer:
                yield writer

    office, alerts = Office(), MemoryAlerts()
    ledger = Full(clock=office.clock)
    herald = Herald(office.desk(ledger), alerts)
    for _ in range(4):
        office.clock.go(SOON)
        herald.look([alarm("ledger", AlarmKind.DISK_NEARLY_FULL)])
    assert len(alerts.letters) == 1
    ledger.full = False
    herald.look([alarm("ledger", AlarmKind.DISK_NEARLY_FULL)])
    assert len(service.standing(ledger)) == 1
    office.clock.go(SOON)
    again = Herald(office.desk(ledger), alerts)
    again.look([alarm("ledger", AlarmKind.DISK_NEARLY_FULL)])
    assert len(alerts.letters) == 1, "what was told is in the ledger now"


def test_every_kind_has_words() -> None:
    assert set(TITLES) == set(AlarmKind)


def test_a_test_mail_says_what_the_server_answered(people: People) -> None:
    desk = people.office.desk()
    assert service.send_test(people.alerts, desk.clock, "LBM") == "250 taken"
    assert people.alerts.subjects == ["[SI-DEP LBM] Essai des alertes"]
    people.alerts.refused = ("desk@lbm.example",)
    with pytest.raises(Refused, match="not for 1"):
        service.send_test(people.alerts, desk.clock, "LBM")
