"""Which certificates are on a site's list of the day, and with which names and words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from structlog.testing import capture_logs

from dispatcher.core.bordereau import Bordereau, Name, Standing, compose, places
from dispatcher.core.certificate import HoldReason, Result
from dispatcher.core.delivery import Accepted, Order, Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.hours import Hours, Span
from dispatcher.core.ledger import Delivery, DeliveryState, Entry, Identity, State
from dispatcher.core.message import MessageRef
from dispatcher.core.paris import PARIS
from dispatcher.core.routing import Condition, Kind, Printing, PrintWhen, Site, Target
from dispatcher.errors import Failed, InDoubt, LoginRefused, Refused, Unavailable
from dispatcher.ports import Outcome, Removal, Selected
from dispatcher.service.bordereau import bordereau, due, follow, send
from dispatcher.service.decisions import NotAsked
from dispatcher.service.gate import Wait
from dispatcher.simulator.scenario import Sending
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.memory_queue import End, MemoryQueue
from tests.fakes.office import Office, certificates

SITE = FinessET("990000010")
FORMER = FinessET("990000077")
OTHER = FinessET("990000028")
ON = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=PARIS)

FOLDER = Target("dossier", Kind.FOLDER, "/nowhere")
QUEUE = Target("accueil", Kind.PRINT, "accueil")
REPUBLIQUE = Site(SITE, "Site République", (FOLDER, QUEUE), frozenset({FORMER}))

DONE, DECIDED, WAITING, DELIVERING, IN_DOUBT, HELD, DISCARDED = (
    DeliveryState.DELIVERED,
    DeliveryState.DECIDED,
    DeliveryState.WAITING,
    DeliveryState.DELIVERING,
    DeliveryState.IN_DOUBT,
    DeliveryState.HELD,
    DeliveryState.DISCARDED,
)


def entry(uid: int = 1, state: State = State.DELIVERED, **changes: object) -> Entry:
    made = Entry(
        f"id{uid}",
        MessageRef("lbm", 7, uid),
        Identity(1000, NOON),
        NOON,
        state,
        site=SITE,
        file_number=f"21048BC{uid:06d}",
        deliveries=(Delivery(f"d{uid}", "dossier", Kind.FOLDER, DONE),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test's shorthand


def listed(*entries: Entry, names: dict[str, Name] | None = None) -> Bordereau:
    return compose(REPUBLIQUE, ON, entries, names=names or {}, made_at=NOON)


def prints(*deliveries: tuple[str, DeliveryState]) -> Standing | None:
    made = [Delivery(f"p{at}", to, Kind.PRINT, s) for at, (to, s) in enumerate(deliveries)]
    return listed(entry(deliveries=tuple(made))).lines[0].paper


# --- which certificates ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        pytest.param({}, 1, id="delivered"),
        pytest.param({"state": State.PENDING}, 1, id="pending"),
        pytest.param({"state": State.DUPLICATE}, 0, id="a duplicate"),
        pytest.param({"state": State.EXPIRED}, 0, id="expired"),
        pytest.param({"state": State.PURGED}, 0, id="purged"),
        pytest.param({"site": OTHER}, 0, id="another site's"),
        pytest.param({"site": None}, 0, id="of no site"),
        pytest.param({"site": FORMER}, 1, id="under the site's former number"),
        pytest.param(
            {"state": State.HELD, "reason": HoldReason.TARGET_REFUSED},
            1,
            id="its queue refused",
        ),
        pytest.param(
            {"state": State.HELD, "reason": HoldReason.IN_DOUBT}, 1, id="its print is in doubt"
        ),
        pytest.param(
            {"state": State.HELD, "reason": HoldReason.FINESS_MISMATCH},
            0,
            id="held since it may be another site's",
        ),
        pytest.param(
            {"state": State.HELD, "reason": HoldReason.TARGET_REFUSED, "deliveries": ()},
            0,
            id="held and never on its way",
        ),
    ],
)
def test_the_list_holds_what_is_surely_the_sites(
    changes: dict[str, object], count: int
) -> None:
    assert len(listed(replace(entry(), **changes)).lines) == count  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("received_at", "count"),
    [
        pytest.param(datetime(2026, 11, 19, 22, 59, 59, tzinfo=UTC), 0, id="the day before"),
        pytest.param(datetime(2026, 11, 19, 23, 0, tzinfo=UTC), 1, id="midnight in Paris"),
        pytest.param(datetime(2026, 11, 20, 22, 59, 59, tzinfo=UTC), 1, id="the last second"),
        pytest.param(datetime(2026, 11, 20, 23, 0, tzinfo=UTC), 0, id="the day after"),
    ],
)
def test_the_day_is_that_of_paris(received_at: datetime, count: int) -> None:
    assert len(listed(entry(received_at=received_at)).lines) == count


def test_lines_come_in_the_order_in_which_people_look_names_up() -> None:
    names = {
        "id1": Name("Élan", "Zoé"),
        "id2": Name("zola", "Émile"),
        "id3": Name("ELAN", "Anne"),
        "id5": Name("de La Selle", "Luc"),
    }
    found = listed(*(entry(uid) for uid in (4, 1, 2, 3, 5)), names=names)
    assert [line.name.first if line.name else None for line in found.lines] == [
        "Luc", "Anne", "Zoé", "Émile", None,
    ]  # fmt: skip
    assert found.unread == 1


def test_no_line_bears_a_result_and_no_repr_a_patient() -> None:
    found = listed(entry(result=Result.POSITIVE), names={"id1": Name("Durand", "Zoé")})
    said = repr(found)
    assert not any(word in said for word in ("posit", "POSIT", "Durand", "Zoé", "21048BC"))


# --- how far it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deliveries", "standing"),
    [
        pytest.param([], None, id="no print"),
        pytest.param([("a", DONE)], Standing.MADE, id="printed"),
        pytest.param([("a", DECIDED)], Standing.WAITING, id="to be printed"),
        pytest.param([("a", WAITING)], Standing.WAITING, id="waits for the opening"),
        pytest.param([("a", DELIVERING)], Standing.WAITING, id="being printed"),
        pytest.param([("a", IN_DOUBT)], Standing.WAITING, id="nobody can tell yet"),
        pytest.param([("a", HELD)], Standing.HELD, id="held"),
        pytest.param([("a", DISCARDED)], Standing.NOT_MADE, id="given up"),
        pytest.param([("a", DONE), ("b", WAITING)], Standing.WAITING, id="one of two queues"),
        pytest.param([("a", DONE), ("b", HELD)], Standing.HELD, id="one of two held"),
        pytest.param([("a", DISCARDED), ("b", DONE)], Standing.MADE, id="by the fallback"),
        pytest.param([("a", DONE), ("a", WAITING)], Standing.MADE, id="a further copy waits"),
        pytest.param([("a", DISCARDED), ("a", DECIDED)], Standing.WAITING, id="released anew"),
    ],
)
def test_several_deliveries_are_told_as_one_word(
    deliveries: Sequence[tuple[str, DeliveryState]], standing: Standing | None
) -> None:
    assert prints(*deliveries) is standing


def test_every_state_of_a_delivery_has_a_word() -> None:
    assert all(prints(("a", state)) is not None for state in DeliveryState)


def test_what_went_to_another_site_before_says_nothing_of_this_one() -> None:
    before = Delivery("d1", "dossier", Kind.FOLDER, DONE, site=OTHER)
    now = Delivery("d2", "dossier", Kind.FOLDER, DECIDED, site=SITE)
    (line,) = listed(entry(state=State.PENDING, deliveries=(before, now))).lines
    assert (line.copy, line.paper) == (Standing.WAITING, None)


def test_a_new_version_is_told_as_one() -> None:
    assert listed(entry(replaces="id0")).lines[0].replaces


# --- where it goes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        pytest.param((), [], id="nowhere"),
        pytest.param((QUEUE, FOLDER), ["dossier", "accueil"], id="a folder and a queue"),
        pytest.param(
            (FOLDER, replace(FOLDER, name="second")), ["dossier"], id="the first of two"
        ),
        pytest.param(
            (
                replace(FOLDER, name="positifs", when=Condition(frozenset({Result.POSITIVE}))),
                FOLDER,
            ),
            ["dossier"],
            id="one for positive results is none for all",
        ),
        pytest.param(
            (replace(QUEUE, name="main", printing=Printing(when=PrintWhen.HOLD)), QUEUE),
            ["accueil"],
            id="a printer for what people ask for is none",
        ),
        pytest.param(
            (replace(FOLDER, kind=Kind.LIS),), [], id="a laboratory system takes none"
        ),
    ],
)
def test_a_list_goes_to_the_first_folder_and_the_first_queue(
    targets: tuple[Target, ...], names: list[str]
) -> None:
    site = replace(REPUBLIQUE, targets=targets)
    assert [target.name for target in places(site)] == names


# --- when it is due ----------------------------------------------------------------------

AT = time(18, 30)


def paris(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=PARIS).astimezone(UTC)


@pytest.mark.parametrize(
    ("last_made", "now", "expected"),
    [
        pytest.param(None, paris(20, 18, 29), None, id="never made, too early"),
        pytest.param(None, paris(20, 18, 30), ON, id="never made, on the minute"),
        pytest.param(date(2026, 11, 19), paris(20, 18, 29), None, id="yesterday's made"),
        pytest.param(date(2026, 11, 19), paris(20, 23, 59), ON, id="late the same evening"),
        pytest.param(ON, paris(20, 19), None, id="made today"),
        pytest.param(date(2026, 11, 18), paris(20, 7), date(2026, 11, 19), id="missed one"),
        pytest.param(date(2026, 11, 17), paris(20, 19), date(2026, 11, 18), id="oldest first"),
        pytest.param(date(2026, 5, 1), paris(20, 19), date(2026, 11, 14), id="a week at most"),
        pytest.param(date(2026, 11, 27), paris(20, 19), None, id="a clock that was set back"),
        pytest.param(
            date(2036, 11, 20),
            paris(20, 19),
            date(2026, 11, 20),
            id="ten years ahead, and back",
        ),
    ],
)
def test_a_days_list_is_due_once_at_its_time(
    last_made: date | None, now: datetime, expected: date | None
) -> None:
    assert due(last_made, now, AT) == expected


def test_a_time_that_the_spring_leaves_out_comes_all_the_same() -> None:
    last = date(2026, 3, 28)
    # 02:30 does not exist on 29 March: the clock goes from 02:00 to 03:00 at 01:00 UTC.
    before, after = (
        datetime(2026, 3, 29, 0, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 31, tzinfo=UTC),
    )
    assert due(last, before, time(2, 30)) is None
    assert due(last, after, time(2, 30)) == date(2026, 3, 29)


def test_a_time_that_the_autumn_gives_twice_comes_once() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert due(date(2026, 10, 24), first, time(2, 30)) == date(2026, 10, 25)
    assert due(date(2026, 10, 25), first + timedelta(hours=1), time(2, 30)) is None
    # Ten past two for the second time is later than half past two for the first time.
    again = (first + timedelta(minutes=40)).astimezone(PARIS)
    assert due(date(2026, 10, 24), again, time(2, 30)) == date(2026, 10, 25)


# --- with the mailbox --------------------------------------------------------------------


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def here(office: Office) -> list[Sending]:
    """Bring six certificates in, one for each site, and twelve more; return this site's."""
    sent = certificates(4, 18)
    for one in sent:
        office.mailbox.append(one.raw, internal_at=NOON.astimezone(UTC))
    office.clock.go(timedelta(hours=3))
    office.round().turn()
    return [one for one in sent if one.truth.site == str(SITE)]


