"""What the mailbox does when its server fails, lies, stalls or goes away (faults I2 to I24)."""

from __future__ import annotations

import contextlib
import imaplib
import logging
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from imapclient.imapclient import IMAPlibLoggerAdapter

from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, Limits
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Fetched
from tests.servers.scripted import (
    Answer,
    Script,
    ScriptedServer,
    Session,
    in_turn,
    literal,
    then,
)

SHORT = Limits(
    connect=0.6,
    command=0.6,
    silence=0.4,
    fetch=1.0,
    fetch_rate=10_000_000,
    idle=0.5,
    done=0.3,
    farewell=0.2,
    noise=0.1,
)
PATIENT = b"Subject: DUPONT Jeanne 21048BC000020\r\n\r\nbody\r\n"
MESSAGES = {
    3: PATIENT,
    5: b"Subject: five\r\n\r\n" + b"5" * 300 + b"\r\n",
    8: b"Subject: eight\r\n\r\nbody\r\n",
}
# Long enough for a busy machine, far shorter than any real limit.
SOON = 8.0

Play = Callable[..., ImapMailbox]


@pytest.fixture
def play() -> Iterator[Play]:
    """Return a maker of mailboxes on a server that plays the given scripts."""
    with ExitStack() as stack:

        def start(*scripts: Script, limits: Limits = SHORT, **account: object) -> ImapMailbox:
            server = stack.enter_context(ScriptedServer(*scripts))
            values = {"host": server.host, "port": server.port, "username": "u"}
            wanted = Account(
                name="lbm",
                security="plaintext",
                password=lambda: "secret",
                **(values | account),  # type: ignore[arg-type]  # tests give what fits
            )
            mailbox = ImapMailbox(wanted, SystemClock(), limits)
            mailbox.server = server  # type: ignore[attr-defined]  # for the tests to look at
            return stack.enter_context(closing(mailbox))

        yield start


def server_of(mailbox: ImapMailbox) -> ScriptedServer:
    server = mailbox.server  # type: ignore[attr-defined]  # put there by `play`
    assert isinstance(server, ScriptedServer)
    return server


def read(mailbox: ImapMailbox, got: dict[int, bytes]) -> None:
    mailbox.select()
    for fetched in mailbox.fetch(mailbox.uids()):
        assert fetched.uid not in got or got[fetched.uid] == fetched.raw
        got[fetched.uid] = fetched.raw


def read_in_the_end(mailbox: ImapMailbox, tries: int = 12) -> dict[int, bytes]:
    """Read as the service does: again after each failure, until a whole turn went well."""
    got: dict[int, bytes] = {}
    for _ in range(tries):
        try:
            read(mailbox, got)
        except Unavailable:
            continue
        return got
    raise AssertionError(f"no whole turn in {tries}")


def failing(**answers: Answer) -> Script:
    return Script(MESSAGES, answers)


def greeting(answer: Answer) -> Script:
    return Script(MESSAGES, {"": answer})


def row(number: int, said: bytes) -> bytes:
    return b"* %d FETCH (%s)\r\n" % (number, said)


def body(uid: int) -> bytes:
    return b"UID %d BODY[] %s" % (uid, literal(MESSAGES[uid]))


DONE = b"TAG OK done\r\n"

# --- the connection


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(greeting(Session.hang), id="I2: accepts and is silent"),
        pytest.param(greeting(Session.end), id="closes at once"),
        pytest.param(greeting(Session.reset), id="resets at once"),
        pytest.param(greeting(b"* BYE too many\r\n"), id="says BYE"),
        pytest.param(greeting(b"220 smtp.example ESMTP\r\n"), id="is another service"),
        pytest.param(greeting(b"\x15\x03\x03\x00\x02\x02\x50\r\n"), id="speaks TLS"),
        pytest.param(greeting(lambda s: s.drip(b"* OK ready\r\n", 0.2)), id="I14: drips"),
        pytest.param(greeting(b"* OK " + b"x" * 20_000_000), id="sends a line without end"),
        pytest.param(failing(SELECT=Session.hang), id="is silent at SELECT"),
        pytest.param(failing(SELECT=b"TAG BAD what\r\n"), id="says BAD at SELECT"),
        pytest.param(failing(SELECT=b"TAG NO [INUSE] busy\r\n"), id="says busy at SELECT"),
        pytest.param(failing(SELECT=b"* BYE\r\n"), id="says BYE at SELECT"),
        pytest.param(failing(CAPABILITY=b"TAG NO\r\n"), id="tells no capabilities"),
        pytest.param(failing(CAPABILITY=b"* CAPABILITY \xff\r\nTAG OK\r\n"), id="babbles"),
    ],
)
def test_a_server_that_cannot_be_talked_to_is_unavailable_in_time(
    play: Play, script: Script
) -> None:
    mailbox = play(script)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        mailbox.select()
    assert time.monotonic() - began < SOON


def test_after_a_bad_connection_a_good_one_works(play: Play) -> None:
    late = then(_wait_a_second, b"* OK ready\r\n")
    mailbox = play(greeting(late), greeting(Session.hang), Script(MESSAGES))
    assert read_in_the_end(mailbox) == MESSAGES


def _wait_a_second(_: Session) -> None:
    threading.Event().wait(1.0)


def test_a_kept_connection_that_died_is_replaced_without_a_word(play: Play) -> None:
    dying = failing(SELECT=in_turn(_opened, Session.end))
    mailbox = play(dying, Script(MESSAGES))
    mailbox.select()
    assert mailbox.select().exists == len(MESSAGES)


def _opened(session: Session) -> None:
    session.send(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 9]\r\nTAG OK open\r\n")


