"""Starts a private Dovecot: IMAP, IMAPS and LMTP on free loopback ports, as root or not.

with Dovecot() as server:
    bal = server.bal()                    # a fresh account with an empty INBOX
    bal.deliver(raw)                      # by LMTP, as mail comes
    uid = bal.append(raw, internal_at=…)  # by APPEND, with a date of one's own
    bal.messages(), bal.flags(uid), bal.remove(uid), bal.renumber()
    server.stop(); server.start()         # the mail stays
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import hmac
import itertools
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imapclient import IMAPClient

from tests.servers.authority import Authority

PACKAGES = "dovecot-imapd dovecot-lmtpd"
PASSWORD = "secret"
_READY_SECONDS = 20.0
# A test run that is killed takes its server with it (util-linux, on every Debian).
_ENDS_WITH_US = ["setpriv", "--pdeathsig", "TERM"]

_CONFIG = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
instance_name = {instance}
listen = 127.0.0.1
protocols = imap lmtp
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
mail_location = sdbox:{base}/mail/%n
first_valid_uid = 0
first_valid_gid = 0
mail_plugins = quota
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = {mechanisms}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
ssl_ca = <{authority}
ssl_require_crl = no
ssl_verify_client_cert = yes
ssl_min_protocol = TLSv1.2
auth_ssl_username_from_cert = yes
ssl_cert_username_field = commonName
imap_idle_notify_interval = 2 mins

# With a client certificate: whoever its common name says.
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
# With a token: a JWT of the key that `token` signs with; its claim `sub` is the account.
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {base}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  # A file each: Dovecot looks at a file it knows at most once a second.
  args = scheme=PLAIN username_format=%u {base}/users/%n
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={base}/mail/%n allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=200M
}}
service anvil {{
  chroot =
  # Otherwise a refused login makes the next one from the same address wait.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  process_min_avail = 0
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_plugins = quota imap_quota
  mail_max_userip_connections = 0
}}
protocol lmtp {{
  postmaster_address = postmaster@localhost
  mail_plugins = quota
}}
"""


