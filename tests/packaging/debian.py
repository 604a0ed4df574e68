"""A fresh Debian in a directory of its own, with the network of this machine; bootable."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.laboratory import DEADLINE, until
from tests.architecture.generate import ROOT

# Made once, then copied for each run; `make clean` removes it.
_BASE = ROOT / "build" / "debian"
_INCLUDED = "systemd,systemd-sysv,python3,ca-certificates,bash-completion"
_ENTER = (
    'root=$1; shift; mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/run"; '
    'exec chroot "$root" "$@"'
)


class Debian:
    """A Debian below `top`; nothing of it runs but what `run` starts, unless it is booted."""

    def __init__(self, top: Path) -> None:
        if os.geteuid() != 0:
            raise RuntimeError("installing into a fresh Debian needs root")
        self.root = top / "debian"
        self._leader = ""
        subprocess.run(["cp", "-a", _base(), self.root], check=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc" / "resolv.conf")

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside, with nothing to read and mounts that end with it."""
        if self._leader:
            enter = ["nsenter", "--target", self._leader, "--all"]
        else:
            enter = ["unshare", "--mount", "sh", "-ec", _ENTER, "sh", str(self.root)]
        ended = subprocess.run(
            [
                *enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive", *map(str, words),
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check:
            assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
        return ended

    @contextlib.contextmanager
    def booted(self) -> Iterator[None]:
        """Boot it with its own systemd, in namespaces; meanwhile `run` runs beside it."""
        with (self.root.parent / "boot.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot",
                    "--resolv-conf=off", "--console=pipe", f"--directory={self.root}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(lambda: self._is_up(process), "systemd is up")
            yield
        finally:
            self._leader = ""
            with contextlib.suppress(ProcessLookupError):
                for child in self._children(process):
                    os.kill(int(child), signal.SIGKILL)
            process.kill()
            process.wait(DEADLINE)

    @staticmethod
    def _children(process: subprocess.Popen[bytes]) -> list[str]:
        """Return what it started, the machine's first process among it once it is there."""
        task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return task.read_text(encoding="ascii").split() if process.poll() is None else []

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether systemd runs inside; remember its number out here.

        The first child only makes the namespaces and ends, and is still in ours meanwhile,
        where this machine's own systemd would answer: each look asks anew.
        """
        assert process.poll() is None, "the machine did not boot"
        for child in self._children(process):
            if _processes_seen_by(child) in {"", _processes_seen_by("self")}:
                continue
            self._leader = child
            ended = self.run("systemctl", "is-system-running", check=False)
            if ended.stdout.strip() in {"running", "degraded"}:
                return True
        return False

    def install(self, package: Path) -> str:
        """Install or upgrade to a package's file, with what it depends on.

        Where the administrator and the package both changed a file of /etc, dpkg would ask:
        the answer that it proposes is taken.
        """
        shutil.copy(package, self.root / "srv" / package.name)
        return self.run(
            "apt-get", "install", "-y", "-qq", "--no-install-recommends",
            "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
            f"/srv/{package.name}",
        ).stdout  # fmt: skip

    def path(self, inside: str) -> Path:
        """Return where a path inside lies."""
        return self.root / inside.lstrip("/")

    def all_files(self) -> set[str]:
        """Return every path inside, but for /srv and what apt and dpkg note for themselves."""
        own = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "etc/ld.so.", "srv/")
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return {one for one in found if not one.startswith(own)}


def _processes_seen_by(process: str) -> str:
    """Return a process's PID namespace; "" when the process has ended."""
    try:
        return os.readlink(f"/proc/{process}/ns/pid")
    except FileNotFoundError:
        return ""


def _base() -> Path:
    if not _BASE.exists():
        building = _BASE.with_name("debian.building")
        shutil.rmtree(building, ignore_errors=True)
        release = subprocess.run(
            ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", release, building],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        building.rename(_BASE)
    return _BASE
