"""A private Dovecot, an account filled in bulk, and a laboratory's files for it."""

from __future__ import annotations

import contextlib
import imaplib
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.servers.dovecot import Bal, Dovecot

KEYWORD: Final = "SidepDispatched"
# What the rivals and the program keep of a mailbox in its flags, to be taken off again.
_TAKEN_OFF: Final = rf"({KEYWORD} \Seen \Flagged)"
_APPENDED_AT_ONCE: Final = 100


class RoomyDovecot(Dovecot):
    """A Dovecot whose accounts hold 20 GB. It flushes nothing: it is not what is measured."""

    def _configure(self) -> None:
        super()._configure()
        path = self.base / "dovecot.conf"
        text = path.read_text().replace("storage=200M", "storage=20G")
        path.write_text(f"{text}\nmail_fsync = never\n")


def fill(bal: Bal, raws: Iterable[bytes], *, internal_date: str | None = None) -> int:
    """Append messages, a hundred a command (RFC 3502); return how many.

    `internal_date` is what the server is to show for all of them (RFC 3501, date-time).
    """
    dated = f'"{internal_date}" ' if internal_date else ""
    count = 0
    with _logged_in(bal) as sock:
        waiting: list[bytes] = []
        for raw in raws:
            waiting.append(b" %s{%d+}\r\n%s" % (dated.encode(), len(raw), raw))
            count += 1
            if len(waiting) == _APPENDED_AT_ONCE:
                _append(sock, waiting)
                waiting = []
        if waiting:
            _append(sock, waiting)
    return count


def _append(sock: socket.socket, parts: Sequence[bytes]) -> None:
    sock.sendall(b"a APPEND INBOX" + b"".join(parts) + b"\r\n")
    _until_tagged(sock)


@contextlib.contextmanager
def _logged_in(bal: Bal) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", bal.server.imap_port), timeout=120) as sock:
        sock.recv(4096)
        sock.sendall(b"a LOGIN %s %s\r\n" % (bal.user.encode(), bal.password.encode()))
        _until_tagged(sock)
        yield sock


def _until_tagged(sock: socket.socket) -> None:
    """Read to the end of the answer to the command `a`."""
    said = b""
    while not said.endswith(b"\r\n") or b"a " not in b"\n" + said:
        received = sock.recv(65536)
        if not received:
            raise SystemExit("the server closed the connection")
        said += received
    last = said.splitlines()[-1]
    if not last.startswith(b"a OK"):
        raise SystemExit(f"the server refused: {last!r}")


def unmark(bal: Bal) -> None:
    """Take off every flag that an earlier run left, so that the mailbox is as it was."""
    with imaplib.IMAP4("127.0.0.1", bal.server.imap_port) as client:
        client.login(bal.user, bal.password)
        client.select("INBOX")
        status, said = client.store("1:*", "-FLAGS.SILENT", _TAKEN_OFF)
        if status != "OK":
            raise SystemExit(f"the flags could not be taken off: {said!r}")


class Ground:
    """The files of one laboratory: settings, rules of many sites, folders, ledger, password."""

    def __init__(
        self, top: Path, bal: Bal, at: Sequence[str], *, port: int | None = None
    ) -> None:
        self.top = top
        self.bal = bal
        self.port = port or bal.server.imap_port
        self.config = top / "dispatcher.yaml"
        self.ledger = top / "state" / "ledger.sqlite3"
        self._at = at
        self.security = "plaintext"
        self.pdf_text = "off"
        (top / "state").mkdir(mode=0o700)
        password = top / "password"
        password.write_text(bal.password, encoding="utf-8")
        password.chmod(0o600)
        self._write_rules()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be as on the first day: no ledger, empty folders. Settings are written anew."""
        shutil.rmtree(self.top / "sites", ignore_errors=True)
        for site in self._at:
            (self.top / "sites" / site).mkdir(parents=True)
        for path in self.ledger.parent.iterdir():
            path.unlink()
        self._write_settings()

    def delivered(self) -> int:
        """Return how many documents lie in the folders."""
        return sum(not p.name.startswith(".") for p in (self.top / "sites").glob("*/*"))

    def _write_rules(self) -> None:
        known = "\n".join(f'  "{s}": {{name: Site {s}, profile: desk}}' for s in self._at)
        (self.top / "routing.yaml").write_text(
            'version: 1\nlbm: {name: LBM Exemple, finess_ej: "980000004"}\nprofiles:\n'
            f'  desk:\n    - {{name: dossier, folder: "{self.top}/sites/{{finess}}"}}\n'
            f"sites:\n{known}\n",
            encoding="utf-8",
        )

    def _write_settings(self) -> None:
        tls = f"    ca_file: {self.bal.server.ca_file}\n" if self.security == "tls" else ""
        self.config.write_text(
            f"mailboxes:\n  lbm:\n    host: 127.0.0.1\n    port: {self.port}\n{tls}"
            f"    security: {self.security}\n    username: {self.bal.user}\n"
            f"    password_file: {self.top}/password\nrouting: routing.yaml\n"
            f"ledger: sqlite:///{self.ledger}\nagreement: {{pdf_text: {self.pdf_text}}}\n",
            encoding="utf-8",
        )


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Yield a passing directory, on the disk where `TMPDIR` lies."""
    with tempfile.TemporaryDirectory(prefix="sidep-bench-") as path:
        yield Path(path)
