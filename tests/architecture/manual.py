"""Makes the manual page from the commands, in the macros of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dispatcher.cli.exits import Exit

_MEANS: Final[Mapping[Exit, str]] = {
    Exit.DONE: "done",
    Exit.ATTENTION: "done, and something is held, pending, failed or different",
    Exit.USAGE: "the command was used wrongly, or named what does not exist",
    Exit.UNREACHABLE: "a service cannot be reached, or refuses",
    Exit.TRY_LATER: "try later",
    Exit.CONFIG: "the configuration, or the ledger's file, is wrong",
}
_FILES: Final = {
    "/etc/sidep-dispatcher/dispatcher.yaml": "the settings",
    "/etc/sidep-dispatcher/routing.yaml": "which site's certificates go where",
    "/var/lib/sidep-dispatcher/ledger.sqlite3": "the record of every message",
}


def man_page(commands: Mapping[str, Any]) -> str:
    """Return sidep-dispatcher(1). It bears no date: the same commands give the same page."""
    lines = [
        '.\\" Made from the code by `make docs`; changes by hand are lost.',
        '.TH SIDEP\\-DISPATCHER 1 "" "sidep\\-dispatcher" "User Commands"',
        ".SH NAME",
        "sidep\\-dispatcher \\- deliver SI\\-DEP certificates to a laboratory's sites, once",
        ".SH SYNOPSIS",
        ".B sidep\\-dispatcher",
        ".I COMMAND",
        "[\\fIOPTION\\fR]...",
        ".SH DESCRIPTION",
        "Watches a shared MSSant\\('e mailbox, reads each SI\\-DEP certificate in it, and puts",
        "the PDF into the folder or on the printer of the one site that it belongs to. What",
        "does not agree with itself is held for a person.",
        ".SH COMMANDS",
    ]
    for name, command in commands.items():
        lines += _command(name, command)
    lines += [".SH EXIT STATUS"]
    for status in Exit:
        lines += [".TP", f".B {status.value}", _text(_MEANS[status])]
    lines += [".SH FILES"]
    for path, what in _FILES.items():
        lines += [".TP", f".I {_text(path)}", _text(what)]
    lines += [".SH SEE ALSO", "/usr/share/doc/sidep\\-dispatcher/"]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    yield f".SS {_text(name)}"
    yield _text(command.help or "")
    for one in command.params:
        if one.name == "help":
            continue
        yield ".TP"
        yield _head(one)
        yield _text(one.help or "")


def _head(one: Any) -> str:
    metavar = _text(str(one.metavar or one.name.upper()))
    if one.param_type_name == "argument":
        return f".I {metavar}"
    options = ", ".join(_text(word) for word in one.opts)
    return f".B {options}" if one.is_flag else f"\\fB{options}\\fR \\fI{metavar}\\fR"


def _text(words: str) -> str:
    """Return words as one line of text that troff takes for text."""
    flat = re.sub(r"\s+", " ", words.strip()).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", flat)
