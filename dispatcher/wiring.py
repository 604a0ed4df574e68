"""Puts settings, edges and service together: the only module that knows both sides."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from dispatcher import settings as settings_file
from dispatcher.core.bordereau import Bordereau
from dispatcher.core.certificate import PdfText
from dispatcher.core.finess import FinessET
from dispatcher.core.judging import Limits
from dispatcher.core.routing import Kind, Printing, Rules, Target
from dispatcher.core.rulebook import Draft
from dispatcher.core.vitals import Credential
from dispatcher.edges import cups, log, token
from dispatcher.edges import placing as placing_edge
from dispatcher.edges.beacon import HttpBeacon
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import CupsQueue, CupsServer, Vigil
from dispatcher.edges.folder import SiteFolder
from dispatcher.edges.imap import Account, ImapMailbox, Proxy, try_files
from dispatcher.edges.ledger import DaemonLock, Mounts, SqlLedger, path_of, set_aside
from dispatcher.edges.memory import give_back_large_pieces
from dispatcher.edges.pdf.inspector import PdfInspector
from dispatcher.edges.reading.beside import ReadBeside
from dispatcher.edges.reading.here import ReadHere
from dispatcher.edges.shelf import FileShelf
from dispatcher.edges.smtp import SmtpAccount, SmtpAlerts
from dispatcher.edges.systemd import SystemdNotifier
from dispatcher.edges.watch import FileWatch
from dispatcher.errors import ConfigInvalid, NotNow
from dispatcher.ports import (
    Alerts,
    Destination,
    Door,
    Ending,
    Finding,
    Health,
    Mailbox,
    MessageReader,
    Meter,
    Paper,
    Supervisor,
)
from dispatcher.rules import RoutingFile, print_targets
from dispatcher.service import distrust
from dispatcher.service.beacon import Signals
from dispatcher.service.daily import DailyLists
from dispatcher.service.desk import Desk, Policy, Purging, Reader
from dispatcher.service.errand import Errand
from dispatcher.service.gate import target_of
from dispatcher.service.herald import Herald
from dispatcher.service.moved import Moved
from dispatcher.service.places import Places
from dispatcher.service.reports import Plan, Reports
from dispatcher.service.rulebook import Rulebook
from dispatcher.service.watchman import Watchman
from dispatcher.settings import PREFIX, MailboxSettings, MetricsSettings, Settings

__all__ = ["CLOCK", "Configuration", "PdfInspector", "configuration"]

CLOCK: Final = SystemClock()

_log = structlog.get_logger(__name__)

# How often the service looks after itself (seconds).
_LOOKS: Final = 15
_PLACES: Final = 60
_REPORTS: Final = 30

# So many earlier versions are kept read.
_EARLIER: Final = 8

# A file that changes while it is read is read again so often.
_READINGS: Final = 100


@dataclass(frozen=True, slots=True)
class Configuration:
    """Both files. `draft` is routing.yaml as it was found, `rules` what is to be gone by.

    These differ only where a file with mistakes was allowed: see `configuration`.
    """

    settings: Settings
    rules: Rules
    draft: Draft


def configuration(
    path: Path, environ: Mapping[str, str] = os.environ, *, last_good: bool = False
) -> Configuration:
    """Load both files and set up the log. Raises ConfigInvalid with every problem.

    `last_good`: where routing.yaml has mistakes, go by the rules that the ledger knows to
    have been in force last, if it knows any (docs/adr/0018).
    """
    chosen = settings(path, environ)
    draft = settled(routing(chosen))
    rules = draft.rules
    if rules is None and last_good:
        rules = _last_good(chosen)
    if rules is None:
        raise ConfigInvalid(draft.problems)
    return Configuration(chosen, rules, draft)


def settings(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings alone and set up the log. Raises ConfigInvalid."""
    log.guard_crashes()
    found = settings_file.load(path, environ)
    log.configure(style=found.log.format.value, level=found.log.level.value)
    return found


