"""A line between a client and a server: it delays what passes, bounds its rate, and counts.

`python -m bench.line SERVER_PORT SECONDS BITS` prints the port it listens on; each line on
its standard input is answered with what passed since the last one, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Final

_CHUNK: Final = 64 * 1024
# What may be under way in each direction: more than any line of the bench can hold.
_UNDER_WAY: Final = 256
_SOON: Final = 0.0002
# What a server says of new mail, alone or as the first of a few lines (RFC 3501, 7.3.1).
_EXISTS: Final = re.compile(rb"\* (\d+) EXISTS\r\n")


@dataclass(slots=True)
class Passed:
    """Bytes up (to the server) and down, lines up and connections.

    `announced` is how many messages the server said that there are, and when (Unix time).
    """

    up: int = 0
    down: int = 0
    lines: int = 0
    connections: int = 0
    announced: list[tuple[int, float]] = field(default_factory=list)


class _Way:
    """One direction of one connection: a thread that takes in, and one that gives out."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        self._source = source
        self._sink = sink
        self._delay = delay
        self._under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_UNDER_WAY)

    def start(self, rate: float, passed: Passed, *, up: bool) -> None:
        for work in (lambda: self._take_in(rate, passed, up=up), self._give_out):
            threading.Thread(target=work, daemon=True).start()

    def _take_in(self, rate: float, passed: Passed, *, up: bool) -> None:
        free_at = time.monotonic()
        with contextlib.suppress(OSError):
            while True:
                chunk, waited = self._next()
                if not chunk:
                    break
                now = time.monotonic()
                # The line is busy with one chunk after the other; then each travels on. What
                # waited for it goes without a gap, however late this thread is.
                begins = free_at if waited and rate else max(now, free_at)
                free_at = begins + (len(chunk) / rate if rate else 0.0)
                _count(passed, chunk, up=up)
                self._under_way.put((free_at + self._delay, chunk))
                if free_at - now > _SOON:
                    _pause(free_at - now)
        self._under_way.put((0.0, b""))

    def _next(self) -> tuple[bytes, bool]:
        """Return what comes next, and whether it lay there already."""
        with contextlib.suppress(BlockingIOError):
            return self._source.recv(_CHUNK, socket.MSG_DONTWAIT), True
        return self._source.recv(_CHUNK), False

    def _give_out(self) -> None:
        with contextlib.suppress(OSError):
            while (arriving := self._under_way.get())[1]:
                due, chunk = arriving
                left = due - time.monotonic()
                if left > _SOON:
                    _pause(left)
                self._sink.sendall(chunk)
        with contextlib.suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)


def _count(passed: Passed, chunk: bytes, *, up: bool) -> None:
    if up:
        passed.up += len(chunk)
        passed.lines += chunk.count(b"\n")
    else:
        passed.down += len(chunk)
        if found := _EXISTS.match(chunk):
            passed.announced.append((int(found[1]), time.time()))  # noqa: TID251 - beside files' times


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - being late is what a line is for


def _accept(
    listener: socket.socket, port: int, *, delay: float, rate: float, passed: Passed
) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        passed.connections += 1
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Way(client, server, delay).start(0.0, passed, up=True)
        _Way(server, client, delay).start(rate, passed, up=False)


def _serve(port: int, round_trip: float, bits: float) -> None:
    passed = Passed()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=_accept,
        args=(listener, port),
        kwargs={"delay": round_trip / 2, "rate": bits / 8, "passed": passed},
        daemon=True,
    ).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(asdict(passed)) + "\n")
        sys.stdout.flush()
        passed.up = passed.down = passed.lines = passed.connections = 0
        passed.announced.clear()


class Line:
    """A line in a process of its own. `port` takes its clients."""

    def __init__(self, process: subprocess.Popen[str], out: IO[str], into: IO[str]) -> None:
        self._out, self._into = out, into
        self.pid = process.pid
        self.port = int(out.readline())

    def passed(self) -> Passed:
        """Return what passed since the last call, or since the start."""
        self._into.write("\n")
        self._into.flush()
        return Passed(**json.loads(self._out.readline()))


@contextlib.contextmanager
def line(port: int, *, round_trip: float = 0.0, bits: float = 0.0) -> Iterator[Line]:
    """Yield a line to a local server: seconds there and back, bits a second (0: any)."""
    command = [sys.executable, "-m", "bench.line", str(port), str(round_trip), str(bits)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Line(process, process.stdout, process.stdin)
        finally:
            process.kill()


def bare(*, round_trip: float, bits: float, size: int) -> float:
    """Return the part of `bits` a second that a bare stream of `size` bytes gets of a line.

    1.0 but for what the clock is late: so much of the line can be had.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(1)
                stream.sendall(b"-" * size)

        threading.Thread(target=send, daemon=True).start()
        with (
            line(server.getsockname()[1], round_trip=round_trip, bits=bits) as way,
            socket.create_connection(("127.0.0.1", way.port)) as stream,
        ):
            began = time.monotonic()
            stream.sendall(b"?")
            got = 0
            while chunk := stream.recv(_CHUNK):
                got += len(chunk)
            return got / (time.monotonic() - began - round_trip) / (bits / 8)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