def test_a_connection_cut_anywhere_leads_to_the_same_end(play: Play) -> None:
    whole = play(Script(MESSAGES))
    assert read_in_the_end(whole) == MESSAGES
    for cut in range(10, 1_400, 130):
        mailbox = play(Script(MESSAGES, reset_after=cut), Script(MESSAGES))
        assert read_in_the_end(mailbox) == MESSAGES, cut
        assert server_of(mailbox).said(b"STORE") == 0


# --- opening the mailbox


def test_a_mailbox_without_uidvalidity_is_refused(play: Play) -> None:
    mailbox = play(failing(SELECT=b"* 3 EXISTS\r\n* OK [UIDNEXT 9]\r\nTAG OK open\r\n"))
    with pytest.raises(Refused, match="UIDVALIDITY"):
        mailbox.select()


def test_a_missing_uidnext_is_worked_out_from_the_last_message(play: Play) -> None:
    mailbox = play(failing(SELECT=b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\nTAG OK open\r\n"))
    assert mailbox.select().uidnext == 9


@pytest.mark.parametrize(
    ("answer", "listed", "error"),
    [
        pytest.param(b"TAG NO [NONEXISTENT] no\r\n", b"", Refused, id="by its code"),
        pytest.param(b"TAG NO no such\r\n", b"", Refused, id="because LIST does not know it"),
        pytest.param(
            b"TAG NO try later\r\n", b'* LIST () "/" x\r\n', Unavailable, id="it does exist"
        ),
    ],
)
def test_a_mailbox_that_does_not_exist_is_told_from_one_that_cannot_be_opened_now(
    play: Play, answer: bytes, listed: bytes, error: type[Exception]
) -> None:
    mailbox = play(failing(SELECT=answer, LIST=listed + DONE))
    with pytest.raises(error):
        mailbox.select()


def test_a_mailbox_that_only_reads_is_read(play: Play) -> None:
    opened = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [PERMANENTFLAGS (\\*)]\r\n"
    mailbox = play(failing(SELECT=opened + b"TAG OK [READ-ONLY] open\r\n"))
    selected = mailbox.select()
    assert (selected.read_only, selected.keeps_keyword) == (True, False)
    assert [f.uid for f in mailbox.fetch(mailbox.uids())] == [*MESSAGES]
    mailbox.add_keyword([3])
    assert server_of(mailbox).said(b"STORE") == 0


@pytest.mark.parametrize(
    ("flags", "keeps"),
    [
        pytest.param(rb"\Seen \*", True, id="any keyword"),
        pytest.param(rb"\Seen sidepdispatched", True, id="ours, in other letters"),
        pytest.param(rb"\Seen \Deleted", False, id="none"),
        pytest.param(rb"NotSidepDispatched", False, id="another"),
    ],
)
def test_whether_the_keyword_is_kept_is_read_from_the_permanent_flags(
    play: Play, flags: bytes, *, keeps: bool
) -> None:
    mailbox = play(Script(MESSAGES, permanent_flags=flags))
    assert mailbox.select().keeps_keyword is keeps
    mailbox.add_keyword([3, 5])
    assert server_of(mailbox).said(b"STORE") == keeps
    assert server_of(mailbox).said(b"STORE 3,5 +FLAGS.SILENT (SidepDispatched)") == keeps


def test_a_refused_keyword_is_unavailable_and_nothing_else(play: Play) -> None:
    mailbox = play(failing(STORE=b"TAG NO [LIMIT] too many keywords\r\n"))
    mailbox.select()
    with pytest.raises(Unavailable, match="LIMIT"):
        mailbox.add_keyword([3])
    assert {fetched.uid for fetched in mailbox.fetch([*MESSAGES])} == {*MESSAGES}
    assert len(server_of(mailbox).sessions) == 1, "what is to be done next goes on"


# --- listing


def test_an_empty_mailbox_needs_no_uidnext(play: Play) -> None:
    """Some servers say BAD to `*` where there is no message."""
    opened = b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\nTAG OK [READ-WRITE] open\r\n"
    mailbox = play(Script({}, {"SELECT": opened, "SEARCH": b"TAG BAD no such message\r\n"}))
    assert mailbox.select().uidnext == 1


def test_no_command_names_a_uid_that_can_be_none(play: Play) -> None:
    """The last of all uids is taken: UIDNEXT is none any more (RFC 3501, 9, nz-number)."""
    last = 2**32 - 1
    mailbox = play(Script({last: PATIENT}))
    assert mailbox.uids(mailbox.select().uidnext) == ()
    assert mailbox.uids(last) == (last,)
    assert server_of(mailbox).said(b"UID %d:*" % last) == 2


@pytest.mark.parametrize(
    ("answer", "first", "uids"),
    [
        pytest.param(b"* SEARCH 8\r\n", 9, (), id="the last message, always named by n:*"),
        pytest.param(b"* SEARCH 8 3\r\n* SEARCH 5\r\n", 1, (3, 5, 8), id="in two responses"),
        pytest.param(b"* SEARCH 3 5 (MODSEQ 917)\r\n", 1, (3, 5), id="with a MODSEQ"),
        pytest.param(b"* 4 EXISTS\r\n* SEARCH 3\r\n", 1, (3,), id="amid other responses"),
        pytest.param(b"", 9, (), id="nothing at all, for nothing new"),
        pytest.param(
            b'* ESEARCH (TAG "A1") UID ALL 3:5,8\r\n', 1, (3, 4, 5, 8), id="in ranges"
        ),
        pytest.param(
            b'* ESEARCH (TAG "A1") UID COUNT 3 ALL 8,5:3\r\n', 1, (3, 4, 5, 8), id="backwards"
        ),
        pytest.param(b'* ESEARCH (TAG "A1") UID\r\n', 9, (), id="in ranges, of nothing"),
        pytest.param(b"* ESEARCH UID ALL 8\r\n", 9, (), id="the last message, in a range"),
    ],
)
def test_the_list_of_uids_is_read_in_every_form(
    play: Play, answer: bytes, first: int, uids: tuple[int, ...]
) -> None:
    mailbox = play(failing(SEARCH=answer + DONE))
    mailbox.select()
    assert mailbox.uids(first) == uids


def test_no_list_of_a_mailbox_that_holds_mail_is_no_empty_list(play: Play) -> None:
    mailbox = play(failing(SEARCH=DONE))
    mailbox.select()
    with pytest.raises(Unavailable):
        mailbox.uids()


def test_ranges_are_asked_for_only_where_the_server_offers_them(play: Play) -> None:
    plain = Script(MESSAGES)
    answer = b'* ESEARCH (TAG "TAG") UID ALL 3,5,8\r\n' + DONE
    able = replace(
        plain, answers={"SEARCH": answer}, capabilities=b"IMAP4rev1 ESEARCH AUTH=PLAIN"
    )
    for script, said in ((plain, 0), (able, 1)):
        mailbox = play(script)
        mailbox.select()
        assert mailbox.uids() == (3, 5, 8)
        assert server_of(mailbox).said(b"RETURN (ALL)") == said


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param(b"1:900000,1000000:1900000,2000000:4294967295", id="over all numbers"),
        pytest.param(b"3:*", id="without an end"),
        pytest.param(b"3,,8", id="torn"),
        pytest.param(b"", id="none"),
    ],
)
def test_ranges_that_make_no_sense_are_no_list(play: Play, ranges: bytes) -> None:
    """A list that is not believed must not make what it leaves out look removed."""
    mailbox = play(failing(SEARCH=b"* ESEARCH UID ALL " + ranges + b"\r\n" + DONE))
    mailbox.select()
    with pytest.raises(Unavailable):
        mailbox.uids()


