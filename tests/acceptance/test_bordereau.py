"""A site's list of the day from end to end: Dovecot, the ledger on disk, a folder, a PDF."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pypdf import PdfReader
from structlog.testing import capture_logs

from dispatcher.core.certificate import PdfText
from dispatcher.core.delivery import Receipt
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Kind, Rules, Site, Target
from dispatcher.edges.folder import MountTables, SiteFolder
from dispatcher.edges.imap import Account, ImapMailbox
from dispatcher.edges.ledger import SqlLedger
from dispatcher.edges.paper import PdfPaper
from dispatcher.edges.pdf.inspector import PdfInspector
from dispatcher.edges.reading.here import ReadHere
from dispatcher.ports import Destination, Paper
from dispatcher.service.bordereau import bordereau, send
from dispatcher.service.desk import Desk, Policy, Reader
from dispatcher.service.round import Round
from dispatcher.simulator import scenario
from dispatcher.simulator.scenario import SITES, Sending
from tests.fakes.standing_clock import StandingClock
from tests.servers.dovecot import Bal

REPUBLIQUE, GARE = FinessET("990000010"), FinessET("990000028")
SENDERS = frozenset({"noreply.sidep@enovacom.easycrypt.fr"})
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TODAY, YESTERDAY = date(2026, 11, 20), date(2026, 11, 19)
THIS_MORNING = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
# The 20th in Paris, the 19th in UTC and in most of what a server says.
LAST_NIGHT = datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
PAPER: Paper = PdfPaper()


@dataclass
class Pieces:
    """A mailbox, a ledger and a folder for each site."""

    top: Path
    bal: Bal
    ledger: SqlLedger
    inspector: PdfInspector
    clock: StandingClock

    def mailbox(self) -> ImapMailbox:
        """Return a connection of its own, as each command makes one."""
        account = Account(
            name="lbm",
            host="127.0.0.1",
            port=self.bal.server.imap_port,
            security="plaintext",
            username=self.bal.user,
            password=lambda: self.bal.password,
            keyword="SidepDispatched",
        )
        return ImapMailbox(account, self.clock)

    def folder(self, site: FinessET) -> Path:
        return self.top / str(site)

    def desk(self) -> Desk:
        targets = {
            FinessET(n): (Target("dossier", Kind.FOLDER, str(self.top / n)),) for n in SITES
        }
        sites = {n: Site(n, SITES[str(n)], targets[n]) for n in targets}
        rules = Rules("LBM Exemple", None, sites, digest="0" * 64)
        reader = Reader(
            ReadHere(self.inspector),
            self.inspector,
            lambda: rules,
            Policy(SENDERS, PdfText.OFF),
        )
        return Desk(self.ledger, self.clock, reader, self._destination)

    def _destination(self, site: FinessET, name: str, rules: str = "") -> Destination | None:
        del rules
        if name != "dossier":
            return None
        tables = MountTables(fstab=self.top / "no fstab")
        return SiteFolder(self.folder(site), secret=self.ledger.secret, tables=tables)

    def turn(self) -> None:
        """Take in and deliver what lies in the mailbox."""
        with closing(self.mailbox()) as mailbox:
            Round(mailbox, self.desk(), keyword="SidepDispatched", patience=5).turn()


@pytest.fixture
def pieces(tmp_path: Path, bal: Bal) -> Iterator[Pieces]:
    for number in SITES:
        (tmp_path / number).mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    clock = StandingClock(NOW)
    ledger = SqlLedger(f"sqlite:///{tmp_path}/state/ledger.sqlite3", clock=clock)
    with closing(ledger), closing(PdfInspector()) as inspector:
        yield Pieces(tmp_path, bal, ledger, inspector, clock)
        assert ledger.balance().difference == 0


@pytest.fixture
def sent(pieces: Pieces) -> list[Sending]:
    """Let ten certificates for two sites come, the first two before midnight in UTC."""
    found = scenario.certificates(31, 10, [str(REPUBLIQUE), str(GARE)], LAST_NIGHT)
    pieces.bal.append_all([one.raw for one in found[:2]], internal_at=LAST_NIGHT)
    pieces.bal.append_all([one.raw for one in found[2:]], internal_at=THIS_MORNING)
    pieces.turn()
    return found


def for_site(sent: list[Sending], site: FinessET) -> list[Sending]:
    return [one for one in sent if one.truth.site == str(site)]


def letters(text: str) -> str:
    """Return a text without what wrapping and composing of letters change."""
    return "".join(text.split())


def text_of(content: bytes) -> str:
    pages = PdfReader(io.BytesIO(content)).pages
    return letters("".join(page.extract_text() for page in pages))


def test_the_days_list_lies_in_the_sites_folder_beside_its_certificates(
    pieces: Pieces, sent: list[Sending]
) -> None:
    flags = pieces.bal.flags()
    page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
    content = PAPER.bordereau(page)
    (outcome,) = (one.outcome for one in send(page, content, pieces.desk()))

    assert isinstance(outcome, Receipt)
    assert not outcome.already_there
    mine, others = for_site(sent, REPUBLIQUE), for_site(sent, GARE)
    file = pieces.folder(REPUBLIQUE) / "bordereau-990000010-2026-11-20.pdf"
    assert file.read_bytes() == content
    assert len(list(pieces.folder(REPUBLIQUE).iterdir())) == len(mine) + 1
    said = text_of(content)
    for one in mine:
        assert letters(one.truth.file_number or "?") in said
    for one in others:
        assert letters(one.truth.file_number or "?") not in said
    assert page.unread == 0
    assert {(line.name.last, line.name.first) for line in page.lines if line.name} == {
        (one.truth.last_name, one.truth.first_name) for one in mine
    }
    assert "Total:5certificats" in said
    assert pieces.bal.flags() == flags


def test_the_day_is_that_of_paris(pieces: Pieces, sent: list[Sending]) -> None:
    today = bordereau(GARE, TODAY, pieces.desk(), [pieces.mailbox()])
    before = bordereau(GARE, YESTERDAY, pieces.desk(), [pieces.mailbox()])
    assert (len(today.lines), len(before.lines)) == (len(for_site(sent, GARE)), 0)
    assert "Aucuncertificat" in text_of(PAPER.bordereau(before))


def test_the_same_list_again_is_one_file_and_a_changed_one_another(
    pieces: Pieces, sent: list[Sending]
) -> None:
    count = len(for_site(sent, REPUBLIQUE))
    for again in (False, True):
        page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
        (done,) = send(page, PAPER.bordereau(page), pieces.desk())
        assert isinstance(done.outcome, Receipt)
        assert done.outcome.already_there is again
    assert len(list(pieces.folder(REPUBLIQUE).glob("bordereau-*"))) == 1

    (later,) = scenario.certificates(77, 1, [str(REPUBLIQUE)], THIS_MORNING)
    pieces.bal.append(later.raw, internal_at=THIS_MORNING)
    pieces.turn()
    page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
    assert len(page.lines) == count + 1
    send(page, PAPER.bordereau(page), pieces.desk())
    assert len(list(pieces.folder(REPUBLIQUE).glob("bordereau-*"))) == 2


def test_mail_that_has_gone_leaves_a_line_without_a_name(
    pieces: Pieces, sent: list[Sending]
) -> None:
    gone = for_site(sent, REPUBLIQUE)[0]
    uid = next(n for n, raw in pieces.bal.messages().items() if raw == gone.raw)
    pieces.bal.remove(uid)
    page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
    assert page.unread == 1
    assert f"{gone.truth.file_number}nomnonlu" in text_of(PAPER.bordereau(page))


def test_a_renumbered_mailbox_gives_no_wrong_name(pieces: Pieces, sent: list[Sending]) -> None:
    pieces.bal.renumber()
    page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
    assert page.unread == len(for_site(sent, REPUBLIQUE))
    pieces.turn()
    page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
    assert page.unread == 0, "the next turn finds them again"


def test_nothing_of_a_patient_is_logged(
    pieces: Pieces, sent: list[Sending], caplog: pytest.LogCaptureFixture
) -> None:
    pieces.bal.remove(1)
    with capture_logs() as ours, caplog.at_level(logging.DEBUG):
        page = bordereau(REPUBLIQUE, TODAY, pieces.desk(), [pieces.mailbox()])
        send(page, PAPER.bordereau(page), pieces.desk())
    said = repr(ours) + caplog.text + repr(page)
    for one in sent:
        truth = one.truth
        for text in (truth.file_number, truth.last_name, truth.first_name):
            assert text is None or len(text) < 4 or text not in said
