"""The worker process: the only place that loads pycups, which has no deadline of its own.

Whatever hangs here is ended from outside. Nothing is decided here: each act is told before
it is done, so that whoever finds this process dead knows what it may have done.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import cups

from dispatcher.edges.cups import wire

_JOB: Final = [
    "job-id", "job-uuid", "job-name", "job-state", "job-hold-until", "job-printer-uri",
    "job-k-octets", "job-impressions-completed", "job-media-sheets-completed",
    "number-of-documents", "time-at-creation", "time-at-processing", "time-at-completed",
    wire.MARK,
]  # fmt: skip
_QUEUE: Final = [
    "printer-state", "printer-state-reasons", "printer-state-message",
    "printer-is-accepting-jobs", "printer-up-time",
]  # fmt: skip
_CHUNK: Final = 1 << 18
_CONTINUE: Final = 100
# No cupsd is known to show so few at a time.
_FULL_PAGE: Final = 100
_SERVER_URI: Final = "ipp://localhost/"
_NOT_FOUND: Final = 0x0406

# A subscription to the server's own starts tells, later, whether it was restarted since.
# pycups aborts when given user data, so that the time of its making stands where the
# interval between mails would: CUPS keeps that number and has no other use for it here.
_STARTS: Final = ["server-started"]
_A_TIME: Final = 1_000_000_000
_LEASE: Final = 30 * 24 * 3600
_SETTLED_IN: Final = 2  # seconds that making one may take


def main() -> None:
    """Answer until the other side closes or dies."""
    # The parent drains on these and then closes; a terminal sends them to all.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A core dump would hold a document.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir("/")
    cups.setPasswordCB(lambda _prompt: None)
    sock = socket.socket(fileno=os.dup(0))
    threading.Thread(target=_end_with, args=(sock,), daemon=True).start()
    wire.send(sock, {"ready": True})
    while True:
        try:
            said, document = wire.receive(sock)
        except wire.Ended:
            return
        wire.send(sock, _answer(sock, said, document))


def _end_with(sock: socket.socket) -> None:
    """End this process as soon as the parent is gone, even in the midst of a request."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    os._exit(1)


def _answer(sock: socket.socket, said: wire.Said, document: bytes) -> wire.Said:
    try:
        connection = cups.Connection()
    except (RuntimeError, cups.HTTPError, cups.IPPError) as error:
        return {"error": "connect", **_trouble(error)}
    try:
        return _ACTS[said["do"]](connection, sock, {**said, "document": document})
    except (RuntimeError, cups.HTTPError, cups.IPPError) as error:
        return {"error": "request", **_trouble(error)}


def _trouble(error: Exception) -> wire.Said:
    kind = "ipp" if isinstance(error, cups.IPPError) else "http"
    first = error.args[0] if error.args else None
    # pycups puts the status into the first argument, sometimes as a pair with its text.
    pair = first if isinstance(first, tuple) else error.args
    code = pair[0] if pair and isinstance(pair[0], int) else None
    text = pair[1] if len(pair) > 1 and isinstance(pair[1], str) else ""
    return {"kind": kind, "code": code, "text": text}


def _look(connection: Any, _sock: socket.socket, said: wire.Said) -> wire.Said:
    # The subscription first: what it does not tell of must lie after the jobs' list.
    starts = _starts(connection, make=said["watch"])
    return {
        "jobs": _jobs(connection, said["first"]),
        "queue": _queue(connection, said["queue"], _QUEUE),
        "starts": starts,
    }


def _jobs(connection: Any, first: int) -> list[wire.Said]:
    """Return every job from a number on: cupsd shows 500 at a time, the lowest first."""
    found: list[wire.Said] = []
    while True:
        page = connection.getJobs("all", False, -1, first, _JOB)
        found += [{**job, "job-id": number} for number, job in page.items()]
        if len(page) < _FULL_PAGE:
            return found
        first = max(page) + 1


def _queue(connection: Any, name: str, attributes: list[str]) -> wire.Said | None:
    try:
        found = connection.getPrinterAttributes(name, requested_attributes=attributes)
    except cups.IPPError as error:
        if error.args[0] == _NOT_FOUND:
            return None
        raise
    return {key: value for key, value in found.items() if _plain(value)}


def _plain(value: object) -> bool:
    many = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(one, str | int | bool | None) for one in many)


def _starts(connection: Any, *, make: bool) -> list[list[Any]]:
    """Return [since, starts] of every subscription to the server's starts.

    `since` is from when on it tells; each start is [time, number of its event].
    """
    try:
        found = connection.getSubscriptions(_SERVER_URI)
    except cups.IPPError:  # it answers so when there is none
        found = []
    ours = {
        one["notify-subscription-id"]: int(one["notify-time-interval"])
        for one in found
        if one.get("notify-time-interval", 0) > _A_TIME
        and "server-started" in one.get("notify-events", [])
    }
    try:
        if make:
            _watch(connection, ours)
        return [[since, _started(connection, number)] for number, since in ours.items()]
    except cups.IPPError:  # a policy may forbid it: then nothing is known
        return []


