"""What the edge and its worker say: JSON with its length first, documents apart."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

LENGTH: Final = struct.Struct("!I")
# More is not believed: the list of ten thousand jobs is far shorter.
LONGEST: Final = 64 << 20

# CUPS hides titles from whoever is not logged in (cupsd.conf, JobPrivateValues): even from
# the jobs' owner. An option of ours, which it keeps and shows, bears the title once more.
MARK: Final = "sidep-delivery"

Said = Mapping[str, Any]


class Ended(Exception):
    """The other side closed, or what it said is not in this protocol."""


def send(sock: socket.socket, said: Said, document: bytes = b"") -> None:
    """Send one message and the document that belongs to it."""
    payload = json.dumps({**said, "size": len(document)}).encode()
    sock.sendall(LENGTH.pack(len(payload)) + payload)
    if document:
        sock.sendall(document)


def receive(sock: socket.socket) -> tuple[Said, bytes]:
    """Return one message and its document; raises Ended."""
    (length,) = LENGTH.unpack(_read(sock, LENGTH.size))
    if length > LONGEST:
        raise Ended
    try:
        said = json.loads(_read(sock, length))
        size = int(said["size"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Ended from error
    return said, _read(sock, size) if size else b""


def _read(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        chunk = sock.recv(min(size - len(got), 1 << 20))
        if not chunk:
            raise Ended
        got += chunk
    return bytes(got)
