"""Starts a private cupsd with simulated printers, on a socket and a free port, as root or not.

with Cupsd() as server:
    queue = server.add_queue("accueil")              # prints at once
    server.set_mode(queue, "out-of-paper")           # see `Mode`
    server.pause(queue), server.reject(queue), server.delete(queue)
    server.printed(queue)                            # the documents, as bytes
    server.kill(); server.start()                    # the spool stays
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

PACKAGES = "cups-daemon cups-client"
_READY_SECONDS = 60.0
# A test run that is killed takes its server with it (util-linux, on every Debian).
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_SERVER_BIN = Path("/usr/lib/cups")

# ok: prints. slow: after half a second. fail: gives up, which stops the printer unless its
# policy says otherwise. hold, stop, cancel: what a backend may ask of cupsd. crash: dies.
# out-of-paper, jammed, unreachable, busy: goes on trying, the first three with a reason.
# printed-but-busy: the paper is out, and the job does not end. print-then-fail: it is out,
# and the job fails.
Mode = Literal[
    "ok", "slow", "fail", "hold", "stop", "cancel", "crash",
    "out-of-paper", "jammed", "unreachable", "busy", "printed-but-busy", "print-then-fail",
]  # fmt: skip

_FILES = """\
ServerRoot {base}/etc
RequestRoot {base}/spool
TempDir {base}/spool/tmp
CacheDir {base}/cache
StateDir {base}/run
DataDir /usr/share/cups
ServerBin {base}/bin
DocumentRoot {base}/web
AccessLog {base}/log/access_log
ErrorLog {base}/log/error_log
PageLog {base}/log/page_log
{identity}
SystemGroup {system_group}
FileDevice No
Sandboxing relaxed
SyncOnClose No
"""

_SETTINGS = """\
Listen 127.0.0.1:{port}
Listen {base}/run/cups.sock
LogLevel info
MaxLogSize 0
Browsing No
WebInterface No
DefaultEncryption Never
DefaultAuthType None
JobRetryInterval {retry}
JobRetryLimit 2
JobKillDelay 2
MaxJobs {max_jobs}
PreserveJobHistory {history}
PreserveJobFiles {files}
DirtyCleanInterval {dirty}
<Location />
  Order allow,deny
  Allow from 127.0.0.1
</Location>
<Location /admin/conf>
  Order allow,deny
  Allow from 127.0.0.1
  {conf_access}
</Location>
# As Debian ships it, but that queues are set up without a login.
<Policy default>
  JobPrivateAccess {private_access}
  JobPrivateValues {private_values}
  SubscriptionPrivateAccess default
  SubscriptionPrivateValues default
  <Limit Create-Job Print-Job Print-URI Validate-Job>
    Order deny,allow
  </Limit>
  <Limit Send-Document Send-URI Cancel-Job Cancel-My-Jobs Close-Job>
    Require user @OWNER @SYSTEM
    Order deny,allow
  </Limit>
  <Limit Hold-Job Release-Job Restart-Job Purge-Jobs Set-Job-Attributes>
    Require user @OWNER @SYSTEM
    Order deny,allow
  </Limit>
  <Limit Renew-Subscription Cancel-Subscription Get-Notifications>
    Require user @OWNER @SYSTEM
    Order deny,allow
  </Limit>
  <Limit All>
    Order deny,allow
  </Limit>