def test_a_list_of_two_hundred_thousand_uids_is_one_line(play: Play) -> None:
    many = range(1_000_000, 1_200_000)
    listed = b"* SEARCH %s\r\n" % b" ".join(b"%d" % uid for uid in many)
    assert len(listed) > 1_000_000  # where imaplib gives up
    mailbox = play(failing(SEARCH=listed + DONE), limits=Limits())
    mailbox.select()
    assert mailbox.uids() == tuple(many)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        pytest.param(
            b'"01-Mar-2021 09:00:00 +0100"',
            datetime(2021, 3, 1, 9, tzinfo=timezone(timedelta(hours=1))),
            id="good",
        ),
        pytest.param(
            b'" 1-mar-2021 09:00:00 -0330"',
            datetime(2021, 3, 1, 12, 30, tzinfo=UTC),
            id="one digit, another zone",
        ),
        pytest.param(b'"31-Feb-2021 09:00:00 +0100"', None, id="no such day"),
        pytest.param(b'"01-Mar-2021 09:00:00 +9900"', None, id="no such zone"),
        pytest.param(b'"yesterday"', None, id="words"),
        pytest.param(b"NIL", None, id="NIL"),
        pytest.param(b"17", None, id="a number"),
    ],
)
def test_a_broken_internal_date_is_the_epoch_and_stops_nothing(
    play: Play, date: bytes, expected: datetime | None
) -> None:
    sizes = row(1, b"UID 3 RFC822.SIZE 47 INTERNALDATE " + date) + DONE
    mailbox = play(failing(SIZES=sizes))
    mailbox.select()
    identity = mailbox.identities([3])[3]
    assert identity.size == 47
    assert identity.internal_at == (expected or datetime(1970, 1, 1, tzinfo=UTC))


# --- bodies: whose is whose (I22, I23)

GOOD = row(1, body(3)) + row(2, body(5)) + row(3, body(8))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(GOOD, id="in order"),
        pytest.param(row(3, body(8)) + row(2, body(5)) + row(1, body(3)), id="reversed"),
        pytest.param(GOOD + row(9, rb"FLAGS (\Seen)") + b"* 9 EXISTS\r\n", id="unsolicited"),
        pytest.param(
            GOOD + row(9, b"UID 99 BODY[] {2}\r\nxx"), id="of a message not asked for"
        ),
        pytest.param(GOOD + GOOD, id="everything twice"),
        pytest.param(
            b"".join(
                row(n, b"BODY[] %s UID %d" % (literal(raw), uid))
                for n, (uid, raw) in enumerate(MESSAGES.items(), 1)
            ),
            id="uid last",
        ),
        pytest.param(
            b"".join(
                row(n, b"FLAGS (\\Seen $x[1) UID %d BODY[] %s FLAGS (a)" % (uid, literal(raw)))
                for n, (uid, raw) in enumerate(MESSAGES.items(), 1)
            ),
            id="flags around, one with a bracket",
        ),
        pytest.param(
            b"".join(
                row(n, b"BODY[] %s" % literal(raw)) + row(n, b"UID %d" % uid)
                for n, (uid, raw) in enumerate(MESSAGES.items(), 1)
            ),
            id="split",
        ),
    ],
)
def test_each_body_goes_to_its_uid(play: Play, answer: bytes) -> None:
    mailbox = play(failing(BODIES=answer + DONE))
    mailbox.select()
    assert {f.uid: f.raw for f in mailbox.fetch([*MESSAGES])} == MESSAGES


