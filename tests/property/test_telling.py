"""Whatever comes and goes, each alarm is told once, with its recovery, and mails are few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dispatcher.core import telling
from dispatcher.core.alarm import Alarm, AlarmKind
from dispatcher.core.telling import HOUR, SETTLED, Key, News, Notice, Standing

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PER_HOUR = 3


def alarm(
    subject: str = "lbm",
    *parts: str,
    kind: AlarmKind = AlarmKind.HELD,
    firm: bool = True,
    repeats: bool = True,
) -> Alarm:
    return Alarm(
        kind, subject, "français", "English", frozenset(parts), firm=firm, repeats=repeats
    )


class People:
    """What people were told; the memory survives, as in the ledger."""

    def __init__(self) -> None:
        self.now = NOW
        self.memory: dict[Key, Standing] = {}

    def look(self, *alarms: Alarm, after: timedelta = timedelta()) -> list[News]:
        self.now += after
        self.memory = telling.remember(self.memory, alarms, self.now)
        notices = telling.due(self.memory, self.now)
        self.memory = telling.told(self.memory, notices, self.now)
        return [notice.news for notice in notices]


@pytest.fixture
def people() -> People:
    return People()


def test_an_alarm_is_told_once_and_then_its_recovery(people: People) -> None:
    assert people.look(alarm()) == []
    assert people.look(alarm(), after=SETTLED) == [News.BEGAN]
    assert people.look(alarm(), after=HOUR) == []
    assert people.look(after=MINUTE) == []
    assert people.look(after=SETTLED) == [News.ENDED]
    assert people.memory == {}


def test_what_comes_and_goes_in_seconds_is_told_to_nobody(people: People) -> None:
    for _ in range(10):
        assert people.look(alarm(), after=SETTLED / 3) == []
        assert people.look(after=SETTLED / 3) == []


def test_what_lasts_is_told_again_each_day(people: People) -> None:
    people.look(alarm())
    told = [people.look(alarm(), after=12 * HOUR) for _ in range(5)]
    assert told == [[News.BEGAN], [], [News.LASTS], [], [News.LASTS]]


def test_what_does_not_repeat_is_told_at_its_next_step_alone(people: People) -> None:
    def ends(*steps: str) -> Alarm:
        return alarm("x", *steps, kind=AlarmKind.CREDENTIAL_ENDS, repeats=False)

    people.look(ends("60"))
    assert people.look(ends("60"), after=DAY) == [News.BEGAN]
    assert people.look(ends("60"), after=20 * DAY) == []
    assert people.look(ends("60", "30"), after=MINUTE) == [News.GREW]


def test_one_more_that_is_held_is_told_within_the_hour(people: People) -> None:
    people.look(alarm("s", "a"))
    assert people.look(alarm("s", "a"), after=SETTLED) == [News.BEGAN]
    assert people.look(alarm("s", "a", "b"), after=MINUTE) == []
    assert people.look(alarm("s", "b", "c"), after=HOUR) == [News.GREW]
    assert people.look(alarm("s", "c"), after=HOUR) == [], "less is no news"


def test_a_recovery_that_does_not_hold_is_none(people: People) -> None:
    people.look(alarm())
    people.look(alarm(), after=SETTLED)
    people.look(after=MINUTE)
    assert people.look(alarm(), after=SETTLED / 2) == []
    assert people.look(alarm(), after=HOUR) == []


def test_what_is_not_sure_begins_nothing_and_ends_nothing(people: People) -> None:
    unsure = alarm(firm=False)
    assert people.look(unsure, after=HOUR) == []
    assert people.memory == {}
    people.look(alarm())
    people.look(alarm(), after=SETTLED)
    assert people.look(unsure, after=HOUR) == []
    assert people.look(after=HOUR) == []
    assert people.look(unsure, after=HOUR) == [News.ENDED]


def test_what_began_and_ended_while_no_mail_went_is_told_afterwards() -> None:
    memory = telling.remember({}, [alarm()], NOW)
    memory = telling.remember(memory, [alarm()], NOW + HOUR)
    memory = telling.remember(memory, [], NOW + 2 * HOUR)
    notices = telling.due(memory, NOW + 3 * HOUR)
    assert [notice.news for notice in notices] == [News.PASSED]
    assert telling.told(memory, notices, NOW) == {}


def test_a_clock_that_was_set_back_counts_no_mail_of_the_future() -> None:
    assert telling.may_send([NOW + DAY] * 99, NOW, 1)
    assert not telling.may_send([NOW - MINUTE], NOW, 1)


SUBJECTS = st.sampled_from(["a", "b", "c", "d", "e"])
PARTS = st.frozensets(st.sampled_from(["1", "2", "3"]), min_size=1)


class Years(RuleBasedStateMachine):
    """Alarms come and go, mails fail, the program restarts; people read what arrives."""

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.raised: dict[str, Alarm] = {}
        self.memory: dict[Key, Standing] = {}
        self.sent_at: list[datetime] = []
        self.up = True
        # What people believe, by what they read: subject and when it was told last.
        self.believed: dict[str, datetime] = {}

    @rule(subject=SUBJECTS, parts=PARTS)
    def comes(self, subject: str, parts: frozenset[str]) -> None:
        self.raised[subject] = alarm(subject, *parts)

    @rule(subject=SUBJECTS)
    def goes(self, subject: str) -> None:
        self.raised.pop(subject, None)

    @rule(up=st.booleans())
    def mail_server(self, up: bool) -> None:
        self.up = up

    @rule(seconds=st.sampled_from([15, 60, 600, 4000, 90_000]))
    def look(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.memory = telling.remember(self.memory, self.raised.values(), self.now)
        notices = telling.due(self.memory, self.now)
        if not notices or not self.up:
            return
        if telling.may_send(self.sent_at, self.now, PER_HOUR):
            self.sent_at.append(self.now)
            for notice in notices:
                self.read(notice)
            self.memory = telling.told(self.memory, notices, self.now)

    def read(self, notice: Notice) -> None:
        subject = notice.standing.alarm.subject
        match notice.news:
            case News.BEGAN:
                assert subject not in self.believed, "told twice"
                self.believed[subject] = self.now
            case News.GREW | News.LASTS:
                assert self.now - self.believed[subject] >= HOUR
                self.believed[subject] = self.now
            case News.ENDED:
                assert subject not in self.raised
                del self.believed[subject]
            case News.PASSED:
                assert subject not in self.believed
                assert subject not in self.raised

    @invariant()
    def mails_are_few(self) -> None:
        for at in self.sent_at:
            assert sum(at <= other < at + HOUR for other in self.sent_at) <= PER_HOUR

    def teardown(self) -> None:
        self.up = True
        for _ in range(4):
            self.look(4000)
        # When all is quiet and mails go, people believe what is true.
        assert self.believed.keys() == self.raised.keys()
        for _ in range(2):
            self.look(90_000)
        assert all(self.now - at < DAY + 2 * HOUR for at in self.believed.values())


Years.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestYears = Years.TestCase
