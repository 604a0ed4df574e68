"""Deletion at the term, on fakes: what goes, what stays, what is told, what is proven."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import cache
from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.core.audit import What
from dispatcher.core.certificate import PdfText
from dispatcher.core.delivery import Order, Removal
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import DeliveryState, Entry, State
from dispatcher.core.paris import PARIS
from dispatcher.core.retention import Months, Terms, Undelivered, after
from dispatcher.core.routing import Kind, Printing, Target
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Copy, Outcome, Shown
from dispatcher.service.bordereau import bordereau, send
from dispatcher.service.daily import DailyLists
from dispatcher.service.decisions import Decisions, Person
from dispatcher.service.desk import Policy, Purging
from dispatcher.service.purge import Report
from dispatcher.service.purge.brakes import Brake
from dispatcher.service.purge.by_hand import look
from dispatcher.service.purge.mails import Mails
from dispatcher.service.round import Round
from dispatcher.service.whereabouts import Whereabouts
from dispatcher.simulator.scenario import Sending
from tests.crash.test_round import Killed
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_mailbox import MemoryMailbox, Stored
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import SENDERS, Office, certificates, rules

HOURS_72 = timedelta(hours=72)
CLAIRE = Person("claire", "vu")
FOREIGN = b"From: someone@example.test\r\nSubject: hello\r\n\r\nhello\r\n"


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def three() -> tuple[Sending, ...]:
    """Three negative certificates."""
    return negatives(3)


def negatives(count: int) -> tuple[Sending, ...]:
    return _with("negatif")[:count]


def positives(count: int) -> tuple[Sending, ...]:
    return _with("positif")[:count]


@cache
def _with(result: str) -> tuple[Sending, ...]:
    return tuple(s for s in certificates(5, 300) if s.truth.result == result)


def arrive(office: Office, sendings: Sequence[Sending]) -> list[int]:
    return [office.mailbox.append(s.raw, internal_at=office.clock.now()) for s in sendings]


def told(office: Office, **terms: Any) -> None:
    """Change settings `retention`."""
    changed = replace(office.policy.terms, **terms)
    office.policy = replace(office.policy, terms=changed)


def turn(office: Office, work: Round | None = None) -> Round:
    work = work or office.round()
    work.turn(impatient=True)
    return work


def purge(office: Office, person: Person | None = None) -> Report:
    """Make a turn and a purge as after a start of the program."""
    return turn(office).purge(person)


def entries(office: Office) -> list[Entry]:
    return list(office.ledger.entries())


def states(office: Office) -> set[State]:
    return {entry.state for entry in entries(office)}


def documents(office: Office) -> int:
    return sum(len(office.at(str(s), n).documents) for s, n in office.destinations)


def due_of(office: Office) -> list[datetime]:
    return sorted(e.purge_at for e in entries(office) if e.purge_at)


def go_to(office: Office, at: datetime) -> None:
    office.clock.go(at - office.clock.now())


def test_at_its_term_mail_copy_and_line_go_and_not_a_minute_before(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (due,) = due_of(office)
    go_to(office, due - timedelta(minutes=1))
    assert purge(office).mails == 0
    assert (len(office.mailbox.stored), documents(office)) == (1, 1)
    go_to(office, due)
    report = purge(office)
    assert (report.mails, report.copies, report.lines, report.left) == (1, 1, 1, 0)
    assert (len(office.mailbox.stored), documents(office)) == (0, 0)
    (entry,) = entries(office)
    assert entry.state is State.PURGED
    assert entry.file_number is None


def test_the_balance_closes_before_and_after(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    arrive(office, three[:1])
    turn(office).purge()
    before = office.ledger.balance()
    office.clock.go(HOURS_72)
    purge(office)
    assert states(office) == {State.PURGED}
    assert office.ledger.balance() == before
    assert (before.delivered, before.duplicate, before.difference) == (3, 1, 0)
    assert office.ledger.flaws() == ()


def test_a_positive_certificate_stays_its_six_months(office: Office) -> None:
    arrive(office, positives(1))
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert purge(office).due == 0
    (due,) = due_of(office)
    go_to(office, due)
    # Nobody wrote for months: the clock alone says so, and a person has to agree.
    assert purge(office, CLAIRE).mails == 1
    assert office.mailbox.stored == {}


def test_foreign_mail_stays_whatever_its_flags(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    uid = office.mailbox.append(FOREIGN, internal_at=office.clock.now(), flags=["\\Deleted"])
    turn(office).purge()
    office.clock.go(HOURS_72)
    purge(office)
    assert set(office.mailbox.stored) == {uid}
    assert office.mailbox.flags()[uid] == {"\\Deleted"}


def test_a_certificate_that_arrives_late_is_delivered_and_its_mail_goes_at_once(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.clock.go(timedelta(days=5))
    office.ledger.born_at = office.clock.now()
    arrive(office, three[:1])
    assert purge(office).mails == 1
    assert (len(office.mailbox.stored), documents(office)) == (0, 1)
    office.clock.go(timedelta(hours=24) - timedelta(minutes=1))
    assert purge(office).copies == 0
    office.clock.go(timedelta(minutes=1))
    assert purge(office).copies == 1
    assert (documents(office), states(office)) == (0, {State.PURGED})


def test_one_delivered_after_its_term_stays_as_long_on_its_site(
    office: Office, three: tuple[Sending, ...]
) -> None:
    site = str(three[0].truth.site)
    office.at(site).go_down(Unavailable("the share is away"))
    arrive(office, three[:1])
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert purge(office).mails == 0
    office.at(site).mend()
    report = purge(office)
    assert (report.mails, documents(office)) == (1, 1)
    office.clock.go(timedelta(hours=24))
    assert purge(office).copies == 1


# --- what is kept


def test_what_a_person_keeps_stays_until_the_day_given(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    decisions = Decisions(office.ledger, office.clock, office.rules)
    until = office.clock.now() + timedelta(days=6)
    decisions.keep(entry.id, until, Person("claire", "réquisition"))
    office.clock.go(HOURS_72)
    assert purge(office).due == 0
    go_to(office, until)
    assert purge(office).mails == 1
    assert [act.verb for act in office.ledger.acts(entry.id)] == ["hold"]


def test_letting_go_of_a_legal_hold_lets_it_go_at_once(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    decisions = Decisions(office.ledger, office.clock, office.rules)
    decisions.keep(entry.id, office.clock.now() + timedelta(days=60), CLAIRE)
    office.clock.go(HOURS_72)
    decisions.keep(entry.id, None, CLAIRE)
    assert purge(office).mails == 1


def test_a_delivery_under_way_keeps_its_mail(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    office.policy = replace(office.policy, terms=Terms(undelivered=Undelivered.EXPIRE))
    with office.ledger.writing() as writer:
        # As a killed program leaves it.
        book = writer.book
        doubtful = replace(entry.deliveries[0], state=DeliveryState.IN_DOUBT)
        book.entries[entry.id] = replace(entry, state=State.PENDING, deliveries=(doubtful,))
    office.clock.go(timedelta(days=10))
    work = office.round()
    work._whereabouts.news()
    assert work.purge(CLAIRE).mails == 0
    assert len(office.mailbox.stored) == 1
    office.ledger.book.entries[entry.id] = entry


def test_a_held_certificate_is_kept_and_told_of_every_day(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.without(str(three[0].truth.site))
    arrive(office, three[:1])
    turn(office).purge()
    office.clock.go(HOURS_72)
    work = office.round()
    with capture_logs() as logs:
        for _ in range(50):
            office.clock.go(timedelta(hours=1))
            turn(office, work).purge()
    assert len([e for e in logs if e["event"] == "term_passed_undelivered"]) == 3
    assert len(office.mailbox.stored) == 1
    assert states(office) == {State.HELD}


def test_where_the_settings_say_so_what_is_undelivered_expires_at_its_term(
    office: Office, three: tuple[Sending, ...]
) -> None:
    told(office, undelivered=Undelivered.EXPIRE)
    office.without(str(three[0].truth.site))
    arrive(office, three[:1])
    work = turn(office)
    (due,) = due_of(office)
    while office.clock.now() < due:
        turn(office, work).purge()
        assert len(office.mailbox.stored) == 1
        office.clock.go(min(timedelta(hours=1), due - office.clock.now()))
    with capture_logs() as logs:
        turn(office, work).purge()
    assert [e["log_level"] for e in logs if e["event"].startswith("certificate_expired")] == [
        "error"
    ]
    assert (office.mailbox.stored, states(office)) == ({}, {State.EXPIRED})
    assert office.ledger.balance().expired == 1


def test_nothing_expires_before_somebody_was_warned_for_some_hours(
    office: Office, three: tuple[Sending, ...]
) -> None:
    told(office, undelivered=Undelivered.EXPIRE)
    office.without(str(three[0].truth.site))
    office.clock.go(timedelta(days=5))
    office.ledger.born_at = office.clock.now()
    arrive(office, three[:1])
    assert purge(office).mails == 0
    office.clock.go(timedelta(hours=3))
    assert purge(office).mails == 0
    office.clock.go(timedelta(hours=1))
    assert purge(office).mails == 1


def test_the_hours_before_a_term_are_told_once_each_also_over_restarts(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.without(str(three[0].truth.site))
    arrive(office, three[:1])
    turn(office)
    (due,) = due_of(office)
    with capture_logs() as logs:
        go_to(office, due - timedelta(hours=30))
        while office.clock.now() < due:
            purge(office)
            office.clock.go(timedelta(minutes=30))
    found = [
        (event["event"], event["hours"], event["site"], event["count"])
        for event in logs
        if event["event"].startswith("deadline")
    ]
    site = str(three[0].truth.site)
    assert found == [
        ("deadline_came_near", 24, site, 1),
        ("deadline_came_very_near", 4, site, 1),
    ]


def test_a_discarded_certificate_goes_at_its_term_and_stays_expired(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.without(str(three[0].truth.site))
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    Decisions(office.ledger, office.clock, office.rules).discard(entry.id, CLAIRE)
    office.clock.go(HOURS_72)
    assert purge(office).mails == 1
    (now,) = entries(office)
    assert (now.state, now.file_number, now.emptied_at is None) == (State.EXPIRED, None, False)


# --- certainty before each deletion


@pytest.mark.parametrize("lie", ["size", "internal_at", "message_id"])
def test_another_message_under_the_uid_is_left_and_told_of_once(
    office: Office, three: tuple[Sending, ...], lie: str
) -> None:
    (uid,) = arrive(office, three[:1])
    work = turn(office)
    work.purge()
    (entry,) = entries(office)
    values: dict[str, Any] = {
        "size": entry.identity.size + 1,
        "internal_at": entry.identity.internal_at + timedelta(seconds=1),
        "message_id": "0" * 64,
    }
    truth: dict[str, Any] = {
        "size": entry.identity.size,
        "internal_at": entry.identity.internal_at,
        "message_id": entry.message_id,
    }
    office.mailbox.lies[uid] = Shown(**{**truth, lie: values[lie]})
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        for _ in range(5):
            turn(office, work).purge()
            office.clock.go(timedelta(hours=1))
    assert set(office.mailbox.stored) == {uid}
    assert len([e for e in logs if e["event"] == "mail_was_not_deleted"]) == 1
    assert [t.deed.verb for t in office.ledger.trail()].count("refused") == 1
    office.mailbox.lies.clear()
    assert turn(office, work).purge().mails == 1


def test_a_message_without_message_id_is_compared_whole(
    office: Office, three: tuple[Sending, ...]
) -> None:
    raws = [_without_id(one.raw) for one in three[:2]]
    uids = [office.mailbox.append(raw, internal_at=office.clock.now()) for raw in raws]
    turn(office).purge()
    assert [entry.message_id for entry in entries(office)] == [None, None]
    stored = office.mailbox.stored[uids[0]]
    same_length = stored.raw[:-3] + b"X\r\n"
    assert len(same_length) == len(stored.raw)
    office.mailbox.stored[uids[0]] = Stored(same_length, stored.internal_at, stored.flags)
    office.clock.go(HOURS_72)
    assert purge(office).mails == 1
    assert set(office.mailbox.stored) == {uids[0]}


def test_a_line_of_an_earlier_version_is_proven_by_the_whole_message(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    office.ledger.book.entries[entry.id] = replace(entry, message_id=None)
    office.mailbox.fetched.clear()
    office.clock.go(HOURS_72)
    assert purge(office).mails == 1
    assert office.mailbox.fetched == [1]


class Meanwhile(MemoryMailbox):
    """A mailbox in which something happens between two commands of a purge."""

    def __init__(self) -> None:
        super().__init__()
        self.when_shown: Callable[[], None] = lambda: None
        self.when_removed: Callable[[], None] = lambda: None
        self.hidden = False

    def shown(self, uids: Sequence[int]) -> Mapping[int, Shown]:
        self.when_shown()
        return {} if self.hidden else super().shown(uids)

    def remove(self, uids: Sequence[int]) -> frozenset[int]:
        gone = super().remove(uids)
        self.when_removed()
        return gone


def test_what_a_person_keeps_in_the_last_moment_is_kept(
    three: tuple[Sending, ...],
) -> None:
    """The mail was verified already and is to be expunged next."""
    mailbox = Meanwhile()
    office = Office(mailbox)
    arrive(office, three[:2])
    turn(office).purge()
    kept, gone = entries(office)
    decisions = Decisions(office.ledger, office.clock, office.rules)
    until = office.clock.now() + timedelta(days=30)

    def keep() -> None:
        decisions.keep(kept.id, until, CLAIRE)

    mailbox.when_shown = keep
    office.clock.go(HOURS_72)
    assert purge(office).mails == 1
    assert set(mailbox.stored) == {kept.ref.uid}
    assert [t.deed.entry for t in office.ledger.trail() if t.deed.what is What.MAIL] == [
        gone.id
    ]


def test_what_another_purge_recorded_meanwhile_is_not_recorded_twice(
    three: tuple[Sending, ...],
) -> None:
    mailbox = Meanwhile()
    office = Office(mailbox)
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)

    def by_another() -> None:
        with office.ledger.writing() as writer:
            writer.mail_gone(entry.id, Removal.REMOVED)

    mailbox.when_removed = by_another
    office.clock.go(HOURS_72)
    purge(office)
    assert [t for t in office.ledger.trail() if t.deed.what is What.MAIL] == []


def test_a_mail_that_the_server_lists_and_does_not_show_stays_and_is_told_of(
    three: tuple[Sending, ...],
) -> None:
    mailbox = Meanwhile()
    office = Office(mailbox)
    arrive(office, three[:1])
    turn(office).purge()
    mailbox.hidden = True
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        assert purge(office).mails == 0
    assert [e["event"] for e in logs if e["log_level"] == "error"] == ["mails_were_not_shown"]
    (entry,) = entries(office)
    assert entry.present, "it was not shown, which proves nothing"
    mailbox.hidden = False
    assert purge(office).mails == 1


def test_another_message_that_took_the_uid_is_read_at_the_next_turn(
    three: tuple[Sending, ...],
) -> None:
    mailbox = Meanwhile()
    office = Office(mailbox)
    (uid,) = arrive(office, three[:1])
    work = turn(office)
    work.purge()
    office.clock.go(HOURS_72)
    work.turn()
    mailbox.stored[uid] = Stored(FOREIGN, office.clock.now(), frozenset())
    work.purge()
    (entry,) = entries(office)
    assert not entry.present
    work.turn()
    assert office.ledger.balance().foreign == 1
    assert set(mailbox.stored) == {uid}


def test_what_a_purge_removed_is_not_told_as_removed_by_others(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = turn(office)
    work.purge()
    office.clock.go(HOURS_72)
    work.turn()
    with capture_logs() as logs:
        assert work.purge().mails == 3
        work.turn()
    assert [e["event"] for e in logs] == ["purge_was_made"]


def test_one_set_aside_unread_is_known_by_its_header(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """Too large to be fetched, and without a Message-ID: nothing else tells it apart."""
    office.mailbox.max_message_size = 1000
    uids = [
        office.mailbox.append(_without_id(one.raw), internal_at=office.clock.now())
        for one in three[:2]
    ]
    turn(office).purge()
    decisions = Decisions(office.ledger, office.clock, office.rules)
    for entry in entries(office):
        decisions.discard(entry.id, CLAIRE)
    stored = office.mailbox.stored[uids[0]]
    same_length = stored.raw.replace(b"Subject", b"Sujbect", 1)
    office.mailbox.stored[uids[0]] = Stored(same_length, stored.internal_at, stored.flags)
    go_to(office, after(office.clock.now(), Months(6)) + timedelta(days=1))
    assert purge(office, CLAIRE).mails == 1
    assert set(office.mailbox.stored) == {uids[0]}


def _without_id(raw: bytes) -> bytes:
    head, blank, body = raw.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"message-id")]
    return b"\r\n".join(kept) + blank + body


def test_uids_that_changed_between_decision_and_deletion_delete_nothing_wrong(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = turn(office)
    work.purge()
    office.clock.go(HOURS_72)
    work.turn()
    office.mailbox.renumber()
    raws = sorted(office.mailbox.messages().values())
    # Still the old uids on our side; on the server they are nobody's.
    assert work.purge().mails == 0
    assert sorted(office.mailbox.messages().values()) == raws
    assert turn(office, work).purge().mails == 3


def test_a_uid_of_another_uidvalidity_is_nobody_s(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    work = turn(office)
    work.purge()
    (entry,) = entries(office)
    earlier = replace(entry.ref, uidvalidity=entry.ref.uidvalidity - 1)
    office.ledger.book.entries[entry.id] = replace(entry, ref=earlier)
    office.clock.go(HOURS_72)
    assert work.purge().mails == 0
    assert set(office.mailbox.stored) == {1}


def test_a_server_without_uidplus_loses_nothing_and_the_copies_go(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.mailbox.uidplus = False
    arrive(office, three)
    with capture_logs() as logs:
        turn(office).purge()
    events = [e["event"] for e in logs]
    assert events.count("mailbox_refused_deletion") == 1, "told before the first term"
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        report = purge(office)
        purge(office)
    assert (report.mails, report.copies, report.lines) == (0, 3, 0)
    assert len(office.mailbox.stored) == 3
    assert [e["event"] for e in logs].count("mailbox_refused_deletion") == 1


def test_a_mail_that_the_server_does_not_expunge_is_tried_again(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    turn(office).purge()
    office.mailbox.stubborn.add(2)
    office.clock.go(HOURS_72)
    assert purge(office).mails == 2
    assert office.ledger.flaws() == ()
    office.mailbox.stubborn.clear()
    office.clock.go(timedelta(hours=1))
    assert purge(office).mails == 1
    assert states(office) == {State.PURGED}


def test_a_removal_that_breaks_off_is_finished_and_told_apart_from_what_others_took(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    turn(office).purge()
    office.clock.go(HOURS_72)
    office.mailbox.take_away(3)
    work = turn(office)
    office.mailbox.tear_remove_after(1)
    with pytest.raises(Unavailable):
        work.purge()
    purge(office)
    assert office.mailbox.stored == {}
    answers = {
        t.deed.where.rpartition("/")[2]: (t.deed.verb, t.deed.answer)
        for t in office.ledger.trail()
        if t.deed.what is What.MAIL
    }
    assert answers == {
        "1": ("removed", "gone after an interrupted purge"),
        "2": ("removed", "expunged by the server"),
        "3": ("gone", "was gone, removed by others"),
    }
    assert states(office) == {State.PURGED}


# --- copies


def test_a_changed_copy_is_left_told_of_and_found_gone_later(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    reference = str(entry.deliveries[0].reference)
    site = office.at(str(three[0].truth.site))
    site.edit(reference)
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        purge(office)
        office.clock.go(timedelta(hours=1))
        purge(office)
    assert [e["event"] for e in logs].count("changed_copy_was_left") == 1
    (now,) = entries(office)
    assert (now.state, now.file_number) == (State.PURGED, None)
    assert now.deliveries[0].removal is Removal.CHANGED
    site.take(reference)
    office.clock.go(timedelta(hours=1))
    purge(office)
    (now,) = entries(office)
    assert now.deliveries[0].removal is Removal.GONE


def test_a_copy_that_staff_took_is_gone(office: Office, three: tuple[Sending, ...]) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    office.at(str(three[0].truth.site)).take(str(entry.deliveries[0].reference))
    office.clock.go(HOURS_72)
    purge(office)
    (now,) = entries(office)
    assert now.deliveries[0].removal is Removal.GONE
    assert now.state is State.PURGED


@pytest.mark.parametrize("error", [Unavailable("away"), Refused("no")], ids=["away", "refuses"])
def test_a_site_that_is_away_delays_its_own_copies_only(
    office: Office, error: Unavailable | Refused
) -> None:
    sendings = negatives(12)
    away = str(sendings[0].truth.site)
    arrive(office, sendings)
    turn(office).purge()
    office.clock.go(HOURS_72)
    office.at(away).go_down(error)
    theirs = len(office.at(away).documents)
    with capture_logs() as logs:
        report = purge(office)
        purge(office)
    assert (report.mails, report.copies) == (12, 12 - theirs)
    assert [e["event"] for e in logs].count("copies_could_not_be_removed") == 1
    office.at(away).mend()
    office.clock.go(timedelta(hours=1))
    assert purge(office).copies == theirs
    assert states(office) == {State.PURGED}


class Slow(MemoryDestination):
    """Answers a removal only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def remove(self, copy: Copy) -> Removal:
        self.go.wait(60)
        return super().remove(copy)


