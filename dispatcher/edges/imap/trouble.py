"""Turns what the network and the library raise into the errors of this program."""

from __future__ import annotations

import contextlib
import errno
import imaplib
import re
import ssl
from collections.abc import Iterator
from typing import Final

from dispatcher.errors import Unavailable

# Response codes whose name may be repeated; the text behind a code is the server's own and
# may hold anything (RFC 5530, 3; RFC 3501, 7.1).
_KNOWN_CODES: Final = frozenset(
    {
        "ALERT", "ALREADYEXISTS", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "CANNOT",
        "CLIENTBUG", "CONTACTADMIN", "CORRUPTION", "EXPIRED", "EXPUNGEISSUED", "INUSE",
        "LIMIT", "NONEXISTENT", "NOPERM", "OVERQUOTA", "PARSE", "PRIVACYREQUIRED",
        "READ-ONLY", "SERVERBUG", "THROTTLED", "TOOBIG", "UNAVAILABLE",
    }
)  # fmt: skip

# Codes that say: the same thing may work later (RFC 5530, 3). THROTTLED is in no RFC: large
# operators say it to whoever asked for too much in too short a time.
TEMPORARY: Final = frozenset(
    {
        "UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CORRUPTION", "CONTACTADMIN",
        "THROTTLED",
    }
)  # fmt: skip

_CODE: Final = re.compile(r"\[([A-Z][A-Z-]*)[ \]]", re.IGNORECASE)


class TooMuch(Exception):
    """The server announced a literal larger than what may come.

    `uid` is the message it belongs to, where the same line said so. It is none of imaplib's
    errors, because imaplib replaces those by others on their way.
    """

    def __init__(self, size: int, uid: int | None) -> None:
        super().__init__(f"a literal of {size} bytes was announced")
        self.size = size
        self.uid = uid


def response_code(text: object) -> str:
    """Return the RFC 5530 response code in a server's text, "" when there is none known."""
    plain = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    found = _CODE.search(plain[:80])
    code = found[1].upper() if found else ""
    return code if code in _KNOWN_CODES else ""


def coded(sentence: str, code: str) -> str:
    """Return the sentence with the response code behind it."""
    return f"{sentence} [{code}]" if code else sentence


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise Unavailable for every way in which talking to the server fails.

    The library's errors quote the server, which may quote a message: they are not chained.
    """
    try:
        yield
    except TooMuch as error:
        raise Unavailable(f"{doing}: more than the limit was announced") from error
    except imaplib.IMAP4.error as error:
        raise Unavailable(coded(f"{doing}: {_kind(error)}", response_code(error))) from None
    except OSError as error:
        raise Unavailable(f"{doing}: {network_error(error)}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # What imaplib and imapclient raise on answers that nobody expected.
        raise Unavailable(f"{doing}: unreadable answer ({type(error).__name__})") from None


def _kind(error: imaplib.IMAP4.error) -> str:
    if isinstance(error, imaplib.IMAP4.abort):
        return "the connection broke off"
    return "the server said no or spoke no IMAP"


def network_error(error: OSError) -> str:
    """Return the name of a network error; no text from outside is in it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
