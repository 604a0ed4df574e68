"""Writes the log: one JSON object or one readable line an event, on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from functools import partialmethod
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dispatcher.edges.log.guard import guard
from dispatcher.errors import place_of

# sd-daemon(3): a line that begins with <N> carries its syslog priority to the journal.
_PRIORITY: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}


def configure(
    *,
    style: Literal["json", "console"] = "json",
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Set up the log of the whole process.

    Other libraries' loggers are silenced: what an IMAP or SQL library writes may hold
    what it handled, and only our own events are known to name nobody.
    """
    stream = stream or sys.stderr
    logging.root.handlers = [logging.NullHandler()]
    logging.root.setLevel(logging.WARNING)
    logging.raiseExceptions = False
    lines = _Lines(stream)
    structlog.configure(
        processors=_processors(style, stream),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )


def guard_crashes() -> None:
    """Report what nobody caught by its class and place alone: never its text or frames."""
    sys.excepthook = lambda _kind, error, _trace: _report_crash(error)
    threading.excepthook = lambda args: _report_crash(args.exc_value)


def _report_crash(error: BaseException | None) -> None:
    if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
        return
    structlog.get_logger(__name__).critical(
        "program_crashed", error=type(error).__name__, place=place_of(error)
    )


def _processors(style: Literal["json", "console"], stream: TextIO) -> list[Processor]:
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_exception,
        guard,
    ]
    if style == "console":
        return [*common, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    return [*common, _as_json]


# ASCII only, so that no line separator or escape of another alphabet gets through. Made once:
# `json.dumps` makes an encoder for each line.
_JSON: Final = json.JSONEncoder(ensure_ascii=True, default=repr)


def _as_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    return _JSON.encode(event_dict)


def _without_exception(
    _logger: WrappedLogger, _method: str, event_dict: EventDict
) -> EventDict:
    """Tell of an exception its class and place alone: its text could quote a document."""
    error = event_dict.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event_dict["error"], event_dict["place"] = type(error).__name__, place_of(error)
    return event_dict


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd connected this stream to the journal (systemd.exec, JOURNAL_STREAM)."""
    wanted = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


class _Lines:
    """Writes whole lines; a log that cannot be written must not stop a delivery."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._journal = _is_journal(stream)

    def _write(self, level: str, line: str) -> None:
        prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
        try:
            self._stream.write(f"{prefix}{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = partialmethod(_write, "debug")
    info = partialmethod(_write, "info")
    warning = partialmethod(_write, "warning")
    error = partialmethod(_write, "error")
    critical = partialmethod(_write, "critical")