def made(office: Office) -> Bordereau:
    return bordereau(SITE, ON, office.desk(), [office.mailbox])


def names(page: Bordereau) -> set[tuple[str, str] | None]:
    return {(line.name.last, line.name.first) if line.name else None for line in page.lines}


def test_names_come_from_the_mailbox_and_nothing_changes_there(
    office: Office, here: list[Sending]
) -> None:
    before = office.mailbox.flags()
    page = made(office)
    assert len(here) == 3
    assert {line.file_number for line in page.lines} == {s.truth.file_number for s in here}
    assert names(page) == {(s.truth.last_name, s.truth.first_name) for s in here}
    assert office.mailbox.flags() == before
    assert page.made_at == office.clock.now()


class Examined(MemoryMailbox):
    """Remembers how it was opened."""

    def select(self, *, read_only: bool = False) -> Selected:
        assert read_only, "EXAMINE, so that no flag can change"
        return super().select(read_only=read_only)


@pytest.mark.usefixtures("here")
def test_the_mailbox_is_opened_so_that_nothing_can_change(office: Office) -> None:
    mailbox = Examined()
    mailbox.stored, mailbox.uidvalidity = office.mailbox.stored, office.mailbox.uidvalidity
    assert bordereau(SITE, ON, office.desk(), [mailbox]).unread == 0