NAMELESS = row(1, b"BODY[] %s" % literal(PATIENT))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NAMELESS, id="no uid at all"),
        pytest.param(row(1, b"UID 3") + b"* 1 EXPUNGE\r\n" + NAMELESS, id="numbers moved"),
        pytest.param(NAMELESS + row(1, b"UID 3") + row(1, b"UID 4"), id="two uids"),
        pytest.param(row(1, body(3)) + row(2, b"UID 3 BODY[] {2}\r\nxx"), id="two bodies"),
        pytest.param(row(3, b"UID 8 BODY[] {2}\r\nxx"), id="another's"),
        pytest.param(row(1, b"UID 3 BODY[] NIL"), id="NIL"),
        pytest.param(row(1, b'UID 3 BODY[] ""'), id="empty"),
        pytest.param(row(1, b"UID 3 BODY[] {0}\r\n"), id="an empty literal"),
        pytest.param(row(1, b"UID 3 FLAGS ()"), id="no body"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"* 1 EXPUNGE\r\n", id="gone"),
    ],
)
def test_a_body_that_is_nobodys_for_sure_is_left_out(play: Play, answer: bytes) -> None:
    mailbox = play(failing(BODIES=answer + DONE))
    mailbox.select()
    assert list(mailbox.fetch([3])) == []


def test_a_ghost_is_fetched_when_its_body_appears(play: Play) -> None:
    ghost = row(1, body(3)) + row(2, b"UID 5 BODY[] NIL") + row(3, body(8)) + DONE
    mailbox = play(failing(BODIES=in_turn(ghost, lambda s: s.send(s.bodies()))))
    mailbox.select()
    assert [f.uid for f in mailbox.fetch([3, 5, 8])] == [3, 8]
    assert [f.raw for f in mailbox.fetch([5])] == [MESSAGES[5]]


def test_one_message_that_the_server_refuses_does_not_stop_the_others(play: Play) -> None:
    def answer(session: Session) -> None:
        refused = 5 in session.asked()
        session.send(b"TAG NO no such message\r\n" if refused else session.bodies())

    mailbox = play(failing(BODIES=answer))
    mailbox.select()
    assert [f.uid for f in mailbox.fetch([3, 5, 8])] == [3, 8]


def test_a_partial_no_gives_what_it_gives(play: Play) -> None:
    answer = row(1, body(3)) + b"TAG NO [EXPUNGEISSUED] some are gone\r\n"
    mailbox = play(failing(BODIES=answer))
    mailbox.select()
    assert [f.uid for f in mailbox.fetch([3, 5])] == [3]


@pytest.mark.parametrize("code", ["LIMIT", "THROTTLED"])
def test_a_throttled_fetch_is_tried_later(play: Play, code: str) -> None:
    no = b"TAG NO [%s] slow down\r\n" % code.encode()
    mailbox = play(failing(BODIES=in_turn(no, lambda s: s.send(s.bodies()))))
    mailbox.select()
    with pytest.raises(Unavailable, match=code):
        list(mailbox.fetch([*MESSAGES]))
    assert server_of(mailbox).said(b"BODY.PEEK[]") == 1, "nothing more is asked for now"
    assert read_in_the_end(mailbox) == MESSAGES


def test_line_ends_are_left_as_they_are(play: Play) -> None:
    raws = {3: b"Subject: lf\n\nbody\n", 5: b"Subject: cr\r\rbody\r", 8: b"\0\xff\n)\r\n* BYE"}
    mailbox = play(Script(raws))
    mailbox.select()
    assert {f.uid: f.raw for f in mailbox.fetch([*raws])} == raws


def test_no_message_is_formatted_for_a_debug_log(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def formatted(*_: object) -> None:
        raise AssertionError("imaplib formats what it reads")

    monkeypatch.setattr(imaplib.IMAP4, "_mesg", formatted)
    monkeypatch.setattr(IMAPlibLoggerAdapter, "debug", formatted)
    assert read_in_the_end(play(Script(MESSAGES))) == MESSAGES


def test_only_peeking_fetches_are_sent(play: Play) -> None:
    mailbox = play(Script(MESSAGES))
    read_in_the_end(mailbox)
    mailbox.headers(5)
    fetches = [line for line in server_of(mailbox).lines if b"FETCH" in line]
    assert fetches
    assert all(b"BODY[" not in line and b"RFC822 " not in line for line in fetches)


# --- bodies: in part (I9 to I14)


def cut(said: bytes, rest: Answer) -> Callable[[Session], None]:
    """Send the first message whole, the second in part, then `rest`."""
    return then(row(1, body(3)), b"* 2 FETCH (UID 5 BODY[] ", said, rest)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Session.end, id="I9: closes at FETCH"),
        pytest.param(cut(b"{319}\r\nSubject", Session.hang), id="I10: stalls in the literal"),
        pytest.param(cut(b"{319}\r\nSubject", Session.end), id="I11: FIN in the literal"),
        pytest.param(cut(b"{319}\r\nSubject", Session.reset), id="RST in the literal"),
        pytest.param(
            cut(b"{30}\r\n" + MESSAGES[5], b")\r\n" + DONE), id="I12: literal longer than said"
        ),
        pytest.param(
            cut(b"{30}\r\nSubject: fi", b")\r\n" + row(3, body(8)) + DONE),
            id="I12: literal shorter than said, it swallows what follows",
        ),
        pytest.param(
            cut(b"{900}\r\n" + MESSAGES[5], b")\r\n" + DONE), id="I12: shorter, then silence"
        ),
        pytest.param(cut(b"{-1}\r\n", DONE), id="a negative literal"),
        pytest.param(cut(b"(" * 5_000, b"\r\n" + DONE), id="brackets without end"),
        pytest.param(cut(b'"Subject', b"\r\n" + DONE), id="a quote without end"),
        pytest.param(
            lambda s: s.drip(s.bodies(), 0.01), id="I14: drips, each byte in good time"
        ),
        pytest.param(b"TAG BAD what\r\n", id="says BAD"),
        pytest.param(b"* 1 FETCH what\r\n" + DONE, id="sends no FETCH response"),
        pytest.param(b"* 1 FETCH (UID x BODY[] NIL)\r\n" + DONE, id="sends no number"),
    ],
)
def test_nothing_of_a_broken_fetch_is_believed(play: Play, broken: Answer) -> None:
    limits = replace(SHORT, fetch=0.9)
    mailbox = play(failing(BODIES=broken), Script(MESSAGES), limits=limits)
    mailbox.select()
    began = time.monotonic()
    got: list[Fetched] = []
    with pytest.raises(Unavailable):
        got.extend(mailbox.fetch([*MESSAGES]))
    assert time.monotonic() - began < SOON
    assert got == []
    with pytest.raises(Unavailable):
        mailbox.uids()
    assert read_in_the_end(mailbox) == MESSAGES