def routing(chosen: Settings, path: Path | None = None) -> RoutingFile:
    """Return the rules' file, or another one to be read as if it were it."""
    file = path or chosen.routing
    return RoutingFile(file, partial(_refuse_impossible, file))


def placing(chosen: Settings, *, keep: bool) -> Callable[[bytes], None]:
    """Return what puts new content into the rules' file; see `edges.placing`."""
    return partial(placing_edge.put, chosen.routing, keep=keep)


def settled(file: RoutingFile) -> Draft:
    """Read the file once; a file that is being written gets a few chances to be whole."""
    for _ in range(_READINGS):
        draft = file.draft()
        if draft is not None:
            return draft
    raise NotNow("routing.yaml changes while it is read", hint="Try again in a moment.")


def _last_good(chosen: Settings) -> Rules | None:
    """Return the rules in force last, when the ledger has them and they are still valid."""
    if not path_of(chosen.ledger).exists():
        return None
    with ledger_of(chosen) as ledger:
        state = ledger.rules_state()
        content = None if state is None else ledger.rules_content(state.digest)
    return None if content is None else routing(chosen).check(content).rules


def _refuse_impossible(path: Path, found: Rules) -> None:
    """Refuse what this installation cannot carry out."""
    printed = print_targets(found)
    if printed and not cups.available():
        sites = ", ".join(sorted({str(site) for site, _ in printed})[:5])
        what = f"{path}: site(s) {sites} print, and pycups is not installed"
        raise ConfigInvalid((f"{what}; pip install 'sidep-dispatcher[cups]'",))


def hints(chosen: Configuration, changed: Callable[[], None]) -> FileWatch:
    """Return what hears of changes of the rules' file."""
    return FileWatch(chosen.settings.routing, changed)


def rulebook(chosen: Configuration) -> Rulebook:
    """Return the rules in force, which a changed file may replace."""
    file = routing(chosen.settings)
    return Rulebook(file, found=chosen.draft, rules=chosen.rules, clock=CLOCK)


@contextmanager
def open_ledger(chosen: Configuration) -> Iterator[SqlLedger]:
    """Open the ledger; it is closed when the block ends."""
    with ledger_of(chosen.settings) as ledger:
        yield ledger


@contextmanager
def ledger_of(chosen: Settings) -> Iterator[SqlLedger]:
    """Open the ledger that the settings name."""
    ledger = SqlLedger(chosen.ledger, clock=CLOCK)
    try:
        yield ledger
    finally:
        ledger.close()


def paper() -> Paper:
    """Return what draws pages for the desk."""
    # The libraries that draw take longer to import than the other commands to run.
    from dispatcher.edges.paper import PdfPaper  # noqa: PLC0415 - see above

    return PdfPaper()


@contextmanager
def open_inspector() -> Iterator[PdfInspector]:
    """Make the PDF inspector; its helpers end when the block does."""
    inspector = PdfInspector()
    try:
        yield inspector
    finally:
        inspector.close()


@contextmanager
def _read_beside(chosen: Configuration) -> Iterator[ReadBeside]:
    # The text costs more than all else; where it must be read before, nothing reads it after.
    before = chosen.settings.pdf_text is PdfText.REQUIRE
    messages = ReadBeside(pdf_readers=2 if before else 1)
    try:
        yield messages
    finally:
        messages.close()


def reader(
    chosen: Configuration,
    inspector: PdfInspector,
    rules: Rulebook | None = None,
    messages: MessageReader | None = None,
) -> Reader:
    """Return what reading a message to the end needs; without `messages` they are read here."""
    settings = chosen.settings
    policy = Policy(
        senders=settings.senders,
        pdf_text=settings.pdf_text,
        terms=settings.terms,
        purging=Purging(
            settings.retention.max_deletions_per_run,
            settings.retention.max_share,
            settings.retention.purge_every,
            settings.retention.audit,
        ),
        since={
            name: one.since for name, one in settings.mailboxes.items() if one.since is not None
        },
    )
    return Reader(messages or ReadHere(inspector), inspector, rules or rulebook(chosen), policy)


