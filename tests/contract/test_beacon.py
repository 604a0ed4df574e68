"""The dead man's switch is called over HTTP."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.edges.beacon import HttpBeacon
from dispatcher.errors import Unavailable


class Web(http.server.ThreadingHTTPServer):
    """Answers each call with `status`; `calls` are the paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 200
        self.location = ""
        self.calls: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.calls.append(self.path)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_call_is_one_request(web: Web) -> None:
    HttpBeacon(web.url("/ping/s3cret")).call()
    assert web.calls == ["/ping/s3cret"]


@pytest.mark.parametrize("status", [404, 500])
def test_an_answer_that_is_not_good_is_unavailable_and_hides_the_address(
    web: Web, status: int
) -> None:
    web.status = status
    with pytest.raises(Unavailable, match=str(status)) as caught:
        HttpBeacon(web.url("/ping/s3cret")).call()
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_a_redirection_is_not_followed(web: Web) -> None:
    web.status, web.location = 302, web.url("/elsewhere")
    with pytest.raises(Unavailable, match="302"):
        HttpBeacon(web.url("/ping")).call()
    assert web.calls == ["/ping"]


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match="does not answer"):
        HttpBeacon(f"http://127.0.0.1:{port}/ping").call()


def test_a_silent_server_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/ping"
        began = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer"):
            HttpBeacon(url, seconds=0.2).call()
        assert time.monotonic() - began < 30


# --- what ends by itself

NOW = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