def test_a_literal_of_four_gigabytes_takes_no_memory_and_stops_no_other(play: Play) -> None:
    def answer(session: Session) -> None:
        if 5 in session.asked():
            session.send(b"* 2 FETCH (FLAGS () UID 5 BODY[] {4294967295}\r\nSubject: x\r\n")
            session.hang()
        session.send(session.bodies())

    mailbox = play(failing(BODIES=answer))
    tracemalloc.start()
    try:
        assert set(read_in_the_end(mailbox)) == {3, 8}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000
    assert [uid for uid in MESSAGES if mailbox.too_large(uid)] == [5]
    assert mailbox.headers(5) == MESSAGES[5][:10]


def test_a_literal_too_large_is_found_even_when_the_uid_comes_last(play: Play) -> None:
    def answer(session: Session) -> None:
        if 5 in session.asked():
            session.send(b"* 2 FETCH (BODY[] {4294967295}\r\nSubject: x\r\n")
            session.hang()
        session.send(session.bodies())

    mailbox = play(failing(BODIES=answer))
    assert set(read_in_the_end(mailbox)) == {3, 8}
    assert [uid for uid in MESSAGES if mailbox.too_large(uid)] == [5]


def test_one_message_that_breaks_every_fetch_stops_no_other(play: Play) -> None:
    def answer(session: Session) -> None:
        if 3 in session.asked():
            session.end()
        session.send(session.bodies())

    mailbox = play(failing(BODIES=answer))
    got: dict[int, bytes] = {}
    for _ in range(3):
        with pytest.raises(Unavailable):
            read(mailbox, got)
    assert set(got) == {5, 8}
    assert not mailbox.too_large(3)
    read(mailbox, got)
    assert set(got) == {5, 8}, "and a whole turn goes well without it"


def _damaged(uid: int, number: int, well: str) -> Callable[[Session], None]:
    """Answer as Dovecot does for a message whose file is damaged: what came before it, BYE."""

    def answer(session: Session) -> None:
        if uid not in session.asked():
            session.send(session.well(well))
            return
        rows = session.well(well).split(b"* %d FETCH" % number)[0]
        session.send(rows + b"* BYE FETCH failed: Internal error occurred.\r\n")
        session.end()

    return answer


@pytest.mark.parametrize("key", ["SIZES", "BODIES"])
@pytest.mark.parametrize("count", [1, 3, 70])
def test_one_damaged_message_keeps_no_other_from_being_read(
    play: Play, key: str, count: int
) -> None:
    raws = {uid: b"%d" % uid * 40 for uid in range(1, count + 1)}
    damaged = (count + 1) // 2
    mailbox = play(Script(raws, {key: _damaged(damaged, damaged, key)}))
    got = read_in_the_end(mailbox, tries=6)
    assert got == {uid: raw for uid, raw in raws.items() if uid != damaged}
    asked = {"SIZES": b"FETCH %d (UID RFC822", "BODIES": b"FETCH %d (UID FLAGS"}[key] % damaged
    assert server_of(mailbox).said(asked) == 2, "alone, for it may be the network"
    read(mailbox, got)
    assert server_of(mailbox).said(asked) == 2, "it is left to rest"


def test_one_damaged_message_keeps_no_other_from_being_shown(play: Play) -> None:
    mailbox = play(failing(SHOWN=_damaged(5, 2, "SHOWN")))
    mailbox.select()
    for _ in range(3):
        with pytest.raises(Unavailable):
            mailbox.shown([*MESSAGES])
        mailbox.select()
    assert set(mailbox.shown([*MESSAGES])) == {3, 8}


def test_a_header_that_breaks_off_is_left_to_rest(play: Play) -> None:
    mailbox = play(failing(HEADER=Session.end))
    for _ in range(2):
        mailbox.select()
        with pytest.raises(Unavailable):
            mailbox.headers(5)
    mailbox.select()
    assert mailbox.headers(5) is None


def test_a_size_that_is_too_large_is_never_asked_for(play: Play) -> None:
    mailbox = play(Script(MESSAGES, sizes={5: 1_001}), max_message_size=1_000)
    assert set(read_in_the_end(mailbox)) == {3, 8}
    assert mailbox.too_large(5)
    asked = [line for line in server_of(mailbox).lines if b"BODY.PEEK[]" in line]
    assert asked
    assert not any(b"5" in line.split()[3] for line in asked)


def test_a_size_that_is_a_lie_harms_nothing(play: Play) -> None:
    mailbox = play(Script(MESSAGES, sizes=dict.fromkeys(MESSAGES, 1)))
    assert read_in_the_end(mailbox) == MESSAGES


