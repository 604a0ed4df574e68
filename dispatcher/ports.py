"""What the service needs from the outside, as protocols. No implementation here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol

from dispatcher.core import delivery
from dispatcher.core.audit import Deed, Trace
from dispatcher.core.bordereau import Bordereau
from dispatcher.core.certificate import ContentKey, HoldReason, Inspection, Reading
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import (
    Act,
    Balance,
    DeliveryState,
    Entry,
    Event,
    Identity,
    NewDelivery,
    NewEntry,
    Place,
    Refusals,
    State,
)
from dispatcher.core.letter import Letter
from dispatcher.core.message import MessageRef
from dispatcher.core.report import Turnover
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import Change, Draft, Refusal, RulesState
from dispatcher.core.vitals import PlaceHealth, Room, Tally, Vitals
from dispatcher.errors import InDoubt, Refused, Unavailable


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`. `hint` says what to do; nothing in it names a patient."""

    level: Literal["ok", "warning", "problem"]
    what: str
    hint: str = ""


# --- the mailbox -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selected:
    """What the server said when the mailbox was selected (RFC 3501, 6.3.1)."""

    uidvalidity: int
    uidnext: int
    exists: int
    read_only: bool
    keeps_keyword: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message as the server sent it. `flags` are hints, `raw` is the truth."""

    uid: int
    raw: bytes = field(repr=False)
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows of one message, to be sure that it is the recorded one.

    `size` is RFC822.SIZE, `internal_at` INTERNALDATE, `message_id` the digest that
    `core.message.message_id_digest` makes of its header; None: it has no Message-ID.
    """

    size: int
    internal_at: datetime
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of the account's storage is used (RFC 9208, 5.1, STORAGE), in bytes."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that a login rests on and that ends: somebody must renew it before.

    `what` is "client certificate", "server certificate" or "token".
    """

    what: str
    ends_at: datetime


class Mailbox(Protocol):
    """One IMAP mailbox. Not shared between threads.

    A login that the server refuses is a LoginRefused, which must not be repeated often.
    Every method raises Unavailable (network, server; the connection is then dropped and
    the next `select` makes a new one) or Refused (login, TLS, a mailbox that does not
    exist). After `select`, uids mean those of the uidvalidity that it returned.
    """

    name: str

    def select(self, *, read_only: bool = False) -> Selected:
        """Log in when needed, select (or EXAMINE) the mailbox, return fresh counts."""
        ...

    def uids(self, first: int = 1) -> tuple[int, ...]:
        """Return the uids from `first` on, ascending."""
        ...

    def identities(self, uids: Sequence[int]) -> Mapping[int, Identity]:
        """Return size and internal date of those uids that the server shows."""
        ...

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched]:
        """Yield whole messages (BODY.PEEK[]) in commands bounded by bytes.

        A uid that the server lists but does not send is left out. A message larger than
        the limit is never asked for: see `too_large`. No flag of any message changes.
        """
        ...

    def too_large(self, uid: int) -> bool:
        """Return whether `fetch` leaves this uid out because it exceeds the size limit.

        True by its listed size, or because the server announced more than the limit when
        its body was asked for (RFC822.SIZE may lie). To be asked after `fetch`.
        """
        ...

    def headers(self, uid: int) -> bytes | None:
        """Return the header of a message too large to fetch, at most 1 MB; None: not sent."""
        ...

    def add_keyword(self, uids: Sequence[int]) -> None:
        """Add the settled keyword; does nothing where none is set or none is kept."""
        ...

    def shown(self, uids: Sequence[int]) -> Mapping[int, Shown]:
        """Return what the server shows of these uids, for certainty before a removal.

        What it leaves out, or tells in part or against itself, is left out.
        """
        ...

    def removes(self) -> bool:
        """Return whether `remove` can work: UIDPLUS, and a mailbox opened to write.

        To be asked after `select`; raises Unavailable before it.
        """
        ...

    def remove(self, uids: Sequence[int]) -> frozenset[int]:
        r"""Delete exactly these messages (RFC 4315, 2.1); return those surely not there now.

        Only our own uids are marked and expunged, in the very session that `select` opened:
        when that is gone it raises Unavailable before anything is marked. Raises Refused
        when `removes` is False: nothing was marked. No uids: nothing is sent.

        Where the server marks and does not expunge, the \Deleted marks that we set are
        taken back as far as possible. Unavailable in the midst of it leaves open which of
        them are gone: ask `uids` or `shown` after the next `select`.
        """
        ...

    def newest(self) -> datetime | None:
        """Return the newest internal date among the last few messages; None: there are none.

        None too when the server gives none of them a date that can be read.
        """
        ...

    def quota(self) -> Quota | None:
        """Return the fullest storage quota of the mailbox; None: the server tells none."""
        ...

    def endings(self) -> tuple[Ending, ...]:
        """Return what the last login rests on and when it ends. Any thread; asks nobody.

        Certificates are known once TLS stands, whatever becomes of the login. A token that
        lives for a day or less is none of them: each login has its own.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Return when mail may have come, when `wake` was called, or after `seconds`."""
        ...

    def wake(self) -> None:
        """Make a running or the next `wait` return at once. May be called by any thread."""
        ...

    def check(self) -> Iterable[Finding]:
        """Try the connection in order; return what IT should know. Changes nothing."""
        ...

    def close(self) -> None:
        """Log out when that is quick, and drop the connection. Never raises."""
        ...


# --- destinations ------------------------------------------------------------------------

Outcome = Receipt | Accepted | Unavailable | Refused | InDoubt


@dataclass(frozen=True, slots=True)
class Copy:
    """A delivered copy that is to go.

    `delivery` is the order's id, `reference` the receipt's, `sha256` that of the document
    that was written. Where no receipt is known, because nobody knows whether the order was
    carried out, `reference` is empty and `name` the document's: any copy that the order
    may have left is meant, and what else lies there is nobody's.
    """

    delivery: str
    reference: str
    sha256: str = field(repr=False)
    name: str = field(default="", repr=False)


Removal = delivery.Removal


class Destination(Protocol):
    """A place that documents of one site and target are delivered to."""

    def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """Deliver each order; return one outcome each, in their order.

        A receipt means durable. The same order twice leaves one document. An error is
        returned, not raised, so that one bad order does not hide what became of others.
        """
        ...

    def find(self, order: Order) -> Receipt | Accepted | None:
        """Return the receipt of a delivery already made, or None if it was not made.

        Accepted: it was taken and its end is to be followed.

        None is a proof, never a guess: it allows a second delivery. Raises Unavailable
        when the destination cannot be asked now, InDoubt when it cannot tell.
        """
        ...

    def follow(self, orders: Mapping[str, str]) -> Mapping[str, Outcome]:
        """Return what became of accepted orders: by order id, given their references.

        Accepted while it goes on, Receipt at its good end, Failed when the destination
        gave up by itself, Refused when a person ended it there, InDoubt when it vanished,
        Unavailable when it cannot be asked now. Needs no document. Only destinations that
        ever answer Accepted are asked.
        """
        ...

    def spool_left(self, references: Sequence[str], /) -> tuple[str, ...]:
        """Return those references whose work has ended and whose document is still kept.

        A copy that was delivered, such as a file in its folder, is no leftover. Raises
        Unavailable when the destination cannot be asked now.
        """
        ...

    def remove(self, copy: Copy) -> Removal:
        """Remove one delivered copy if it is still what was written there.

        Nothing else is ever removed. Raises Unavailable when the destination cannot be
        asked now or cannot promise that the removal lasts: ask again later, the answer is
        then that of that moment. Raises Refused when a person must act first.
        """
        ...

    def check(self) -> Iterable[Finding]:
        """Return what IT should know of this destination. Changes nothing."""
        ...

    def health(self) -> PlaceHealth:
        """Return how the place is now. Changes nothing, and asks for little.

        What keeps it from being asked is its trouble, in words: nothing is raised.
        """
        ...


# --- documents ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """A document to inspect. With `names` its text is asked for them: (last, first).

    `text_only`: it was found sound before, and only its text is looked into.
    """

    content: bytes = field(repr=False)
    names: tuple[str, str] | None = field(default=None, repr=False)
    text_only: bool = False


class Inspector(Protocol):
    """Looks into PDF files where a bad one can hurt only itself."""

    def inspect(self, questions: Iterable[Question]) -> tuple[Inspection, ...]:
        """Return one inspection each, in order. A poisonous file is its own finding.

        Each is begun as soon as it is given, so that the caller can read the next message
        meanwhile. What the iterable raises is raised when those begun have ended.

        Raises Unavailable only when no inspection can be made at all.
        """
        ...

    def close(self) -> None:
        """End the helpers. Never raises."""
        ...


# --- messages ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """What a message is. `inspection` is its document's, None unless it is a certificate.

    `raw_sha256` is a digest of all of it, `message_id` one of its Message-ID, if it has one.
    """

    reading: Reading
    raw_sha256: str
    message_id: str | None
    inspection: Inspection | None


@dataclass(frozen=True, slots=True)
class BroughtDown:
    """A message that brought its reader down. `because` says where, and nothing of it."""

    because: str


class MessageReader(Protocol):
    """Reads messages, and has their documents inspected."""

    def read(
        self, raws: Sequence[bytes], senders: frozenset[str], *, ask_names: bool
    ) -> tuple[ReadMessage | BroughtDown, ...]:
        """Return one answer each, in order. A poisonous message is its own finding.

        `senders` are the allowed addresses; see `certificate.read`. With `ask_names` the
        documents' texts are asked for their patients.

        Raises Unavailable only when nothing can be read at all.
        """
        ...

    def close(self) -> None:
        """End the helpers. Never raises."""
        ...


# --- paper -------------------------------------------------------------------------------


class Paper(Protocol):
    """Draws the pages that the program adds for the people at a desk, as PDF files on A4.

    The same arguments give the same bytes.
    """

    def bordereau(self, page: Bordereau) -> bytes:
        """Return the list of a site's day. It bears patients' names."""
        ...

    def separator(self, site_name: str, count: int) -> bytes:
        """Return a page to lay before a batch: the site's name and the count, no identity."""
        ...