def _watch(connection: Any, ours: Mapping[int, int]) -> None:
    """Subscribe to the server's starts, unless a subscription will hold for long yet."""
    now = _server_now(connection, ours)
    if any(now - since < _LEASE // 2 for since in ours.values()):
        return
    began = time.monotonic()
    number = connection.createSubscription(
        _SERVER_URI, events=_STARTS, lease_duration=_LEASE, time_interval=now + _SETTLED_IN
    )
    if time.monotonic() - began > _SETTLED_IN:
        connection.cancelSubscription(number)  # it would claim time that it did not see


def _server_now(connection: Any, ours: Mapping[int, int]) -> int:
    """Return the server's time; any queue tells it, and so does a subscription."""
    if ours:
        told = connection.getNotifications([next(iter(ours))])
        return int(told["printer-up-time"])
    for name in connection.getPrinters():
        attributes = connection.getPrinterAttributes(
            name, requested_attributes=["printer-up-time"]
        )
        return int(attributes["printer-up-time"])
    raise cups.IPPError(_NOT_FOUND, "no queue")


def _started(connection: Any, number: int) -> list[tuple[int, int]]:
    events = connection.getNotifications([number])["events"]
    return [
        (event["printer-up-time"], event.get("notify-sequence-number", 0))
        for event in events
        if event.get("notify-subscribed-event") == "server-started"
    ]


def _submit(connection: Any, sock: socket.socket, said: wire.Said) -> wire.Said:
    queue, title, document = said["queue"], said["title"], said["document"]
    wire.send(sock, {"stage": "creating"})
    number = connection.createJob(queue, title, {**said["options"], wire.MARK: title})
    wire.send(sock, {"stage": "created", "job": number})
    try:
        trouble = _send_document(connection, sock, (queue, number, title), document)
    except (RuntimeError, cups.HTTPError, cups.IPPError) as error:
        trouble = _trouble(error)
    if trouble is not None:
        return {"error": "document", "job": number, **trouble}
    return {"job": _job(connection, number)}


def _send_document(
    connection: Any, sock: socket.socket, place: tuple[str, int, str], document: bytes
) -> wire.Said | None:
    """Send the one document of a job; return what went wrong, if anything did."""
    queue, number, title = place
    # The name too is the title: whatever shows it shows a random id.
    status = connection.startDocument(queue, number, title, "application/pdf", 1)
    for start in range(0, len(document), _CHUNK):
        if status != _CONTINUE:
            return {"kind": "http", "code": status, "text": ""}
        chunk = document[start : start + _CHUNK]
        status = connection.writeRequestData(chunk, len(chunk))
        wire.send(sock, {"stage": "sending"})
    status = connection.finishDocument(queue)
    # Zero is successful-ok; below 0x100 it succeeded with a remark (RFC 8011, appendix B).
    return None if status < _FIRST_ERROR else {"kind": "ipp", "code": status, "text": ""}


_FIRST_ERROR: Final = 0x0100
# job-state, RFC 8011, 5.3.7: canceled, aborted and completed are 7, 8 and 9.
_HELD: Final = 4
_FIRST_ENDED: Final = 7


def _job(connection: Any, number: int) -> wire.Said | None:
    jobs = connection.getJobs("all", False, 1, number, _JOB)
    return {**jobs[number], "job-id": number} if number in jobs else None


def _remove(connection: Any, _sock: socket.socket, said: wire.Said) -> wire.Said:
    """Remove a job that CUPS has no record of a document for, and only such a one."""
    number = said["job"]
    job = _job(connection, number)
    if job is not None and _is(job, said) and _unrecorded(job):
        connection.cancelJob(number, True)
        job = _job(connection, number)
    return {"job": job if job is not None and _is(job, said) else None}


def _purge(connection: Any, _sock: socket.socket, said: wire.Said) -> wire.Said:
    """Remove an ended job with its document and its place in the history, and only it."""
    number = said["job"]
    job = _job(connection, number)
    if job is not None and _is(job, said) and job.get("job-state", 0) >= _FIRST_ENDED:
        connection.cancelJob(number, True)
        job = _job(connection, number)
    return {"job": job if job is not None and _is(job, said) else None}


def _is(job: wire.Said, said: wire.Said) -> bool:
    title = job.get("job-name") or job.get(wire.MARK)
    return bool(title == said["title"] and job.get("job-uuid") == said["uuid"])


def _unrecorded(job: wire.Said) -> bool:
    without = job.get("number-of-documents") == 0 or job.get("job-state") == _HELD
    return job.get("job-k-octets") == 0 and without


def _describe(connection: Any, _sock: socket.socket, said: wire.Said) -> wire.Said:
    return {"queue": _queue(connection, said["queue"], ["all"])}


def _settings(connection: Any, _sock: socket.socket, _said: wire.Said) -> wire.Said:
    """Return the server's cupsd.conf, where it lets us read it."""
    fd = os.memfd_create("cupsd.conf")
    connection.getFile("/admin/conf/cupsd.conf", fd=fd)
    return {"text": os.pread(fd, 1 << 20, 0).decode("utf-8", "replace")}


_Act = Callable[[Any, socket.socket, Mapping[str, Any]], wire.Said]
_ACTS: Final[Mapping[str, _Act]] = {
    "look": _look,
    "submit": _submit,
    "remove": _remove,
    "purge": _purge,
    "describe": _describe,
    "settings": _settings,
}

if __name__ == "__main__":
    main()
