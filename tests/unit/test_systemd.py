"""What the service manager hears, on a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.edges.systemd import SystemdNotifier

Say = Callable[[SystemdNotifier], None]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}" if request.param == "abstract" else name)
        sock.settimeout(10)
        yield sock


def address(manager: socket.socket) -> str:
    name = manager.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else name


@pytest.mark.parametrize(
    ("say", "heard"),
    [
        pytest.param(
            lambda n: n.ready("2 mailboxes"), "READY=1\nSTATUS=2 mailboxes", id="ready"
        ),
        pytest.param(lambda n: n.status("a\nREADY=1"), "STATUS=a READY=1", id="one line"),
        pytest.param(lambda n: n.alive(), "WATCHDOG=1", id="alive"),
        pytest.param(lambda n: n.stuck("x"), "WATCHDOG=trigger\nSTATUS=x", id="stuck"),
        pytest.param(
            lambda n: n.reloading(12.5), "RELOADING=1\nMONOTONIC_USEC=12500000", id="reloading"
        ),
        pytest.param(
            lambda n: n.stopping(8), "STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000", id="stopping"
        ),
    ],
)
def test_the_manager_hears(manager: socket.socket, say: Say, heard: str) -> None:
    say(SystemdNotifier({"NOTIFY_SOCKET": address(manager)}))
    assert manager.recv(4096).decode() == heard


@pytest.mark.parametrize("value", [None, "", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_is_said_and_nothing_fails(value: str | None) -> None:
    notifier = SystemdNotifier({} if value is None else {"NOTIFY_SOCKET": value})
    notifier.ready("")
    notifier.alive()
    assert notifier.patience is None


def test_helpers_inherit_nothing_to_speak_with(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": address(manager), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    environ["PATH"] = "/"
    SystemdNotifier(environ)
    assert environ == {"PATH": "/"}


@pytest.mark.parametrize(
    ("environ", "patience"),
    [
        pytest.param({"WATCHDOG_USEC": "480000000"}, 480.0, id="set"),
        pytest.param(
            {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2.0, id="ours"
        ),
        pytest.param({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None, id="another's"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="none"),
        pytest.param({"WATCHDOG_USEC": "٣"}, None, id="no number"),
        pytest.param({}, None, id="unset"),
    ],
)
def test_how_long_the_manager_waits(environ: dict[str, str], patience: float | None) -> None:
    assert SystemdNotifier(environ).patience == patience