# --- the rules ---------------------------------------------------------------------------


class RulesFile(Protocol):
    """routing.yaml on its disk, which people and programs change as they like."""

    def stamp(self) -> tuple[int, ...]:
        """Return what changes whenever the file does; empty: it is not there."""
        ...

    def draft(self) -> Draft | None:
        """Read the file once, to its end, and check it; None: it changed meanwhile."""
        ...


# --- the ledger --------------------------------------------------------------------------


class Writer(Protocol):
    """One transaction on the ledger. Raises InvariantBroken on a forbidden transition."""

    def recall(self, entry_ids: Iterable[str]) -> None:
        """Read messages that are about to be changed, all at once. Changes nothing."""
        ...

    def receive(self, new: NewEntry) -> Entry:
        """Record a message, give it and its deliveries random ids, count it as received."""
        ...

    def note_foreign(self, ref: MessageRef, identity: Identity) -> None:
        """Remember a uid as foreign mail, so that it is read once. Nothing else is kept."""
        ...

    def relocate(self, entry_id: str, ref: MessageRef, identity: Identity) -> None:
        """Record that a known message lies elsewhere now (new uid or uidvalidity)."""
        ...

    def absent(self, refs: Iterable[MessageRef]) -> None:
        """Record that what lay there (ours or foreign) is gone from the server."""
        ...

    def move(
        self,
        delivery_id: str,
        to: DeliveryState,
        *,
        because: str = "",
        reason: HoldReason | None = None,
        reference: str | None = None,
        next_try_at: datetime | None = None,
        rules: str | None = None,
    ) -> Entry:
        """Move one delivery and, with it, its message; return the message as it is now.

        To `delivering` counts one attempt. `reason` is for `held`; `rules` the digest of the
        rules by which it goes from now on.
        """
        ...

    def divert(self, delivery_id: str, to: NewDelivery, because: str) -> Entry:
        """Discard a delivery in favour of its fallback, added unless the message has it."""
        ...

    def hold(self, entry_id: str, reason: HoldReason, detail: str) -> Entry:
        """Hold a pending message as a whole; its unmade deliveries are held with it."""
        ...

    def release(
        self, entry_id: str, site: FinessET, deliveries: Sequence[NewDelivery]
    ) -> Entry:
        """Give a held message a site and deliveries that are to be made; it is pending.

        Deliveries already there and not made are discarded; those made stay.
        """
        ...

    def discard(self, entry_id: str) -> Entry:
        """End a held or pending message undelivered: expired, unmade deliveries discarded."""
        ...

    def accepted(self, delivery_id: str, reference: str, because: str) -> Entry:
        """Record the reference of a `delivering` delivery that its destination accepted.

        Again with the same reference it records only a new `because`.
        """
        ...

    def reprint(self, entry_id: str, target: str) -> Entry:
        """Add one more delivery of a delivered message to a target that has it already."""
        ...

    def ask(self, delivery_id: str) -> Entry:
        """Let a waiting delivery be made now, whatever the hour."""
        ...

    def plan(self, delivery_id: str, at: datetime | None) -> Entry:
        """Set when a `decided` delivery is to be tried next; None: at once."""
        ...

    def expect(self, entry_id: str, state: State) -> None:
        """Raise Refused unless the message is in this state now, inside the transaction."""
        ...

    def record(self, act: Act) -> None:
        """Append what a person decided about a message to the audit trail."""
        ...

    def opening(self, refs: Iterable[MessageRef]) -> None:
        """Count one more beginning of reading these messages (see `Ledger.openings`)."""
        ...

    def opened(self, refs: Iterable[MessageRef]) -> None:
        """Forget those beginnings: the messages were read to the end."""
        ...

    def keyword_set(self, refs: Iterable[MessageRef]) -> None:
        """Record that the server keeps our keyword on these messages."""
        ...

    def login_refused(self, mailbox: str) -> None:
        """Count one more login in a row that the server refused, now."""
        ...

    def login_accepted(self, mailbox: str) -> None:
        """Forget the refused logins of a mailbox."""
        ...

    def remember(self, place: Place) -> None:
        """Record a good check of a mailbox."""
        ...

    def trace(self, deed: Deed) -> None:
        """Append one line to the audit trail, bound to the line before it."""
        ...

    def trim_trail(self, before: datetime) -> int:
        """Delete the oldest lines of the trail, up to that time; return how many."""
        ...

    def note(self, name: str, value: str | None) -> None:
        """Remember a text under a name, for `Ledger.memo`; None: forget it."""
        ...

    def take_rules(self, change: Change, content: bytes) -> None:
        """Record a version of the rules and that it came into force, or was set aside.

        What came into force ends a refusal. Old versions that nothing refers to any more,
        and old lines, are forgotten beyond `core.rulebook.VERSIONS_KEPT` and `CHANGES_KEPT`.
        """
        ...

    def refuse_rules(self, refusal: Refusal | None) -> None:
        """Record that the file on disk is refused; None: it is what is in force."""
        ...

    def begin_purge(self, entry_ids: Iterable[str]) -> None:
        """Record the intent to delete the mails of these messages."""
        ...

    def mail_gone(self, entry_id: str, how: Removal) -> Entry:
        """Record that the mail of a message is gone for good."""
        ...

    def located(self, delivery_id: str, reference: str) -> Entry:
        """Record by which reference a copy is found that was delivered without one."""
        ...

    def copy_gone(self, delivery_id: str, how: Removal) -> Entry:
        """Record what became of a delivered copy."""
        ...

    def empty(self, entry_id: str) -> Entry:
        """Take out of a line what identifies, when mail and copies are gone."""
        ...

    def expire(self, entry_id: str) -> Entry:
        """End an undelivered message at its term, as far as it was not delivered."""
        ...

    def keep(self, entry_id: str, until: datetime | None) -> Entry:
        """Keep a message beyond its term; None: no longer."""
        ...

    def warned(self, entry_id: str, hours: int) -> None:
        """Record that somebody was warned so many hours before a message's term."""
        ...

    def set_term(self, entry_id: str, purge_at: datetime) -> None:
        """Set the term of a message anew, after a change of the settings."""
        ...

    def forget_keys(self, received_before: datetime) -> int:
        """Let emptied messages of that time find no duplicate any more; return how many."""
        ...

    def did(self, errand: str, at: datetime) -> None:
        """Record that a recurring piece of work was done, for `Ledger.last_did`."""
        ...