@contextmanager
def open_desk(
    chosen: Configuration,
    rules: Rulebook | None = None,
    *,
    serving: bool = False,
    meter: Meter | None = None,
) -> Iterator[Desk]:
    """Open everything that the work on mailboxes needs.

    `serving`: certificates are going to be delivered, with the daemon's lock held. CUPS is
    to remember its restarts from now on, and a ledger that is not the one that worked here
    last prints nothing by itself that may be on paper (docs/adr/0021).
    `meter` counts what comes of deliveries.
    """
    in_force = rules or rulebook(chosen)
    with (
        open_ledger(chosen) as ledger,
        open_inspector() as inspector,
        _read_beside(chosen) as messages,
        _printing(chosen) as server,
        _remembering(server, in_force, begin=serving),
    ):
        if serving:
            _recognise(ledger, chosen.settings.mailboxes)
        earlier = Earlier(ledger, routing(chosen.settings))
        destinations = Destinations(ledger, in_force, server, earlier)
        # What is loaded by now stays: to look for garbage in it takes a tenth of the time.
        gc.freeze()
        give_back_large_pieces()
        yield Desk(
            ledger,
            CLOCK,
            replace(reader(chosen, inspector, in_force, messages), earlier=earlier),
            destinations.find,
            destinations.single,
            paper,
            {"print worker": server.at_work_for},
            meter,
        )


def _recognise(ledger: SqlLedger, mailboxes: Iterable[str]) -> None:
    why = ledger.suspicion()
    if why is not None:
        held = distrust.begin(ledger, CLOCK.now(), why.value, mailboxes)
        _log.error("ledger_was_distrusted", because=why.value, held=held)
    ledger.vouch()


def move_ledger_aside(chosen: Configuration) -> Path | None:
    """Move the ledger away, damaged or not; return its new name. With the lock held."""
    return set_aside(chosen.settings.ledger, CLOCK.now())


@contextmanager
def _printing(chosen: Configuration) -> Iterator[CupsServer]:
    """Make the way to cupsd; its helper starts when it is first asked and ends here."""
    server = CupsServer(chosen.settings.cups.server, clock=CLOCK)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _remembering(server: CupsServer, rules: Rulebook, *, begin: bool) -> Iterator[None]:
    """Let CUPS remember its restarts while the block runs; see `Vigil`."""
    vigil = Vigil(server, lambda: bool(print_targets(rules())))
    if begin:
        vigil.start()
    try:
        yield
    finally:
        vigil.stop()


def ledger_path(chosen: Configuration) -> Path:
    """Return the ledger's file."""
    return path_of(chosen.settings.ledger)


def daemon_lock(chosen: Configuration) -> DaemonLock:
    """Return the lock that keeps a second service off the same ledger."""
    return DaemonLock(chosen.settings.ledger, clock=CLOCK)


def supervisor() -> Supervisor:
    """Return the service manager that started this process; it may be none."""
    return SystemdNotifier()


def is_running(chosen: Configuration) -> bool:
    """Whether a service holds the ledger now."""
    return daemon_lock(chosen).is_held()


class Window:
    """Where a monitoring system looks in, as the settings want it."""

    def __init__(self, settings: MetricsSettings) -> None:
        # Who wants no figures does not pay for the library that writes them.
        from dispatcher.edges import metrics  # noqa: PLC0415 - see above

        self._host, self._port = settings.address
        self._edge = metrics
        self.meter = metrics.Exposition(version("sidep-dispatcher"))

    def door(self, health: Health) -> Door:
        """Return where it asks; it is not open yet."""
        pages = self._edge.Pages(self.meter, health, CLOCK)
        return self._edge.HttpDoor(self._host, self._port, pages)

    def check(self) -> Finding:
        """Return whether it could be opened now, or is already."""
        return self._edge.HttpDoor(self._host, self._port, lambda *_: None).check()


