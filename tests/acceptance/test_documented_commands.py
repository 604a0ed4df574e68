"""Every shell block of the README and the pages is run: each command, with its exit status.

Identifiers, paths, users and addresses are a small laboratory's. A command that only a whole
machine can run is named below with where it is run instead; one that nobody accounts for fails.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from dispatcher.simulator import region, scenario
from dispatcher.simulator.embedded import PASSWORD, EmbeddedServers
from tests.acceptance.laboratory import PROGRAM, Laboratory, until
from tests.acceptance.printers import Printers, recorded
from tests.acceptance.privacy import Secrets
from tests.architecture.generate import ROOT
from tests.architecture.texts import blocks, documents, name_of
from tests.servers.cupsd import Cupsd, Setup
from tests.servers.dovecot import Bal

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DEADLINE: Final = 300.0
# Who is told when something needs a person.
OTHERS: Final = "informatique@lbm.example"

# What needs a whole machine, and where it is run. The packaging tests boot a Debian:
# `make debtest`.
ELSEWHERE: Final = {
    r"make (demo|test|check|wheel|deb)\b": "tests/architecture compares it with the Makefile",
    r"apt-get (install|remove|purge) .*sidep-dispatcher": "make debtest",
    r"systemctl (start|stop|restart|status) sidep-dispatcher$": "make debtest",
    r"systemctl daemon-reload$": "make debtest",
    r"systemctl restart cups$": "below, on a cupsd of one's own",
    r"lpstat -W completed$": "below, on a cupsd of one's own",
    r"systemd-run .* sidep-dispatcher check$": "make debtest",
    r"journalctl -u sidep-dispatcher": "it needs a booted systemd, and only reads",
    r"editor ": "it is a person's",
    r"uv tool install dist/": "it installs for the person who runs the tests",
}

# The exit statuses that are not 0, and why. The laboratory's mailbox holds what cannot agree.
STATUS: Final = {
    "run": 1,  # something is held
    "dry-run": 1,  # something would be held
    "status": 1,  # something is held
    "bordereau": 1,  # its printer prints when somebody asks: the folder alone gets the list
    "rebuild --confirm": 1,  # what may be on paper is held
    "directory check": 1,  # the laboratory's BAL is in no public register
}

_HERE: Final = re.compile(r"(?:sudo -u sidep-dispatcher )?(?:\.venv/bin/)?sidep-dispatcher\b")


def lines(text: str) -> Iterator[str]:
    """Yield the commands of a block: continued lines joined, comments taken off."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if command:
            yield " ".join(command.split())


def shell_blocks(path: Path) -> list[list[str]]:
    return [list(lines(one.text)) for one in blocks(path) if one.language in {"sh", "bash"}]


DOCUMENTS: Final = [path for path in documents() if shell_blocks(path)]


