"""Takes new mail into the ledger: foreign, held, duplicate, or with its deliveries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Generic, TypeVar

import structlog

from dispatcher.core.certificate import Certificate, Foreign, Held, HoldReason
from dispatcher.core.ledger import DeliveryState, Entry, Identity, NewDelivery, NewEntry, State
from dispatcher.core.message import MessageRef
from dispatcher.core.retention import Doubt, term_of
from dispatcher.core.routing import Kind
from dispatcher.errors import DispatcherError, InvariantBroken
from dispatcher.ports import Fetched, Mailbox, Question, Writer
from dispatcher.service.assess import (
    Assessment,
    assess,
    assess_header,
    purge_at,
)
from dispatcher.service.desk import Desk
from dispatcher.service.dispatch import Dispatch, Job
from dispatcher.service.distrust import Distrust
from dispatcher.service.likeness import Likeness
from dispatcher.service.text_check import TextCheck, warn_of
from dispatcher.service.whereabouts import Whereabouts

_log = structlog.get_logger(__name__)

T = TypeVar("T")

# Messages read, recorded and delivered together: one commit before, one after. More at a time
# are no quicker and cost memory, four batches at once: one more fetched, one more read, and the
# texts of one more that are still compared.
_TOGETHER: Final = 16
_TOGETHER_BYTES: Final = 16 * 1024 * 1024
# A message whose reading ended with the program is read alone from then on: a kill from outside
# is no fault of it. So often, and it is held unread: something in it kills.
_HOPELESS: Final = 6
# SI-DEP sent nothing before; a server's clock may be ahead of ours by so much.
_FIRST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_SKEW: Final = timedelta(days=1)


@dataclass(slots=True)
class _Batch:
    """What one transaction has recorded so far. `sound` waits for its deliveries to begin."""

    likeness: Likeness
    jobs: list[Job] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    sound: list[tuple[Entry, Certificate, frozenset[str]]] = field(default_factory=list)
    to_check: list[tuple[str, Question]] = field(default_factory=list)


class _Beside(threading.Thread, Generic[T]):
    """Work that is done in a thread of its own while others go on."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._result: T | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Do it; never raises."""
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.error = error
        finally:
            del self._work  # with it what it worked on, which nobody needs any more

    def result(self) -> T | None:
        """Return what came of it, once it is done; None: it failed, see `error`."""
        self.join()
        return self._result


@dataclass(frozen=True, slots=True)
class _Reading:
    """Messages that are being read."""

    chunk: Sequence[Fetched]
    thread: _Beside[tuple[Assessment, ...]]


class _Line:
    """Messages on their way from the server: at most one batch lies here, fetched.

    `opened` is called with each before it is handed out.
    """

    def __init__(
        self,
        chunks: Iterator[Sequence[Fetched]],
        opened: Callable[[Sequence[Fetched]], None],
    ) -> None:
        self._chunks = chunks
        self._opened = opened
        self._fetching: _Beside[Sequence[Fetched] | None] | None = None

    def begin(self) -> None:
        """Begin to fetch the next batch, if none lies here.

        The mailbox is the fetching thread's then, until `wait` returns. What goes wrong is
        kept for `end`.
        """
        if self._fetching is None:
            self._fetching = _Beside("fetching", self._fetch)

    def wait(self) -> None:
        """Return when nothing is being fetched any more."""
        if self._fetching is not None:
            self._fetching.join()

    def next(self) -> Sequence[Fetched] | None:
        """Return the next batch; None: there is none, or see `end`."""
        self.begin()
        found = None if self._fetching is None else self._fetching.result()
        if found is not None:
            self._fetching = None
        return found

    def end(self) -> None:
        """Raise what went wrong, when everything before it was taken."""
        if self._fetching is not None and self._fetching.error is not None:
            raise self._fetching.error

    def _fetch(self) -> Sequence[Fetched] | None:
        chunk = next(self._chunks, None)
        if chunk is not None:
            self._opened(chunk)
        return chunk


