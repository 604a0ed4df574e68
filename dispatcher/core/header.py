"""Header fields as bytes: unfolded, encoded words, parameters, addresses.

RFC 5322 (2.2.3, 3.4), RFC 2047, RFC 2231, and what mailers make of them. The library's
readers guess where a certificate must be refused, raise on some real mail, and decode each
encoded word for itself although mailers split characters and numbers between two.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from dispatcher.core.text import decode

# No field of ours comes near it; it bounds the time spent on a hostile one.
FIELD_LIMIT: Final = 8192

# Stands for an author who cannot be read: it has no `@`, so no list of senders allows it.
UNREADABLE_SENDER: Final = "(unreadable)"

# The fields that a reader of ours asks for; gateways add dozens that none does.
_NAMES: Final = {
    name.encode(): name
    for name in (
        *("from", "subject", "message-id"),
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id"),
    )
}
# A whole field: its name, blanks (a fold among them), its value with the folded lines.
_ASKED: Final = re.compile(
    rb"\n(%b)(?:[ \t]|\r?\n(?=[ \t]))*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % b"|".join(_NAMES),
    re.IGNORECASE,
)
_TO_BLANKS: Final = bytes.maketrans(b"\t\r", b"  ")


def fields(block: bytes) -> list[tuple[str, bytes]]:
    """Return (lower-case name, unfolded value) for each field of a header that is asked for.

    In their order. A line that is no field is left out. A bare CR is white space, never a
    line end: it cannot make a field of its own. A tab comes from folding and is made a
    blank. A value longer than FIELD_LIMIT is cut there.
    """
    found = _ASKED.findall(b"\n" + block)
    return [(_NAMES[name.lower()], _unfolded(value)) for name, value in found]


def _unfolded(value: bytes) -> bytes:
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    value = value.strip()[:FIELD_LIMIT]
    return value.translate(_TO_BLANKS) if b"\t" in value or b"\r" in value else value


# --- encoded words (RFC 2047) ------------------------------------------------------------

_WORD: Final = re.compile(rb"=\?([^?\s]{1,40})\?([bBqQ])\?(.*?)\?=", re.DOTALL)
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_BASE64))
_ESCAPE: Final = re.compile(rb"=([0-9A-Fa-f]{2})")

# The charset a run of bytes is said to be in ("" for plain ones), its encoding, the bytes.
_Chunk = tuple[str, str, bytes]


def decode_words(value: bytes) -> str:
    """Return the text of an unstructured value or of a file name; never raises.

    Neighbouring words of one charset are joined as bytes before they are decoded. Words
    are also found inside quotes and glued to text, where RFC 2047 (5) does not allow them.
    """
    if b"=?" not in value:
        return decode(value) if value.strip() else ""
    runs = [
        (charset, _run(encoding, [content for _, _, content in chunks]))
        for (charset, encoding), chunks in groupby(_chunks(value), key=itemgetter(0, 1))
    ]
    return "".join(
        decode(b"".join(content for _, content in neighbours), charset)
        for charset, neighbours in groupby(runs, key=itemgetter(0))
    )


def _chunks(value: bytes) -> Iterator[_Chunk]:
    position = 0
    # A word that has no end would be looked for once more from each that begins.
    last = value.rfind(b"?=") + len(b"?=")
    for word in _WORD.finditer(value, 0, last):
        between = value[position : word.start()]
        # White space between two words belongs to neither (RFC 2047, 6.2).
        if between.strip() or (between and not position):
            yield "", "", between
        charset = word[1].decode("latin-1").partition("*")[0].lower()
        yield charset or "?", word[2].decode("ascii").lower(), word[3]
        position = word.end()
    if value[position:].strip():
        yield "", "", value[position:]


def _run(encoding: str, contents: Sequence[bytes]) -> bytes:
    if encoding == "b":
        return _base64(contents)
    if encoding == "q":
        return b"".join(_quoted(content) for content in contents)
    return b"".join(contents)


def _base64(words: Sequence[bytes]) -> bytes:
    sizes = [len(word.translate(None, _NOT_BASE64)) % 4 for word in words]
    is_padded = any(b"=" in word for word in words[:-1])
    # A base64 text that was cut between two words: only the whole of it can be decoded.
    if 1 in sizes or (any(sizes[:-1]) and not is_padded):
        words = [b"".join(words)]
    return b"".join(loose_base64(word) for word in words)


def loose_base64(text: bytes) -> bytes:
    """Decode what base64 letters there are, however padded; a last lonely one is dropped."""
    letters = text.translate(None, _NOT_BASE64)
    whole = letters[: len(letters) - (len(letters) % 4 == 1)]
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _quoted(word: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: binascii.a2b_hex(found[1]), word.replace(b"_", b" "))


# --- parameters (RFC 2045, 5.1; RFC 2231) -------------------------------------------------

_PARAMETER: Final = re.compile(
    rb';\s*([^\s;=*"]+)(?:\*([0-9]{1,3}))?(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^;]*))',
    re.DOTALL,
)
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHED: Final = re.compile(rb'\\(["\\])')

# Number of the section, whether its value is percent-encoded, the value.
_Section = tuple[int, bool, bytes]


def token(value: bytes) -> str:
    """Return the first word of a structured value (a type, a disposition), lower-cased."""
    return value.partition(b";")[0].strip().decode("latin-1").lower()


def parameter(value: bytes, name: str) -> tuple[str, ...]:
    """Return every text that `value` gives for one parameter, best first.

    `name*` and its continuations (RFC 2231) come before the plain forms. A parameter that
    is given twice gives two texts: nothing is picked silently.
    """
    wanted = name.encode()
    if wanted not in value.lower():
        return ()
    plain: list[str] = []
    extended: list[str] = []
    sections: list[_Section] = []
    for key, number, is_encoded, quoted, bare in _PARAMETER.findall(value):
        if key.lower() != wanted:
            continue
        content = _SLASHED.sub(rb"\1", quoted) if b"\\" in quoted else quoted or bare.strip()
        if number:
            sections.append((int(number), bool(is_encoded), content))
        elif is_encoded:
            extended.append(_decode_sections([(0, True, content)]))
        else:
            plain.append(decode_words(content))
    if sections:
        extended.append(_decode_sections(sorted(sections, key=lambda section: section[0])))
    return tuple(dict.fromkeys(extended + plain))


def _decode_sections(sections: Sequence[_Section]) -> str:
    _, is_encoded, first = sections[0]
    charset = b""
    if is_encoded and first.count(b"'") >= 2:  # noqa: PLR2004 - charset'language'text
        charset, _, first = first.split(b"'", 2)
    contents = [(is_encoded, first), *(section[1:] for section in sections[1:])]
    if not any(encoded for encoded, _ in contents):
        return decode_words(b"".join(content for _, content in contents))
    # Neighbours are joined first: a section may end inside a percent escape.
    runs = (
        (encoded, b"".join(content for _, content in run))
        for encoded, run in groupby(contents, key=itemgetter(0))
    )
    joined = b"".join(_unescape(run) if encoded else run for encoded, run in runs)
    return decode(joined, charset.decode("latin-1"))


def _unescape(content: bytes) -> bytes:
    if b"%" not in content:
        return content
    return _PERCENT.sub(lambda found: binascii.a2b_hex(found[1]), content)


# --- authors (RFC 5322, 3.4) --------------------------------------------------------------

_TOKEN: Final = re.compile(
    r'\s+|"(?:[^"\\]|\\.)*+"|\((?:[^()\\]|\\.)*+\)|<[^<>"]*+>|[^\s"()<>,:;\\]+|,', re.DOTALL
)
_ATOMS: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_ADDRESS: Final = re.compile(rf"{_ATOMS}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def authors(value: bytes) -> tuple[str, ...]:
    """Return the address of each author in a From value, lower-cased; at least one entry.

    Stricter than RFC 5322: groups, routes, quoted local parts, and addresses in a display
    name without quotes give UNREADABLE_SENDER. Display names and comments never count, and
    an encoded word is never decoded before the structure is read.
    """
    if len(value) >= FIELD_LIMIT:
        return (UNREADABLE_SENDER,)
    text, position = value.decode("latin-1"), 0
    if _ADDRESS.fullmatch(text):
        return (text.lower(),)
    author: list[str] = []
    found: list[str] = []
    while position < len(text):
        token_found = _TOKEN.match(text, position)
        if token_found is None:
            return (UNREADABLE_SENDER,)
        position = token_found.end()
        if token_found[0] == ",":
            found.append(_address(author))
            author = []
        elif not token_found[0].isspace() and token_found[0][0] != "(":
            author.append(token_found[0])
    return (*found, _address(author))


def _address(tokens: Sequence[str]) -> str:
    *phrase, last = tokens or [""]
    if last.startswith("<"):
        last = last[1:-1].strip(" ")
        is_plain = all(word.startswith('"') or not set("@<") & set(word) for word in phrase)
    else:
        is_plain = not phrase
    return last.lower() if is_plain and _ADDRESS.fullmatch(last) else UNREADABLE_SENDER
