"""The ledger on SQLite: transactions for writing, one moment for each reading."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from dispatcher.core import audit, erasure
from dispatcher.core.audit import Trace
from dispatcher.core.certificate import ContentKey
from dispatcher.core.finess import FinessET
from dispatcher.core.ledger import Act, Balance, Entry, Event, Identity, Place, Refusals, State
from dispatcher.core.message import MessageRef
from dispatcher.core.report import Turnover
from dispatcher.core.routing import Kind
from dispatcher.core.rulebook import Change, RulesState
from dispatcher.core.vitals import Room, Tally
from dispatcher.edges.ledger import birth, kept, likeness, reading, rows
from dispatcher.edges.ledger.database import (
    LOG_BYTES,
    fold_log,
    log_of,
    path_of,
    reading_engine,
    rewrite,
    room_of,
    writing_engine,
)
from dispatcher.edges.ledger.inspection import flaws, last_event, trail_flaw
from dispatcher.edges.ledger.mark import Suspicion, Witness
from dispatcher.edges.ledger.memory import Memory
from dispatcher.edges.ledger.schema import (
    AUDIT,
    ENTRY,
    ERRAND,
    EVENT,
    MEMO,
    MOUNT,
    PLACE,
    REFUSAL,
)
from dispatcher.edges.ledger.statements import Prepared
from dispatcher.edges.ledger.writer import SqlWriter
from dispatcher.errors import ConfigInvalid, DispatcherError, InvariantBroken, NotNow
from dispatcher.ports import Alike, Clock

_BUSY_TIMEOUT: Final = 10.0  # seconds
_DECISION: Final = audit.What.DECISION.value
_MOUNTED: Final = Prepared(
    upsert(MOUNT).on_conflict_do_update(
        index_elements=["path"], set_={"mount_point": upsert(MOUNT).excluded.mount_point}
    )
)


class SqlLedger:
    """See `ports.Ledger`. Shared by threads; other processes may open the same file.

    Inside `writing`, the reading methods see what is committed, and nobody else can
    commit meanwhile: reading there and then writing is safe. They do not see what that
    transaction itself has changed.
    """

    def __init__(self, url: str, *, clock: Clock, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        """Open the ledger, making the file when there is none.

        Raises ConfigInvalid when the address is wrong, the directory missing, the file
        damaged, no ledger or made by a newer version; Unavailable when the disk fails.
        """
        self._path: Final = path_of(url)
        self._clock: Final = clock
        self._busy_timeout: Final = busy_timeout
        birth.open_file(self._path, busy_timeout)
        self._file: Final = birth.identity(self._path)
        self._readers: Final = reading_engine(self._path, busy_timeout)
        self._writers: Final = writing_engine(self._path, busy_timeout)
        # SQLite makes waiting writers poll; threads of one process take turns here.
        self._turn: Final = threading.Lock()
        self._whose: int | None = None
        self._memory: Final = Memory()
        with self._reading() as connection:
            self._secret: Final = birth.read_secret(connection)
            self._born_at: Final = birth.read_birth(connection)
        self._witness: Final = Witness(self._path, self._secret, clock)

    @property
    def secret(self) -> bytes:
        """32 random bytes made with this ledger, for digests that must not be guessed."""
        return self._secret

    @property
    def born_at(self) -> datetime:
        """See `ports.Ledger.born_at`."""
        return self._born_at

    def close(self) -> None:
        """Close every connection; the last one to close folds the log into the file."""
        if self._witness.keeping:
            self._witness.note(0, last=True)
        self._readers.dispose()
        self._writers.dispose()

    # --- writing

    @contextmanager
    def writing(self) -> Iterator[SqlWriter]:
        """See `ports.Ledger.writing`. Raises Unavailable when others write for too long."""
        with self._transaction() as connection:
            writer = SqlWriter(
                connection, clock=self._clock, secret=self._secret, memory=self._memory
            )
            yield writer
            writer.flush()
            # A caller may have caught an error in the block; an undone transaction
            # would then commit nothing without a word.
            if writer.broken or not _in_transaction(connection):
                raise NotNow("the ledger undid this transaction after an error")

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._taking_turns():
            self._still_there()
            try:
                with self._memory.kept(), self._writers.begin() as connection:
                    self._memory.look(connection)
                    yield connection
                    came_to = last_event(connection) if self._witness.keeping else 0
            except NotNow:
                self._make_room()  # on a full disk the next try may find some
                raise
            self._witness.note(came_to)
            if _is_large(log_of(self._path)):
                self._make_room()

    def scour(self) -> bool:
        """See `ports.Ledger.scour`.

        `secure_delete` overwrites what is deleted, but a page that was split may keep a
        piece of it: only a file that is written anew surely has none.
        """
        with self._taking_turns():
            self._still_there()
            rewrite(self._writers)
            return fold_log(self._writers)

    def _make_room(self) -> None:
        """Empty the log if that is possible now. What was committed is so either way."""
        with suppress(DispatcherError):
            fold_log(self._writers)

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        me = threading.get_ident()
        if self._whose == me:
            raise InvariantBroken("a transaction on the ledger was opened inside another")
        if not self._turn.acquire(timeout=self._busy_timeout):
            raise NotNow(
                "the ledger does not answer: another thread holds it",
                hint="It is tried again.",
            )
        self._whose = me
        try:
            yield
        finally:
            self._whose = None
            self._turn.release()

    def _still_there(self) -> None:
        """Refuse to write into a file that was removed or replaced: nobody would find it."""
        if birth.identity(self._path) != self._file:
            raise ConfigInvalid(
                (f"ledger: {self._path} was removed or replaced while in use; start again",)
            )

    def remember_mounts(self, mount_points: Mapping[str, str]) -> None:
        """Record which mount each folder, by its path, was on when last known to be good."""
        lines = [{"path": path, "mount_point": at} for path, at in mount_points.items()]
        with self._transaction() as connection:
            _MOUNTED.run(connection, lines)

    def suspicion(self) -> Suspicion | None:
        """Return why this ledger is not the one that worked here last, None where it may be.

        Only for whoever holds the daemon's lock, before anything is delivered.
        """
        with self._reading() as connection:
            events = last_event(connection)
        return self._witness.suspicion(events)

    def vouch(self) -> None:
        """Take this ledger for the one that works here, and keep evidence of it from now on."""
        with self._reading() as connection:
            events = last_event(connection)
        self._witness.vouch(events)

    # --- reading

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._readers.begin() as connection:
            yield connection

    def entry(self, entry_id: str) -> Entry | None:
        """See `ports.Ledger.entry`."""
        with self._reading() as connection:
            return reading.entry(connection, entry_id)

    def entries(
        self,
        *,
        state: State | None = None,
        site: FinessET | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Entry]:
        """See `ports.Ledger.entries`. Read in pages; no transaction stays open between."""
        where = []
        if state is not None:
            where.append(ENTRY.c.state == state.value)
        if site is not None:
            where.append(ENTRY.c.site == site.number)
        if kind is not None:
            where.append(reading.has_delivery(kind))
        last = None
        while True:
            with self._reading() as connection:
                page = reading.page(connection, last, *where)
            yield from (entry for _, entry in page)
            if len(page) < reading.GROUP:
                return
            number, entry = page[-1]
            last = entry.received_at, number

    def entries_at(self, refs: Iterable[MessageRef]) -> Mapping[MessageRef, Entry]:
        """See `ports.Ledger.entries_at`."""
        with self._reading() as connection:
            return {entry.ref: entry for entry in reading.entries_at(connection, refs)}

    def remarked(self, words: str) -> tuple[str, ...]:
        """See `ports.Ledger.remarked`."""
        with self._reading() as connection:
            return reading.remarked(connection, words)

    def alike(self, raws: Sequence[str], keys: Sequence[ContentKey]) -> Alike:
        """See `ports.Ledger.alike`."""
        digests = {key: erasure.key_digest(self._secret, key) for key in keys}
        with self._reading() as connection:
            return likeness.alike(connection, raws, digests)

    def unsettled(self, mailbox: str) -> tuple[Entry, ...]:
        """See `ports.Ledger.unsettled`."""
        with self._reading() as connection:
            return reading.with_delivery(connection, mailbox, reading.is_under_way())

    def due(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """See `ports.Ledger.due`."""
        with self._reading() as connection:
            return reading.with_delivery(connection, mailbox, reading.is_due(now))

    def opening(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """See `ports.Ledger.opening`."""
        with self._reading() as connection:
            return reading.with_delivery(connection, mailbox, reading.is_opening(now))

    def next_due(self, mailbox: str) -> datetime | None:
        """See `ports.Ledger.next_due`."""
        with self._reading() as connection:
            return reading.next_due(connection, mailbox)

    def place(self, mailbox: str) -> Place | None:
        """See `ports.Ledger.place`."""
        with self._reading() as connection:
            query = select(PLACE).where(PLACE.c.mailbox == mailbox)
            line = connection.execute(query).mappings().first()
        return None if line is None else rows.place_of(line)

    def known(self, mailbox: str, uidvalidity: int) -> Mapping[int, Identity]:
        """See `ports.Ledger.known`."""
        with self._reading() as connection:
            return reading.known(connection, mailbox, uidvalidity)

    def openings(self, mailbox: str, uidvalidity: int) -> Mapping[int, int]:
        """See `ports.Ledger.openings`."""
        with self._reading() as connection:
            return reading.openings(connection, mailbox, uidvalidity)

    def lacking_keyword(self, mailbox: str, uidvalidity: int) -> tuple[int, ...]:
        """See `ports.Ledger.lacking_keyword`."""
        with self._reading() as connection:
            return reading.lacking_keyword(connection, mailbox, uidvalidity)

    def memos(self, prefix: str) -> Mapping[str, str]:
        """See `ports.Ledger.memos`."""
        query = select(MEMO.c.name, MEMO.c.value).where(MEMO.c.name.startswith(prefix))
        with self._reading() as connection:
            found = connection.execute(query.order_by(MEMO.c.name)).all()
        # LIKE takes no notice of case.
        return {name: value for name, value in found if name.startswith(prefix)}

    # --- the rules in force

    def rules_state(self) -> RulesState | None:
        """See `ports.Ledger.rules_state`."""
        with self._reading() as connection:
            return kept.state(connection)

    def rules_history(self) -> tuple[Change, ...]:
        """See `ports.Ledger.rules_history`."""
        with self._reading() as connection:
            return kept.history(connection)

    def rules_content(self, digest: str) -> bytes | None:
        """See `ports.Ledger.rules_content`."""
        with self._reading() as connection:
            return kept.content(connection, digest)

    # --- deletion at the term, and its trail

    def past_term(self, mailbox: str, now: datetime) -> tuple[Entry, ...]:
        """See `ports.Ledger.past_term`."""
        with self._reading() as connection:
            return tuple(reading.past_term(connection, mailbox, now))

    def backlog(self, mailbox: str, now: datetime) -> tuple[int, datetime | None]:
        """See `ports.Ledger.backlog`."""
        with self._reading() as connection:
            return reading.backlog(connection, mailbox, now)

    def undelivered(self, mailbox: str, until: datetime) -> tuple[Entry, ...]:
        """See `ports.Ledger.undelivered`."""
        with self._reading() as connection:
            return tuple(reading.undelivered(connection, mailbox, until))

    def lying(self, mailbox: str) -> int:
        """See `ports.Ledger.lying`."""
        with self._reading() as connection:
            return reading.lying(connection, mailbox)

    def vanished(self, mailbox: str) -> int:
        """See `ports.Ledger.vanished`."""
        with self._reading() as connection:
            return reading.vanished(connection, mailbox)

    def changed_copies(self) -> tuple[Entry, ...]:
        """See `ports.Ledger.changed_copies`."""
        with self._reading() as connection:
            return tuple(reading.changed_copies(connection))

    def trail(self, since: datetime | None = None) -> Iterator[Trace]:
        """See `ports.Ledger.trail`. Read in pages; no transaction stays open between."""
        where = [] if since is None else [AUDIT.c.at >= rows.stored_time(since)]
        after = 0
        while True:
            with self._reading() as connection:
                page = reading.traces(connection, after, *where)
            yield from page
            if len(page) < reading.GROUP:
                return
            after = page[-1].seq

    def trail_flaw(self) -> str | None:
        """See `ports.Ledger.trail_flaw`."""
        with self._reading() as connection:
            return trail_flaw(connection, self._secret)

    def balance(self) -> Balance:
        """See `ports.Ledger.balance`."""
        with self._reading() as connection:
            return reading.balance(connection)

    def arrivals(self, since: datetime) -> Mapping[FinessET, Mapping[date, int]]:
        """See `ports.Ledger.arrivals`."""
        with self._reading() as connection:
            return reading.arrivals(connection, since)

    def turnover(self, since: datetime, until: datetime) -> tuple[Turnover, ...]:
        """See `ports.Ledger.turnover`."""
        with self._reading() as connection:
            return tuple(reading.turnover(connection, since, until))

    def room(self) -> Room | None:
        """See `ports.Ledger.room`."""
        return room_of(self._path.parent)

    def tallies(self) -> tuple[Tally, ...]:
        """See `ports.Ledger.tallies`."""
        with self._reading() as connection:
            return tuple(reading.tallies(connection))

    def flaws(self) -> tuple[str, ...]:
        """See `ports.Ledger.flaws`."""
        try:
            with self._reading() as connection:
                return flaws(connection, self._secret)
        except ConfigInvalid as damage:  # it cannot even be read to the end
            return damage.problems

    # --- what people may ask beside

    def refusals(self, mailbox: str) -> Refusals | None:
        """See `ports.Ledger.refusals`."""
        with self._reading() as connection:
            line = (
                connection.execute(select(REFUSAL).where(REFUSAL.c.mailbox == mailbox))
                .mappings()
                .first()
            )
        return (
            None if line is None else Refusals(line["count"], rows.read_time(line["last_at"]))
        )

    def last_did(self, errand: str) -> datetime | None:
        """See `ports.Ledger.last_did`."""
        query = select(ERRAND.c.at).where(ERRAND.c.name == errand)
        with self._reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else rows.read_time(found)

    def history(self, entry_id: str) -> tuple[Event, ...]:
        """Return every change of state of a message and its deliveries, oldest first."""
        query = select(EVENT).where(EVENT.c.entry_id == entry_id).order_by(EVENT.c.seq)
        with self._reading() as connection:
            return tuple(map(rows.event_of, connection.execute(query).mappings()))

    def acts(self, entry_id: str) -> tuple[Act, ...]:
        """Return what people decided about a message, oldest first."""
        query = select(AUDIT).where(AUDIT.c.entry_id == entry_id, AUDIT.c.what == _DECISION)
        with self._reading() as connection:
            lines = connection.execute(query.order_by(AUDIT.c.seq)).mappings()
            return tuple(audit.act_of(rows.trace_of(line).deed) for line in lines)

    def memo(self, name: str) -> str | None:
        """See `ports.Ledger.memo`."""
        query = select(MEMO.c.value).where(MEMO.c.name == name)
        with self._reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else str(found)

    def mounts(self) -> Mapping[str, str]:
        """Return the mount point recorded for each folder, by the folder's path."""
        with self._reading() as connection:
            return dict(connection.execute(select(MOUNT.c.path, MOUNT.c.mount_point)).all())


def _is_large(log: Path) -> bool:
    with suppress(OSError):
        return log.stat().st_size >= LOG_BYTES
    return False


def _in_transaction(connection: Connection) -> bool:
    driver = connection.connection.driver_connection
    return bool(getattr(driver, "in_transaction", False))