def test_many_bodies_larger_than_listed_do_not_fill_the_memory(play: Play) -> None:
    raws = dict.fromkeys(range(1, 31), b"x" * 90000)
    mailbox = play(
        Script(raws, sizes=dict.fromkeys(raws, 1)),
        max_message_size=100_000,
        fetch_batch=1_000,
        limits=replace(SHORT, command=5.0),
    )
    mailbox.select()
    with pytest.raises(Unavailable):
        list(mailbox.fetch([*raws]))
    assert read_in_the_end(mailbox) == raws


def test_commands_are_bounded_by_bytes(play: Play) -> None:
    raws = dict.fromkeys(range(1, 8), b"x" * 400)
    mailbox = play(Script(raws), fetch_batch=1_000)
    assert read_in_the_end(mailbox) == raws
    asked = [line for line in server_of(mailbox).lines if b"BODY.PEEK[]" in line]
    assert [line.split()[3] for line in asked] == [b"1:2", b"3:4", b"5:6", b"7"]


def test_bodies_that_come_before_their_command_is_answered_for_are_kept(play: Play) -> None:
    """Dovecot ends a FETCH late: what the next one asked for comes first (RFC 3501, 5.5)."""

    def both(session: Session) -> None:
        first_tag, first = session.tag, session.bodies().removesuffix(b"TAG OK done\r\n")
        session.read()  # sent without waiting for the answer to the first
        session.tag = session.line.partition(b" ")[0]
        second = session.bodies().removesuffix(b"TAG OK done\r\n")
        session.send(first + second + first_tag + b" OK done\r\nTAG OK done\r\n")

    raws = {uid: b"%d" % uid * 400 for uid in range(1, 5)}
    mailbox = play(Script(raws, {"BODIES": both}), fetch_batch=1_000)
    mailbox.select()
    fetched = [(f.uid, f.raw) for f in mailbox.fetch([*raws])]
    assert fetched == [*raws.items()]
    assert server_of(mailbox).said(b"BODY.PEEK[]") == 2, "none was asked for twice"


def test_a_body_that_comes_twice_and_differs_is_nobodys(play: Play) -> None:
    def both(session: Session) -> None:
        first_tag, first = session.tag, session.bodies().removesuffix(b"TAG OK done\r\n")
        session.read()
        session.tag = session.line.partition(b" ")[0]
        early = b"* 3 FETCH (UID 3 BODY[] " + literal(b"another") + b")\r\n"
        session.send(first + early + first_tag + b" OK done\r\n" + session.bodies())

    raws = {uid: b"%d" % uid * 400 for uid in range(1, 5)}
    mailbox = play(Script(raws, {"BODIES": both}), fetch_batch=1_000)
    mailbox.select()
    assert [f.uid for f in mailbox.fetch([*raws])] == [1, 2, 4]


def test_nothing_is_asked_for_ahead_beside_what_broke_a_fetch(play: Play) -> None:
    """Otherwise the message before it would be blamed for the end of the connection."""
    raws = {uid: b"%d" % uid * 400 for uid in range(1, 8)}

    def answer(session: Session) -> None:
        if 5 in session.asked():
            session.reset()
        session.send(session.bodies())

    mailbox = play(Script(raws, {"BODIES": answer}), fetch_batch=1_000)
    got: dict[int, bytes] = {}
    for _ in range(3):
        with pytest.raises(Unavailable):
            read(mailbox, got)
    assert set(got) == {*raws} - {5}


def test_a_fetch_that_was_given_up_leaves_a_connection_that_works(play: Play) -> None:
    raws = {uid: b"%d" % uid * 400 for uid in range(1, 8)}
    mailbox = play(Script(raws), fetch_batch=1_000)
    mailbox.select()
    assert next(iter(mailbox.fetch([*raws]))).uid == 1
    assert mailbox.uids() == (*raws,)
    assert {f.uid: f.raw for f in mailbox.fetch([*raws])} == raws
    assert next(iter(mailbox.fetch([*raws]))).uid == 1
    mailbox.wait(0.01)
    mailbox.select()
    assert len(server_of(mailbox).sessions) == 1


def test_what_breaks_while_another_command_waits_for_it_is_blamed(play: Play) -> None:
    raws = {uid: b"%d" % uid * 400 for uid in range(1, 5)}

    def answer(session: Session) -> None:
        if 3 in session.asked():
            session.end()
        session.send(session.bodies())

    mailbox = play(Script(raws, {"BODIES": answer}), fetch_batch=1_000)
    mailbox.select()
    fetching = iter(mailbox.fetch([*raws]))
    assert [next(fetching).uid, next(fetching).uid] == [1, 2]
    with pytest.raises(Unavailable):
        mailbox.add_keyword([1])
    mailbox.select()
    assert [f.uid for f in _until_broken(mailbox, [*raws])] == [1, 2]
    asked = [line.split()[3] for line in server_of(mailbox).lines if b"BODY.PEEK[]" in line]
    assert asked[-1] == b"3", "alone, so that it is known for certain"


def _until_broken(mailbox: ImapMailbox, uids: list[int]) -> Iterator[Fetched]:
    with contextlib.suppress(Unavailable):
        yield from mailbox.fetch(uids)


def test_a_uid_used_again_is_fetched_again(play: Play) -> None:
    small, large = {3: b"a" * 10}, {3: b"b" * 2_000}
    mailbox = play(
        Script(large, {"LOGOUT": Session.end}), Script(small), max_message_size=1_000
    )
    assert read_in_the_end(mailbox) == {}
    assert mailbox.too_large(3)
    mailbox.close()
    assert read_in_the_end(mailbox) == small
    assert not mailbox.too_large(3)


# --- waiting for mail: I16 and I17