def test_a_site_that_answers_late_is_recorded_soon_and_delays_no_other(
    office: Office,
) -> None:
    sendings = negatives(12)
    slow = Slow()
    site = FinessET(str(sendings[0].truth.site))
    office.destinations[site, "folder"] = slow
    arrive(office, sendings)
    work = turn(office)
    work.purge()
    theirs = len(slow.documents)
    office.clock.go(HOURS_72)
    report = turn(office, work).purge()
    assert (report.mails, report.copies, report.lines) == (12, 12 - theirs, 12 - theirs)
    work.finish_purge()
    assert len(slow.documents) == theirs
    slow.go.set()
    work.finish_purge(60)
    assert (slow.documents, states(office)) == ({}, {State.PURGED})


def test_copies_of_a_target_that_left_the_rules_wait_for_it(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    turn(office).purge()
    kept, office.destinations = office.destinations, {}
    office.clock.go(HOURS_72)
    report = purge(office)
    assert (report.mails, report.copies, report.lines) == (3, 0, 0)
    office.destinations = kept
    office.clock.go(timedelta(hours=1))
    assert purge(office).lines == 3


def test_a_copy_that_a_person_vouched_for_is_found_by_its_document(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    unreferenced = replace(entry.deliveries[0], reference=None)
    office.ledger.book.entries[entry.id] = replace(entry, deliveries=(unreferenced,))
    office.clock.go(HOURS_72)
    report = purge(office)
    office.clock.go(timedelta(hours=1))
    purge(office)
    assert report.mails == 1
    assert (documents(office), states(office)) == (0, {State.PURGED})


def test_a_copy_that_a_person_vouched_for_and_that_is_not_there_is_gone(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    reference = entry.deliveries[0].reference
    assert reference is not None
    unreferenced = replace(entry.deliveries[0], reference=None)
    office.ledger.book.entries[entry.id] = replace(entry, deliveries=(unreferenced,))
    site = office.at(str(three[0].truth.site))
    site.take(reference)
    site.go_down(Unavailable("the share is away"))
    office.clock.go(HOURS_72)
    assert purge(office).mails == 0, "only the mail tells which file is meant"
    site.mend()
    office.clock.go(timedelta(hours=1))
    assert purge(office).mails == 1
    (entry,) = entries(office)
    assert (entry.state, entry.deliveries[0].removal) == (State.PURGED, Removal.GONE)


def test_a_copy_goes_from_the_site_it_was_made_for(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """A certificate may be sent to another site afterwards; what was made stays where it is."""
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    elsewhere = next(s for s, _ in office.destinations if s != entry.site)
    office.ledger.book.entries[entry.id] = replace(entry, site=elsewhere)
    office.clock.go(HOURS_72)
    assert purge(office).copies == 1
    assert documents(office) == 0


def test_a_copy_that_two_purges_remove_has_one_line(three: tuple[Sending, ...]) -> None:
    office = Office()
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    site = FinessET(str(three[0].truth.site))

    class Slow(MemoryDestination):
        def remove(self, copy: Copy) -> Removal:
            assert copy.delivery == entry.deliveries[0].id
            with office.ledger.writing() as writer:
                writer.copy_gone(entry.deliveries[0].id, Removal.REMOVED)
            return Removal.GONE

    office.destinations[site, "folder"] = Slow()
    office.clock.go(HOURS_72)
    purge(office)
    assert [t for t in office.ledger.trail() if t.deed.what is What.COPY] == []
    assert entries(office)[0].deliveries[0].removal is Removal.REMOVED


def test_a_document_that_a_spool_keeps_goes_at_its_term(three: tuple[Sending, ...]) -> None:
    queue = MemoryQueue()
    queue.keeps_files = True
    office = Office()
    site = FinessET(str(three[0].truth.site))
    target = Target("printer", Kind.PRINT, "queue", printing=Printing())
    only = {site: replace(office.rules.sites[site], targets=(target,))}
    office.rules = replace(office.rules, sites=only)
    office.destinations[site, "printer"] = queue
    arrive(office, three[:1])
    work = turn(office)
    queue.finish()
    turn(office, work).purge()
    office.clock.go(HOURS_72)
    assert purge(office).copies == 1
    assert [job.spooled for job in queue.jobs] == [False]
    assert states(office) == {State.PURGED}


def test_a_ledger_that_somebody_reads_is_scoured_by_the_next_purge(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    office.ledger.read_by_others = 2
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        for _ in range(4):
            purge(office)
            office.clock.go(timedelta(hours=1))
    told_of = [e["event"] for e in logs if "scour" in e["event"]]
    assert told_of == ["ledger_was_not_scoured"] * 2
    assert office.ledger.read_by_others == 0


def test_a_list_of_the_day_goes_like_what_it_lists(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    turn(office).purge()
    site = FinessET(str(three[0].truth.site))
    today = office.clock.now().date()
    page = bordereau(site, today, office.desk(), [office.mailbox])
    send(page, b"names", office.desk())
    lying = office.at(str(site)).documents
    assert (page.file_name, hashlib.sha256(b"names").hexdigest()) in lying
    ends = datetime.combine(today, time(), PARIS) + HOURS_72
    go_to(office, ends - timedelta(minutes=1))
    purge(office)
    assert [name for name, _ in lying if name == page.file_name]
    go_to(office, ends)
    purge(office)
    left = office.at(str(site)).documents
    assert not [name for name, _ in left if name == page.file_name]
    rules = [t.deed.rule for t in office.ledger.trail() if t.deed.entry is None]
    assert rules == ["list of the day 72h"]
    assert office.ledger.memos("page ") == {}


class Fatal(MemoryDestination):
    """A folder that the program does not live to hear of: it dies after the file is there."""

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        super().deliver(orders)
        raise Killed


@pytest.mark.parametrize("by_the_service", [True, False])
def test_a_list_that_was_sent_by_a_program_that_was_killed_goes_all_the_same(
    office: Office, three: tuple[Sending, ...], *, by_the_service: bool
) -> None:
    arrive(office, three)
    turn(office).purge()
    site = FinessET(str(three[0].truth.site))
    only = {site: office.rules.sites[site]}
    office.rules = replace(office.rules, sites=only)
    office.destinations[site, "folder"] = fatal = Fatal()
    if by_the_service:
        lists = DailyLists(
            office.desk(), lambda: [office.mailbox], draw=lambda _: b"names", at=time(9)
        )
        with pytest.raises(Killed):
            lists.turn()
    else:
        page = bordereau(site, office.clock.now().date(), office.desk(), [office.mailbox])
        with pytest.raises(Killed):
            send(page, b"names", office.desk())
    assert [sha for _, sha in fatal.documents] == [hashlib.sha256(b"names").hexdigest()]
    ends = datetime.combine(office.clock.now().date(), time(), PARIS) + HOURS_72
    go_to(office, ends - timedelta(minutes=1))
    purge(office, CLAIRE)
    assert fatal.documents
    go_to(office, ends)
    purge(office, CLAIRE)
    assert fatal.documents == {}


@pytest.mark.parametrize("error", [Unavailable("full"), Refused("a symlink")])
def test_a_list_that_surely_lies_nowhere_is_not_looked_for(
    office: Office, three: tuple[Sending, ...], error: Unavailable | Refused
) -> None:
    arrive(office, three)
    turn(office)
    site = FinessET(str(three[0].truth.site))
    office.at(str(site)).fail_next("before", error)
    page = bordereau(site, office.clock.now().date(), office.desk(), [office.mailbox])
    send(page, b"names", office.desk())
    assert office.ledger.memos("page ") == {}


@pytest.mark.parametrize("gone", [True, False], ids=["left the rules", "away"])
def test_a_list_that_cannot_be_removed_is_told_of_and_stops_nothing_else(
    office: Office, three: tuple[Sending, ...], *, gone: bool
) -> None:
    site = FinessET(str(three[0].truth.site))
    page = bordereau(site, office.clock.now().date(), office.desk(), [office.mailbox])
    send(page, b"names", office.desk())
    others = [s for s in three if s.truth.site != str(site)]
    arrive(office, others)
    turn(office).purge()
    folder = office.at(str(site))
    if gone:
        del office.destinations[site, "folder"]
    else:
        folder.go_down(Unavailable("the share is away"))
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        assert purge(office).mails == len(others)
    told_of = [e["site"] for e in logs if e["event"] == "copies_could_not_be_removed"]
    assert told_of == [str(site)]
    office.destinations[site, "folder"] = folder
    folder.mend()
    purge(office)
    assert folder.documents == {}


# --- what comes again


def test_a_purged_certificate_that_comes_again_is_a_duplicate_and_goes_like_the_first(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    office.clock.go(HOURS_72)
    purge(office)
    arrive(office, three[:1])
    report = purge(office)
    assert (report.mails, office.effects(), office.mailbox.stored) == (1, 1, {})
    first, again = entries(office)
    assert again.duplicate_of == first.id
    assert states(office) == {State.PURGED}
    assert office.ledger.balance().duplicate == 1


def test_half_a_year_later_nothing_finds_it_any_more(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    office.clock.go(HOURS_72)
    purge(office)
    (entry,) = entries(office)
    assert entry.key_digest is not None
    go_to(office, after(entry.received_at, Months(6)) + timedelta(days=1))
    purge(office, CLAIRE)
    (entry,) = entries(office)
    assert entry.key_digest is None


def test_new_settings_count_for_what_is_there(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    told(office, negative=timedelta(hours=100))
    office.clock.go(HOURS_72)
    assert purge(office).mails == 0
    told(office, negative=timedelta(hours=72))
    assert purge(office).mails == 1


def test_a_preview_shows_what_new_settings_make_due(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """Who confirms must have seen all that goes, and the terms are set anew only then."""
    arrive(office, three)
    turn(office).purge()
    told(office, negative=timedelta(hours=1))
    office.clock.go(timedelta(hours=10))
    plan, _ = look(office.mailbox, office.desk())
    assert len(plan.mails) == 3
    assert purge(office).mails == 3


def test_two_purges_record_each_mail_that_others_took_once(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """Each reads the same; only the first to write has something to record."""
    uids = arrive(office, three)
    work = turn(office)
    work.purge()
    office.mailbox.take_away(*uids[:2])
    work.turn()
    read = entries(office)
    office.clock.go(HOURS_72)
    mails = Mails(office.mailbox, office.desk(), Whereabouts(office.mailbox, office.desk()))
    with office.ledger.writing() as writer:
        # Brought back while the second one was at work: it is not gone.
        writer.relocate(read[1].id, replace(read[1].ref, uid=99), read[1].identity)
    for _ in range(2):
        mails.record_gone(read)
    told_of = [(t.deed.entry, t.deed.verb) for t in office.ledger.trail()]
    assert told_of == [(read[0].id, "gone")]
    assert entries(office)[1].removal is None


# --- the proof


def test_each_deletion_has_its_line_in_the_trail(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    (entry,) = entries(office)
    office.clock.go(HOURS_72)
    purge(office)
    deeds = [trace.deed for trace in office.ledger.trail()]
    assert [(d.verb, d.what, d.rule) for d in deeds] == [
        ("removed", What.COPY, "negative 72h"),
        ("removed", What.MAIL, "negative 72h"),
        ("emptied", What.LINE, "negative 72h"),
    ]
    assert {d.entry for d in deeds} == {entry.id}
    assert deeds[0].where == f"{three[0].truth.site} folder"
    assert deeds[1].where == f"lbm {office.mailbox.uidvalidity}/1"
    assert office.ledger.trail_flaw() is None


def test_the_trail_goes_when_its_own_time_is_over(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    turn(office).purge()
    office.clock.go(HOURS_72)
    purge(office)
    assert len(list(office.ledger.trail())) == 3
    office.policy = Policy(SENDERS, PdfText.OFF, purging=Purging(audit=timedelta(days=2)))
    office.clock.go(timedelta(days=3))
    purge(office)
    assert list(office.ledger.trail()) == []
    assert office.ledger.trail_flaw() is None


def test_nothing_is_told_of_a_patient(office: Office, three: tuple[Sending, ...]) -> None:
    arrive(office, three)
    office.clock.go(timedelta(days=1))
    with capture_logs() as logs:
        turn(office).purge()
        office.clock.go(HOURS_72)
        purge(office)
    text = repr(logs) + repr(list(office.ledger.trail())) + repr(entries(office))
    for sending in three:
        assert str(sending.truth.file_number) not in text
        assert str(sending.truth.last_name) not in text


# --- brakes


def braked(office: Office) -> set[Brake]:
    return stopped_by(purge(office))


def stopped_by(report: Report) -> set[Brake]:
    if report.braked is None:
        return set()
    assert (report.mails, report.copies, report.gone) == (0, 0, 0)
    return set(report.braked.brakes)


def test_mail_older_than_the_ledger_waits_for_a_person_once(office: Office) -> None:
    sendings = negatives(4)
    old = office.clock.now() - timedelta(hours=2)
    for sending in sendings[:2]:
        office.mailbox.append(sending.raw, internal_at=old)
    turn(office).purge()
    office.clock.go(HOURS_72)
    for sending in sendings[2:]:
        office.mailbox.append(sending.raw, internal_at=old)
    assert braked(office) == {Brake.FIRST_PURGE}
    assert len(office.mailbox.stored) == 4
    assert purge(office, CLAIRE).mails == 4
    (deed,) = [t.deed for t in office.ledger.trail() if t.deed.what is What.MAILBOX]
    assert (deed.verb, deed.by, deed.reason) == ("purge", "claire", "vu")
    office.mailbox.append(sendings[0].raw, internal_at=old)
    assert braked(office) == set()


def test_a_first_purge_of_much_waits_for_a_person(office: Office) -> None:
    arrive(office, negatives(21))
    turn(office)
    office.clock.go(HOURS_72)
    assert braked(office) == {Brake.FIRST_PURGE, Brake.LARGE_SHARE}


def test_a_large_share_of_the_mailbox_waits_for_a_person_and_is_told_once_a_day(
    office: Office,
) -> None:
    arrive(office, negatives(12))
    arrive(office, positives(8))
    work = turn(office)
    work.purge()
    office.clock.go(HOURS_72)
    with capture_logs() as logs:
        for _ in range(30):
            turn(office, work).purge()
            office.clock.go(timedelta(hours=1))
    assert len([e for e in logs if e["event"] == "purge_was_stopped"]) == 2
    assert len(office.mailbox.stored) == 20
    assert purge(office, CLAIRE).mails == 12
    assert braked(office) == set()


def test_half_of_the_mailbox_is_no_large_share(office: Office) -> None:
    arrive(office, negatives(10))
    arrive(office, positives(10))
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert purge(office).mails == 10


def test_a_brake_of_the_mailbox_stays_until_a_person_says_so(office: Office) -> None:
    arrive(office, negatives(12))
    arrive(office, positives(8))
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert braked(office) == {Brake.LARGE_SHARE}
    # More mail makes the share small, and is no answer.
    arrive(office, positives(30)[8:])
    assert braked(office) == {Brake.LARGE_SHARE}


def test_a_mailbox_that_shrank_by_itself_waits_for_a_person(office: Office) -> None:
    arrive(office, [*negatives(10), *positives(12)])
    work = turn(office)
    work.purge()
    office.mailbox.take_away(*range(1, 15))
    assert braked(office) == {Brake.MAILBOX_SHRANK}
    assert office.ledger.vanished("lbm") == 14
    office.clock.go(HOURS_72)
    assert braked(office) == {Brake.MAILBOX_SHRANK}
    assert purge(office, CLAIRE).gone == 10
    assert braked(office) == set()


def test_no_more_than_the_settings_allow_goes_in_one_run(office: Office) -> None:
    office.policy = Policy(SENDERS, PdfText.OFF, purging=Purging(max_deletions=4))
    arrive(office, negatives(10))
    turn(office).purge()
    office.clock.go(HOURS_72)
    report = purge(office)
    assert (report.mails, report.left) == (4, 6)
    assert purge(office).mails == 4
    assert purge(office).mails == 2


def test_a_person_who_has_seen_them_all_removes_them_all(office: Office) -> None:
    office.policy = Policy(SENDERS, PdfText.OFF, purging=Purging(max_deletions=4))
    arrive(office, negatives(10))
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert purge(office, CLAIRE).mails == 10


def test_a_clock_that_runs_ahead_while_the_program_lives_stops_the_purge(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = turn(office)
    work.purge()
    office.clock.at += timedelta(days=4)
    for _ in range(2):
        assert stopped_by(turn(office, work).purge()) == {Brake.CLOCK_AHEAD}
        office.clock.go(timedelta(hours=1))
    # Set right again: nothing was lost, and nobody is asked.
    office.clock.at -= timedelta(days=4)
    assert stopped_by(turn(office, work).purge()) == set()
    assert len(office.mailbox.stored) == 3


def test_new_mail_proves_that_a_clock_was_set_right(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:2])
    work = turn(office)
    work.purge()
    office.clock.at += timedelta(days=4)
    arrive(office, three[2:])
    assert turn(office, work).purge().braked is None


def test_a_clock_ten_years_ahead_deletes_nothing_and_back_again_goes_on(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, [*three, *positives(2)])
    turn(office).purge()
    office.clock.go(timedelta(days=3650))
    assert braked(office) == {Brake.CLOCK_AHEAD}
    assert braked(office) == {Brake.CLOCK_AHEAD}
    office.clock.at -= timedelta(days=3650)
    assert braked(office) == set()
    assert len(office.mailbox.stored) == 5


def test_a_clock_set_back_stops_the_purge_until_it_is_right(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    turn(office).purge()
    office.clock.at -= timedelta(hours=2)
    assert braked(office) == {Brake.CLOCK_BEHIND}
    office.clock.at += timedelta(hours=2)
    assert braked(office) == set()


def test_a_service_that_was_off_for_days_is_no_jump(office: Office) -> None:
    arrive(office, negatives(6))
    turn(office).purge()
    office.clock.go(timedelta(days=9))
    office.mailbox.append(FOREIGN, internal_at=office.clock.now() - timedelta(days=2))
    assert purge(office).mails == 6


def test_what_is_due_is_remembered_by_the_ledger(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = turn(office)
    told = [work.purge_is_due]
    work.purge()
    told += [work.purge_is_due, office.round().purge_is_due]
    office.clock.go(timedelta(hours=1))
    told += [office.round().purge_is_due]
    assert told == [True, False, False, True]


def test_every_copy_of_a_certificate_goes(three: tuple[Sending, ...]) -> None:
    office = Office(rules=rules("folder", "second"))
    arrive(office, three)
    turn(office).purge()
    office.clock.go(HOURS_72)
    assert purge(office).copies == 6
    assert states(office) == {State.PURGED}


def test_a_server_that_breaks_off_a_purge_is_asked_again_soon_and_then_seldom(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """It may break off at one mail, which is found in a few tries."""
    arrive(office, three)
    work = office.round()
    work.turn()
    office.clock.go(HOURS_72)
    due = []
    for _ in range(8):
        work.turn()
        office.mailbox.fail_next("shown", Unavailable("the connection broke off"))
        with pytest.raises(Unavailable):
            work.purge()
        due.append(work.purge_is_due)
    assert due == [True] * 7 + [False]
    office.clock.go(timedelta(minutes=10))
    assert work.purge_is_due
    work.turn()
    assert work.purge().mails == 3
