"""A pretend laboratory: a BAL, settings, rules, site folders, and the program as a process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from dispatcher.cli import main
from dispatcher.simulator.scenario import SITES
from tests.servers.dovecot import Bal

PROGRAM = (sys.executable, "-m", "dispatcher")
DEADLINE = 60.0
_REST = 2.0  # seconds between two looks at a condition, at most
# The scenes are of a fixed day: tests that are not about deletion must not meet it.
_LONG = "negative: 10 years, positive: 10 years, other: 10 years, unreadable: 10 years"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


class Laboratory:
    """Files of one laboratory below `top`, and the commands on them."""

    def __init__(self, top: Path, bals: Mapping[str, Bal], *, logs: IO[bytes]) -> None:
        self.top = top
        self.bals = dict(bals)
        self.config = top / "dispatcher.yaml"
        self.routing = top / "routing.yaml"
        self.ledger = top / "state" / "ledger.sqlite3"
        self._logs = logs
        self.ahead = ""
        self.calendar = top / "calendar"
        self.letters = ""
        self.ledger.parent.mkdir(mode=0o700)
        for site in SITES:
            self.folder(site).mkdir(parents=True)
        self.write_routing()
        self.write_settings()

    def folder(self, site: str) -> Path:
        return self.top / "sites" / site

    def write_routing(self, text: str | None = None) -> None:
        sites = "\n".join(
            f'  "{number}": {{name: "{name}", profile: desk}}' for number, name in SITES.items()
        )
        self.routing.write_text(
            text
            or f"""\
version: 1
lbm: {{name: LBM Exemple, finess_ej: "990000903"}}
profiles:
  desk:
    - {{name: dossier, folder: "{self.top}/sites/{{finess}}"}}
sites:
{sites}
""",
            encoding="utf-8",
        )

    def write_settings(self, more: str = "", mailbox: str = "", retention: str = _LONG) -> None:
        boxes = "\n".join(self._mailbox(name, bal, mailbox) for name, bal in self.bals.items())
        self.config.write_text(
            f"mailboxes:\n{boxes}\nrouting: routing.yaml\nledger: sqlite:///{self.ledger}\n"
            f"retention: {{{retention}}}\nlog: {{level: debug}}\n{more}",
            encoding="utf-8",
        )

    def _mailbox(self, name: str, bal: Bal, more: str) -> str:
        secret = self.top / f"{name}.password"
        secret.write_text(bal.password, encoding="utf-8")
        secret.chmod(0o600)
        return (
            f"  {name}:\n    host: 127.0.0.1\n    port: {bal.server.imap_port}\n"
            f"    security: plaintext\n    username: {bal.user}\n"
            f"    password_file: {secret}\n{more}"
        )

    # --- commands

    def command(self, *words: str, deadline: float = DEADLINE) -> Ended:
        """Run a command to its end."""
        ended = subprocess.run(
            self._line(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline,
            check=False,
            env=self._environment(),
        )
        self._logs.write(ended.stderr)
        self._logs.flush()
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def command_without_config(self, *words: str) -> Ended:
        """Run a command that takes no settings file."""
        ended = subprocess.run([*PROGRAM, *words], capture_output=True, check=False)
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def once(self) -> tuple[int, dict[str, int]]:
        """Make one full turn; return the exit status and this run's numbers."""
        ended = self.command("run", "--once", "--json")
        assert ended.out, ended.err
        return ended.status, ended.document

    def listed(self, *options: str) -> list[dict[str, Any]]:
        ended = self._look("list", "--json", *options)
        assert ended.status == 0, ended.err
        found: list[dict[str, Any]] = ended.document
        return found

    def status(self) -> dict[str, Any]:
        ended = self._look("status", "--json")
        assert ended.out, ended.err
        found: dict[str, Any] = ended.document
        return found

    def _look(self, *words: str) -> Ended:
        """Run a command that only looks: in this process, where its calendar is the same.

        Tests look again and again while a service works, and a process costs it more than a
        second of the processor. What a command is as a process, tests ask by `command`.
        """
        if self.ahead or self.letters or self.calendar.exists():
            return self.command(*words)
        ended = command(*words, "--config", str(self.config))
        self._logs.write(ended.err.encode())
        self._logs.flush()
        return ended

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service."""
        return self.begin("run")

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait for its end."""
        return subprocess.Popen(
            self._line(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._logs,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        """With `ahead` set, the programs' calendar is that much ahead (libfaketime).

        With `letters` set, that is the character set of their terminal.
        """
        environment = _environment()
        if self.letters:
            environment["PYTHONIOENCODING"] = self.letters
        if not self.ahead and not self.calendar.exists():
            return environment
        how = {"FAKETIME": self.ahead}
        if not self.ahead:
            how = {"FAKETIME_TIMESTAMP_FILE": str(self.calendar), "FAKETIME_NO_CACHE": "1"}
        return environment | {
            "LD_PRELOAD": _faketime(),
            **how,
            # Only the calendar is wrong: elapsed time goes on as ever.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def logged(self, event: str) -> int:
        """Return how often the programs logged an event so far."""
        return Path(str(self._logs.name)).read_bytes().count(f'"event": "{event}"'.encode())

    def set_clock(self, ahead: str) -> None:
        """Set the calendar of programs that run, or are started from now on: `+73h`."""
        fresh = self.calendar.with_suffix(".new")
        fresh.write_text(ahead, encoding="ascii")
        fresh.replace(self.calendar)

    def _line(self, words: Iterable[str]) -> list[str]:
        return [*PROGRAM, *words, "--config", str(self.config)]

    # --- what is there

    def files(self, site: str) -> dict[str, bytes]:
        """Return the files that a site's staff sees; one may vanish meanwhile."""
        found = {}
        for path in self.folder(site).iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found[path.name] = path.read_bytes()
        return found

    def leftovers(self) -> list[str]:
        """Return the temporary files that lie in any site's folder."""
        return [path.name for site in SITES for path in self.folder(site).glob(".*")]

    def all_files(self) -> dict[str, list[bytes]]:
        return {site: sorted(self.files(site).values()) for site in SITES}

    def assert_closed(self) -> None:
        """Check that every received message is accounted for, in a state of the contract."""
        found = self.status()
        assert found["difference"] == 0
        numbers = found["balance"]
        assert numbers["received"] == sum(
            numbers[state] for state in ("delivered", "held", "pending", "duplicate", "expired")
        )


def command(*words: str) -> Ended:
    """Run a command in this process: each of another one takes a second to begin."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sidep-dispatcher", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main.main()
            except SystemExit as end:
                status = int(end.code or 0)
            else:
                status = 0
    return Ended(status, out.getvalue(), err.getvalue())


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, float]:
    """Signal a service and wait for its end; return its exit status and the seconds it took."""
    began = time.monotonic()
    process.send_signal(number)
    status = process.wait(timeout=60)
    return status, time.monotonic() - began


def until(condition: Callable[[], bool], what: str, *, deadline: float = 120.0) -> None:
    """Wait on a condition.

    A look that starts a program takes a second of the processor from what is waited for: the
    next one comes after as long a rest.
    """
    end = time.monotonic() + deadline
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < end, f"{what}: not within {deadline:g} s"
        threading.Event().wait(min(max(0.05, now - began), _REST))


def _faketime() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise RuntimeError("libfaketime is not installed: apt-get install libfaketime (Debian)")
    return str(found[0])


def _environment() -> dict[str, str]:
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START"}
    return {name: value for name, value in os.environ.items() if name in kept}