@dataclass
class Office:
    """The laboratory in which one document's commands are run, in their order."""

    laboratory: Laboratory
    printers: Printers
    bal: Bal
    servers: EmbeddedServers
    given: set[str] = field(default_factory=set)

    @property
    def top(self) -> Path:
        return self.laboratory.top

    def run(self, line: str) -> None:
        """Run one documented line; fail unless it ends as documented."""
        if any(re.match(pattern, line) for pattern in ELSEWHERE):
            return
        here = _HERE.match(line)
        if here:
            self._program(shlex.split(line[here.end() :]))
            return
        for begins, act in self._system().items():
            if line.startswith(begins):
                act(shlex.split(line))
                return
        pytest.fail(f"nobody accounts for: {line}")

    # --- the program

    def _program(self, words: list[str]) -> None:
        words = [self._there(word) for word in words]
        match words:
            case ["init"]:
                words += self._answers()
            case ["demo", "--serve"]:
                self._served(words)
                return
            case ["demo", *_]:
                words += ["--count", "3"]
            case ["simulate", *_]:
                words = ["300" if word == "2000" else word for word in words]
            case ["rules", "rollback", *_]:
                with self.laboratory.routing.open("a", encoding="utf-8") as routing:
                    routing.write("# a change that somebody takes back\n")
            case _:
                pass  # as it stands
        if "ID" in words:
            words[words.index("ID")] = self._certificate(words[0])
        alone = any(word in {"--config", "init", "simulate", "demo"} for word in words)
        line = [*PROGRAM, *words]
        if not alone:
            line += ["--config", str(self.laboratory.config)]
        ended = self._ended(line)
        assert ended.returncode == _expected(words), f"{words}: {ended.stderr[-2000:]}"

    def _served(self, words: list[str]) -> None:
        """Run `demo --serve` as a trainer does: it stays until Ctrl-C."""
        with subprocess.Popen(
            [*PROGRAM, *words, "--count", "3"], stdout=subprocess.PIPE, text=True, cwd=self.top
        ) as demo:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "Ctrl-C" in line:
                    break
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()
            assert demo.wait(timeout=DEADLINE) == 0

    def _answers(self) -> list[str]:
        """Return the answers of `init` as options, which the page says they may be."""
        secret = self.top / "lbm.password"
        (self.top / "made").mkdir(exist_ok=True)
        return [
            "--dir", str(self.top / "made" / "etc"),
            "--state", str(self.laboratory.ledger.parent), "--no-input", "--host", "127.0.0.1",
            "--port", str(self.bal.server.imap_port),
            "--security", "plaintext", "--username", self.bal.user,
            "--password-file", str(secret), "--since", "all", "--lbm", "LBM Exemple",
            "--finess", "990000010", "--folder", str(self.laboratory.folder("990000010")),
        ]  # fmt: skip

    def _certificate(self, verb: str) -> str:
        """Return a certificate that stands where a person would use this command."""
        wanted: dict[str, Callable[[dict[str, Any]], bool]] = {
            "release": lambda one: one["reason"] == "sender-not-allowed",
            "discard": lambda one: one["reason"] == "sender-not-allowed",
            "retry": _waits_for_a_person,
            "print": _waits_for_a_person,
        }
        fits = wanted.get(verb, _is_delivered)
        found = [one["id"] for one in self.laboratory.listed() if fits(one)]
        fresh = [one for one in found if one not in self.given]
        assert fresh, f"{verb}: no certificate stands so"
        self.given.add(fresh[0])
        return str(fresh[0])

    def _there(self, word: str) -> str:
        """Return a documented word as it is in this laboratory."""
        named = {
            "127.0.0.1:2525": f"{self.servers.host}:{self.servers.smtp_port}",
            "FILE.csv": str(self.top / "trail.csv"),
            "report.json": str(self.top / "report.json"),
            "OLD.txt": str(self.top / "m.txt"),
            "NEW.txt": str(self.top / "m.txt"),
            "routing-nouveau.yaml": str(self.laboratory.routing),
        }
        if word in named:
            return named[word]
        if re.search(r"(?i)(finess|etalab|^f)[\w-]*\.csv$", word):
            return str(self.top / "f.csv")
        if re.search(r"(?i)(mssante|^m)\w*\.(txt|zip)$", word):
            return str(self.top / "m.txt")
        return re.sub(r"^demo-lab", str(self.top / "demo-lab"), word)

    # --- the system

    def _system(self) -> dict[str, Callable[[list[str]], None]]:
        return {
            "install ": self._install,
            "sqlite3 ": self._backup,
        }

    def _moved(self, word: str) -> str:
        """Return a path of the documented machine below the laboratory's directory."""
        state = "/var/lib/sidep-dispatcher"
        word = word.replace(f"{state}/ledger.sqlite3", str(self.laboratory.ledger))
        if word.startswith("/usr/share/doc/sidep-dispatcher/examples/"):
            return str(ROOT / "systemd" / f"{Path(word).name}.example")
        return re.sub(r"(?<![\w/])/(etc|srv|var)/", rf"{self.top}/machine/\1/", word)

    def _install(self, words: list[str]) -> None:
        me = pwd.getpwuid(os.getuid()).pw_name
        mine = grp.getgrgid(os.getgid()).gr_name
        there = {"sidep-dispatcher": me, "site-republique": mine}
        made = [there.get(word, self._moved(word)) for word in words]
        if "-d" in words:
            Path(made[-1]).parent.mkdir(parents=True, exist_ok=True)
        self._system_call(made)
        mode = stat.S_IMODE(Path(made[-1]).stat().st_mode)
        assert mode == int(words[words.index("-m") + 1], 8)

    def _backup(self, words: list[str]) -> None:
        (self.top / "machine" / "var" / "backups").mkdir(parents=True, exist_ok=True)
        words = [self._moved(word) for word in words]
        self._system_call(words)
        copy = re.findall(r"'(.*)'", words[-1])[0]
        assert Path(copy).read_bytes()[:15] == b"SQLite format 3"

    def _system_call(self, words: list[str]) -> None:
        ended = self._ended(words)
        assert ended.returncode == 0, ended.stderr

    def _ended(self, line: list[str]) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"CUPS_SERVER": str(self.printers.cupsd.socket)}
        return subprocess.run(
            line, capture_output=True, text=True, timeout=DEADLINE, check=False,
            cwd=self.top, env=environ, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _is_delivered(one: dict[str, Any]) -> bool:
    return bool(one["state"] == "delivered")


def _waits_for_a_person(one: dict[str, Any]) -> bool:
    return any(each["state"] == "waiting" for each in one["deliveries"])


def _expected(words: list[str]) -> int:
    pairs = (" ".join(words[:2]), words[0])
    return next((STATUS[one] for one in pairs if one in STATUS), 0)


@pytest.fixture
def registers(tmp_path: Path) -> Iterator[EmbeddedServers]:
    shown = region.region()
    (tmp_path / "f.csv").write_text(
        region.finess_file(shown, date(2026, 11, 1)), encoding="utf-8"
    )
    (tmp_path / "m.txt").write_text(region.directory_file(shown), encoding="utf-8")
    with EmbeddedServers(dict.fromkeys([*shown.bals, OTHERS], PASSWORD)) as servers:
        yield servers


@pytest.fixture
def office(  # noqa: PLR0917 - fixtures
    laboratory: Laboratory,
    printers: Printers,
    bal: Bal,
    registers: EmbeddedServers,
    secrets: Secrets,
) -> Office:
    """Return a laboratory with certificates that are delivered, held, and wait for paper."""
    laboratory.write_routing(
        f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "990000903"}}