def test_only_this_sites_messages_are_fetched(office: Office, here: list[Sending]) -> None:
    office.mailbox.fetched.clear()
    made(office)
    raws = {office.mailbox.messages()[uid] for uid in office.mailbox.fetched}
    assert raws == {s.raw for s in here}


def test_a_message_that_has_gone_leaves_its_line_without_a_name(
    office: Office, here: list[Sending]
) -> None:
    uid = next(u for u, raw in office.mailbox.messages().items() if raw == here[0].raw)
    office.mailbox.take_away(uid)
    page = made(office)
    assert (len(page.lines), page.unread, page.lines[-1].file_number) == (
        3, 1, here[0].truth.file_number,
    )  # fmt: skip


@pytest.mark.usefixtures("here")
def test_another_message_under_the_same_uid_lends_no_name(office: Office) -> None:
    strangers = certificates(99, 18)
    office.mailbox.reuse_uids()
    for one in strangers:
        office.mailbox.append(one.raw)
    assert names(made(office)) == {None}


@pytest.mark.usefixtures("here")
def test_a_renumbered_mailbox_lends_no_name(office: Office) -> None:
    # The uids are the same by chance: they mean nothing under another UIDVALIDITY.
    office.mailbox.uidvalidity += 1
    assert names(made(office)) == {None}


