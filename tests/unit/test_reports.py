"""Reports are made once, at their hour; the dead man's switch is called after good checks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dispatcher.core.ledger import Place
from dispatcher.edges.shelf import FileShelf
from dispatcher.errors import Unavailable
from dispatcher.service.beacon import Signals
from dispatcher.service.reports import Plan, Reports
from tests.fakes.memory_alerts import MemoryAlerts
from tests.fakes.office import Office, certificates

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THURSDAY = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)  # 10:00 in Paris


class Desk:
    """An office, people, a shelf, and what makes the reports."""

    def __init__(self, directory: Path) -> None:
        self.office = Office()
        self.office.clock.at = THURSDAY
        self.alerts = MemoryAlerts()
        self.directory = directory
        self.plan = Plan(time(7))
        self.reports = self.start()

    def start(self) -> Reports:
        shelf = FileShelf(self.directory)
        desk = self.office.desk()
        self.reports = Reports(desk, self.plan, alerts=self.alerts, shelf=shelf)
        self.reports.turn()
        return self.reports

    def at(self, moment: datetime) -> list[str]:
        """Let it be that time; return the names of the reports that are made then."""
        before = len(self.alerts.letters)
        self.office.clock.go(moment - self.office.clock.at)
        self.reports.turn()
        self.reports.turn()
        return [letter.subject.split()[-1] for letter in self.alerts.letters[before:]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "reports")


def test_the_first_report_is_of_the_first_whole_day(desk: Desk) -> None:
    assert desk.alerts.letters == []
    friday = THURSDAY + DAY
    assert desk.at(friday.replace(hour=5, minute=59)) == []
    assert desk.at(friday.replace(hour=6)) == ["2026-11-26"]
    assert desk.at(friday.replace(hour=20)) == []


def test_a_week_is_reported_on_monday(desk: Desk) -> None:
    monday = THURSDAY + 4 * DAY
    assert desk.at(monday - DAY) == ["2026-11-28"]
    assert desk.at(monday) == ["2026-11-29", "2026-W48"]
    assert sorted(path.name for path in desk.directory.iterdir()) == [
        "rapport-2026-11-28.csv",
        "rapport-2026-11-29.csv",
        "rapport-2026-W48.csv",
    ]


def test_after_a_stop_the_newest_alone_is_made_and_a_restart_makes_none_again(
    desk: Desk,
) -> None:
    desk.office.clock.go(10 * DAY)
    desk.start()
    assert [letter.subject.split()[-1] for letter in desk.alerts.letters] == [
        "2026-12-05",
        "2026-W48",
    ]
    desk.start()
    assert len(desk.alerts.letters) == 2


def test_only_what_the_settings_want_is_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "reports")
    desk.plan = Plan(time(7), daily=False)
    desk.start()
    assert desk.at(THURSDAY + 4 * DAY) == ["2026-W48"]


def test_the_numbers_are_those_of_the_ledger(desk: Desk) -> None:
    sent = certificates(1, 3)
    for sending in sent:
        desk.office.mailbox.append(sending.raw)
    desk.office.round().turn()
    assert desk.at(THURSDAY + DAY) == ["2026-11-26"]
    text = (desk.directory / "rapport-2026-11-26.csv").read_text("utf-8-sig")
    rows = [line.split(";") for line in text.splitlines()[1:]]
    assert sum(int(row[3]) for row in rows) == 3
    assert sum(int(row[4]) for row in rows) == 3
    assert not any(s.truth.file_number in text for s in sent if s.truth.file_number)


def test_a_mail_server_that_is_down_gets_the_report_later(desk: Desk) -> None:
    desk.alerts.down = Unavailable("it is down")
    with capture_logs() as logs:
        for minutes in range(0, 60, 5):
            assert desk.at(THURSDAY + DAY + timedelta(minutes=minutes)) == []
    events = [log["event"] for log in logs]
    assert events.count("report_could_not_be_sent") == 1
    desk.alerts.down = None
    assert desk.at(THURSDAY + DAY + 2 * HOUR) == ["2026-11-26"]


def test_a_recipient_that_the_mail_server_refuses_is_told_in_the_log_and_gets_no_second_try(
    desk: Desk,
) -> None:
    desk.alerts.refused = ("gone@lbm.example",)
    with capture_logs() as logs:
        assert desk.at(THURSDAY + DAY) == ["2026-11-26"]
        assert desk.at(THURSDAY + DAY + 2 * HOUR) == [], "the others have it"
    told = [log for log in logs if log["event"] == "report_recipient_was_refused"]
    assert [(log["log_level"], log["count"]) for log in told] == [("error", 1)]
    assert "gone@lbm.example" not in str(logs)


def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file")
    with pytest.raises(Unavailable, match="cannot be written"):
        FileShelf(tmp_path / "in the way").put("x.csv", b"x")
    with pytest.raises(Unavailable, match="cannot be written"):
        FileShelf(tmp_path / "no" / "parent").put("x.csv", b"x")


def test_a_file_is_written_over_an_older_one_and_is_not_for_everybody(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "reports")
    for content in (b"old", b"new"):
        shelf.put("x.csv", content)
    (path,) = (tmp_path / "reports").iterdir()
    assert (path.read_bytes(), path.stat().st_mode & 0o007) == (b"new", 0)


# --- the dead man's switch


class Switch:
    def __init__(self) -> None:
        self.calls = 0
        self.down = False

    def call(self) -> None:
        if self.down:
            raise Unavailable("ping.example does not answer")
        self.calls += 1


class Checks:
    """Two mailboxes and a switch."""

    def __init__(self) -> None:
        self.office = Office()
        self.switch = Switch()
        self.signals = Signals(self.office.desk(), ["a", "b"], self.switch)

    def good(self, *names: str) -> int:
        """Let these have a good check, look; return how many calls there were."""
        self.office.clock.go(timedelta(minutes=1))
        with self.office.ledger.writing() as writer:
            for name in names:
                writer.remember(Place(name, 1, 1, self.office.clock.now()))
        before = self.switch.calls
        for _ in range(2):
            self.signals.turn()
        return self.switch.calls - before


def test_the_switch_is_called_once_after_a_good_check_of_all() -> None:
    checks = Checks()
    assert checks.good() == 0
    assert checks.good("a") == 0
    assert checks.good("a") == 0
    assert checks.good("b") == 1
    assert checks.good("b") == 0, "the other one was not checked since"
    assert checks.good("a", "b") == 1


def test_a_check_of_before_the_start_is_none() -> None:
    checks = Checks()
    checks.good("a", "b")
    checks.signals = Signals(checks.office.desk(), ["a", "b"], checks.switch)
    assert checks.good() == 0


def test_a_switch_that_does_not_answer_is_told_once_and_called_again() -> None:
    checks = Checks()
    checks.switch.down = True
    with capture_logs() as logs:
        assert checks.good("a", "b") == 0
        assert checks.good() == 0
        checks.switch.down = False
        assert checks.good() == 1
    events = [log["event"] for log in logs]
    assert events == ["ping_was_not_taken", "ping_was_taken_again"]