def test_mail_announced_together_with_the_plus_is_seen(play: Play) -> None:
    mailbox = play(failing(IDLE=b"+ idling\r\n* 4 EXISTS\r\n"), limits=replace(SHORT, idle=60))
    mailbox.select()
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < SOON


def test_mail_announced_before_the_plus_is_seen(play: Play) -> None:
    mailbox = play(failing(IDLE=b"* 4 EXISTS\r\n+ idling\r\n"), limits=replace(SHORT, idle=60))
    mailbox.select()
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < SOON


def test_mail_announced_during_another_command_is_not_waited_for(play: Play) -> None:
    announced = b"* SEARCH 3 5 8\r\n* 4 EXISTS\r\n" + DONE
    mailbox = play(failing(SEARCH=announced), limits=replace(SHORT, idle=60))
    mailbox.select()
    mailbox.uids()
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < SOON
    assert server_of(mailbox).said(b"IDLE") == 0


def test_the_same_count_again_is_no_news(play: Play) -> None:
    mailbox = play(failing(IDLE=b"+ idling\r\n* 3 EXISTS\r\n* 0 RECENT\r\n"))
    mailbox.select()
    began = time.monotonic()
    mailbox.wait(0.3)
    assert time.monotonic() - began > 0.25


@pytest.mark.parametrize("said", [b"* 4 EXISTS\r\n", b"* 2 EXISTS\r\n* 3 EXISTS\r\n"])
def test_mail_announced_that_is_not_there_keeps_nobody_busy(play: Play, said: bytes) -> None:
    """A server whose count in IDLE is not that of SELECT, and whoever looks finds nothing."""
    mailbox = play(failing(IDLE=b"+ idling\r\n" + said), limits=replace(SHORT, idle=60))
    read(mailbox, {})
    until = time.monotonic() + 4
    waits = 0
    while (left := until - time.monotonic()) > 0:
        mailbox.select()
        mailbox.wait(left)
        waits += 1
    # At once, after 1 s, at once, after 2 s, ...
    assert waits <= 7
    assert server_of(mailbox).said(b"IDLE") <= 4


def test_mail_that_is_there_when_announced_is_never_waited_for(play: Play) -> None:
    messages = dict(MESSAGES)

    def come(session: Session) -> None:
        messages[max(messages) + 1] = b"Subject: new\r\n\r\nbody\r\n"
        session.send(b"+ idling\r\n* %d EXISTS\r\n" % len(messages))
        session.read()
        session.send(b"TAG OK idled\r\n")

    mailbox = play(Script(messages, {"IDLE": come}))
    known = set(MESSAGES)
    began = time.monotonic()
    for _ in range(5):
        mailbox.select()
        new = set(mailbox.uids()) - known
        known |= {fetched.uid for fetched in mailbox.fetch(sorted(new))}
        mailbox.wait(60)
    assert time.monotonic() - began < SOON
    assert server_of(mailbox).said(b"IDLE") == 5


def test_noise_in_idle_keeps_nobody_busy(play: Play) -> None:
    def spam(session: Session) -> None:
        session.send(b"+ idling\r\n")
        while True:  # until the client is gone
            session.send(b"* OK still here\r\n* 3 EXISTS\r\n" * 1_000)

    mailbox = play(failing(IDLE=spam), limits=replace(SHORT, idle=60, done=0.01))
    mailbox.select()
    began, used = time.monotonic(), time.thread_time()
    mailbox.wait(3.0)
    assert time.monotonic() - began < SOON
    assert time.thread_time() - used < 0.65


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(then(b"+ idling\r\n", b"* BYE idle too long\r\n"), id="BYE"),
        pytest.param(then(b"+ idling\r\n", Session.end), id="FIN"),
        pytest.param(then(b"+ idling\r\n", Session.reset), id="RST"),
        pytest.param(then(b"+ idling\r\n", Session.hang), id="DONE never answered"),
        pytest.param(Session.hang, id="IDLE never answered"),
        pytest.param(then(b"TAG BAD no\r\n"), id="refused"),
        pytest.param(then(b"+ idling\r\n", b"TAG OK over\r\n"), id="ended by the server"),
        pytest.param(then(b"+ idling\r\n", b"garbage\r\n"), id="garbage"),
    ],
)
def test_an_idle_that_fails_ends_the_wait_and_the_next_select_works(
    play: Play, answer: Answer
) -> None:
    mailbox = play(failing(IDLE=answer), Script(MESSAGES))
    mailbox.select()
    began, used = time.monotonic(), time.thread_time()
    mailbox.wait(2)
    assert time.monotonic() - began < SOON
    assert time.thread_time() - used < 0.5
    assert read_in_the_end(mailbox, tries=1) == MESSAGES


def test_a_server_that_breaks_every_idle_sees_a_login_a_poll_interval(play: Play) -> None:
    mailbox = play(failing(IDLE=then(b"+ idling\r\n", Session.end)), poll_interval=0.2)
    ends = time.monotonic() + 1.0
    while time.monotonic() < ends:
        mailbox.select()
        mailbox.wait(60)
    assert 1 < len(server_of(mailbox).sessions) <= 7


def test_idle_is_renewed(play: Play) -> None:
    mailbox = play(Script(MESSAGES), limits=replace(SHORT, idle=0.1))
    mailbox.select()
    mailbox.wait(0.45)
    assert server_of(mailbox).said(b"IDLE") >= 3
    assert server_of(mailbox).said(b"DONE") == server_of(mailbox).said(b"IDLE")
    assert mailbox.uids() == tuple(MESSAGES)