class Intake:
    """Reads the new mail of one mailbox. Used by one thread."""

    def __init__(
        self,
        mailbox: Mailbox,
        desk: Desk,
        *,
        whereabouts: Whereabouts,
        dispatch: Dispatch,
        keyword: str | None,
    ) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._whereabouts = whereabouts
        self._dispatch = dispatch
        self._keyword = keyword
        self._begun: dict[MessageRef, int] = {}
        self._distrust = Distrust(desk.ledger, mailbox.name)
        self._text_check = TextCheck(desk.reader.inspector)

    def looked(self, writer: Writer) -> None:
        """Say that everything that the server listed is in the ledger now."""
        self._distrust.looked(writer)

    def take(self, uids: Sequence[int]) -> Iterator[list[Entry]]:
        """Read these messages, batch by batch; yield each batch's messages when delivered.

        Suspects, whose reading never came to an end, come last and one by one.
        """
        identities = self._mailbox.identities(uids) if uids else {}
        self._whereabouts.missing([uid for uid in uids if uid not in identities])
        begun = self._beginnings()
        self._leave_alone(identities)
        due = [uid for uid in uids if uid in identities and not self._too_old(identities[uid])]
        hopeless = [uid for uid in due if begun.get(uid, 0) >= _HOPELESS]
        suspects = [uid for uid in due if 0 < begun.get(uid, 0) < _HOPELESS]
        apart = {*hopeless, *suspects}
        yield from self._read([uid for uid in due if uid not in apart], identities, _TOGETHER)
        yield from self._read(suspects, identities, 1)
        for uid in hopeless:
            detail = f"its reading brought the program down {_HOPELESS} times"
            yield self._set_aside(uid, identities[uid], HoldReason.PDF_UNREADABLE, detail)
        self._text_check.end()

    def _read(
        self, uids: Sequence[int], identities: Mapping[int, Identity], together: int
    ) -> Iterator[list[Entry]]:
        if not uids:
            return
        seen: set[int] = set()
        chunks = _chunks(self._mailbox.fetch(uids), together)
        with closing(self._readings(chunks, ahead=together > 1)) as readings:
            for chunk, found, line in readings:
                seen.update(fetched.uid for fetched in chunk)
                yield self._take_in(chunk, found, identities, line)
        unsent = [uid for uid in uids if uid not in seen]
        oversize = [uid for uid in unsent if self._mailbox.too_large(uid)]
        for uid in oversize:
            yield self._set_aside(
                uid, identities[uid], HoldReason.TOO_LARGE, "too large to read"
            )
        self._whereabouts.missing([uid for uid in unsent if uid not in oversize])

    def _readings(
        self, chunks: Iterator[Sequence[Fetched]], *, ahead: bool
    ) -> Generator[tuple[Sequence[Fetched], tuple[Assessment, ...], _Line | None], None, None]:
        """Yield messages with what was read in them, and the line that others come by.

        `ahead`: the next ones are read while the caller takes these in, and those after them
        may be fetched meanwhile. What goes wrong with them is raised only when those before
        were taken.
        """
        line = _Line(chunks, self._open)
        reading = self._reading(line.next())
        try:
            while reading is not None:
                found = self._found(reading)
                following = self._reading(line.next()) if ahead else None
                try:
                    yield reading.chunk, found, line if ahead else None
                finally:
                    if following is not None:
                        following.thread.join()
                reading = following if ahead else self._reading(line.next())
        finally:
            line.wait()
        line.end()

    def _open(self, chunk: Sequence[Fetched]) -> None:
        """Have the ledger know that these may bring the program down, before they are read."""
        refs = [self._whereabouts.ref(fetched.uid) for fetched in chunk]
        with self._desk.ledger.writing() as writer:
            writer.opening([ref for ref in refs if ref not in self._begun])
        for ref in refs:
            self._begun.setdefault(ref, 0)

    def _reading(self, chunk: Sequence[Fetched] | None) -> _Reading | None:
        """Begin to read messages, if there are any."""
        if chunk is None:
            return None
        raws = [fetched.raw for fetched in chunk]
        # What they are read from is not needed any more once they are.
        bare = [replace(fetched, raw=b"") for fetched in chunk]
        work = partial(assess, raws, self._desk.reader, leave_text=True)
        return _Reading(bare, _Beside("reading", work))

    def _found(self, reading: _Reading) -> tuple[Assessment, ...]:
        """Return what was read, once it was."""
        found, error = reading.thread.result(), reading.thread.error
        if error is None and found is not None:
            return found
        if not isinstance(error, DispatcherError):
            # Not a helper that does not answer: the messages' doing.
            refs = [self._whereabouts.ref(fetched.uid) for fetched in reading.chunk]
            self._begun.update((ref, self._begun[ref] + 1) for ref in refs)
        raise error or InvariantBroken("nothing was read, and nothing went wrong")

    def _take_in(
        self,
        chunk: Sequence[Fetched],
        assessments: Sequence[Assessment],
        identities: Mapping[int, Identity],
        line: _Line | None,
    ) -> list[Entry]:
        """Record what was read and make its deliveries. `line` fetches others meanwhile."""
        refs = [self._whereabouts.ref(fetched.uid) for fetched in chunk]
        with self._desk.ledger.writing() as writer:
            batch = self._batch(assessments)
            for fetched, assessment in zip(chunk, assessments, strict=True):
                self._enter(writer, batch, fetched, assessment, identities[fetched.uid])
            # After all of them are recorded: so each kind of line is written once a batch.
            for entry, certificate, flags in batch.sound:
                batch.jobs += self._begin(writer, entry, certificate, flags)
            writer.opened(refs)
        for ref in refs:
            self._begun.pop(ref, None)
        self._whereabouts.noted({f.uid: identities[f.uid] for f in chunk})
        self._report(batch)
        if line is not None:
            line.begin()
        try:
            # In another thread, so that no server keeps a receipt from being recorded.
            done = {entry.id: entry for entry in self._dispatch.deliver(batch.jobs)}
        finally:
            if line is not None:
                line.wait()
        self._text_check.begin(batch.to_check)
        return [done.get(entry.id, entry) for entry in batch.entries]

    def _batch(self, assessments: Sequence[Assessment]) -> _Batch:
        """Begin a batch inside its transaction: what is known then stays so while it lasts."""
        raws = [one.raw_sha256 for one in assessments]
        keys = [one.key for one in assessments if one.key is not None]
        return _Batch(Likeness(self._desk.ledger.alike(raws, keys)))

    def _beginnings(self) -> dict[int, int]:
        """Return by uid how often reading began and never came to an end.

        Once for each life of the program that ended in it, and once for each time that it
        failed for no reason that lies outside the message.
        """
        uidvalidity = self._whereabouts.selected.uidvalidity
        found = dict(self._desk.ledger.openings(self._mailbox.name, uidvalidity))
        for ref, failures in self._begun.items():
            if ref.uidvalidity == uidvalidity and ref.uid in found:
                # This life has not ended: what it began counts only where it failed.
                found[ref.uid] += failures - 1
        return found

    def _enter(  # noqa: PLR0917 - one message, in the order of its way
        self,
        writer: Writer,
        batch: _Batch,
        fetched: Fetched,
        assessment: Assessment,
        identity: Identity,
    ) -> None:
        ref = self._whereabouts.ref(fetched.uid)
        if isinstance(assessment.reading, Foreign):
            writer.note_foreign(ref, identity)
            return
        moved = batch.likeness.moved(assessment)
        if moved is not None:
            batch.likeness.note_relocated(moved)
            writer.relocate(moved.id, ref, identity)
            marked = self._settled_before(fetched.flags)
            if marked:
                writer.keyword_set([ref])
            batch.entries.append(replace(moved, ref=ref, keyword_set=marked))
            _log.info("message_was_found_elsewhere", id=moved.id)
            return
        entry = writer.receive(self._new_entry(assessment, ref, identity, batch))
        batch.likeness.note(assessment.key, entry)
        batch.entries.append(entry)
        if isinstance(assessment.reading, Certificate) and entry.state is State.PENDING:
            batch.sound.append((entry, assessment.reading, fetched.flags))
        doubt = term_of(assessment.facts, entry.received_at, self._desk.policy.terms).doubt
        if doubt in {Doubt.FUTURE, Doubt.ANCIENT}:
            _log.warning("sampling_time_was_not_believed", id=entry.id, because=doubt.value)
        if assessment.unnamed:
            warn_of(entry.id)
        if assessment.left is not None:
            batch.to_check.append((entry.id, assessment.left))

    def _begin(
        self, writer: Writer, entry: Entry, certificate: Certificate, flags: frozenset[str]
    ) -> list[Job]:
        """Record how the deliveries of a new message begin; return those to be made now."""
        if not self._settled_before(flags):
            entry = self._kept_from_paper(writer, entry)
            return self._dispatch.begin(writer, entry, certificate.document)
        # The ledger does not know this message, the server says that it was delivered: a
        # ledger that was lost or is older than the mailbox. Look before delivering.
        writer.keyword_set([entry.ref])
        entry = self._distrust.kept_from_paper(writer, entry)
        for delivery in entry.deliveries:
            if delivery.state is not DeliveryState.DECIDED:
                continue
            writer.move(delivery.id, DeliveryState.DELIVERING)
            writer.move(
                delivery.id,
                DeliveryState.IN_DOUBT,
                because="the server's keyword says that it was delivered before",
            )
        return []

    def _kept_from_paper(self, writer: Writer, entry: Entry) -> Entry:
        """Do not print by itself what a lost ledger may have printed.

        A folder shows what lies in it; paper does not, and this server keeps no keyword.
        """
        entry = self._distrust.kept_from_paper(writer, entry)
        told = self._keyword is not None and self._whereabouts.selected.keeps_keyword
        if told or entry.received_at >= self._desk.ledger.born_at:
            return entry
        because = "older than this ledger, perhaps printed before: `print` prints it"
        for delivery in entry.deliveries:
            if delivery.kind is Kind.PRINT and delivery.state is DeliveryState.DECIDED:
                entry = writer.move(delivery.id, DeliveryState.WAITING, because=because)
        return entry

    def _settled_before(self, flags: frozenset[str]) -> bool:
        return self._keyword is not None and self._keyword.lower() in {
            flag.lower() for flag in flags
        }

    def _new_entry(
        self, assessment: Assessment, ref: MessageRef, identity: Identity, batch: _Batch
    ) -> NewEntry:
        new = self._described(assessment, ref, identity)
        first = batch.likeness.first_of(assessment.key)
        if first is not None:
            return replace(new, state=State.DUPLICATE, duplicate_of=first.id)
        if isinstance(assessment.reading, Held):
            return replace(
                new, reason=assessment.reading.reason, detail=assessment.reading.detail
            )
        targets = tuple(NewDelivery(t.name, t.kind) for t in assessment.targets)
        replaced = batch.likeness.replaced_by(assessment.key)
        return replace(new, state=State.PENDING, deliveries=targets, replaces=replaced)

    def _described(
        self, assessment: Assessment, ref: MessageRef, identity: Identity
    ) -> NewEntry:
        facts, reading = assessment.facts, assessment.reading
        document = None if isinstance(reading, Foreign) else reading.document
        received_at = self._reception(identity)
        return NewEntry(
            ref,
            identity,
            received_at=received_at,
            state=State.HELD,
            site=assessment.site,
            file_number=facts.file_number,
            result=facts.result,
            analysis=facts.analysis,
            sampled_at=facts.sampled_at,
            purge_at=purge_at(assessment, received_at, self._desk.policy),
            sha256=None if document is None else document.sha256,
            raw_sha256=assessment.raw_sha256,
            message_id=assessment.message_id,
            rules=assessment.rules,
        )

    def _reception(self, identity: Identity) -> datetime:
        """Return the server's date of arrival, or now where it cannot be one.

        A server that sends a broken INTERNALDATE, or whose clock is wrong, must not make
        a certificate look long overdue: its term may be counted from here.
        """
        now = self._desk.clock.now()
        return identity.internal_at if _FIRST <= identity.internal_at <= now + _SKEW else now

    def _set_aside(
        self, uid: int, identity: Identity, reason: HoldReason, detail: str
    ) -> list[Entry]:
        """Hold a message of which only the header may be read; leave foreign mail alone."""
        header = self._mailbox.headers(uid)
        if header is None:
            self._whereabouts.missing([uid])
            return []
        ref = self._whereabouts.ref(uid)
        assessment = assess_header(header, self._desk.reader, reason=reason, detail=detail)
        with self._desk.ledger.writing() as writer:
            batch = self._batch([assessment])
            self._enter(writer, batch, Fetched(uid, b"", frozenset()), assessment, identity)
            writer.opened([ref])
        self._whereabouts.noted({uid: identity})
        self._report(batch)
        return batch.entries

    def _too_old(self, identity: Identity) -> bool:
        return self._desk.policy.leaves_alone(self._mailbox.name, identity)

    def _leave_alone(self, identities: Mapping[int, Identity]) -> None:
        old = {uid: one for uid, one in identities.items() if self._too_old(one)}
        if not old:
            return
        with self._desk.ledger.writing() as writer:
            for uid, identity in old.items():
                writer.note_foreign(self._whereabouts.ref(uid), identity)
        self._whereabouts.noted(old)
        _log.info("old_mail_was_left_alone", mailbox=self._mailbox.name, count=len(old))

    def _report(self, batch: _Batch) -> None:
        for entry in batch.entries:
            if batch.likeness.was_relocated(entry):
                continue
            if entry.reason is not None:
                _log.warning("message_held", id=entry.id, reason=entry.reason.value)
            else:
                _log.info("message_received", id=entry.id, state=entry.state.value)


def _chunks(messages: Iterator[Fetched], together: int) -> Iterator[list[Fetched]]:
    """Group messages; hand on what came before an error, then raise it."""
    chunk: list[Fetched] = []
    size = 0
    try:
        for fetched in messages:
            chunk.append(fetched)
            size += len(fetched.raw)
            if len(chunk) >= together or size >= _TOGETHER_BYTES:
                yield chunk
                chunk, size = [], 0
    except DispatcherError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