def window(chosen: Configuration) -> Window | None:
    """Return where a monitoring system looks in; None: the settings want none."""
    settings = chosen.settings.metrics
    return None if settings is None else Window(settings)


WithKeyword = tuple[Mailbox, str | None]
"""A mailbox and its settled keyword."""


def mailboxes(chosen: Configuration) -> list[Mailbox]:
    """Return every mailbox of the settings, not yet connected."""
    return [_mailbox(name, one) for name, one in chosen.settings.mailboxes.items()]


def daily_lists(
    chosen: Configuration, desk: Desk, *, wake: Callable[[], None]
) -> DailyLists | None:
    """Return what makes every site's list of the day; None: the settings want none."""
    at = chosen.settings.bordereau.at
    if at is None:
        return None
    return DailyLists(desk, partial(mailboxes, chosen), draw=_drawn, at=at, wake=wake)


def alerts(chosen: Configuration) -> Alerts | None:
    """Return the way to the people who are told; None: the settings name none."""
    settings = chosen.settings.alerts
    if settings is None or settings.smtp is None or settings.sender is None:
        return None
    smtp = settings.smtp
    account = SmtpAccount(
        smtp.host,
        smtp.port,
        smtp.security.value,
        settings.sender,
        settings.to,
        ca_file=smtp.ca_file,
        username=smtp.username,
        password=smtp.password,
    )
    return SmtpAlerts(account)


Endings = Callable[[], Mapping[str, tuple[Ending, ...]]]
"""Answers what each mailbox's last login rests on and when it ends."""


def errands(chosen: Configuration, desk: Desk, endings: Endings) -> list[Errand]:
    """Return what a service does beside the mailboxes to be watched over from outside."""
    settings, names = chosen.settings.alerts, tuple(chosen.settings.mailboxes)
    if settings is None:
        return []
    found, way = [], alerts(chosen)
    if way is not None:
        places = Places(desk)
        watchman = Watchman(
            desk,
            names,
            Herald(desk, way, per_hour=settings.per_hour),
            places,
            limits=Limits(settings.printer_down, settings.disk_share),
            credentials=partial(_credentials, endings),
        )
        found += [Errand(places.turn, _PLACES), Errand(watchman.turn, _LOOKS)]
    reports = settings.reports
    if reports is not None:
        shelf = None if reports.directory is None else FileShelf(reports.directory)
        plan = Plan(reports.at, daily=reports.daily, weekly=reports.weekly)
        found.append(Errand(Reports(desk, plan, alerts=way, shelf=shelf).turn, _REPORTS))
    if settings.ping_url is not None:
        signals = Signals(desk, names, HttpBeacon(settings.ping_url))
        found.append(Errand(signals.turn, _LOOKS))
    return found


def _credentials(endings: Endings) -> Iterator[Credential]:
    """Yield what the mailboxes' last logins rest on and ends by itself."""
    for name, found in endings().items():
        for one in found:
            yield Credential(name, one.what, one.ends_at)


def _drawn(page: Bordereau) -> bytes:
    return paper().bordereau(page)


LookAt = Callable[[Target], Destination]


class Earlier:
    """Finds earlier rules by their digest in the ledger. Used by many threads."""

    def __init__(self, ledger: SqlLedger, file: RoutingFile) -> None:
        self._ledger = ledger
        self._read = lru_cache(maxsize=_EARLIER)(self._parsed)
        self._file = file

    def __call__(self, digest: str) -> Rules | None:
        """Return the rules; None: they are not kept, or not valid any more."""
        content = self._ledger.rules_content(digest) if digest else None
        return None if content is None else self._read(content)

    def _parsed(self, content: bytes) -> Rules | None:
        return self._file.check(content).rules


