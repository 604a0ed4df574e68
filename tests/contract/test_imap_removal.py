"""Deleting over IMAP: exactly what is named, whatever the server does (I17, I26, I27)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.core.message import message_id_digest
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, Limits
from dispatcher.errors import Refused, Unavailable
from dispatcher.ports import Quota, Shown
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.scripted import (
    Answer,
    Script,
    ScriptedServer,
    Session,
    in_turn,
    literal,
    then,
)

# Long enough for a busy machine: only a server that hangs on purpose meets them.
PATIENT = Limits(connect=20, command=20, silence=20, fetch=20, done=20, farewell=1)
SHORT = replace(PATIENT, command=0.6, silence=0.4, fetch=1.0)
MESSAGES = {
    3: b"Message-ID: <three@example.test>\r\n\r\nbody\r\n",
    5: b"Message-ID: <five@example.test>\r\n\r\nbody\r\n",
    8: b"Message-ID: <eight@example.test>\r\n\r\nbody\r\n",
}
AT = datetime(2021, 3, 1, 8, 0, tzinfo=UTC)
DONE = b"TAG OK done\r\n"


@contextmanager
def playing(
    *scripts: Script, limits: Limits = PATIENT
) -> Iterator[tuple[ImapMailbox, ScriptedServer]]:
    with ScriptedServer(*scripts) as server:
        account = Account(
            name="lbm", host=server.host, port=server.port, username="u",
            security="plaintext", password=lambda: "secret",
        )  # fmt: skip
        with closing(ImapMailbox(account, SystemClock(), limits)) as mailbox:
            yield mailbox, server


def script(**answers: Answer) -> Script:
    return Script(MESSAGES, answers)


def changing(server: ScriptedServer) -> list[bytes]:
    """Return the commands by which a client changed something, without their tags."""
    words = (b"STORE", b"EXPUNGE", b"COPY", b"MOVE", b"CLOSE", b"APPEND")
    bare = [line.partition(b" ")[2] for line in server.lines]
    return [line for line in bare if any(word in line for word in words)]


def opened(dovecot: Dovecot, bal: Bal) -> ImapMailbox:
    account = Account(
        name="lbm", host="localhost", port=dovecot.imap_port, username=bal.user,
        security="plaintext", password=lambda: bal.password,
    )  # fmt: skip
    mailbox = ImapMailbox(account, SystemClock(), PATIENT)
    mailbox.select()
    return mailbox


# --- what is sent


def test_only_the_named_uids_are_marked_and_expunged() -> None:
    with playing(script()) as (mailbox, server):
        mailbox.select()
        assert mailbox.remove([8, 3]) == {3, 8}
        assert changing(server) == [
            rb"UID STORE 3,8 +FLAGS.SILENT (\Deleted)",
            b"UID EXPUNGE 3,8",
        ]
        assert mailbox.uids() == (5,)


def test_no_uid_is_no_command() -> None:
    with playing(script()) as (mailbox, server):
        mailbox.select()
        before = len(server.lines)
        assert mailbox.remove([]) == frozenset()
        assert len(server.lines) == before


@pytest.mark.parametrize(
    "poor",
    [
        pytest.param(Script(MESSAGES, capabilities=b"IMAP4rev1 AUTH=PLAIN"), id="no UIDPLUS"),
        pytest.param(Script(MESSAGES, permanent_flags=rb"\Seen \*"), id=r"keeps no \Deleted"),
        pytest.param(
            script(SELECT=b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\nTAG OK [READ-ONLY] open\r\n"),
            id="I18: read-only",
        ),
    ],
)
def test_where_single_messages_cannot_be_deleted_nothing_is_marked(poor: Script) -> None:
    with playing(poor) as (mailbox, server):
        mailbox.select()
        assert not mailbox.removes()
        with pytest.raises(Refused) as refusal:
            mailbox.remove([3])
        assert refusal.value.hint
        assert changing(server) == []
        assert mailbox.uids() == (3, 5, 8), "the session goes on"


def test_a_server_that_tells_no_permanent_flags_keeps_them_all() -> None:
    with playing(Script(MESSAGES, permanent_flags=b"")) as (mailbox, _):
        mailbox.select()
        assert mailbox.removes()


@pytest.mark.parametrize("closing_it", [Session.reset, Session.end], ids=["RST", "FIN"])
def test_nothing_is_removed_in_another_session_than_the_selected_one(
    closing_it: Callable[[Session], None],
) -> None:
    with playing(script(SHOWN=closing_it), script()) as (mailbox, server):
        mailbox.select()
        with pytest.raises(Unavailable):
            mailbox.shown([3])
        with pytest.raises(Unavailable):
            mailbox.remove([3])
        assert (changing(server), len(server.sessions)) == ([], 1)


def test_many_uids_go_in_commands_of_a_hundred() -> None:
    messages = dict.fromkeys(range(1, 500, 2), b"\r\n")
    with playing(Script(messages)) as (mailbox, server):
        mailbox.select()
        assert mailbox.remove([*messages]) == frozenset(messages)
        assert len([line for line in changing(server) if b"EXPUNGE" in line]) == 3
        assert max(map(len, server.lines)) < 8_000


# --- servers that fail


def marked(of: Script) -> set[int]:
    return of.kept.deleted - of.kept.gone


def late(session: Session) -> None:
    """Say that it is done, and do nothing."""
    session.send(DONE)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"EXPUNGE": b"TAG NO [NOPERM] not you\r\n"}, id="EXPUNGE answered NO"),
        pytest.param({"STORE": b"TAG NO [NOPERM] not you\r\n"}, id="STORE answered NO"),
    ],
)
def test_a_server_that_says_no_leaves_no_mark_of_ours(answers: Mapping[str, Answer]) -> None:
    refusing = Script(MESSAGES, answers)
    with playing(refusing) as (mailbox, server):
        mailbox.select()
        with pytest.raises(Unavailable, match="NOPERM"):
            mailbox.remove([3, 5])
        assert marked(refusing) == set()
        assert (b"UID EXPUNGE 3,5" in changing(server)) == ("EXPUNGE" in answers)


def test_an_expunge_without_effect_is_told_and_the_marks_are_taken_back() -> None:
    idle = script(EXPUNGE=late)
    with playing(idle) as (mailbox, server):
        mailbox.select()
        assert mailbox.remove([3, 8]) == frozenset()
        assert marked(idle) == set()
        assert changing(server)[-1] == rb"UID STORE 3,8 -FLAGS.SILENT (\Deleted)"


def test_a_mark_that_somebody_else_set_is_not_taken_back() -> None:
    idle = script(EXPUNGE=b"TAG NO later\r\n")
    idle.kept.deleted.add(5)
    with playing(idle) as (mailbox, _):
        mailbox.select()
        with pytest.raises(Unavailable):
            mailbox.remove([3, 5])
        assert marked(idle) == {5}


def test_what_is_expunged_in_part_counts_in_part() -> None:
    def partly(session: Session) -> None:
        session.send(session.expunge({3}).replace(b"OK done", b"NO enough"))

    half = script(EXPUNGE=partly)
    with playing(half) as (mailbox, _):
        mailbox.select()
        assert mailbox.remove([3, 5]) == {3}
        assert marked(half) == set()


def test_what_went_before_a_later_group_failed_counts() -> None:
    messages = dict.fromkeys(range(1, 251), b"\r\n")

    def well(session: Session) -> None:
        session.send(session.expunge(session.asked()))

    torn = Script(messages, {"EXPUNGE": in_turn(well, Session.reset)})
    with playing(torn) as (mailbox, _):
        mailbox.select()
        assert mailbox.remove([*messages]) == frozenset(range(1, 101))
        with pytest.raises(Unavailable):
            mailbox.remove([101])
        mailbox.select()
        assert mailbox.uids() == tuple(range(101, 251))


@pytest.mark.parametrize("key", ["FLAGS", "STORE", "EXPUNGE", "SEARCH", "SHOWN"])
@pytest.mark.parametrize(
    "way", [Session.reset, Session.hang, b"* BYE over\r\n"], ids=["cut", "silent", "BYE"]
)
def test_a_connection_lost_at_any_command_removes_nothing_else_and_ends_well_next_time(
    key: str, way: Answer
) -> None:
    first = script(**{key: then(way, Session.end) if isinstance(way, bytes) else way})
    second = Script(MESSAGES, kept=first.kept)
    with playing(first, second, limits=SHORT) as (mailbox, server):
        mailbox.select()
        with pytest.raises(Unavailable):
            mailbox.remove([*mailbox.shown([3])])
        assert first.kept.gone <= {3}
        assert marked(first) <= {3}
        mailbox.select()
        assert mailbox.remove([3]) == {3}
        assert mailbox.uids() == (5, 8)
        assert not [line for line in changing(server) if b"5" in line or b"8" in line]


def test_a_done_that_was_cut_before_its_answer_is_found_done() -> None:
    def then_cut(session: Session) -> None:
        session.expunge(session.asked())
        session.reset()

    first = script(EXPUNGE=then_cut)
    with playing(first, Script(MESSAGES, kept=first.kept)) as (mailbox, _):
        mailbox.select()
        with pytest.raises(Unavailable):
            mailbox.remove([3])
        mailbox.select()
        assert mailbox.shown([3]) == {}
        assert mailbox.remove([3]) == {3}


# --- servers that lie


def rows(*said: bytes) -> bytes:
    return b"".join(b"* %d FETCH (%s)\r\n" % (n, one) for n, one in enumerate(said, 1)) + DONE


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(rows(rb"UID 5 FLAGS (\Deleted)"), id="speaks of another uid"),
        pytest.param(rows(b"UID 3 FLAGS ()", b"UID 5 FLAGS ()"), id="tells more than asked"),
        pytest.param(DONE, id="tells nothing"),
        pytest.param(rows(b"UID 3 FLAGS ()", rb"UID 3 FLAGS (\Deleted)"), id="tells both"),
    ],
)
def test_a_server_that_lies_about_flags_loses_no_other_message(answer: bytes) -> None:
    lying = script(FLAGS=answer)
    with playing(lying) as (mailbox, server):
        mailbox.select()
        mailbox.remove([3])
        assert lying.kept.gone == {3}
        assert not [line for line in changing(server) if b"5" in line or b"8" in line]


@pytest.mark.parametrize(
    ("search", "flags"),
    [
        pytest.param(b"* SEARCH 3\r\n" + DONE, DONE, id="still listed"),
        pytest.param(b"* SEARCH\r\n" + DONE, rows(b"UID 3 FLAGS ()"), id="still shown"),
        pytest.param(DONE, DONE, id="no list at all"),
        pytest.param(b"TAG NO not now\r\n", DONE, id="the list refused"),
    ],
)
def test_what_may_be_there_yet_is_not_told_as_gone(search: bytes, flags: bytes) -> None:
    with playing(script(SEARCH=search, FLAGS=flags, EXPUNGE=late)) as (mailbox, _):
        mailbox.select()
        assert mailbox.remove([3]) == frozenset()


def test_a_list_that_names_other_messages_removes_none_of_them() -> None:
    lying = script(SEARCH=b"* SEARCH 3 5 8\r\n" + DONE)
    with playing(lying) as (mailbox, _):
        mailbox.select()
        assert mailbox.remove([3]) == frozenset()
        assert lying.kept.gone == {3}
        assert lying.kept.deleted == {3}


def test_expunges_that_nobody_asked_for_are_not_taken_for_ours() -> None:
    idle = script(EXPUNGE=b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n" + DONE)
    with playing(idle) as (mailbox, _):
        mailbox.select()
        assert mailbox.remove([3, 5]) == frozenset()


# --- what is shown


def shown_row(uid: int, field: bytes, size: bytes = b"RFC822.SIZE 9") -> bytes:
    dated = b'INTERNALDATE "01-Mar-2021 09:00:00 +0100"'
    return b"UID %d %s %s %s" % (uid, size, dated, field)


FIELD = b"BODY[HEADER.FIELDS (MESSAGE-ID)] "
ID = b"Message-ID: <a@b>\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "digest"),
    [
        pytest.param(FIELD + literal(ID), message_id_digest(ID), id="as everybody"),
        pytest.param(
            b'BODY[HEADER.FIELDS ("Message-ID")] ' + literal(ID), message_id_digest(ID),
            id="the name quoted",
        ),
        pytest.param(FIELD + literal(b"\r\n"), None, id="an empty line"),
        pytest.param(FIELD + b'""', None, id="empty"),
        pytest.param(FIELD + b"NIL", None, id="NIL"),
    ],
)  # fmt: skip
def test_a_message_id_is_read_in_every_form(said: bytes, digest: str | None) -> None:
    with playing(script(SHOWN=rows(shown_row(3, said)))) as (mailbox, _):
        mailbox.select()
        assert mailbox.shown([3]) == {3: Shown(9, AT, digest)}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(rows(shown_row(5, FIELD + literal(ID))), id="another uid"),
        pytest.param(rows(b"UID 3 RFC822.SIZE 9 FLAGS ()"), id="flags unasked, no header"),
        pytest.param(rows(shown_row(3, FIELD + literal(ID), b"")), id="no size"),
        pytest.param(rows(b"UID 3 RFC822.SIZE 9 " + FIELD + literal(ID)), id="no date"),
        pytest.param(rows(shown_row(3, FIELD + b"12")), id="a header that is none"),
        pytest.param(
            rows(
                shown_row(3, FIELD + literal(ID)),
                shown_row(3, FIELD + literal(ID), b"RFC822.SIZE 8"),
            ),
            id="two sizes",
        ),
        pytest.param(
            rows(
                shown_row(3, FIELD + literal(ID)),
                shown_row(3, FIELD + literal(ID.replace(b"a@", b"c@"))),
            ),
            id="two headers",
        ),
        pytest.param(DONE, id="nothing"),
    ],
)
def test_what_is_not_shown_whole_and_once_is_not_shown(answer: bytes) -> None:
    with playing(script(SHOWN=answer)) as (mailbox, _):
        mailbox.select()
        assert mailbox.shown([3]) == {}


def test_a_field_without_end_stops_no_other_message() -> None:
    huge = b"* 1 FETCH (UID 5 RFC822.SIZE 9 %s{99999999}\r\n" % FIELD
    with playing(script(SHOWN=huge), script()) as (mailbox, _):
        mailbox.select()
        with pytest.raises(Unavailable, match="limit"):
            mailbox.shown([3, 5])
        mailbox.select()
        assert set(mailbox.shown([3, 5, 8])) == {3, 8}


# --- the newest date and the quota


@pytest.mark.parametrize(
    ("answer", "newest"),
    [
        pytest.param(DONE, None, id="nothing is told"),
        pytest.param(
            rows(b'UID 3 RFC822.SIZE 9 INTERNALDATE "broken"', b"UID 5 RFC822.SIZE 9"),
            None,
            id="broken",
        ),
        pytest.param(
            rows(
                b'UID 3 RFC822.SIZE 9 INTERNALDATE "broken"',
                b'UID 5 RFC822.SIZE 9 INTERNALDATE "01-Mar-2021 09:00:00 +0100"',
            ),
            AT,
            id="one is broken",
        ),
    ],
)
def test_a_date_that_cannot_be_read_is_none(answer: bytes, newest: datetime | None) -> None:
    with playing(script(SIZES=answer)) as (mailbox, _):
        mailbox.select()
        assert mailbox.newest() == newest


def test_an_empty_mailbox_is_not_asked_for_dates() -> None:
    with playing(Script({})) as (mailbox, server):
        mailbox.select()
        assert mailbox.newest() is None
        assert server.said(b"INTERNALDATE") == 0


@pytest.mark.parametrize(
    ("said", "quota"),
    [
        pytest.param(b'* QUOTA "" (STORAGE 9 10)\r\n', Quota(9 * 1024, 10 * 1024), id="one"),
        pytest.param(
            b'* QUOTA "a" (STORAGE 1 10)\r\n* QUOTA "b" (MESSAGE 5 9 STORAGE 8 10)\r\n',
            Quota(8 * 1024, 10 * 1024),
            id="the fullest of two",
        ),
        pytest.param(b'* QUOTA "" (MESSAGE 1 10)\r\n', None, id="of messages only"),
        pytest.param(b'* QUOTA "" (STORAGE 9 0)\r\n', None, id="no limit"),
        pytest.param(b"", None, id="no root"),
    ],
)
def test_the_quota_is_told_in_bytes(said: bytes, quota: Quota | None) -> None:
    told = script(GETQUOTAROOT=b'* QUOTAROOT INBOX ""\r\n' + said + DONE)
    offering = replace(told, capabilities=told.capabilities + b" QUOTA")
    with playing(offering) as (mailbox, _):
        mailbox.select()
        assert mailbox.quota() == quota


def test_a_server_without_quotas_is_not_asked() -> None:
    with playing(script()) as (mailbox, server):
        mailbox.select()
        assert mailbox.quota() is None
        assert server.said(b"QUOTA") == 0


@pytest.mark.parametrize(
    ("code", "raises"), [(b"", False), (b"[UNAVAILABLE] ", True)], ids=["for good", "for now"]
)
def test_a_quota_refused_is_none_unless_it_is_refused_for_now(
    code: bytes, *, raises: bool
) -> None:
    refusing = script(GETQUOTAROOT=b"TAG NO " + code + b"no\r\n")
    offering = replace(refusing, capabilities=refusing.capabilities + b" QUOTA")
    with playing(offering) as (mailbox, _):
        mailbox.select()
        if raises:
            with pytest.raises(Unavailable, match="UNAVAILABLE"):
                mailbox.quota()
        else:
            assert mailbox.quota() is None


# --- on a real server


def test_a_real_server_tells_its_quota(dovecot: Dovecot, bal: Bal) -> None:
    with closing(opened(dovecot, bal)) as mailbox:
        before = mailbox.quota()
        assert before is not None
        assert before.limit == 200 * 1024 * 1024
        bal.append(b"\r\n" + b"x" * 500_000)
        mailbox.select()
        after = mailbox.quota()
        assert after is not None
        assert after.used > before.used


def test_another_client_that_expunges_meanwhile_disturbs_nothing(
    dovecot: Dovecot, bal: Bal
) -> None:
    """Both delete at once, each its own; what neither named stays."""
    uids = bal.append_all([b"Subject: %d\r\n\r\n" % n for n in range(60)])
    mine, theirs, kept = uids[0::3], uids[1::3], uids[2::3]
    with closing(opened(dovecot, bal)) as mailbox:
        other = threading.Thread(target=lambda: [*map(bal.remove, theirs)])
        other.start()
        gone = [uid for uid in mine for uid in mailbox.remove([uid])]
        other.join()
    assert gone == mine
    assert list(bal.messages()) == kept


def test_uids_of_an_earlier_uidvalidity_meet_nothing_in_the_session_that_knew_them(
    dovecot: Dovecot, bal: Bal
) -> None:
    uids = bal.append_all([b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\n"])
    with closing(opened(dovecot, bal)) as mailbox:
        bal.renumber()
        # Dovecot may break off a session whose mailbox was renumbered.
        with suppress(Unavailable):
            mailbox.remove(uids)
    assert len(bal.messages()) == 2


def test_kicked_off_before_the_removal_nothing_is_marked(dovecot: Dovecot, bal: Bal) -> None:
    uid = bal.append(b"Subject: one\r\n\r\n")
    with closing(opened(dovecot, bal)) as mailbox:
        dovecot.kick(bal)
        with pytest.raises(Unavailable):
            mailbox.remove([uid])
    assert bal.flags() == {uid: frozenset()}


CORPUS = {
    path.parent.name: path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "corpus").glob("*/message.eml"))
    if path.stat().st_size
}
ODD = {
    "a carriage return alone": b"Subject: a\rMessage-ID: <x@y>\r\n\r\nbody",
    "a blank before the colon": b"Message-ID : <x@y>\r\n\r\nbody",
    "folded": b"Subject: a\r\nMessage-ID:\r\n\t<x@y>\r\n\r\nbody",
    "empty": b"Message-ID:\r\n\r\nbody",
    "two": b"Message-ID: a\r\nTo: b\r\nmessage-id: b\r\n\r\nbody",
    "in the body": b"Subject: a\r\n\r\nMessage-ID: <x@y>\r\n",
    "after a line that is no field": b"From a: x\r\nno field\r\nMessage-ID: <q@a>\r\n\r\n",
    "with a NUL": b"Message-ID: a\0b\r\n\r\nbody",
    "in a header without end": b"Subject: a\r\nMessage-ID: <x@y>",
    "very long": b"Message-ID: <" + b"x" * 20_000 + b"@y>\r\n\r\nbody",
    "with line feeds only": b"Subject: a\nMessage-ID: <x@y>\n\nbody",
}


def test_a_real_server_shows_the_message_id_of_the_whole_message(
    dovecot: Dovecot, bal: Bal
) -> None:
    """Over the whole corpus: the field alone gives the digest of the message it gives."""
    sent = CORPUS | ODD
    uids = dict(zip(bal.append_all([*sent.values()]), sent, strict=True))
    with closing(opened(dovecot, bal)) as mailbox:
        shown = mailbox.shown([*uids])
        fetched = {uids[one.uid]: one.raw for one in mailbox.fetch([*uids])}
    told = {uids[uid]: one.message_id for uid, one in shown.items()}
    assert set(told) == set(sent)
    assert told == {name: message_id_digest(raw) for name, raw in fetched.items()}
    # Where the server kept the lines as they came, it is the digest of what was sent too.
    same = [
        name
        for name in sent
        if fetched[name] == sent[name].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    ]
    assert {n: told[n] for n in same} == {n: message_id_digest(sent[n]) for n in same}
    assert len(same) > 200
    assert (told["empty"] is None, told["in the body"]) == (False, None)