# Dovecot checks a token by itself, with the keys below `prefix`.
_OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={base}/token-keys/
username_attribute = sub
"""
_TOKEN_KEY = b"a key for the tokens of this test run"


class Bal:
    """One account on the server, its password `PASSWORD` unless another was given."""

    def __init__(self, server: Dovecot, user: str, password: str) -> None:
        self.server = server
        self.user = user
        self.password = password

    def deliver(self, *raws: bytes) -> None:
        """Bring messages in by LMTP, as the mail path does; returns when they are stored."""
        with smtplib.LMTP("127.0.0.1", self.server.lmtp_port) as lmtp:
            for raw in raws:
                lmtp.sendmail("sender@example.test", [self.user], raw)

    def append(
        self,
        raw: bytes,
        *,
        internal_at: datetime | None = None,
        flags: Sequence[str] = (),
        mailbox: str = "INBOX",
    ) -> int:
        """Store one message as it is; return its uid."""
        return self.append_all([raw], internal_at=internal_at, flags=flags, mailbox=mailbox)[0]

    def append_all(
        self,
        raws: Sequence[bytes],
        *,
        internal_at: datetime | None = None,
        flags: Sequence[str] = (),
        mailbox: str = "INBOX",
    ) -> list[int]:
        """Store messages over one connection; return their uids (APPENDUID, RFC 4315)."""
        with self.imap() as client:
            answers = [client.append(mailbox, raw, flags, internal_at) for raw in raws]
        return [int(answer.split(b"]")[0].split()[-1]) for answer in answers]

    def messages(self, mailbox: str = "INBOX") -> dict[int, bytes]:
        """Return every message's bytes by uid, without touching a flag."""
        with self.imap(mailbox, readonly=True) as client:
            uids = client.search("ALL")
            fetched = client.fetch(uids, ["BODY.PEEK[]"]) if uids else {}
        return {uid: items[b"BODY[]"] for uid, items in sorted(fetched.items())}

    def flags(self, mailbox: str = "INBOX") -> dict[int, frozenset[str]]:
        r"""Return every message's flags by uid; `\Recent`, which is the session's, left out."""
        with self.imap(mailbox, readonly=True) as client:
            found = client.get_flags(client.search("ALL"))
        return {
            uid: frozenset(flag.decode() for flag in flags) - {"\\Recent"}
            for uid, flags in sorted(found.items())
        }

    def set_flags(self, uid: int, *flags: str, mailbox: str = "INBOX") -> None:
        """Give a message exactly these flags."""
        with self.imap(mailbox) as client:
            client.set_flags([uid], flags)

    def remove(self, *uids: int, mailbox: str = "INBOX") -> None:
        """Delete messages for good."""
        with self.imap(mailbox) as client:
            client.delete_messages(uids, silent=True)
            client.uid_expunge(uids)

    def take_away(self, *uids: int) -> None:
        """Delete messages of INBOX for good, as `MemoryMailbox.take_away`."""
        self.remove(*uids)

    @contextlib.contextmanager
    def damaged(self, uid: int) -> Iterator[None]:
        """Let the disk have lost most of a message of INBOX: Dovecot breaks off at it."""
        mails = self.server.base / "mail" / self.user / "mailboxes" / "INBOX" / "dbox-Mails"
        path = mails / f"u.{uid}"
        whole = path.read_bytes()
        path.write_bytes(whole[:60])
        try:
            yield
        finally:
            path.write_bytes(whole)

    def move(self, uid: int, mailbox: str, source: str = "INBOX") -> None:
        """Move a message to another mailbox of the account."""
        with self.imap(source) as client:
            client.move([uid], mailbox)

    def create(self, mailbox: str) -> None:
        """Create a mailbox beside INBOX."""
        with self.imap() as client:
            client.create_folder(mailbox)

    def uidvalidity(self, mailbox: str = "INBOX") -> int:
        """Return the mailbox's UIDVALIDITY."""
        with self.imap() as client:
            status = client.folder_status(mailbox, ["UIDVALIDITY"])
        return int(status[b"UIDVALIDITY"])

    def renumber(self, mailbox: str = "INBOX") -> int:
        """Give every message a new uid under a new UIDVALIDITY, which is returned."""
        before = self.uidvalidity(mailbox)
        kept = self.messages(mailbox)
        flags = self.flags(mailbox)
        with self.imap(mailbox, readonly=True) as client:
            dates = client.fetch(list(kept), ["INTERNALDATE"]) if kept else {}
        self.remove(*kept, mailbox=mailbox) if kept else None
        self.server.doveadm(
            "mailbox", "update", "--uid-validity", str(before + 1), "-u", self.user, mailbox
        )
        for uid, raw in kept.items():
            at = dates[uid][b"INTERNALDATE"]
            self.append(raw, internal_at=at, flags=sorted(flags[uid]), mailbox=mailbox)
        return self.uidvalidity(mailbox)

    @contextlib.contextmanager
    def imap(self, mailbox: str | None = None, *, readonly: bool = False) -> Iterator[Any]:
        """Yield an imapclient of this account, with `mailbox` selected if one is given."""
        with IMAPClient("127.0.0.1", self.server.imap_port, ssl=False, timeout=20) as client:
            client.normalise_times = False
            client.login(self.user, self.password)
            if mailbox is not None:
                client.select_folder(mailbox, readonly=readonly)
            yield client


