"""Makes the name a document bears in a folder: safe everywhere, and the same everywhere."""

from __future__ import annotations

import hmac
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# ext4 and most others allow 255 bytes, CIFS and eCryptfs less (design, "Folder").
LONGEST: Final = 180
_SUFFIX: Final = ".pdf"
_STEM: Final = LONGEST - len(_SUFFIX)
_NAMELESS: Final = "document"

# Reserved on Windows, and the separator of every other system.
_RESERVED: Final = frozenset('<>:"/\\|?*')

# Names that Windows opens as a device, with any extension and with trailing spaces
# (Microsoft, "Naming Files, Paths, and Namespaces"; superscript digits count as digits).
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)

# A name to which nothing has to be done: letters that are composed already and take at most two
# bytes, no dot but one, and nothing at an end that some system gives a meaning.
_ORDINARY: Final = re.compile(
    r"[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff_]"
    r"(?:[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff_()', -]{0,84}"
    r"[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff_])?\.pdf"
)

# Characters that show nothing and are not in category Cf (Unicode's property
# Default_Ignorable_Code_Point): two names that look alike would differ.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)

# How many digits of the content's SHA-256 tell files of one name apart, tried in order.
_DIGITS: Final = (0, 8, 16, 32, 64)

_PART: Final = re.compile(r"\.sidep-[0-9A-Za-z_-]{1,64}\.part", re.ASCII)


def safe_name(name: str) -> str:
    """Return `name` as a file name that is safe on every platform and ends in `.pdf`.

    NFC; no separator, control, bidi or invisible character, no name or character that
    Windows reserves, no dot, dash or space at an end that some system gives a meaning; at
    most 180 bytes of UTF-8. Applied to its own result it changes nothing.
    """
    if _ORDINARY.fullmatch(name) and name[: -len(_SUFFIX)].upper() not in _DEVICES:
        return name
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", name))
    text = unicodedata.normalize("NFC", "".join(map(_safe_character, text)))
    text = text.rstrip(". ")
    stem = text[: -len(_SUFFIX)] if text.lower().endswith(_SUFFIX) else text
    stem = _cut(stem.lstrip(".- "), _STEM) or _NAMELESS
    if stem.partition(".")[0].rstrip().upper() in _DEVICES:
        stem = _cut("_" + stem, _STEM)
    return stem + _SUFFIX


def candidates(name: str, sha256: str) -> Iterator[str]:
    """Yield the names that this content may bear, the plain one first.

    The others carry digits of its SHA-256, for when other content has the name already.
    """
    stem = safe_name(name)[: -len(_SUFFIX)]
    for digits in _DIGITS:
        ending = f"-{sha256[:digits]}" if digits else ""
        yield _cut(stem, _STEM - len(ending)) + ending + _SUFFIX


def folded(name: str) -> str:
    """Return what names that some file system takes for one have in common.

    Canonical caseless matching (Unicode, section 3.13, definition D145).
    """
    if name.isascii():
        return name.lower()
    caseless = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFD", caseless)


def reference_of(secret: bytes, name: str) -> str:
    """Return a word of 32 hexadecimal digits for a file that does not tell its name.

    Keyed, so that nobody can check a guessed patient against the ledger.
    """
    return hmac.digest(secret, os.fsencode(name), "sha256").hex()[:32]


def part_name(order_id: str) -> str:
    """Return the temporary name of an order; it says nothing of the patient."""
    name = f".sidep-{order_id}.part"
    if not is_part(name):
        raise ValueError("an order's id is 1 to 64 letters, digits, dashes or underscores")
    return name


def is_part(name: str) -> bool:
    """Return whether this is a temporary name of ours."""
    return _PART.fullmatch(name) is not None


def _safe_character(character: str) -> str:
    """Return what stands for one character; nothing for what has no width of its own."""
    category = unicodedata.category(character)
    if category in {"Zs", "Zl", "Zp"} or character in "\t\n\r\v\f":
        return " "
    if category in {"Cc", "Cf"}:
        return ""
    # Private use: SMB mounts send U+F0xx as the reserved characters. Surrogates: bytes
    # that were no text.
    if category in {"Cs", "Co"}:
        return "_"
    # NFKD also finds the full-width and the composed forms of reserved characters.
    if _RESERVED & set(unicodedata.normalize("NFKD", character)):
        return "_"
    return character


def _cut(text: str, most: int) -> str:
    """Return the beginning of `text` in at most that many bytes, without loose ends."""
    return text.encode()[:most].decode(errors="ignore").rstrip(". ")