@dataclass(frozen=True, slots=True)
class Alike:
    """What the ledger has that resembles a batch; what it has nothing of is left out.

    `same_raw` has the messages with exactly these bytes, `same_content` those that brought
    this content (an emptied one while it is known by its keyed digest), the first received
    first; `latest_of` the newest message of a test that is no duplicate.
    """

    same_raw: Mapping[str, tuple[Entry, ...]]
    same_content: Mapping[ContentKey, tuple[Entry, ...]]
    latest_of: Mapping[tuple[FinessET, str], Entry]


class Ledger(Protocol):
    """The durable record of every SI-DEP message. Safe to share between threads.

    Every method raises Unavailable when the disk does not answer; nothing is then recorded.
    """

    @property
    def born_at(self) -> datetime:
        """When this ledger was made: older mail may have been dealt with by a lost one."""
        ...

    def writing(self) -> AbstractContextManager[Writer]:
        """Open a transaction: on disk when the block ends, undone when it raises."""
        ...

    def entry(self, entry_id: str) -> Entry | None:
        """Return one message."""
        ...

    def entries(
        self,
        *,
        state: State | None = None,
        site: FinessET | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Entry]:
        """Yield messages, oldest reception first; `kind`: with such a delivery."""
        ...

    def entries_at(self, refs: Iterable[MessageRef]) -> Mapping[MessageRef, Entry]:
        """Return the messages that are known to lie at these places."""
        ...

    def alike(self, raws: Sequence[str], keys: Sequence[ContentKey]) -> Alike:
        """Return what resembles messages with these bytes (SHA-256) and contents."""
        ...

    def unsettled(self, mailbox: str) -> tuple[Entry, ...]:
        """Return the messages with a delivery `delivering` or `in_doubt`."""
        ...

    def remarked(self, words: str) -> tuple[str, ...]:
        """Return the messages with a delivery whose `because` holds these words, by id."""
        ...

    def due(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """Return the messages with a `decided` delivery whose next try is not in the future."""
        ...

    def opening(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """Return the messages with a `waiting` delivery whose site has opened by now."""
        ...

    def next_due(self, mailbox: str) -> datetime | None:
        """Return when the next try or the next opening is; None: nothing is planned."""
        ...

    def history(self, entry_id: str) -> tuple[Event, ...]:
        """Return every change of a message and of its deliveries, the first first."""
        ...

    def acts(self, entry_id: str) -> tuple[Act, ...]:
        """Return what people decided about a message, the first first."""
        ...

    def place(self, mailbox: str) -> Place | None:
        """Return what is remembered of a mailbox."""
        ...

    def last_did(self, errand: str) -> datetime | None:
        """Return when a recurring piece of work was done last; None: never."""
        ...

    def refusals(self, mailbox: str) -> Refusals | None:
        """Return the logins refused in a row; None: the last one was accepted."""
        ...

    def known(self, mailbox: str, uidvalidity: int) -> Mapping[int, Identity]:
        """Return every uid known to lie there, ours and foreign."""
        ...

    def openings(self, mailbox: str, uidvalidity: int) -> Mapping[int, int]:
        """Return how many times reading began, for uids that were never read to the end."""
        ...

    def lacking_keyword(self, mailbox: str, uidvalidity: int) -> tuple[int, ...]:
        """Return the uids of settled messages whose keyword is not recorded yet."""
        ...

    def memo(self, name: str) -> str | None:
        """Return what is remembered under a name; None: nothing."""
        ...

    def memos(self, prefix: str) -> Mapping[str, str]:
        """Return what is remembered under names that begin so, by those names."""
        ...

    def rules_state(self) -> RulesState | None:
        """Return which rules are in force; None: none ever were."""
        ...

    def rules_history(self) -> tuple[Change, ...]:
        """Return the versions that came into force or were set aside, the first first."""
        ...

    def rules_content(self, digest: str) -> bytes | None:
        """Return a version of routing.yaml as it was; None: it is not kept."""
        ...

    def past_term(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """Return the messages whose term has come and whose line is not empty, oldest first."""
        ...

    def backlog(self, mailbox: str, now: datetime) -> tuple[int, datetime | None]:
        """Return how many messages `past_term` would, and the first of their terms.

        Costs nothing that grows with their number but the counting.
        """
        ...

    def undelivered(self, mailbox: str, until: datetime) -> tuple[Entry, ...]:
        """Return the pending and held messages whose term comes until then."""
        ...

    def lying(self, mailbox: str) -> int:
        """Return how many of our messages lie in the mailbox, as far as is known."""
        ...

    def vanished(self, mailbox: str) -> int:
        """Return how many messages lie nowhere though nobody recorded their removal."""
        ...

    def changed_copies(self) -> tuple[Entry, ...]:
        """Return the messages of which a copy was left on its site because it was changed."""
        ...

    def trail(self, since: datetime | None = None) -> Iterator[Trace]:
        """Yield the lines of the audit trail, the oldest first."""
        ...

    def trail_flaw(self) -> str | None:
        """Return where the audit trail is broken; None: it is whole."""
        ...

    def scour(self) -> bool:
        """Make sure that nothing deleted can be found in the ledger's files any more.

        Outside a transaction. False: somebody else reads or writes; try again later.
        """
        ...

    def balance(self) -> Balance:
        """Return the counts; `received` is counted apart from the states: they can differ."""
        ...

    def arrivals(self, since: datetime) -> Mapping[FinessET, Mapping[date, int]]:
        """Return how many messages of each site were received on each day in Paris."""
        ...

    def turnover(self, since: datetime, until: datetime) -> tuple[Turnover, ...]:
        """Return what came to which state from `since` until before `until`, counted.

        A message or a delivery that came to a state twice counts once.
        """
        ...

    def room(self) -> Room | None:
        """Return how full the disk below the ledger is; None: it lies on none."""
        ...

    def tallies(self) -> tuple[Tally, ...]:
        """Return how many deliveries stand where, by site and target; counted, not listed."""
        ...

    def flaws(self) -> tuple[str, ...]:
        """Check the ledger against itself; return one sentence for each flaw, with ids only."""
        ...


# --- telling people ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """What the mail server answered, and the recipients that it did not take."""

    answer: str
    refused: tuple[str, ...] = ()


class Alerts(Protocol):
    """The way to the people who are told. Safe to share between threads."""

    def send(self, letter: Letter) -> Sent:
        """Send one mail to every recipient, within a deadline.

        Returns when the server has taken it for one recipient at least. Raises Unavailable
        (nothing was sent, try later), Refused (nothing was sent, and a person must act) or
        InDoubt (the server may have it: sending the same letter again makes no second
        message, for it bears the same Message-ID).
        """
        ...


class Beacon(Protocol):
    """A dead man's switch elsewhere, which warns people when it is not called any more."""

    def call(self) -> None:
        """Call it, within seconds. Raises Unavailable when it does not take the call."""
        ...


class Shelf(Protocol):
    """A folder of files for people that bear no patient's name."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole, over an older one of that name. Raises Unavailable."""
        ...


# --- time --------------------------------------------------------------------------------


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...


# --- what is shown to a monitoring system ----------------------------------------------------


class Meter(Protocol):
    """Counts what happens, for a monitoring system. No call raises, and none waits."""

    def ended(
        self, site: FinessET, target: str, kind: Kind, *, outcome: str, seconds: float
    ) -> None:
        """Count one attempt at a delivery that has ended, once that is on disk.

        `outcome` is one of `dispatcher.service.outcomes`, `seconds` the time since the
        message arrived.
        """
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """What a monitoring system is shown, as it was at `vitals.at`. It names no patient.

    `endings` is by mailbox. `failing` are the mailboxes whose checks fail, and since when.
    `unwritable_since` is when the ledger was last seen to take nothing; None: it takes.
    """

    vitals: Vitals
    rules: RulesState
    endings: Mapping[str, tuple[Ending, ...]] = field(default_factory=dict)
    failing: Mapping[str, datetime] = field(default_factory=dict)
    unwritable_since: datetime | None = None


class Health(Protocol):
    """Answers how the service is, from memory: no call waits for the work or the ledger."""

    def figures(self) -> Figures | None:
        """Return the last figures; None: there were none yet."""
        ...

    def dead(self) -> tuple[str, ...]:
        """Return why the service does not live, as its watchdog sees it; empty: it does."""
        ...

    def unready(self) -> tuple[str, ...]:
        """Return why certificates do not flow; empty: they do. Nothing names a patient."""
        ...


class Door(Protocol):
    """Where a monitoring system asks."""

    def open(self) -> None:
        """Begin to answer, in threads of its own. Raises Unavailable when it cannot listen."""
        ...

    def close(self) -> None:
        """Answer no more. Never raises."""
        ...


# --- who watches over the service ----------------------------------------------------------


class Supervisor(Protocol):
    """The service manager that started the program and restarts it when it is stuck.

    `patience` is how many seconds it waits for the next `alive`; None: it does not watch.
    No call raises, and none takes more than a few seconds.
    """

    patience: float | None

    def ready(self, status: str) -> None:
        """Say that the service works: after its start, and after `reloading`."""
        ...

    def reloading(self, now: float) -> None:
        """Say that the rules are taken anew, `now` on the monotonic clock."""
        ...

    def status(self, text: str) -> None:
        """Say in one line how it goes. It names no patient."""
        ...

    def alive(self) -> None:
        """Say that every part of the service makes progress."""
        ...

    def stuck(self, what: str) -> None:
        """Say that a part makes none: the service is to be restarted now."""
        ...

    def stopping(self, seconds: float) -> None:
        """Say that the service ends, within so many seconds."""
        ...
