"""One turn over a mailbox, on fakes: what the service does when the outside misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.certificate import HoldReason, Inspection
from dispatcher.core.delivery import Order
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import UNDATED, DeliveryState, Entry, State
from dispatcher.core.routing import Kind, Target
from dispatcher.errors import InDoubt, LoginRefused, Refused, Unavailable
from dispatcher.ports import Fetched, Outcome, Question
from dispatcher.service.round import Round
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_inspector import MemoryInspector
from tests.fakes.memory_ledger import MemoryWriter
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.office import KEYWORD, Office, certificates, rules

FOREIGN = b"From: someone@example.test\r\nSubject: hello\r\n\r\nhello\r\n"


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def three() -> tuple[Sending, ...]:
    return certificates(1, 3)


def arrive(office: Office, sendings: Sequence[Sending]) -> list[int]:
    return [office.mailbox.append(sending.raw) for sending in sendings]


def states(office: Office) -> list[State]:
    return [entry.state for entry in office.ledger.entries()]


def only(office: Office) -> Entry:
    (entry,) = office.ledger.entries()
    return entry


def test_certificates_reach_their_sites_and_the_server_is_told(
    office: Office, three: tuple[Sending, ...]
) -> None:
    uids = arrive(office, three)
    office.mailbox.append(FOREIGN)
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3
    assert all(office.mailbox.flags()[uid] == {KEYWORD} for uid in uids)
    assert office.mailbox.flags()[4] == frozenset()
    assert office.ledger.balance().foreign == 1


def test_no_message_is_fetched_twice(office: Office, three: tuple[Sending, ...]) -> None:
    arrive(office, three)
    work = office.round()
    work.turn()
    work.turn()
    office.round().turn()
    assert office.mailbox.fetched == [1, 2, 3]


def test_a_uid_that_is_listed_and_not_sent_is_read_when_it_appears(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    office.mailbox.ghost(2)
    work = office.round()
    work.turn()
    assert (len(states(office)), work.complete) == (2, False)
    office.mailbox.unghost(2)
    # Also by a program that was started anew in between.
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3


def test_what_the_server_does_not_send_is_asked_for_ever_more_seldom_and_told_once(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    office.mailbox.ghost(2)
    office.mailbox.ghost(3)
    work = office.round()
    work.turn()
    assert work.patience == pytest.approx(1, abs=0.5)
    office.clock.go(timedelta(seconds=20))
    work.turn()
    assert work.patience == pytest.approx(20, abs=2)
    office.clock.go(timedelta(hours=1))
    with capture_logs() as logged:
        work.turn()
        work.turn()
    assert work.patience == 60
    told = [line for line in logged if line["event"] == "message_stayed_unfetchable"]
    assert [(e["uid"], e["count"]) for e in told] == [(2, 2)]


def test_a_check_that_could_not_read_a_message_for_long_is_no_good_one(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """It may be a certificate: the alarm for a mailbox that is not read has to come."""
    arrive(office, three)
    office.mailbox.ghost(2)
    work = office.round()
    work.turn()
    good = checked_at(office)
    for _ in range(20):
        office.clock.go(timedelta(minutes=1))
        work.turn()
    assert checked_at(office) == good
    office.mailbox.unghost(2)
    work.turn()
    assert checked_at(office) == office.clock.at


def checked_at(office: Office) -> datetime:
    place = office.ledger.place("lbm")
    assert place is not None
    return place.checked_at


def test_a_message_without_a_date_of_arrival_is_not_left_alone_as_old(
    office: Office, three: tuple[Sending, ...]
) -> None:
    """The server that gives none, or one that is broken, gives it for new mail as well."""
    office.policy = replace(office.policy, since={"lbm": office.clock.at.date()})
    office.mailbox.append(three[0].raw, internal_at=UNDATED)
    office.mailbox.append(three[1].raw, internal_at=office.clock.at - timedelta(days=9))
    office.round().turn()
    assert states(office) == [State.DELIVERED]
    assert only(office).received_at == office.clock.at


def test_a_fetch_that_breaks_off_keeps_what_came_whole(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    office.mailbox.tear_fetch_after(2)
    work = office.round()
    with pytest.raises(Unavailable):
        work.turn()
    assert states(office) == [State.DELIVERED] * 2
    work.turn()
    assert states(office) == [State.DELIVERED] * 3
    assert office.effects() == 3


@pytest.mark.parametrize("restarted", [False, True], ids=["in one life", "after a restart"])
def test_uids_that_are_given_out_again_hide_no_new_mail(
    office: Office, three: tuple[Sending, ...], restarted: bool
) -> None:
    work = office.round()
    office.mailbox.append(three[0].raw, internal_at=office.clock.at - timedelta(hours=2))
    work.turn()
    office.mailbox.reuse_uids()
    office.mailbox.append(three[1].raw, internal_at=office.clock.at)
    (office.round() if restarted else work).turn()
    assert states(office) == [State.DELIVERED] * 2
    assert office.effects() == 2


def test_renumbered_mail_is_neither_new_nor_delivered_again(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = office.round()
    work.turn()
    before = [entry.id for entry in office.ledger.entries()]
    office.mailbox.renumber()
    work.turn()
    entries = list(office.ledger.entries())
    assert [entry.id for entry in entries] == before
    assert {entry.ref.uidvalidity for entry in entries} == {office.mailbox.uidvalidity}
    assert all(entry.present and entry.state is State.DELIVERED for entry in entries)
    assert office.effects() == 3


def test_two_copies_stay_an_original_and_a_duplicate_when_they_are_renumbered(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, [three[0], three[0]])
    work = office.round()
    work.turn()
    assert states(office) == [State.DELIVERED, State.DUPLICATE]
    office.mailbox.renumber()
    work.turn()
    assert states(office) == [State.DELIVERED, State.DUPLICATE]
    assert {entry.ref.uid for entry in office.ledger.entries()} == set(office.mailbox.stored)


def test_an_undelivered_message_that_others_removed_goes_on_when_it_is_back(
    office: Office, three: tuple[Sending, ...]
) -> None:
    site = str(three[0].truth.site)
    office.at(site).go_down(Unavailable("the share is away"))
    arrive(office, three[:1])
    work = office.round()
    work.turn()
    office.mailbox.take_away(1)
    work.turn()
    assert (only(office).state, only(office).present) == (State.PENDING, False)
    office.at(site).mend()
    arrive(office, three[:1])
    work.turn(impatient=True)
    assert (only(office).state, only(office).present) == (State.DELIVERED, True)


def test_a_dead_target_delays_no_other_and_gets_its_mail_when_it_is_back(
    office: Office, three: tuple[Sending, ...]
) -> None:
    dead = str(three[0].truth.site)
    office.at(dead).go_down(Unavailable("the share is away"))
    arrive(office, three)
    work = office.round()
    work.turn()
    assert sorted(states(office), key=str) == sorted(
        [State.PENDING, State.DELIVERED, State.DELIVERED], key=str
    )
    office.at(dead).mend()
    work.turn()
    assert State.PENDING in states(office), "its next try is not due yet"
    office.clock.go(timedelta(minutes=6))
    work.turn()
    assert states(office) == [State.DELIVERED] * 3


def test_attempts_and_the_next_try_survive_a_restart(
    office: Office, three: tuple[Sending, ...]
) -> None:
    site = str(three[0].truth.site)
    office.at(site).go_down(Unavailable("the share is away"))
    arrive(office, three[:1])
    office.round().turn()
    (first,) = only(office).deliveries
    office.round().turn()
    assert only(office).deliveries == (first,)
    assert first.next_try_at is not None
    office.clock.go(first.next_try_at - office.clock.now())
    office.round().turn()
    (second,) = only(office).deliveries
    assert second.next_try_at is not None
    assert (second.attempts, second.next_try_at > first.next_try_at) == (2, True)


class Hanging(MemoryDestination):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        assert self.go_on.wait(30)
        return super().deliver(orders)


def test_a_target_that_hangs_blocks_its_own_site_and_is_recorded_when_it_ends(
    office: Office, three: tuple[Sending, ...]
) -> None:
    hanging = Hanging()
    office.destinations[FinessET(str(three[0].truth.site)), "folder"] = hanging
    arrive(office, three)
    work = office.round()
    work.turn()
    stuck, *others = list(office.ledger.entries())
    assert [entry.state for entry in others] == [State.DELIVERED] * 2
    assert stuck.deliveries[0].state is DeliveryState.DELIVERING
    work.turn()
    hanging.go_on.set()
    work.drain(10)
    assert states(office) == [State.DELIVERED] * 3
    assert len(hanging.effects) == 1


def test_a_refusal_is_held_with_its_reason(office: Office, three: tuple[Sending, ...]) -> None:
    office.at(str(three[0].truth.site)).fail_next("before", Refused("a symlink"))
    arrive(office, three[:1])
    office.round().turn()
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.TARGET_REFUSED)


def test_a_refusal_goes_to_the_fallback_where_there_is_one(three: tuple[Sending, ...]) -> None:
    given = rules("first", "second")
    sites = {
        number: replace(
            site,
            targets=(
                Target("first", Kind.FOLDER, "/nowhere/1", fallback="third"),
                Target("second", Kind.FOLDER, "/nowhere/2"),
                Target("third", Kind.FOLDER, "/nowhere/3"),
            ),
        )
        for number, site in given.sites.items()
    }
    office = Office(rules=replace(given, sites=sites))
    site = str(three[0].truth.site)
    office.at(site, "first").fail_next("before", Refused("a symlink"))
    arrive(office, three[:1])
    office.round().turn()
    entry = only(office)
    assert entry.state is State.DELIVERED
    found = {delivery.target: delivery.state for delivery in entry.deliveries}
    assert found == {
        "first": DeliveryState.DISCARDED,
        "second": DeliveryState.DELIVERED,
        "third": DeliveryState.DELIVERED,
    }
    assert len(office.at(site, "third").effects) == 1


def test_a_doubtful_delivery_is_looked_for_and_not_repeated(
    office: Office, three: tuple[Sending, ...]
) -> None:
    site = str(three[0].truth.site)
    office.at(site).fail_next("after", InDoubt("the answer was lost"))
    arrive(office, three[:1])
    office.round().turn()
    assert only(office).state is State.DELIVERED
    assert len(office.at(site).effects) == 1


def test_a_target_that_cannot_tell_leaves_the_decision_to_a_person(
    office: Office, three: tuple[Sending, ...]
) -> None:
    class Forgetful(MemoryDestination):
        def find(self, order: Order) -> None:
            raise InDoubt(f"{order.id}: the history is switched off")

    destination = Forgetful()
    office.destinations[FinessET(str(three[0].truth.site)), "folder"] = destination
    destination.fail_next("after", InDoubt("the answer was lost"))
    arrive(office, three[:1])
    office.round().turn()
    assert (only(office).state, only(office).reason) == (State.HELD, HoldReason.IN_DOUBT)


def test_an_edge_that_breaks_its_contract_leaves_doubt_and_not_silence(
    office: Office, three: tuple[Sending, ...]
) -> None:
    class Broken(MemoryDestination):
        def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
            super().deliver(orders)
            raise RuntimeError("a bug")

    office.destinations[FinessET(str(three[0].truth.site)), "folder"] = Broken()
    arrive(office, three)
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3, "settled by looking"


def test_a_ledger_that_fails_after_the_effect_is_settled_by_looking(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three[:1])
    work = office.round()
    # The commits of one message: opening, receive and intent, receipt.
    office.ledger.fail_next("after", Unavailable("slow"))
    with pytest.raises(Unavailable):
        work.turn()
    office.mailbox.close()
    for _ in range(4):
        office.ledger.fail_next("before", Unavailable("disk full"))
        with pytest.raises(Unavailable):
            work.turn()
    work.turn()
    work.turn()
    assert states(office) == [State.DELIVERED]
    assert office.effects() == 1


def test_work_that_a_failing_ledger_kept_from_beginning_is_not_forgotten(
    office: Office,
) -> None:
    many = certificates(4, 6)
    arrive(office, many)
    work = office.round()
    work._dispatch._lanes._width = 1  # so that some have not begun when the ledger fails
    # Commits of a batch: opening, receive with intent, then receipts as they come.
    fails = iter([False, False, True])
    writing = office.ledger.writing

    @contextmanager
    def failing() -> Iterator[MemoryWriter]:
        with writing() as writer:
            yield writer
            if next(fails, False):
                raise Unavailable("disk full")

    office.ledger.writing = failing  # type: ignore[method-assign]  # a disk that fills up
    with pytest.raises(Unavailable):
        work.turn()
    for _ in range(3):
        office.clock.go(timedelta(minutes=6))
        work.turn()
    assert states(office) == [State.DELIVERED] * 6
    assert office.effects() == 6


def test_a_keyword_that_cannot_be_set_is_set_later_and_delays_nothing(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    office.mailbox.fail_next("add_keyword", Unavailable("over quota"))
    work = office.round()
    work.turn()
    assert states(office) == [State.DELIVERED] * 3
    assert set(office.mailbox.flags().values()) == {frozenset()}
    office.round().turn()
    assert all(flags == {KEYWORD} for flags in office.mailbox.flags().values())


def test_a_server_that_never_takes_the_keyword_still_has_its_mail_delivered(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.mailbox.fail_next("add_keyword", Unavailable("no permission"), times=99)
    work = office.round()
    for sending in three:
        arrive(office, [sending])
        work.turn()
    assert states(office) == [State.DELIVERED] * 3


@pytest.mark.parametrize("hindrance", ["read_only", "keeps_keyword"])
def test_without_a_keyword_on_the_server_everything_else_works(
    office: Office, three: tuple[Sending, ...], hindrance: str
) -> None:
    setattr(office.mailbox, hindrance, hindrance == "read_only")
    arrive(office, three)
    office.round().turn()
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3
    assert office.mailbox.fetched == [1, 2, 3]
    assert set(office.mailbox.flags().values()) == {frozenset()}


class Down(BaseException):
    """The kernel ended the program."""


class Deadly(MemoryInspector):
    """Brings the program down when it meets one document, so many times."""

    def __init__(self, document: bytes | None, times: int) -> None:
        super().__init__()
        self._document, self._times = document, times

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        asked = list(questions)
        if self._times and any(q.content == self._document for q in asked):
            self._times -= 1
            raise Down
        return super().inspect(asked)


def lives(office: Office, count: int) -> None:
    for _ in range(count):
        office.mailbox.close()
        with pytest.raises(Down):
            office.round().turn()


def test_a_message_that_brought_the_program_down_three_times_is_held(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.inspector = Deadly(three[1].truth.document, 3)
    arrive(office, three)
    lives(office, 3)
    office.messages.deadly.add(three[1].raw)
    office.round().turn()
    entries = {entry.ref.uid: entry for entry in office.ledger.entries()}
    assert entries[1].state is entries[3].state is State.DELIVERED
    assert (entries[2].state, entries[2].reason) == (State.HELD, HoldReason.PDF_UNREADABLE)


def test_a_message_that_was_being_read_when_others_killed_the_program_is_delivered(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.inspector = Deadly(three[1].truth.document, 3)
    arrive(office, three)
    lives(office, 3)
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3
    assert office.messages.batches[-1] == 1


def test_a_message_that_goes_on_to_bring_the_program_down_is_held_unread(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.inspector = Deadly(three[1].truth.document, 99)
    arrive(office, three)
    lives(office, 6)
    office.round().turn()
    found = {entry.ref.uid: entry.state for entry in office.ledger.entries()}
    assert found == {1: State.DELIVERED, 2: State.HELD, 3: State.DELIVERED}


def test_a_ledger_or_helper_that_fails_makes_no_message_a_suspect(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    work = office.round()
    for _ in range(4):
        office.inspector.fail_next(Unavailable("no memory for a helper"))
        with pytest.raises(Unavailable):
            work.turn()
    work.turn()
    assert states(office) == [State.DELIVERED] * 3


def test_a_bug_met_in_one_message_holds_that_one_within_one_life(
    office: Office, three: tuple[Sending, ...]
) -> None:
    class Buggy(MemoryInspector):
        def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
            asked = list(questions)
            if any(question.content == three[1].truth.document for question in asked):
                raise ZeroDivisionError
            return super().inspect(asked)

    office.inspector = Buggy()
    arrive(office, three)
    work = office.round()
    for _ in range(6):
        with pytest.raises(ZeroDivisionError):
            work.turn()
    work.turn()
    found = {entry.ref.uid: entry.state for entry in office.ledger.entries()}
    assert found == {1: State.DELIVERED, 2: State.HELD, 3: State.DELIVERED}


def test_what_waits_for_a_dead_target_is_planned_and_wakes_nobody_before(
    office: Office, three: tuple[Sending, ...]
) -> None:
    dead = str(three[0].truth.site)
    office.at(dead).go_down(Unavailable("the share is away"))
    arrive(office, three[:1])
    work = office.round()
    work.turn()
    for sending in certificates(2, 12):
        if sending.truth.site == dead:
            arrive(office, [sending])
    work.turn()
    due = office.ledger.next_due(office.mailbox.name)
    assert due is not None
    assert due > office.clock.now()
    assert sum(d.attempts for e in office.ledger.entries() for d in e.deliveries) == 1


@pytest.mark.parametrize("years", [-60, 3], ids=["long ago", "in the future"])
def test_an_arrival_that_cannot_be_counts_as_now(
    office: Office, three: tuple[Sending, ...], years: int
) -> None:
    at = office.clock.at + timedelta(days=365 * years)
    office.mailbox.append(three[0].raw, internal_at=at)
    office.round().turn()
    assert only(office).received_at == office.clock.at


@pytest.mark.parametrize("listed", [None, 1000], ids=["listed so", "the server lied"])
def test_a_message_over_the_limit_is_held_unread_and_foreign_mail_stays_foreign(
    three: tuple[Sending, ...], listed: int | None
) -> None:
    office = Office()
    office.mailbox.max_message_size = len(three[0].raw) + 1000
    big = three[1].raw + b"\r\n" * 200_000
    office.mailbox.append(three[0].raw)
    office.mailbox.append(big, listed_size=listed)
    office.mailbox.append(FOREIGN + b"\r\n" * 200_000, listed_size=listed)
    work = office.round()
    for _ in range(4):
        try:
            work.turn()
        except Unavailable:
            continue
    entries = {entry.ref.uid: entry for entry in office.ledger.entries()}
    assert entries[1].state is State.DELIVERED
    assert (entries[2].state, entries[2].reason) == (State.HELD, HoldReason.TOO_LARGE)
    assert 3 not in entries
    assert office.ledger.balance().foreign == 1


def test_the_same_content_again_is_a_duplicate_and_other_content_a_replacement(
    office: Office, three: tuple[Sending, ...]
) -> None:
    other = Sending(
        three[0].raw.replace(b"X-Mailer", b"X-Other"), "", "", three[0].truth, "resent", ""
    )
    arrive(office, [three[0]])
    work = office.round()
    work.turn()
    arrive(office, [other, three[0]])
    work.turn()
    first, *others = list(office.ledger.entries())
    assert [entry.state for entry in others] == [State.DUPLICATE] * 2
    assert {entry.duplicate_of for entry in others} == {first.id}
    assert office.effects() == 1


def test_a_sound_certificate_is_no_duplicate_of_one_that_was_held_for_disagreement(
    office: Office, three: tuple[Sending, ...]
) -> None:
    spoofed = three[0].raw.replace(b"noreply.sidep@enovacom", b"noreply.sidep@nobody")
    office.mailbox.append(spoofed)
    work = office.round()
    work.turn()
    arrive(office, [three[0]])
    work.turn()
    assert states(office) == [State.HELD, State.DELIVERED]


def test_a_delivery_that_ends_after_the_mailbox_was_renumbered_flags_no_other_message(
    office: Office, three: tuple[Sending, ...]
) -> None:
    hanging = Hanging()
    office.destinations[FinessET(str(three[0].truth.site)), "folder"] = hanging
    arrive(office, three[:1])
    work = office.round()
    work.turn()
    office.mailbox.renumber()
    office.mailbox.stored[1] = replace(office.mailbox.stored[2], raw=FOREIGN)
    office.mailbox.close()  # a server cannot renumber under an open session
    hanging.go_on.set()
    work.drain(10)
    work.turn()
    office.clock.go(timedelta(minutes=6))
    work.turn()
    assert states(office) == [State.DELIVERED]
    assert office.mailbox.flags() == {1: frozenset(), 2: frozenset({KEYWORD})}


def test_what_a_person_discards_while_its_retry_begins_is_not_delivered(
    office: Office, three: tuple[Sending, ...]
) -> None:
    site = str(three[0].truth.site)
    office.at(site).go_down(Unavailable("the share is away"))
    arrive(office, three[:1])
    office.round().turn()
    office.at(site).mend()

    class Interrupted(MemoryMailbox):
        def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
            yield from super().fetch(uids)
            with office.ledger.writing() as writer:
                writer.discard(only(office).id)

    between = Interrupted()
    between.stored, between.uidnext = office.mailbox.stored, office.mailbox.uidnext
    office.round(between).turn(impatient=True)
    assert (only(office).state, office.effects()) == (State.EXPIRED, 0)


def test_after_a_restart_a_round_is_not_needed_to_know_foreign_mail(
    office: Office, three: tuple[Sending, ...]
) -> None:
    office.mailbox.append(FOREIGN)
    arrive(office, three[:1])
    office.round().turn()
    work: Round = office.round()
    work.turn()
    assert office.mailbox.fetched == [1, 2]


def test_a_refused_login_is_tried_three_times_then_once_in_five_minutes_over_restarts(
    office: Office, three: tuple[Sending, ...]
) -> None:
    arrive(office, three)
    office.mailbox.fail_next("select", LoginRefused("the password is wrong"), times=4)
    for _ in range(6):
        with pytest.raises(LoginRefused):
            office.round().turn()
    assert office.mailbox.calls == ["select"] * 3
    office.clock.go(timedelta(minutes=5))
    with pytest.raises(LoginRefused):
        office.round().turn()
    assert office.mailbox.calls == ["select"] * 4
    office.clock.go(timedelta(minutes=5))
    office.round().turn()
    assert states(office) == [State.DELIVERED] * 3
    assert office.ledger.refusals(office.mailbox.name) is None