def test_a_black_hole_does_not_hold_a_wait_that_was_ended(play: Play) -> None:
    hole = then(b"+ idling\r\n", Session.hang)
    mailbox = play(failing(IDLE=hole), limits=replace(SHORT, idle=60, done=60))
    mailbox.select()
    waking = threading.Timer(0.2, mailbox.wake)
    waking.start()
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < SOON
    waking.join()


@pytest.mark.parametrize(
    ("capabilities", "watch"),
    [
        pytest.param(b"IMAP4rev1 AUTH=PLAIN", "idle", id="without IDLE"),
        pytest.param(b"IMAP4rev1 IDLE AUTH=PLAIN", "poll", id="told to poll"),
    ],
)
def test_without_idle_the_clock_decides(play: Play, capabilities: bytes, watch: str) -> None:
    mailbox = play(Script(MESSAGES, capabilities=capabilities), watch=watch, poll_interval=0.2)
    mailbox.select()
    began = time.monotonic()
    mailbox.wait(60)
    assert 0.15 < time.monotonic() - began < SOON
    assert server_of(mailbox).said(b"IDLE") == 0
    assert read_in_the_end(mailbox) == MESSAGES


# --- the end, the check, and what is told


def test_a_server_that_does_not_say_goodbye_is_left_soon(play: Play) -> None:
    mailbox = play(failing(LOGOUT=Session.hang))
    mailbox.select()
    began = time.monotonic()
    mailbox.close()
    assert time.monotonic() - began < SOON


def test_a_check_names_what_a_poor_server_lacks(play: Play) -> None:
    mailbox = play(
        Script(MESSAGES, capabilities=b"IMAP4rev1 AUTH=PLAIN", permanent_flags=rb"\Seen")
    )
    findings = [*mailbox.check()]
    warned = " ".join(f.what for f in findings if f.level == "warning")
    assert all(word in warned for word in ("IDLE", "QUOTA", "keyword"))
    (without,) = [f for f in findings if f.level == "problem"]
    assert "UIDPLUS" in without.what
    assert "deleted" in without.hint
    assert all(f.hint for f in findings if f.level != "ok")
    assert server_of(mailbox).said(b"EXAMINE") == 1
    assert server_of(mailbox).said(b"SELECT") == 0


def test_a_check_tells_that_the_account_may_not_delete(play: Play) -> None:
    mailbox = play(Script(MESSAGES, permanent_flags=rb"\Seen \*"))
    assert ["may not delete" in f.what for f in mailbox.check() if f.level == "problem"] == [
        True
    ]


@pytest.mark.parametrize(
    ("used", "level"),
    [
        pytest.param(0, "ok", id="empty"),
        pytest.param(74, "ok", id="under three quarters"),
        pytest.param(75, "warning", id="three quarters"),
        pytest.param(89, "warning", id="nearly nine tenths"),
        pytest.param(90, "problem", id="nine tenths"),
        pytest.param(120, "problem", id="over the limit"),
    ],
)
def test_a_check_tells_how_full_the_mailbox_is(play: Play, used: int, level: str) -> None:
    said = b'* QUOTAROOT INBOX ""\r\n* QUOTA "" (STORAGE %d 102400)\r\n' % (used * 1024)
    script = failing(GETQUOTAROOT=said + DONE)
    mailbox = play(replace(script, capabilities=b"IMAP4rev1 AUTH=PLAIN QUOTA"))
    (line,) = [f for f in mailbox.check() if f"{used} % of its quota of 100 MiB" in f.what]
    assert line.level == level
    assert bool(line.hint) == (level != "ok")


def test_a_check_ends_at_the_step_that_fails(play: Play) -> None:
    *_, last = play(greeting(Session.hang)).check()
    assert last.level == "problem"
    assert last.hint


@pytest.mark.parametrize(
    "key",
    ["SELECT", "SEARCH", "SIZES", "BODIES", "AUTHENTICATE", "STORE", "SHOWN", "FLAGS", "LAST",
     "GETQUOTAROOT", "EXPUNGE"],
)  # fmt: skip
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"TAG NO DUPONT Jeanne\r\n", id="NO"),
        pytest.param(b"TAG BAD DUPONT Jeanne\r\n", id="BAD"),
        pytest.param(b"* BYE DUPONT Jeanne\r\n", id="BYE"),
        pytest.param(b"DUPONT Jeanne\r\n", id="a stray line"),
        pytest.param(b"* 1 FETCH (UID 3 (DUPONT Jeanne\r\n" + DONE, id="bad grammar"),
        pytest.param(b"* SEARCH DUPONT Jeanne\r\n" + DONE, id="no numbers"),
    ],
)
def test_no_error_and_no_log_repeats_what_the_server_said(
    play: Play, caplog: pytest.LogCaptureFixture, key: str, answer: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    script = failing(**{key: then(answer, Session.end)})
    mailbox = play(replace(script, capabilities=script.capabilities + b" QUOTA"))
    told = ""
    try:
        read(mailbox, {})
        mailbox.add_keyword([3])
        told = f"{mailbox.newest()} {mailbox.quota()} {mailbox.shown([3])}"
        mailbox.remove([3])
    except (Unavailable, Refused) as error:
        told = f"{error!r} {error.hint}" + "".join(traceback.format_exception(error))
    assert not [word for word in ("DUPONT", "Jeanne") if word in told + caplog.text]


def test_no_log_repeats_a_message_or_a_password(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mailbox = play(Script(MESSAGES, capabilities=b"IMAP4rev1 IDLE"))
    fetched = read_in_the_end(mailbox)
    assert fetched == MESSAGES
    assert server_of(mailbox).said(b"secret") == 1
    assert not [w for w in ("DUPONT", "21048BC000020", "secret") if w in caplog.text]
    assert "DUPONT" not in repr(next(iter(mailbox.fetch([3]))))
