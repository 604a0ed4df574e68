"""What every mailbox promises. The fake and the real edge on Dovecot pass these same tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

import pytest

from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox
from dispatcher.errors import Unavailable
from dispatcher.ports import Mailbox
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
