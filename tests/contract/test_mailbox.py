"""What every mailbox promises. The fake and the real edge on Dovecot pass these same tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

import pytest

from dispatcher.core.message import message_id_digest
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Mailbox, Shown
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.servers.dovecot import Bal, Dovecot

KEYWORD = "SidepDispatched"
LIMIT = 100_000
BATCH = 30_000


class Side(Protocol):
    """What the world does to a mailbox from its other side."""

    def append(
        self, raw: bytes, *, internal_at: datetime = ..., flags: Sequence[str] = ()
    ) -> int: ...
    def take_away(self, *uids: int) -> None: ...
    def set_flags(self, uid: int, *flags: str) -> None: ...
    def renumber(self) -> int: ...
    def messages(self) -> Mapping[int, bytes]: ...
    def flags(self) -> Mapping[int, frozenset[str]]: ...


@pytest.fixture(params=["memory", "plaintext", "starttls", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Mailbox, Side]]:
    if request.param == "memory":
        memory = MemoryMailbox(keyword=KEYWORD, max_message_size=LIMIT)
        yield memory, memory
        return
    dovecot: Dovecot = request.getfixturevalue("dovecot")
    bal: Bal = request.getfixturevalue("bal")
    mailbox = ImapMailbox(
        Account(
            name="lbm",
            host="localhost",
            port=dovecot.imaps_port if request.param == "tls" else dovecot.imap_port,
            security=request.param,
            ca_file=dovecot.ca_file,
            username=bal.user,
            password=lambda: bal.password,
            keyword=KEYWORD,
            max_message_size=LIMIT,
            fetch_batch=BATCH,
        ),
        SystemClock(),
    )
    with closing(mailbox):
        yield mailbox, bal


@pytest.fixture
def mailbox(pair: tuple[Mailbox, Side]) -> Mailbox:
    return pair[0]


@pytest.fixture
def side(pair: tuple[Mailbox, Side]) -> Side:
    return pair[1]


def raw(number: int, size: int = 0) -> bytes:
    head = b"Subject: number %d\r\n\r\n" % number
    lines = b"0123456789" * 7 + b"\r\n"
    return head + lines * (max(0, size - len(head)) // len(lines)) + b"end\r\n"


def test_an_empty_mailbox_is_empty(mailbox: Mailbox) -> None:
    selected = mailbox.select()
    assert (selected.exists, selected.read_only, selected.keeps_keyword) == (0, False, True)
    assert mailbox.uids() == ()
    assert mailbox.identities([1]) == {}
    assert list(mailbox.fetch([1])) == []


def test_messages_come_whole_and_in_the_order_of_their_uids(
    mailbox: Mailbox, side: Side
) -> None:
    sent = {uid: text for text in map(raw, range(4)) for uid in [side.append(text)]}
    mailbox.select()
    fetched = list(mailbox.fetch([*reversed(sent), *sent]))
    assert {f.uid: f.raw for f in fetched} == sent
    assert [f.uid for f in fetched] == sorted(sent)


def test_every_batch_is_fetched(mailbox: Mailbox, side: Side) -> None:
    uids = [side.append(raw(n, 20_000)) for n in range(5)]
    mailbox.select()
    assert [f.uid for f in mailbox.fetch(uids)] == uids


def test_a_keyword_may_be_set_while_batches_are_on_their_way(
    mailbox: Mailbox, side: Side
) -> None:
    sent = {
        uid: text for n in range(9) for text in [raw(n, 20_000)] for uid in [side.append(text)]
    }
    mailbox.select()
    got = {}
    for fetched in mailbox.fetch([*sent]):
        got[fetched.uid] = fetched.raw
        mailbox.add_keyword([fetched.uid])
    assert got == sent
    assert all(KEYWORD in side.flags()[uid] for uid in sent)


def test_selecting_again_counts_anew(mailbox: Mailbox, side: Side) -> None:
    before = mailbox.select()
    uid = side.append(raw(1))
    after = mailbox.select()
    assert (before.exists, after.exists) == (0, 1)
    assert after.uidvalidity == before.uidvalidity
    assert before.uidnext <= uid < after.uidnext


def test_uids_from_a_first_one_on_leave_the_earlier_ones_out(
    mailbox: Mailbox, side: Side
) -> None:
    first, second = side.append(raw(1)), side.append(raw(2))
    mailbox.select()
    assert mailbox.uids() == (first, second)
    assert mailbox.uids(second) == (second,)
    assert mailbox.uids(second + 1) == ()


def test_an_identity_is_size_and_internal_date(mailbox: Mailbox, side: Side) -> None:
    internal_at = datetime(2021, 7, 1, 23, 30, tzinfo=timezone(timedelta(hours=2)))
    uid = side.append(raw(1), internal_at=internal_at)
    mailbox.select()
    identity = mailbox.identities([uid])[uid]
    assert identity.size == len(raw(1))
    assert identity.internal_at == internal_at
    assert identity.internal_at.tzinfo is not None


def test_what_is_gone_is_left_out(mailbox: Mailbox, side: Side) -> None:
    gone, kept = side.append(raw(1)), side.append(raw(2))
    mailbox.select()
    side.take_away(gone)
    mailbox.select()
    assert set(mailbox.identities([gone, kept])) == {kept}
    assert [f.uid for f in mailbox.fetch([gone, kept])] == [kept]
    assert mailbox.headers(gone) is None


def test_a_message_over_the_limit_is_not_fetched_but_its_header_is(
    mailbox: Mailbox, side: Side
) -> None:
    small, large = side.append(raw(1)), side.append(raw(2, LIMIT + 1_000))
    mailbox.select()
    assert [f.uid for f in mailbox.fetch([small, large])] == [small]
    assert (mailbox.too_large(small), mailbox.too_large(large)) == (False, True)
    assert mailbox.headers(large) == b"Subject: number 2\r\n\r\n"


def test_reading_changes_no_flag(mailbox: Mailbox, side: Side) -> None:
    uids = [side.append(raw(1)), side.append(raw(2), flags=["\\Flagged", "\\Seen"])]
    before = side.flags()
    mailbox.select()
    mailbox.uids()
    mailbox.identities(uids)
    list(mailbox.fetch(uids))
    mailbox.headers(uids[0])
    assert side.flags() == before


def test_flags_come_with_the_message(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1), flags=["\\Flagged", KEYWORD])
    mailbox.select()
    (fetched,) = mailbox.fetch([uid])
    assert fetched.flags >= {"\\Flagged", KEYWORD}


def test_the_keyword_is_added_beside_other_flags(mailbox: Mailbox, side: Side) -> None:
    marked, other = side.append(raw(1), flags=["\\Seen"]), side.append(raw(2))
    mailbox.select()
    mailbox.add_keyword([marked])
    mailbox.add_keyword([marked])
    assert side.flags() == {marked: {"\\Seen", KEYWORD}, other: frozenset()}


def test_no_keyword_is_added_to_no_message(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1))
    mailbox.select()
    mailbox.add_keyword([])
    mailbox.add_keyword([uid + 1])
    assert side.flags() == {uid: frozenset()}


def test_a_mailbox_opened_to_read_only_is_not_written_to(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1))
    selected = mailbox.select(read_only=True)
    assert selected.read_only
    assert not selected.keeps_keyword
    assert [f.uid for f in mailbox.fetch([uid])] == [uid]
    mailbox.add_keyword([uid])
    assert side.flags() == {uid: frozenset()}


def test_a_renumbered_mailbox_says_so(mailbox: Mailbox, side: Side) -> None:
    side.append(raw(1))
    before = mailbox.select()
    uidvalidity = side.renumber()
    after = mailbox.select()
    assert before.uidvalidity != after.uidvalidity == uidvalidity
    assert [f.raw for f in mailbox.fetch(mailbox.uids())] == [raw(1)]


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda m: m.uids(), id="uids"),
        pytest.param(lambda m: m.identities([1]), id="identities"),
        pytest.param(lambda m: list(m.fetch([1])), id="fetch"),
        pytest.param(lambda m: m.headers(1), id="headers"),
        pytest.param(lambda m: m.add_keyword([1]), id="add_keyword"),
        pytest.param(lambda m: m.shown([1]), id="shown"),
        pytest.param(lambda m: m.removes(), id="removes"),
        pytest.param(lambda m: m.remove([1]), id="remove"),
        pytest.param(lambda m: m.newest(), id="newest"),
        pytest.param(lambda m: m.quota(), id="quota"),
    ],
)
@pytest.mark.parametrize("closed", [False, True], ids=["never-opened", "closed"])
def test_without_a_selected_mailbox_nothing_can_be_asked(
    mailbox: Mailbox, use: Callable[[Mailbox], object], *, closed: bool
) -> None:
    if closed:
        mailbox.select()
        mailbox.close()
    with pytest.raises(Unavailable):
        use(mailbox)


def test_a_closed_mailbox_opens_again(mailbox: Mailbox, side: Side) -> None:
    mailbox.select()
    mailbox.close()
    mailbox.close()
    uid = side.append(raw(1))
    assert mailbox.select().exists == 1
    assert mailbox.uids() == (uid,)


def test_a_wait_ends_by_itself(mailbox: Mailbox) -> None:
    mailbox.select()
    began = time.monotonic()
    mailbox.wait(0.2)
    assert 0.15 < time.monotonic() - began < 10


def test_a_wait_ends_when_mail_comes(mailbox: Mailbox, side: Side) -> None:
    mailbox.select()
    began = time.monotonic()
    bringing = threading.Timer(0.1, side.append, [raw(1)])
    bringing.start()
    mailbox.wait(60)
    bringing.join()
    assert time.monotonic() - began < 15
    assert mailbox.select().exists == 1


def test_mail_that_came_before_the_wait_is_not_waited_for(mailbox: Mailbox, side: Side) -> None:
    mailbox.select()
    side.append(raw(1))
    mailbox.uids()
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("early", [True, False], ids=["before", "during"])
def test_a_wait_ends_at_once_when_woken(mailbox: Mailbox, *, early: bool) -> None:
    mailbox.select()
    waking = threading.Timer(0.0 if early else 0.2, mailbox.wake)
    waking.start()
    if early:
        waking.join()
    began = time.monotonic()
    mailbox.wait(60)
    waking.join()
    assert time.monotonic() - began < 5


def test_one_ring_ends_one_wait(mailbox: Mailbox) -> None:
    mailbox.select()
    mailbox.wake()
    mailbox.wake()
    mailbox.wait(60)
    began = time.monotonic()
    mailbox.wait(0.2)
    assert time.monotonic() - began > 0.15


def test_after_a_wait_the_mailbox_can_be_used(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1))
    mailbox.select()
    mailbox.wait(0.1)
    assert mailbox.uids() == (uid,)


def test_a_check_changes_nothing(mailbox: Mailbox, side: Side) -> None:
    side.append(raw(1), internal_at=datetime(2021, 3, 1, tzinfo=UTC))
    before = (side.messages(), side.flags())
    findings = list(mailbox.check())
    assert {finding.level for finding in findings} == {"ok"}
    assert (side.messages(), side.flags()) == before


# --- removal


MESSAGE_ID = b"Message-ID: <one@example.test>\r\n"


def test_what_is_shown_is_size_date_and_the_digest_of_the_message_id(
    mailbox: Mailbox, side: Side
) -> None:
    internal_at = datetime(2021, 7, 1, 23, 30, tzinfo=timezone(timedelta(hours=2)))
    named = side.append(MESSAGE_ID + raw(1), internal_at=internal_at)
    other = side.append(raw(2), internal_at=internal_at)
    mailbox.select()
    shown = mailbox.shown([other, named, named])
    assert shown == {
        named: Shown(
            len(MESSAGE_ID + raw(1)), internal_at, message_id_digest(MESSAGE_ID + raw(1))
        ),
        other: Shown(len(raw(2)), internal_at, None),
    }
    assert shown[named].message_id is not None


def test_what_is_not_there_is_not_shown(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1))
    mailbox.select()
    assert mailbox.shown([]) == {}
    assert set(mailbox.shown([uid, uid + 1])) == {uid}


def test_exactly_the_uids_named_are_removed(mailbox: Mailbox, side: Side) -> None:
    kept = [raw(n) for n in (1, 3, 5)]
    gone = [raw(n) for n in (2, 4)]
    uids = {text: side.append(text) for text in sorted([*kept, *gone])}
    mailbox.select()
    wanted = [uids[text] for text in gone]
    assert mailbox.remove([*wanted, wanted[0]]) == frozenset(wanted)
    assert list(side.messages().values()) == kept
    assert mailbox.uids() == tuple(uids[text] for text in kept)


def test_messages_that_others_marked_deleted_survive_a_removal(
    mailbox: Mailbox, side: Side
) -> None:
    before, ours, after = (side.append(raw(n)) for n in range(3))
    for uid in (before, after):
        side.set_flags(uid, "\\Deleted", "\\Seen")
    mailbox.select()
    assert mailbox.remove([ours]) == {ours}
    mailbox.close()
    assert side.flags() == {uid: {"\\Deleted", "\\Seen"} for uid in (before, after)}


def test_a_message_of_ours_that_somebody_marked_already_is_removed(
    mailbox: Mailbox, side: Side
) -> None:
    uid = side.append(raw(1), flags=["\\Deleted"])
    mailbox.select()
    assert mailbox.remove([uid]) == {uid}
    assert side.messages() == {}


def test_more_messages_than_one_command_takes_are_removed(mailbox: Mailbox, side: Side) -> None:
    uids = [side.append(raw(n)) for n in range(7)]
    odd = uids[::2]
    mailbox.select()
    # Uids that nothing bears make the line as long as thousands of gaps would.
    assert mailbox.remove([*odd, *range(1_000, 1_700, 2)]) >= set(odd)
    assert list(side.messages()) == uids[1::2]


def test_what_is_gone_already_counts_as_gone(mailbox: Mailbox, side: Side) -> None:
    gone, kept = side.append(raw(1)), side.append(raw(2))
    mailbox.select()
    side.take_away(gone)
    assert mailbox.remove([gone]) == {gone}
    assert list(side.messages()) == [kept]


def test_removing_nothing_removes_nothing(mailbox: Mailbox, side: Side) -> None:
    uid = side.append(raw(1), flags=["\\Deleted"])
    mailbox.select()
    assert mailbox.removes()
    assert mailbox.remove([]) == frozenset()
    assert list(side.messages()) == [uid]


def test_nothing_is_removed_from_a_mailbox_opened_to_read_only(
    mailbox: Mailbox, side: Side
) -> None:
    uid = side.append(raw(1))
    mailbox.select(read_only=True)
    assert not mailbox.removes()
    with pytest.raises(Refused):
        mailbox.remove([uid])
    assert side.flags() == {uid: frozenset()}
    mailbox.select()
    assert mailbox.removes()


def test_the_newest_date_is_that_of_the_newest_of_the_last_messages(
    mailbox: Mailbox, side: Side
) -> None:
    mailbox.select()
    assert mailbox.newest() is None
    days = [datetime(2021, 3, day, 9, 0, tzinfo=UTC) for day in (1, 9, 4)]
    for day in days:
        side.append(raw(day.day), internal_at=day)
    mailbox.select()
    assert mailbox.newest() == max(days)


def test_a_message_far_down_does_not_count_as_newest(mailbox: Mailbox, side: Side) -> None:
    side.append(raw(0), internal_at=datetime(2031, 1, 1, tzinfo=UTC))
    for number in range(1, 12):
        side.append(raw(number), internal_at=datetime(2021, 3, number, tzinfo=UTC))
    mailbox.select()
    assert mailbox.newest() == datetime(2021, 3, 11, tzinfo=UTC)
