"""A purge against real IMAP: a mailbox that is renumbered under it, a server that lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from dispatcher.core.ledger import State
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.imap import Account, ImapMailbox, Limits
from dispatcher.errors import DispatcherError, Unavailable
from dispatcher.service.round import Round
from dispatcher.simulator.scenario import Sending
from tests.fakes.office import Office, certificates
from tests.servers.dovecot import Bal
from tests.servers.scripted import Answer, Script, ScriptedServer, Session, literal, then

PATIENT = Limits(connect=20, command=20, silence=20, fetch=20, done=20, farewell=1)
FOREIGN = tuple(
    b"From: someone@example.test\r\nMessage-ID: <%d@example.test>\r\n\r\nhello\r\n" % number
    for number in range(4)
)


@cache
def negatives() -> tuple[Sending, ...]:
    return tuple(_with("negatif")[:3])


@cache
def positive() -> Sending:
    return _with("positif")[0]


def _with(result: str) -> list[Sending]:
    return [one for one in certificates(5, 300) if one.truth.result == result]


def mailbox_at(host: str, port: int, user: str, password: str) -> ImapMailbox:
    account = Account(
        name="lbm", host=host, port=port, username=user, security="plaintext",
        password=lambda: password, keyword=None,
    )  # fmt: skip
    return ImapMailbox(account, SystemClock(), PATIENT)


def turn_and_purge(office: Office, work: Round) -> None:
    """Do as the service does; a server that breaks off is met again in the next turn."""
    with suppress(Unavailable):
        work.turn(impatient=True)
        work.purge()
    office.clock.go(timedelta(minutes=20))


def assert_all_gone(office: Office, kept: Sequence[Sending]) -> None:
    """Check that of what was due nothing lies on any site, and that the books are closed."""
    states = sorted(entry.state.value for entry in office.ledger.entries())
    assert set(states) <= {"purged", "delivered"}
    assert states.count("delivered") == len(kept)
    lying = [name for site, target in office.destinations
             for name, _ in office.at(str(site), target).documents]  # fmt: skip
    assert lying == [one.truth.file_name for one in kept]
    assert office.ledger.balance().difference == 0
    assert office.ledger.flaws() == ()


# --- a mailbox that is numbered anew in the midst of a purge, on a real Dovecot


class Interrupted:
    """Lets something happen on the server just before or after one command of a purge."""

    def __init__(self, inner: ImapMailbox) -> None:
        self._inner = inner
        self.command = ""
        self.before: Callable[[], None] | None = None
        self.after: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._around(found) if name == self.command else found

    def _around(self, found: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._once("before")
            answer = found(*args, **kwargs)
            self._once("after")
            return answer

        return call

    def _once(self, moment: str) -> None:
        happens = getattr(self, moment)
        setattr(self, moment, None)
        if happens is not None:
            happens()


@pytest.fixture
def renumbered(bal: Bal) -> Iterator[tuple[Office, Interrupted, Bal]]:
    """Yield an office whose certificates lie in an account of a real server."""
    office = Office()
    raws = [*(one.raw for one in negatives()), positive().raw]
    bal.append_all(raws, internal_at=office.clock.now())
    inner = mailbox_at("localhost", bal.server.imap_port, bal.user, bal.password)
    with closing(inner):
        yield office, Interrupted(inner), bal


@pytest.mark.parametrize(
    ("moment", "command"),
    [
        pytest.param("before", "newest", id="before the brakes look"),
        pytest.param("before", "shown", id="before the mails are compared"),
        pytest.param("after", "shown", id="between comparing and intent"),
        pytest.param("before", "remove", id="between intent and deletion"),
        pytest.param("after", "remove", id="after the deletion"),
    ],
)
def test_a_uidvalidity_that_changes_in_a_purge_deletes_nothing_wrong_and_all_in_the_end(
    renumbered: tuple[Office, Interrupted, Bal], moment: str, command: str
) -> None:
    """All lies there anew, other people's mail first. Dovecot gives no uid out twice."""
    office, mailbox, bal = renumbered
    work = office.round(mailbox)
    work.turn(impatient=True)
    work.purge()
    office.clock.go(timedelta(hours=72))
    work.turn()
    happened: list[int] = []

    def anew() -> None:
        before, there = bal.uidvalidity(), bal.messages()
        if there:
            bal.remove(*there)
        validity = ("--uid-validity", str(before + 1))
        bal.server.doveadm("mailbox", "update", *validity, "-u", bal.user, "INBOX")
        raws = [*FOREIGN, *there.values()]
        happened.extend(bal.append_all(raws, internal_at=office.clock.now()))
        assert bal.uidvalidity() != before
        bal.set_flags(happened[1], "\\Deleted")

    mailbox.command = command
    setattr(mailbox, moment, anew)
    with suppress(Unavailable):
        work.purge()
    assert list(bal.messages()) == happened, "nothing of the new numbers went"
    assert len(happened) > len(FOREIGN)
    for _ in range(3):
        turn_and_purge(office, work)
    assert [*bal.messages().values()] == [*FOREIGN, positive().raw]
    assert [bal.flags()[uid] for uid in happened[:4]] == [set(), {"\\Deleted"}, set(), set()]
    assert_all_gone(office, [positive()])


# --- a server that lies

DUE, NOT_DUE, THEIRS = (3, 5), 8, (9, 11)
ARRIVED = datetime(2021, 3, 1, 8, 0, tzinfo=UTC)
DATED = b'INTERNALDATE "01-Mar-2021 09:00:00 +0100"'