@pytest.mark.usefixtures("here")
def test_a_torn_connection_keeps_the_names_read_so_far(office: Office) -> None:
    office.mailbox.tear_fetch_after(2)
    with capture_logs() as logs:
        assert made(office).unread == 1
    (log,) = logs
    assert (log["event"], log["count"]) == ("names_were_not_read", 1)
    assert set(log) == {"event", "log_level", "mailbox", "count", "error"}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("the server does not answer"), id="no answer"),
        pytest.param(Refused("no such mailbox"), id="no mailbox"),
    ],
)
def test_a_mailbox_that_cannot_be_read_leaves_every_line_without_a_name(
    office: Office, error: Unavailable | Refused
) -> None:
    office.mailbox.fail_next("select", error)
    page = made(office)
    assert (len(page.lines), page.unread) == (3, 3)


@pytest.mark.usefixtures("here")
def test_lists_of_every_site_do_not_lock_the_account(office: Office) -> None:
    office.mailbox.fail_next("select", LoginRefused("the password is wrong"), times=10)
    office.mailbox.calls.clear()
    for _ in range(6):
        assert made(office).unread == 3
    assert office.mailbox.calls.count("select") == 3


def test_a_site_that_nobody_knows_and_a_day_to_come_are_usage_errors(office: Office) -> None:
    with pytest.raises(NotAsked):
        bordereau(FinessET("990000903"), ON, office.desk(), [])
    with pytest.raises(NotAsked):
        bordereau(SITE, ON + timedelta(days=1), office.desk(), [])


def test_the_list_of_a_day_that_is_not_over_says_so(office: Office) -> None:
    office.clock.go(timedelta(hours=13, minutes=29))  # to 23:59 in Paris
    assert bordereau(SITE, ON, office.desk(), []).early
    office.clock.go(timedelta(minutes=1))
    assert not bordereau(SITE, ON, office.desk(), []).early


# --- delivered ---------------------------------------------------------------------------


def with_targets(office: Office, *targets: Target) -> None:
    site = replace(office.rules.sites[SITE], targets=targets)
    office.rules = replace(office.rules, sites={**office.rules.sites, SITE: site})


class Queue(MemoryDestination):
    """Accepts everything, as a queue does."""

    def deliver(self, orders: Sequence[object]) -> tuple[Accepted, ...]:
        return tuple(Accepted("job 1") for _ in orders)


def test_it_is_delivered_under_its_own_name_and_a_random_id(office: Office) -> None:
    with_targets(office, FOLDER, QUEUE)
    folder = office.destinations[SITE, "dossier"] = MemoryDestination()
    office.destinations[SITE, "accueil"] = Queue()
    page = made(office)
    ids = set()
    for _ in range(2):
        folder = office.destinations[SITE, "dossier"] = MemoryDestination()
        sent = send(page, b"%PDF-1.7 list", office.desk())
        (order,) = folder.effects
        ids.add(order.id)
        first, second = (one.outcome for one in sent)
        assert isinstance(first, Receipt)
        assert isinstance(second, Accepted)
        assert order.document.name == "bordereau-990000010-2026-11-20.pdf"
        assert (order.site, order.target) == (SITE, "dossier")
        assert set(order.id) <= set("0123456789abcdef")
    assert len(ids) == 2