class Destinations:
    """Finds the destination behind a site and the name of one of its targets."""

    def __init__(
        self, ledger: SqlLedger, rules: Rulebook, server: CupsServer, earlier: Earlier
    ) -> None:
        self._ledger = ledger
        self._earlier = earlier
        self._rules = rules
        self._server = server
        self._queues: dict[tuple[str, Printing], CupsQueue] = {}
        self._folders: dict[str, SiteFolder] = {}
        self._memory = Mounts(ledger)

    def find(self, site: FinessET, name: str, rules: str = "") -> Destination | None:
        """See `service.desk.FindDestination`."""
        in_force = self._rules()
        now = target_of(in_force, site, name)
        then = self._then(site, name, rules) if rules != in_force.digest else None
        if then is None or then == now:
            return None if now is None else self._at(now, now.printing)
        before = self._at(then, then.printing)
        if now is None or before is None or (now.kind, now.place) == (then.kind, then.place):
            return before
        after = self._at(now, now.printing) if now.kind is then.kind else None
        return before if after is None else Moved(before, after)

    def _then(self, site: FinessET, name: str, rules: str) -> Target | None:
        found = self._earlier(rules)
        return None if found is None else target_of(found, site, name)

    def single(self, site: FinessET, name: str, rules: str = "") -> Destination | None:
        """Return the same place for pages of our own: one copy, and no banner before it."""
        target = target_of(self._rules(), site, name)
        if target is None or target.printing is None:
            return self.find(site, name, rules)
        return self._at(target, replace(target.printing, copies=1, banner=False))

    def _at(self, target: Target, printing: Printing | None) -> Destination | None:
        if target.kind is Kind.PRINT and printing is not None:
            return self._queue(target.place, printing)
        if target.kind is not Kind.FOLDER:
            return None
        return self._folder(target.place)

    def _folder(self, place: str) -> SiteFolder:
        found = self._folders.get(place)
        if found is None:
            found = self._folders[place] = SiteFolder(
                Path(place), secret=self._ledger.secret, remembered_mount=self._memory
            )
        return found

    def _queue(self, name: str, printing: Printing) -> CupsQueue:
        """Return the one object for a queue: it remembers how its jobs went on."""
        new = CupsQueue(self._server, name, printing)
        return self._queues.setdefault((name, printing), new)


@contextmanager
def open_for_check(chosen: Configuration, ledger: SqlLedger | None) -> Iterator[LookAt]:
    """Yield what finds a target's destination for a look; it cannot be delivered to."""
    memory = None if ledger is None else Mounts(ledger)
    with _printing(chosen) as server:

        def look_at(target: Target) -> Destination:
            if target.printing is not None:
                return CupsQueue(server, target.place, target.printing)
            return SiteFolder(Path(target.place), secret=b"", remembered_mount=memory)

        yield look_at


def try_mailbox_files(chosen: Configuration) -> Iterator[Finding]:
    """Yield what is to be said of each mailbox without the network."""
    for name, one in chosen.settings.mailboxes.items():
        yield try_files(_account(name, one))


def _mailbox(name: str, settings: MailboxSettings) -> Mailbox:
    return ImapMailbox(_account(name, settings), CLOCK)


def _token(command: Sequence[str] | None) -> Callable[[], str] | None:
    return partial(token.run, command, hidden=PREFIX) if command else None


def _account(name: str, settings: MailboxSettings) -> Account:
    return Account(
        name=name,
        host=settings.host,
        port=settings.port,
        username=settings.username or "",
        security=settings.security.value,
        ca_file=settings.ca_file,
        password=settings.password,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        client_passphrase=settings.client_passphrase,
        proxy=_proxy(settings),
        token=_token(settings.token_command),
        folder=settings.folder,
        watch=settings.watch.value,
        poll_interval=settings.poll_interval.total_seconds(),
        keyword=settings.settled_keyword,
        max_message_size=settings.max_message_size,
        fetch_batch=settings.fetch_batch,
    )


def _proxy(settings: MailboxSettings) -> Proxy | None:
    if settings.proxy is None:
        return None
    url = urlsplit(settings.proxy)
    return Proxy(
        url.hostname or "", url.port or 0, settings.proxy_username, settings.proxy_password
    )