def messages() -> dict[int, bytes]:
    raws = [*(one.raw for one in negatives()[:2]), positive().raw, *FOREIGN[:2]]
    return dict(zip([*DUE, NOT_DUE, *THEIRS], raws, strict=True))


def shown(*said: tuple[int, int, bytes]) -> Callable[[Session], None]:
    """Answer with these (uid, size, message with whose Message-ID), whatever was asked."""

    def answer(session: Session) -> None:
        rows = []
        for number, (uid, size, raw) in enumerate(said, 1):
            lines = [x for x in raw.split(b"\r\n") if x.lower().startswith(b"message-id:")]
            field = literal(b"".join(line + b"\r\n" for line in [*lines, b""]))
            name = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
            what = b"UID %d RFC822.SIZE %d %s %s %s" % (uid, size, DATED, name, field)
            rows.append(b"* %d FETCH (%s)\r\n" % (number, what))
        session.send(b"".join([*rows, b"TAG OK done\r\n"]))

    return answer


def _true(uid: int) -> tuple[int, int, bytes]:
    raw = messages()[uid]
    return uid, len(raw), raw


def _another(uid: int, other: int) -> tuple[int, int, bytes]:
    return uid, len(messages()[uid]), messages()[other]


def _listed(*uids: int) -> bytes:
    return b"* SEARCH %s\r\nTAG OK done\r\n" % b" ".join(b"%d" % uid for uid in uids)


def _sizes(*uids: int, size: int) -> bytes:
    rows = [
        b"* %d FETCH (UID %d RFC822.SIZE %d %s)\r\n" % (number, uid, size, DATED)
        for number, uid in enumerate(uids, 1)
    ]
    return b"".join([*rows, b"TAG OK done\r\n"])


_EMPTY = b"TAG OK done\r\n"
# A lie about a mail itself, and of which mails the truth is told all the same.
_OF_A_MAIL: dict[str, tuple[Answer, set[int]]] = {
    "the Message-IDs of two mails exchanged": (shown(_another(3, 5), _another(5, 3)), set()),
    "a foreign mail's Message-ID": (shown(_another(3, 9), _true(5)), {5}),
    "another size": (shown((3, 1, messages()[3]), _true(5)), {5}),
    "foreign uids in the place of ours": (shown(_true(9), _true(11)), set()),
    "one uid twice, and otherwise": (shown(_true(3), _another(3, 9), _true(5)), {5}),
    "no mail at all": (_EMPTY, set()),
}
# A lie about the mailbox: the mails that are to go are shown as they are.
_OF_THE_MAILBOX: dict[str, dict[str, Answer]] = {
    "foreign uids only": {"SEARCH": _listed(*THEIRS)},
    "every uid of the world": {"SEARCH": _listed(*range(1, 60))},
    "an empty mailbox": {"SEARCH": _listed()},
    "no list": {"SEARCH": _EMPTY},
    "other sizes": {"SIZES": _sizes(*messages(), size=7)},
    "others' flags": {"FLAGS": b"* 1 FETCH (UID 9 FLAGS (\\Deleted))\r\n" + _EMPTY},
    "gone, and they are not": {
        "EXPUNGE": b"* 1 EXPUNGE\r\n" + _EMPTY, "FLAGS": _EMPTY, "SEARCH": _listed(),
    },
    "that others are gone": {
        "SHOWN": then(b"* 4 EXPUNGE\r\n* 1 EXISTS\r\n", shown(_true(3), _true(5))),
    },
}  # fmt: skip
LIES: list[Any] = [
    *(
        pytest.param({"SHOWN": said}, true, id=name)
        for name, (said, true) in _OF_A_MAIL.items()
    ),
    *(pytest.param(said, {*DUE}, id=name) for name, said in _OF_THE_MAILBOX.items()),
]


@pytest.mark.parametrize("within", [False, True], ids=["before the turn", "in the purge"])
@pytest.mark.parametrize(("lie", "may_go"), LIES)
def test_a_server_that_lies_loses_nothing_wrong_and_all_that_is_due_in_the_end(
    lie: dict[str, Answer], may_go: set[int], *, within: bool
) -> None:
    answers: dict[str, Answer] = {}
    script = Script(messages(), answers)
    office = Office()
    office.clock.at = office.ledger.born_at = ARRIVED
    with ScriptedServer(script) as server:
        mailbox = mailbox_at(server.host, server.port, "u", "secret")
        with closing(mailbox):
            work = office.round(mailbox)
            work.turn(impatient=True)
            work.purge()
            assert script.kept.gone == set()
            office.clock.go(timedelta(hours=72))
            if within:
                work.turn()
            answers.update(lie)
            with suppress(DispatcherError):
                if not within:
                    work.turn()
                work.purge()
            assert script.kept.gone <= may_go
            answers.clear()
            for _ in range(4):
                office.clock.go(timedelta(minutes=20))
                turn_and_purge(office, work)
        changed = [x for x in server.lines if b"STORE" in x or b"EXPUNGE" in x]
    assert script.kept.gone == set(DUE)
    assert script.kept.deleted == set(DUE)
    named = {int(uid) for x in changed for uid in x.split()[3].replace(b":", b",").split(b",")}
    assert named <= set(DUE), "no command named another's mail"
    assert_all_gone(office, [positive()])
    assert {e.state for e in office.ledger.entries()} == {State.PURGED, State.DELIVERED}