def test_the_copy_that_lies_there_can_be_removed_at_its_term(office: Office) -> None:
    with_targets(office, FOLDER, QUEUE)
    folder = office.destinations[SITE, "dossier"] = MemoryDestination()
    queue = office.destinations[SITE, "accueil"] = MemoryQueue()
    in_folder, in_queue = send(made(office), b"%PDF-1.7 list", office.desk())
    queue.keeps_files = True
    queue.finish()
    assert in_folder.copy is not None
    assert in_queue.copy is not None
    assert folder.remove(in_folder.copy) is Removal.REMOVED
    assert folder.documents == {}
    assert queue.remove(in_queue.copy) is Removal.REMOVED


def test_a_folder_that_does_not_answer_does_not_keep_it_from_the_queue(office: Office) -> None:
    with_targets(office, FOLDER, QUEUE)
    down = office.destinations[SITE, "dossier"] = MemoryDestination()
    down.go_down(Unavailable("the share is away"))
    office.destinations[SITE, "accueil"] = Queue()
    sent = send(made(office), b"%PDF-1.7 list", office.desk())
    first, second = (one.outcome for one in sent)
    assert isinstance(first, Unavailable)
    assert isinstance(second, Accepted)
    assert [one.copy is None for one in sent] == [True, False]


CLOSED = Hours((Span(6, 0, 60),))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        pytest.param(PrintWhen.OPEN, "the site opens on", id="outside its hours"),
        pytest.param(PrintWhen.HOLD, "when somebody asks", id="only when asked"),
    ],
)
def test_a_list_with_names_is_not_laid_on_a_tray_unless_it_is_asked_for(
    office: Office, when: PrintWhen, words: str
) -> None:
    with_targets(office, FOLDER, replace(QUEUE, printing=Printing(when=when)))
    site = replace(office.rules.sites[SITE], hours=CLOSED)
    office.rules = replace(office.rules, sites={**office.rules.sites, SITE: site})
    office.destinations[SITE, "dossier"] = MemoryDestination()
    queue = office.destinations[SITE, "accueil"] = MemoryQueue()
    folder, paper = send(made(office), b"%PDF-1.7 list", office.desk())
    assert isinstance(folder.outcome, Receipt)
    assert isinstance(paper.outcome, Wait)
    assert (words in paper.outcome.because, queue.jobs) == (True, [])
    _, paper = send(made(office), b"%PDF-1.7 list", office.desk(), asked=True)
    assert isinstance(paper.outcome, Accepted)
    assert [job.title for job in queue.jobs] == [paper.order]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        pytest.param("done", Receipt, id="printed"),
        pytest.param("going", Accepted, id="still there"),
        pytest.param("aborted", Failed, id="given up"),
        pytest.param("canceled", Refused, id="cancelled"),
        pytest.param("vanished", InDoubt, id="nobody can tell"),
    ],
)
def test_a_page_that_a_queue_took_is_followed_to_its_end(
    office: Office, end: End, kind: type[object]
) -> None:
    with_targets(office, QUEUE)
    queue = MemoryQueue()
    office.destinations[SITE, "accueil"] = queue
    sent = send(made(office), b"%PDF-1.7 list", office.desk())
    queue.hinder("out of paper")
    queue.finish(end)
    (followed,) = follow(sent, SITE, office.desk(), 0)
    assert isinstance(followed.outcome, kind)
    if isinstance(followed.outcome, Accepted):
        assert followed.outcome.because == "out of paper"
    queue.down = Unavailable("silent for a moment")
    assert follow(sent, SITE, office.desk(), 0) == sent, "what was taken stays taken"


def test_a_share_that_hangs_keeps_nobody_waiting_for_ever(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    class Hanging(MemoryDestination):
        def deliver(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
            free.wait(60)
            return super().deliver(orders)

    monkeypatch.setattr("dispatcher.service.bordereau._PATIENCE", 0.1)
    with_targets(office, FOLDER, QUEUE)
    office.destinations[SITE, "dossier"] = Hanging()
    office.destinations[SITE, "accueil"] = Queue()
    try:
        folder, paper = send(made(office), b"%PDF-1.7 list", office.desk())
        assert isinstance(folder.outcome, InDoubt)
        assert isinstance(paper.outcome, Accepted)
    finally:
        free.set()


def test_a_target_that_this_installation_lacks_is_told(office: Office) -> None:
    with_targets(office, QUEUE)
    (sent,) = send(made(office), b"%PDF-1.7 list", office.desk())
    assert isinstance(sent.outcome, Refused)


def test_a_site_without_folder_and_queue_needs_a_file(office: Office) -> None:
    with_targets(office, replace(FOLDER, kind=Kind.LIS))
    with pytest.raises(NotAsked, match="neither"):
        send(made(office), b"%PDF-1.7 list", office.desk())