sites:
  "990000010":
    name: Site République
    deliver:
      - {{name: dossier, folder: "{laboratory.folder("990000010")}"}}
      - {{name: papier, print: {{queue: "{printers.queue("990000010")}", when: hold}}}}
  "990000028":
    name: Site Gare
    deliver:
      - {{name: dossier, folder: "{laboratory.folder("990000028")}"}}
      - {{name: papier, print: {{queue: "{printers.queue("990000028")}"}}}}
"""
    )
    smtp = f"{{host: {registers.host}, port: {registers.smtp_port}, security: plaintext}}"
    laboratory.write_settings(
        f"cups: {{server: {printers.cupsd.socket}}}\n"
        f"alerts: {{smtp: {smtp}, from: sidep@lbm.example, to: [{OTHERS}]}}\n"
    )
    waiting = scenario.certificates(51, 4, ["990000010"], NOW)
    printed = scenario.certificates(52, 4, ["990000028"], NOW)
    forged = scenario.certificates(53, 4, ["990000028"], NOW)
    secrets.add([*waiting, *printed, *forged])
    sender, other = b"noreply.sidep@enovacom.easycrypt.fr", b"someone@example.test"
    bal.deliver(
        *(one.raw for one in (*waiting, *printed)),
        *(one.raw.replace(sender, other) for one in forged),
    )
    until(lambda: _is_ready(laboratory), "the certificates stand where they are wanted")
    return Office(laboratory, printers, bal, registers)


def _is_ready(laboratory: Laboratory) -> bool:
    _, numbers = laboratory.once()
    return numbers["pending"] == 4 and recorded(laboratory) == 4


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_of_a_document_does_what_it_says(path: Path, office: Office) -> None:
    for block in shell_blocks(path):
        for line in block:
            office.run(line)


def test_a_command_that_nobody_accounts_for_is_found(office: Office) -> None:
    with pytest.raises(pytest.fail.Exception, match="nobody accounts for"):
        office.run("rm -rf /var/lib/sidep-dispatcher")
    with pytest.raises(AssertionError):
        office.run("sudo -u sidep-dispatcher sidep-dispatcher list --no-such-option")


def test_cups_asked_after_a_restart_removes_what_it_kept(tmp_path: Path) -> None:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"%PDF-1.4 a letter")
    with Cupsd(Setup(files="Yes")) as cupsd:
        cupsd.add_queue("accueil")
        subprocess.run(
            ["lp", "-d", "accueil", "-o", "raw", str(letter)], check=True, timeout=60,
            capture_output=True, env=os.environ | {"CUPS_SERVER": str(cupsd.socket)},
        )  # fmt: skip
        until(lambda: bool(cupsd.jobs("accueil", "completed")), "the letter is printed")
        # From a second start on, the list of jobs that CUPS keeps knows all that it shows of
        # one: it no longer opens the job by itself, and so applies no setting to it.
        for _ in range(2):
            cupsd.restart()
        assert cupsd.spooled() == [letter.read_bytes()]
        cupsd.reconfigure(Setup())

        def forgotten() -> bool:
            assert cupsd.jobs("accueil", "completed")
            return not cupsd.spooled()

        until(forgotten, "nothing lies in the spool")


def test_what_runs_elsewhere_is_still_documented() -> None:
    every = [line for path in DOCUMENTS for block in shell_blocks(path) for line in block]
    for pattern in ELSEWHERE:
        assert any(re.match(pattern, line) for line in every), f"{pattern}: in no document"
