"""The door at which a monitoring system asks: real sockets, and clients that misbehave."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest
import structlog
from structlog.testing import capture_logs

from dispatcher.edges.metrics import HttpDoor
from dispatcher.edges.metrics.door import Page
from dispatcher.errors import Unavailable
from dispatcher.service.showing import Showing
from tests.acceptance.laboratory import until
from tests.acceptance.monitoring import free_port

HOSTS = ["127.0.0.1", "::1", "localhost"]


def answer(path: str, accept: str) -> Page | None:
    if path == "/broken":
        raise ValueError("a patient's name")
    return Page(200, "text/x", f"{path} {accept}\n".encode()) if path == "/page" else None


@pytest.fixture
def opened() -> Iterator[HttpDoor]:
    door = HttpDoor("127.0.0.1", free_port(), answer)
    door.open()
    yield door
    door.close()


@dataclass(frozen=True)
class Answered:
    status: int
    body: bytes
    headers: dict[str, str]


def ask(door: HttpDoor, path: str, method: str = "GET", host: str = "127.0.0.1") -> Answered:
    with closing(http.client.HTTPConnection(host, door.port, timeout=60)) as asking:
        asking.request(method, path, headers={"Accept": "text/y"})
        given = asking.getresponse()
        return Answered(given.status, given.read(), dict(given.getheaders()))


@pytest.mark.parametrize("host", HOSTS)
def test_a_page_is_answered_at_every_kind_of_address(host: str) -> None:
    door = HttpDoor(host, free_port(host if ":" in host else "127.0.0.1"), answer)
    door.open()
    try:
        given = ask(door, "/page?x=1", host=host)
        assert (given.status, given.body) == (200, b"/page text/y\n")
        assert given.headers["Cache-Control"] == "no-store"
        assert "Python" not in given.headers["Server"]
    finally:
        door.close()
    with pytest.raises(OSError, match="refused"):
        ask(door, "/page", host=host)


def test_head_is_answered_without_a_body_and_other_methods_are_not(opened: HttpDoor) -> None:
    given = ask(opened, "/page", "HEAD")
    assert (given.status, given.body, given.headers["Content-Length"]) == (200, b"", "13")
    assert ask(opened, "/page", "POST").status == 501


def test_a_page_that_is_not_there_is_told(opened: HttpDoor) -> None:
    assert ask(opened, "/etc/passwd").status == 404


def test_a_bug_in_a_page_hurts_that_answer_alone_and_is_told_without_its_text(
    opened: HttpDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    with capture_logs() as logged:
        with pytest.raises(http.client.HTTPException):
            ask(opened, "/broken")
        until(lambda: bool(logged), "the line in the log")
    assert [line["event"] for line in logged] == ["metrics_request_failed"]
    assert "patient" not in str(logged) + capsys.readouterr().err
    assert ask(opened, "/page").status == 200


def test_silent_clients_are_left_and_others_get_their_turn(opened: HttpDoor) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            sock = socket.create_connection(("127.0.0.1", opened.port))
            stack.enter_context(closing(sock))
            sock.sendall(b"GET /pa")

        def served() -> bool:
            try:
                return ask(opened, "/page").status == 200
            except (OSError, http.client.HTTPException):
                return False

        until(served, "a place that became free")


def test_closing_waits_for_no_client(opened: HttpDoor) -> None:
    with closing(socket.create_connection(("127.0.0.1", opened.port))) as sock:
        sock.sendall(b"GET /page HTTP/1.1\r\n")
        closing_it = threading.Thread(target=opened.close)
        closing_it.start()
        closing_it.join(60)
        assert not closing_it.is_alive()


@pytest.mark.parametrize(
    ("host", "port", "what", "hint"),
    [
        pytest.param("192.0.2.1", 9464, "EADDRNOTAVAIL", "127.0.0.1", id="not ours"),
        pytest.param("::2", 9464, "EADDRNOTAVAIL", "127.0.0.1", id="not ours, IPv6"),
        pytest.param("127.0.0.1", None, "EADDRINUSE", "another port", id="taken"),
    ],
)
def test_a_door_that_cannot_be_opened_says_why_and_what_to_do(
    host: str, port: int | None, what: str, hint: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        door = HttpDoor(host, port or other.getsockname()[1], answer)
        with pytest.raises(Unavailable, match=what) as caught:
            door.open()
        assert hint in caught.value.hint
        assert door.check().level == "problem"
        assert hint in door.check().hint


def test_a_port_that_becomes_free_is_taken_by_and_by() -> None:
    port = free_port()
    other = socket.create_server(("127.0.0.1", port))
    door = HttpDoor("127.0.0.1", port, answer)
    showing = Showing(door, again=0.05)
    structlog.reset_defaults()
    with capture_logs() as logged:
        showing.start()
        until(lambda: bool(logged), "the failure in the log")
        other.close()
        until(lambda: len(logged) == 2, "the door")
    assert ask(door, "/page").status == 200
    assert [line["event"] for line in logged] == [
        "metrics_were_not_shown",
        "metrics_were_shown",
    ]
    showing.stop()
    with pytest.raises(OSError, match="refused"):
        ask(door, "/page")


def test_a_door_that_is_closed_while_it_opens_stays_closed() -> None:
    for _ in range(20):
        door = HttpDoor("127.0.0.1", free_port(), answer)
        showing = Showing(door)
        showing.start()
        showing.stop()
        deadline = time.monotonic() + 60
        while any(thread.name == "showing" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
        with pytest.raises(OSError, match="refused"):
            ask(door, "/page")
