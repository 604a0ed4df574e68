"""The dead man's switch is called over HTTP; tokens and certificates tell their end."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dispatcher.edges.beacon import HttpBeacon
from dispatcher.edges.expiry import certificate_ends_at, token_ends_at
from dispatcher.errors import Unavailable
from tests.servers.authority import Authority


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


def token(**claims: object) -> str:
    parts = [{"alg": "none"}, claims]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(text.rstrip("=") for text in texts), "sig"])


def test_a_certificate_tells_its_end(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path / "authority").client("lbm")
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(certificate)]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    seconds = ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))
    assert certificate_ends_at(certificate) == datetime.fromtimestamp(seconds, UTC)
    assert certificate_ends_at(key) is None
    assert certificate_ends_at(tmp_path / "missing.pem") is None


def test_a_token_that_lasts_tells_its_end() -> None:
    end = NOW + timedelta(days=90)
    assert token_ends_at(token(iat=NOW.timestamp(), exp=end.timestamp())) == end


@pytest.mark.parametrize(
    "text",
    [
        token(iat=NOW.timestamp(), exp=NOW.timestamp() + 300),
        token(exp=NOW.timestamp()),
        token(iat="yesterday", exp=[]),
        token(iat=0, exp=10**30),
        "opaque",
        "a.b.c",
        "a.é.c",
        "",
    ],
    ids=["5 minutes", "no iat", "no numbers", "far away", "opaque", "dots", "accents", "none"],
)
def test_any_other_token_has_no_end_worth_telling(text: str) -> None:
    assert token_ends_at(text) is None
