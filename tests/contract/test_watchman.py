"""Each alarm is provoked, and its recovery, on the real thing where there is one.

The mails go to a real mail server. The calendar stands still until a test lets it go on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.core.certificate import HoldReason
from dispatcher.core.finess import FinessET
from dispatcher.core.judging import Limits
from dispatcher.core.ledger import NewDelivery, Place
from dispatcher.core.routing import Kind, Printing, Site, Target
from dispatcher.core.vitals import Credential
from dispatcher.edges.clock import SystemClock
from dispatcher.edges.cups import CupsQueue, CupsServer
from dispatcher.edges.folder import SiteFolder
from dispatcher.edges.imap import Account, ImapMailbox, own_tls
from dispatcher.edges.ledger import SqlLedger
from dispatcher.edges.smtp import SmtpAccount, SmtpAlerts
from dispatcher.errors import LoginRefused, Unavailable
from dispatcher.ports import Destination, Ledger, Quota
from dispatcher.rules import RoutingFile
from dispatcher.service.herald import Herald
from dispatcher.service.places import Places
from dispatcher.service.purge import brakes, quota
from dispatcher.service.purge.brakes import Brake, Braked
from dispatcher.service.rulebook import Rulebook
from dispatcher.service.spool import SpoolWatch
from dispatcher.service.watchman import Watchman
from tests.fakes.ledger_samples import pending
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.office import Office, certificates
from tests.servers.authority import Authority
from tests.servers.cupsd import Cupsd
from tests.servers.dovecot import Bal, Dovecot
from tests.servers.post import Post

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SITE = FinessET("990000010")


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        yield server


class Watch:
    """A watchman over an office, and the mail server that his mails go to."""

    def __init__(self, office: Office, post: Post, ledger: Ledger | None = None) -> None:
        self.office, self.post = office, post
        self.ledger = ledger or office.ledger
        self.credentials: list[Credential] = []
        self.checks = True  # the mailbox is looked at all the time
        self.desk = office.desk(ledger)
        self.places = Places(self.desk, patience=60.0)
        self._watchman = self.begin()
        office.clock.go(DAY)  # the service runs since yesterday

    def begin(self) -> Watchman:
        """Start the service anew."""
        account = SmtpAccount(
            "127.0.0.1", self.post.port, "plaintext", "a@b.test", ("c@b.test",)
        )
        self._watchman = Watchman(
            self.desk,
            [self.office.mailbox.name],
            Herald(self.desk, SmtpAlerts(account), per_hour=1000),
            self.places,
            limits=Limits(),
            credentials=lambda: self.credentials,
        )
        return self._watchman

    def checked(self) -> None:
        """Let the mailbox have had a good check now."""
        name, now = self.office.mailbox.name, self.office.clock.now()
        known = self.ledger.place(name) or Place(name, 1, 1, now)
        with suppress(Unavailable), self.ledger.writing() as writer:
            writer.remember(replace(known, checked_at=now))

    def look(self) -> None:
        for _ in range(2):
            if self.checks:
                self.checked()
            self.places.turn()
            self._watchman.turn()
            self.office.clock.go(MINUTE)

    def assert_told(self, word: str, kind: str) -> None:
        """Look; the last mail, and only one more than before, says this of that kind."""
        before = len(self.post.letters)
        self.look()
        assert len(self.post.letters) == before + 1, self.post.subjects()
        text = self.post.texts()[-1]
        assert text.startswith(f"{word} : "), text
        assert f"[{kind}]" in text, text

    def assert_quiet(self) -> None:
        before = len(self.post.letters)
        self.look()
        assert len(self.post.letters) == before, self.post.subjects()[before:]

    def assert_alarm_and_recovery(
        self, kind: str, provoke: Callable[[], object], mend: Callable[[], object]
    ) -> None:
        """Provoke it: one mail, none again, none by a restart; mend it: one mail."""
        provoke()
        self.assert_told("ALERTE", kind)
        self.assert_quiet()
        self.begin()
        self.assert_quiet()
        mend()
        self.assert_told("RÉTABLI", kind)
        self.assert_quiet()


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def watch(office: Office, post: Post) -> Watch:
    found = Watch(office, post)
    found.checked()
    return found


# --- the mailbox, on a real Dovecot


def real_mailbox(bal: Bal) -> ImapMailbox:
    server = bal.server
    account = Account(
        name="lbm",
        host="127.0.0.1",
        port=server.imap_port,
        security="plaintext",
        username=bal.user,
        password=lambda: bal.password,
    )
    return ImapMailbox(account, SystemClock())


@pytest.fixture
def own_dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


def test_a_server_that_is_stopped_stalls_the_intake(
    office: Office, post: Post, own_dovecot: Dovecot
) -> None:
    mailbox = real_mailbox(own_dovecot.bal())
    office.mailbox.name = "lbm"
    watch, work = Watch(office, post), office.round(mailbox)
    watch.checks = False
    work.turn()
    watch.assert_quiet()

    def stop() -> None:
        own_dovecot.stop()
        with pytest.raises(Unavailable):
            work.turn()
        office.clock.go(15 * MINUTE)

    def start() -> None:
        own_dovecot.start()
        work.turn()
        watch.checks = True

    watch.assert_alarm_and_recovery("intake-stalled", stop, start)
    mailbox.close()


def test_a_password_that_was_changed_is_a_refused_login(
    office: Office, post: Post, bal: Bal
) -> None:
    office.mailbox.name = "lbm"
    password = bal.password
    watch = Watch(office, post)

    def turn() -> None:
        mailbox = real_mailbox(bal)
        office.round(mailbox).turn()
        mailbox.close()

    def wrong() -> None:
        bal.password = "not this one"
        with pytest.raises(LoginRefused):
            turn()

    def right() -> None:
        bal.password = password
        turn()

    turn()
    watch.assert_alarm_and_recovery("login-refused", wrong, right)


def test_a_full_mailbox_is_told_at_each_step(watch: Watch, office: Office) -> None:
    def filled(percent: int) -> None:
        office.mailbox.quota_told = Quota(percent, 100)
        quota.watch(office.mailbox, watch.desk)
        watch.checked()

    office.mailbox.select()
    filled(75)
    watch.assert_told("ALERTE", "quota")
    filled(90)
    watch.assert_told("AGGRAVATION", "quota")
    filled(72)
    watch.assert_quiet()
    filled(60)
    watch.assert_told("RÉTABLI", "quota")


def test_a_purge_that_a_brake_stops(watch: Watch, office: Office) -> None:
    def brake(braked: Braked | None) -> None:
        with office.ledger.writing() as writer:
            brakes.write(writer, office.mailbox.name, braked)

    stopped = Braked(frozenset({Brake.MAILBOX_SHRANK}), office.clock.now())
    watch.assert_alarm_and_recovery(
        "purge-stopped", lambda: brake(stopped), lambda: brake(None)
    )


def test_a_client_certificate_that_nears_its_end(watch: Watch, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path / "authority").client("lbm")
    own = own_tls.load(
        Account("lbm", "h", 993, "u", client_certificate=certificate, client_key=key)
    )
    assert own is not None
    ends_at = own.ends_at
    office = watch.office

    def left(span: timedelta) -> None:
        office.clock.at = ends_at - span
        watch.begin()
        watch.checked()

    watch.credentials = [Credential("lbm", "client certificate", ends_at)]
    left(29 * DAY)
    watch.assert_told("ALERTE", "credential-ends")
    left(20 * DAY)
    watch.assert_quiet()
    left(6 * DAY)
    watch.assert_told("AGGRAVATION", "credential-ends")
    left(5 * DAY)
    watch.assert_told("TOUJOURS EN COURS", "credential-ends")
    left(12 * HOUR)
    watch.assert_told("AGGRAVATION", "credential-ends")
    watch.credentials = [Credential("lbm", "client certificate", ends_at + 365 * DAY)]
    watch.checked()
    watch.assert_told("RÉTABLI", "credential-ends")


# --- the places, on a real cupsd and a real disk


def test_a_printer_that_is_paused(office: Office, post: Post, cupsd: Cupsd) -> None:
    name = cupsd.add_queue("paused")
    server = CupsServer(str(cupsd.socket), clock=SystemClock())
    try:
        queue = CupsQueue(server, name, Printing())
        target = Target("accueil", Kind.PRINT, name, printing=Printing())
        watch = watched(office, post, target, queue)

        def wait(change: Callable[[str], None]) -> None:
            change(name)
            watch.places.turn()
            office.clock.go(16 * MINUTE)
            watch.checked()

        watch.assert_quiet()
        watch.assert_alarm_and_recovery(
            "printer-down", lambda: wait(cupsd.pause), lambda: wait(cupsd.resume)
        )
        watch.assert_alarm_and_recovery(
            "printer-down", lambda: wait(cupsd.reject), lambda: wait(cupsd.accept)
        )
    finally:
        server.close()


def watched(office: Office, post: Post, target: Target, place: Destination) -> Watch:
    """Return a watch over one site with one target."""
    office.rules = replace(office.rules, sites={SITE: Site(SITE, "Site", (target,))})
    office.destinations = {(SITE, target.name): place}
    watch = Watch(office, post)
    watch.checked()
    return watch


@contextmanager
def mounted(directory: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def test_a_share_that_fills_up(office: Office, post: Post, tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    with mounted(share):
        folder = SiteFolder(share, secret=b"s")
        watch = watched(office, post, Target("dossier", Kind.FOLDER, str(share)), folder)
        ballast = share / "ballast"
        watch.assert_quiet()
        watch.assert_alarm_and_recovery(
            "disk-nearly-full",
            lambda: ballast.write_bytes(bytes(3_900_000)),
            ballast.unlink,
        )


def test_the_ledgers_disk_fills_up_to_the_last_byte(
    office: Office, post: Post, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk):
        ledger = SqlLedger(f"sqlite:///{disk}/l.sqlite3", clock=office.clock)
        try:
            watch = Watch(office, post, ledger)
            watch.checked()
            watch.assert_quiet()
            ballast = disk / "ballast"

            def fill() -> None:
                with ballast.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(4096))

            fill()
            with pytest.raises(Unavailable), ledger.writing() as writer:
                writer.note("anything", "x" * 10_000)
            watch.assert_told("ALERTE", "disk-nearly-full")
            watch.assert_quiet()
            ballast.unlink()
            watch.checked()
            watch.assert_told("RÉTABLI", "disk-nearly-full")
        finally:
            ledger.close()


def test_a_folder_whose_share_is_gone(office: Office, post: Post, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    place = SiteFolder(folder, secret=b"s")
    watch = watched(office, post, Target("dossier", Kind.FOLDER, str(folder)), place)

    def later(change: Callable[[], object]) -> None:
        change()
        watch.places.turn()
        office.clock.go(16 * MINUTE)
        watch.checked()

    watch.assert_alarm_and_recovery(
        "folder-down", lambda: later(folder.rmdir), lambda: later(folder.mkdir)
    )


def test_a_spool_that_keeps_documents(office: Office, post: Post) -> None:
    queue = MemoryQueue()
    queue.keeps_documents = True
    target = Target("accueil", Kind.PRINT, "q", printing=Printing())
    sending = next(s for s in certificates(1, 30) if s.truth.site == str(SITE))
    watch = watched(office, post, target, queue)
    office.mailbox.append(sending.raw)
    work = office.round()
    work.turn()
    queue.finish()
    work.turn()
    spool = SpoolWatch(watch.desk)

    def keeps(documents: bool) -> None:
        queue.keeps_documents = documents
        spool.turn()

    watch.assert_alarm_and_recovery(
        "spool-kept", lambda: keeps(documents=True), lambda: keeps(documents=False)
    )


# --- certificates


def arrived(office: Office) -> str:
    # A positive one: its term is far away.
    sent = next(s for s in certificates(1, 30) if s.truth.result == "positif")
    office.mailbox.append(sent.raw, internal_at=office.clock.now())
    assert sent.truth.site is not None
    return sent.truth.site


def test_a_certificate_that_cannot_be_delivered_gets_old(watch: Watch, office: Office) -> None:
    work = office.round()
    site = arrived(office)

    def stuck() -> None:
        office.at(site).go_down(Unavailable("the share is not mounted"))
        work.turn()
        office.clock.go(31 * MINUTE)
        watch.checked()

    def through() -> None:
        office.at(site).mend()
        work.turn(impatient=True)

    # The folder itself would be told as well, and in the same mails.
    well = replace(watch.desk, destination=lambda *_: MemoryQueue())
    watch.places = Places(well, patience=60.0)
    watch.begin()
    office.clock.go(HOUR)
    watch.assert_alarm_and_recovery("oldest-unsettled", stuck, through)


def test_what_is_held_waits_for_a_person(watch: Watch, office: Office) -> None:
    site, before, work = arrived(office), office.rules, office.round()

    def unknown() -> None:
        office.without(site)
        work.turn()

    def released() -> None:
        office.rules = before
        (entry,) = office.ledger.entries()
        with office.ledger.writing() as writer:
            writer.release(entry.id, FinessET(site), [NewDelivery("folder", Kind.FOLDER)])
        work.turn()

    watch.assert_alarm_and_recovery("held", unknown, released)
    first = watch.post.texts()[0]
    assert f"{HoldReason.SITE_UNKNOWN.value} : 1" in first
    (entry,) = office.ledger.entries()
    number = entry.file_number
    assert number
    assert number not in first


def test_a_deadline_comes_before_the_delivery(watch: Watch, office: Office) -> None:
    site, work = arrived(office), office.round()
    office.at(site).go_down(Unavailable("the share is not mounted"))
    work.turn()
    (entry,) = office.ledger.entries()
    assert entry.purge_at is not None
    with office.ledger.writing() as writer:
        writer.hold(entry.id, HoldReason.TARGET_REFUSED, "")
    watch.look()
    watch.post.letters.clear()
    office.clock.at = entry.purge_at - 23 * HOUR
    watch.checked()
    watch.look()
    assert any("[deadline-near]" in text for text in watch.post.texts())
    office.clock.at = entry.purge_at - 3 * HOUR
    watch.checked()
    watch.assert_told("AGGRAVATION", "deadline-near")
    with office.ledger.writing() as writer:
        writer.discard(entry.id)
    watch.checked()
    watch.look()
    assert "RÉTABLI : échéance légale proche" in watch.post.texts()[-1]


def test_somebody_else_removes_what_was_not_delivered(watch: Watch, office: Office) -> None:
    site, work = arrived(office), office.round()
    office.without(site)
    work.turn()
    watch.look()
    office.mailbox.take_away(*office.mailbox.messages())
    work.turn()
    watch.assert_told("ALERTE", "removed-by-others")
    (entry,) = office.ledger.entries()
    with office.ledger.writing() as writer:
        writer.discard(entry.id)
    watch.look()
    assert "RÉTABLI : messages retirés de la BAL" in watch.post.texts()[-1]


def test_a_balance_that_does_not_close(watch: Watch, office: Office) -> None:
    def off_by(count: int) -> None:
        office.ledger.book.received += count

    watch.assert_alarm_and_recovery("balance-broken", lambda: off_by(1), lambda: off_by(-1))


def test_a_site_falls_silent_and_is_heard_again(watch: Watch, office: Office) -> None:
    office.clock.at = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)  # a Thursday evening
    days = [office.clock.at - number * DAY for number in range(50)]
    site = next(iter(office.rules.sites))

    def come(moments: Iterable[datetime], first: int) -> None:
        with office.ledger.writing() as writer:
            for uid, at in enumerate(moments, first):
                entry = writer.receive(pending(uid, received_at=at, site=site, purge_at=None))
                writer.discard(entry.id)

    come([day - n * MINUTE for day in days if day.weekday() < 5 for n in range(12)], 1)
    watch.begin()
    watch.checked()
    watch.assert_quiet()

    def silent() -> None:
        office.clock.go(DAY)
        watch.checked()

    def heard() -> None:
        come([office.clock.now()], 10_000)
        office.clock.go(10 * MINUTE)
        watch.checked()

    watch.assert_alarm_and_recovery("site-silent", silent, heard)


def test_rules_that_are_refused_stay_told_until_the_file_is_mended(
    watch: Watch, office: Office, tmp_path: Path
) -> None:
    path = tmp_path / "routing.yaml"
    good = 'version: 1\nsites:\n  "990000010": {deliver: [{name: d, folder: /srv/d}]}\n'
    path.write_text(good, encoding="utf-8")
    file = RoutingFile(path, lambda _: None)
    found = file.draft()
    assert found is not None
    assert found.rules is not None
    book = Rulebook(file, found=found, rules=found.rules, clock=office.clock)
    book.begin(office.ledger)

    def write(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        assert book.reload()

    watch.assert_alarm_and_recovery(
        "rules-refused", lambda: write(good + "sites: {}\n"), lambda: write(good)
    )