</Policy>
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How this cupsd is set up. The defaults are what `check` asks for.

    `retry`: after how many seconds a `retry-job` queue tries again. `conf_readable`:
    whether a client may read cupsd.conf. `hidden`: everything of a job is hidden, where by
    default it is the title and the user.
    """

    history: str = "Yes"
    files: str = "No"
    max_jobs: int = 500
    retry: int = 1
    dirty: int = 0
    conf_readable: bool = True
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """One time that a printer printed: the job as the printer saw it, and the document."""

    job: int
    copies: int
    title: str
    options: str
    content: bytes = field(repr=False)


class Cupsd:
    """A cupsd of one's own. Spool and queues live as long as the object, over restarts.

    `socket` is its path, `port` a port on 127.0.0.1, `address` both together as host:port.
    """

    host = "127.0.0.1"

    def __init__(self, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()
        self._binary = _installed("cupsd")
        _installed("lpadmin")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Not pytest's directory: its path is long for a socket's, and root's alone to enter.
        self.base = Path(tempfile.mkdtemp(prefix="cupsd-"))
        self.base.chmod(0o755)
        self.socket = self.base / "run" / "cups.sock"
        self.port = _free_port()
        self.address = f"{self.host}:{self.port}"
        self._lay_out()
        self._configure()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.base, ignore_errors=True)

    # --- the server ----------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id of the cupsd that runs."""
        if self._process is None:
            raise RuntimeError("cupsd does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers.

        It ends with the thread that called this: a thread that lives on, not a timer's.
        """
        with (self.base / "log" / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                (
                    *_ENDS_WITH_US, self._binary, "-f",
                    "-c", str(self.base / "etc" / "cupsd.conf"),
                    "-s", str(self.base / "etc" / "cups-files.conf"),
                ),
                stdout=errors, stderr=errors, start_new_session=True,
            )  # fmt: skip
        process = self._process
        _until(lambda: self._answers() or process.poll() is not None, "cupsd did not start")
        if process.poll() is not None:
            raise RuntimeError(f"cupsd did not start:\n{self.log()}")

    def stop(self) -> None:
        """Stop in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die as in a crash, with SIGKILL; a printer at work goes on for itself."""
        self._end(signal.SIGKILL)

    def revive(self) -> None:
        """Start it unless it runs."""
        if self._process is None:
            self.start()

    def restart(self) -> None:
        """Stop in good order and start again, with the same spool."""
        self.stop()
        self.start()

    def reconfigure(self, setup: Setup) -> None:
        """Restart with other settings and the same spool."""
        self.stop()
        self.setup = setup
        self._configure()
        self.start()

    def freeze(self) -> None:
        """Let it stand still, alive and silent, until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """Return what the server logged so far."""
        paths = (self.base / "log" / "stderr", self.base / "log" / "error_log")
        return "".join(p.read_text(errors="replace") for p in paths if p.exists())

    def spooled(self) -> list[bytes]:
        """Return the documents that lie in the spool."""
        return [path.read_bytes() for path in (self.base / "spool").glob("d*")]

    # --- queues --------------------------------------------------------------------------

    def add_queue(
        self, name: str, mode: Mode = "ok", *, policy: str = "stop-printer", **options: str
    ) -> str:
        """Add a raw queue with a printer of its own; return its name.

        `policy` is CUPS's printer-error-policy: stop-printer, abort-job, retry-job.
        """
        folder = self.base / "printers" / name
        folder.mkdir()
        (folder / "printed").mkdir()
        self.set_mode(name, mode)
        for path in (folder, folder / "printed"):
            self._give(path)
        further = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._run(
            "lpadmin", "-p", name, "-v", f"sim:{folder}", "-E",
            "-o", f"printer-error-policy={policy}", *further,
        )  # fmt: skip
        return name

    def add_printer(self, name: str, uri: str) -> str:
        """Add a raw queue on a printer elsewhere, reached by IPP; return its name."""
        self._run(
            "lpadmin", "-p", name, "-v", uri, "-E", "-o", "printer-error-policy=retry-job"
        )
        return name

    def set_mode(self, queue: str, mode: Mode) -> None:
        """Let the printer do something else, from now on and for a job it works at."""
        path = self.base / "printers" / queue / "mode"
        fresh = path.with_suffix(".new")
        fresh.write_text(mode)
        fresh.chmod(0o644)
        fresh.replace(path)

    def pause(self, queue: str) -> None:
        """Stop a queue's printing; it goes on accepting jobs."""
        self._run("cupsdisable", queue)

    def resume(self, queue: str) -> None:
        """Let a stopped queue print again."""
        self._run("cupsenable", queue)

    def reject(self, queue: str) -> None:
        """Let a queue reject jobs."""
        self._run("cupsreject", queue)

    def accept(self, queue: str) -> None:
        """Let a queue accept jobs again."""
        self._run("cupsaccept", queue)

    def delete(self, queue: str) -> None:
        """Remove a queue, with its jobs; its printer's papers stay."""
        self._run("lpadmin", "-x", queue)

    def cancel(self, job: int) -> None:
        """Cancel a job, as a person does."""
        self._run("cancel", str(job))

    def purge(self, queue: str) -> None:
        """Remove every trace of a queue's jobs, as a person may."""
        self._run("cancel", "-a", "-x", queue)

    # --- what became of it ---------------------------------------------------------------

    def papers(self, queue: str) -> list[Paper]:
        """Return every time the queue's printer printed, by job number."""
        found = (self.base / "printers" / queue / "printed").glob("*.pdf")
        return sorted(map(_paper, found), key=lambda paper: paper.job)

    def printed(self, queue: str) -> list[bytes]:
        """Return the documents that the queue's printer printed, by job number."""
        return [paper.content for paper in self.papers(queue)]

    def begun(self, queue: str) -> list[int]:
        """Return the jobs that the queue's printer began, each time that it did."""
        path = self.base / "printers" / queue / "begun"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait_printed(self, queue: str, count: int) -> list[bytes]:
        """Return the printed documents once there are so many."""
        _until(lambda: len(self.printed(queue)) >= count, f"{count} papers did not come")
        return self.printed(queue)

    def wait_begun(self, queue: str, count: int = 1) -> None:
        """Return once the printer has begun so many times."""
        _until(lambda: len(self.begun(queue)) >= count, "the printer did not begin")

    def jobs(self, queue: str, which: str = "all") -> list[int]:
        """Return the numbers of the queue's jobs that cupsd knows (lpstat)."""
        listed = self._run("lpstat", "-W", which, "-o", queue, check=False)
        return sorted(
            int(line.split()[0].rpartition("-")[2]) for line in listed.splitlines() if line
        )

    # --- inside --------------------------------------------------------------------------

    def _run(self, command: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            (_installed(command), *arguments),
            env={"CUPS_SERVER": str(self.socket), "LC_ALL": "C", "HOME": str(self.base)},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr}\n{self.log()}")
        return done.stdout

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        process.wait(timeout=_READY_SECONDS)
        _until(lambda: not self._answers(), "cupsd did not stop")

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.socket))
                return True
        except OSError:
            return False

    def _lay_out(self) -> None:
        for name in (
            "etc/ppd", "spool/tmp", "cache", "run/certs",
            "log", "printers", "bin/backend", "web",
        ):  # fmt: skip
            (self.base / name).mkdir(parents=True)
        for name in ("filter", "daemon", "driver", "cgi-bin", "monitor", "notifier"):
            if (_SERVER_BIN / name).exists():
                (self.base / "bin" / name).symlink_to(_SERVER_BIN / name)
        backend = self.base / "bin" / "backend" / "sim"
        shutil.copy(Path(__file__).with_name("cups_backend.sh"), backend)
        backend.chmod(0o755)
        # Debian lets only root run its own.
        real = self.base / "bin" / "backend" / "ipp"
        shutil.copy(_SERVER_BIN / "backend" / "ipp", real)
        real.chmod(0o755)
        for name in ("spool", "spool/tmp", "cache", "run", "run/certs", "printers"):
            self._give(self.base / name)
        (self.base / "spool").chmod(0o710)
        (self.base / "spool" / "tmp").chmod(0o1770)

    def _configure(self) -> None:
        root = os.geteuid() == 0
        group = grp.getgrgid(os.getegid()).gr_name
        identity = "User lp\nGroup lp" if root else ""
        setup = self.setup
        files = _FILES.format(base=self.base, identity=identity, system_group=group)
        (self.base / "etc" / "cups-files.conf").write_text(files)
        settings = _SETTINGS.format(
            base=self.base,
            port=self.port,
            max_jobs=setup.max_jobs,
            retry=setup.retry,
            history=setup.history,
            files=setup.files,
            dirty=setup.dirty,
            conf_access=""
            if setup.conf_readable
            else "AuthType Basic\n  Require user no-such-user",
            private_access="@SYSTEM" if setup.hidden else "default",
            private_values="all" if setup.hidden else "default",
        )
        (self.base / "etc" / "cupsd.conf").write_text(settings)

    def _give(self, path: Path) -> None:
        """Let cupsd's user own a directory, where that is another than ours."""
        if os.geteuid() == 0:
            lp = pwd.getpwnam("lp")
            os.chown(path, lp.pw_uid, lp.pw_gid)


class BlackHole:
    """A server that accepts connections and never says a word."""

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepted: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def waiting(self) -> set[int]:
        """Return the numbers of the connections whose client still waits for a word."""
        return {number for number, sock in enumerate(list(self._accepted)) if _is_open(sock)}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_READY_SECONDS)
        self._stack.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._accepted.append(self._stack.enter_context(self._listener.accept()[0]))


def _is_open(sock: socket.socket) -> bool:
    try:
        while sock.recv(1 << 16, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _paper(path: Path) -> Paper:
    job, copies, title, options = path.with_suffix(".job").read_text().splitlines()[:4]
    return Paper(int(job), int(copies), title, options, path.read_bytes())


def _installed(command: str) -> str:
    binary = shutil.which(command, path=_PATH)
    if binary is None:
        raise RuntimeError(f"{command} is not installed: apt-get install {PACKAGES} (Debian)")
    return binary


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _until(condition: Callable[[], bool], failure: str) -> None:
    """Return once it holds; a condition of another process, so it is looked at again."""
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(failure)
        threading.Event().wait(0.02)
