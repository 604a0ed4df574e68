"""Starts CUPS's own IPP Everywhere printer (ippeveprinter), on loopback, as root or not.

with IppPrinter() as printer:
    printer.uri                                  # for a queue of a cupsd
    printer.out_of_paper(); printer.load()       # it goes on with what it had begun
    printer.printed()                            # the documents, as bytes
    printer.stop(); printer.start()              # the same printer, off and on again
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

PACKAGES = "cups-ipp-utils dbus-daemon"
_READY_SECONDS = 60.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# A test run that is killed takes them with it (util-linux, on every Debian).
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")

# It does not start without a system bus, even when it announces itself to nobody.
_BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={base}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/> <allow receive_sender="*"/> <allow own="*"/>
  </policy>
</busconfig>
"""

# What it does with a document: the printer reads the states from its standard error.
_COMMAND = """\
#!/bin/sh
if [ -e "{base}/empty" ]; then
  echo "STATE: +media-empty-error" >&2
  while [ -e "{base}/empty" ]; do sleep 0.05; done
  [ -d "{base}/printed" ] || exit 1
  echo "STATE: -media-empty-error" >&2
fi
cat "$1" > "{base}/incoming.$$" && mv "{base}/incoming.$$" "{base}/printed/$$"
"""


class IppPrinter:
    """One printer. `uri` is where it is reached."""

    def __init__(self) -> None:
        self._printer = _installed("ippeveprinter")
        self._bus = _installed("dbus-daemon")
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.base = Path(tempfile.mkdtemp(prefix="ipp-"))
        self._stack.callback(shutil.rmtree, self.base, ignore_errors=True)
        for name in ("spool", "keys", "printed"):
            (self.base / name).mkdir()
        (self.base / "bus.conf").write_text(_BUS.format(base=self.base))
        command = self.base / "command"
        command.write_text(_COMMAND.format(base=self.base))
        command.chmod(0o700)
        self._port = _free_port()
        self.uri = f"ipp://localhost:{self._port}/ipp/print"
        bus = self._spawn(self._bus, f"--config-file={self.base}/bus.conf", "--nofork")
        self._stack.callback(_end, bus)
        _until((self.base / "bus").exists, "the bus did not start")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._stack.close()

    def start(self) -> None:
        """Switch it on, and return when it answers."""
        process = self._spawn(
            self._printer, "-r", "off", "-n", "localhost", "-p", str(self._port),
            "-d", str(self.base / "spool"), "-K", str(self.base / "keys"),
            "-c", str(self.base / "command"), "-f", "application/pdf", "Test",
        )  # fmt: skip
        self._process = process
        _until(lambda: self._answers() or process.poll() is not None, "no printer")
        if process.poll() is not None:
            log = (self.base / "log").read_text(errors="replace")
            raise RuntimeError(f"ippeveprinter did not start:\n{log}")

    def stop(self) -> None:
        """Switch it off, whatever it was doing."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def out_of_paper(self) -> None:
        """Let it want paper for the next job, until `load`."""
        (self.base / "empty").touch()

    def load(self) -> None:
        """Give it paper."""
        (self.base / "empty").unlink()

    def printed(self) -> list[bytes]:
        """Return the documents that came out."""
        return [path.read_bytes() for path in (self.base / "printed").iterdir()]

    def _spawn(self, *line: str) -> subprocess.Popen[bytes]:
        with (self.base / "log").open("ab") as log:
            return subprocess.Popen(
                (*_ENDS_WITH_US, *line), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={
                    "PATH": _PATH, "LC_ALL": "C", "HOME": str(self.base),
                    "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.base}/bus",
                },
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("localhost", self._port), timeout=5):
                return True
        except OSError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=_READY_SECONDS)


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