class Dovecot:
    """A Dovecot of one's own. Mail lives as long as the object, over stops and starts.

    Users are cheap: take a fresh one for each test. `imap_port` takes plaintext and
    STARTTLS, `imaps_port` TLS with a server certificate of `authority` for `localhost` and
    127.0.0.1. `client_certificate` opens, by EXTERNAL, the account `mtls`.
    """

    host = "127.0.0.1"

    def __init__(self, mechanisms: str = "plain login external oauthbearer xoauth2") -> None:
        self._mechanisms = mechanisms
        self._binary = _installed()
        self._users = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Not pytest's directory: its path is long for a socket's, and root's alone to enter.
        self.base = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.base.chmod(0o755)
        self.authority = Authority(self.base / "tls")
        self.ca_file = self.authority.certificate
        self._server = self.authority.server("localhost", "DNS:localhost", "IP:127.0.0.1")
        self.client_certificate, self.client_key = self.authority.client("mtls")
        self.imap_port, self.imaps_port, self.lmtp_port = _free_ports(3)
        self._configure()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)

    def bal(self, user: str | None = None, password: str = PASSWORD) -> Bal:
        """Return a fresh account; a name may be given, which must be new."""
        bal = Bal(self, user or f"bal{next(self._users)}", password)
        self._write_password(bal)
        return bal

    def set_password(self, bal: Bal, password: str) -> None:
        """Change an account's password on the server; return when it counts."""
        bal.password = password
        self._write_password(bal)
        deadline = time.monotonic() + _READY_SECONDS
        while "auth succeeded" not in self.doveadm(
            "auth", "test", bal.user, password, check=False
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("Dovecot did not take the new password")

    def token(self, bal: Bal, *, ends_in: float = 300.0, key: bytes = _TOKEN_KEY) -> str:
        """Return a JWT (RFC 7519) that opens an account, for so many seconds from now."""
        now = int(time.time())  # noqa: TID251 - tokens are of the day on which tests run
        claims = {"sub": bal.user, "iat": now - 3600, "exp": now + int(ends_in)}
        parts = [{"alg": "HS256", "typ": "JWT"}, claims]
        signed = b".".join(_unpadded(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _unpadded(hmac.digest(key, signed, "sha256"))).decode()

    def _write_password(self, bal: Bal) -> None:
        path = self.base / "users" / bal.user
        path.write_text(f"{bal.user}:{{PLAIN}}{bal.password}::::::\n", encoding="utf-8")
        path.chmod(0o644)

    def start(self) -> None:
        """Start, and return when it greets.

        It ends with the thread that called this: a thread that lives on, not a timer's.
        """
        with (self.base / "stderr.log").open("ab") as errors:
            self._process = subprocess.Popen(
                [*_ENDS_WITH_US, self._binary, "-F", "-c", str(self.base / "dovecot.conf")],
                stdout=errors,
                stderr=errors,
                # A process group of its own, so that the children can be ended with it.
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not all(map(_greets, (self.imap_port, self.lmtp_port))):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Dovecot did not start:\n{self.log()}")

    def stop(self) -> None:
        """Stop in good order; connections are closed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let the master die as in a crash, with SIGKILL, and its children with it."""
        self._end(signal.SIGKILL)

    def kick(self, bal: Bal) -> None:
        """Break every connection of an account."""
        self.doveadm("kick", bal.user, check=False)

    def doveadm(self, *arguments: str, check: bool = True) -> str:
        """Run doveadm on this server and return what it printed."""
        done = subprocess.run(
            ["doveadm", "-c", str(self.base / "dovecot.conf"), *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"doveadm {arguments[0]} failed: {done.stderr}\n{self.log()}")
        return done.stdout

    def log(self) -> str:
        """Return what the server logged so far."""
        paths = (self.base / "stderr.log", self.base / "dovecot.log")
        return "".join(p.read_text(errors="replace") for p in paths if p.exists())

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        group = self._process.pid
        self._process.send_signal(number)
        self._process.wait(timeout=_READY_SECONDS)
        self._process = None
        # Children with a client may outlive the master.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        deadline = time.monotonic() + _READY_SECONDS
        while any(_greets(port) for port in (self.imap_port, self.lmtp_port)):
            if time.monotonic() > deadline:
                raise RuntimeError("Dovecot did not stop")

    def _configure(self) -> None:
        root = os.geteuid() == 0
        me = getpass.getuser() if not root else ""
        mail = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        for name in ("run", "state", "mail", "users"):
            (self.base / name).mkdir()
        os.chown(self.base / "mail", mail.pw_uid, mail.pw_gid)
        (self.base / "users").chmod(0o755)
        text = _CONFIG.format(
            base=self.base,
            mechanisms=self._mechanisms,
            instance=self.base.name,
            login_user=me or "dovenull",
            internal_user=me or "dovecot",
            internal_group=_group_of(me) if me else "dovecot",
            mail_uid=mail.pw_uid,
            mail_gid=mail.pw_gid,
            certificate=self._server[0],
            key=self._server[1],
            authority=self.ca_file,
            imap_port=self.imap_port,
            imaps_port=self.imaps_port,
            lmtp_port=self.lmtp_port,
        )
        (self.base / "dovecot.conf").write_text(text)
        (self.base / "oauth2.conf").write_text(_OAUTH2.format(base=self.base))
        keys = self.base / "token-keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(_TOKEN_KEY))


def _unpadded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _installed() -> str:
    binary = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if binary is None:
        raise RuntimeError(f"Dovecot is not installed: apt-get install {PACKAGES} (Debian)")
    return binary


def _group_of(user: str) -> str:
    import grp  # noqa: PLC0415 - only where Dovecot runs as an ordinary user

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now; another program may take one, rarely, before us."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _greets(port: int) -> bool:
    """Return whether a server says anything on this port within a short while."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as sock:
            return bool(sock.recv(1))
    except OSError:
        # Refused at once: do not ask a thousand times a second.
        threading.Event().wait(0.02)
        return False
