"""Finds what makes a PDF do something when it is opened, or carry another file.

Nothing that pypdf follows is trusted to be what a viewer follows, so the search has three
nets: every object that the cross-reference lists, whether reachable or not; every other
object that the file holds (older revisions, what a viewer finds when it repairs a file);
and the names written plainly in the file or in its object streams. A dictionary's meaning
is taken from its names, wherever it stands (ISO 32000-1, 12.6 and 7.11).

An object that is written plainly and bears no name of interest goes through no net: that it
can be read and does nothing is seen from its bytes (`plain`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Final

from pypdf import PdfReader
from pypdf.errors import LimitReachedError, PyPdfError
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    PdfObject,
    StreamObject,
    TextStringObject,
    read_object,
)

from dispatcher.edges.pdf.plain import PlainObjects

# Names that mean the thing wherever they stand.
_TELLING: Final = frozenset(
    {
        "/EmbeddedFile",
        "/EmbeddedFiles",
        "/FileAttachment",
        "/GoToE",
        "/GoToR",
        "/ImportData",
        "/JavaScript",
        "/Launch",
        "/RichMedia",
        "/RichMediaContent",
        "/RichMediaExecute",
        "/SubmitForm",
    }
)
# Shorter names could be a font's: what they lead to must fit as well.
_SHORT: Final = frozenset({"/AA", "/AF", "/EF", "/JS", "/OpenAction", "/XFA"})

# What else leads further: an object stream holds objects of its own.
_OBJECT_STREAM: Final = "/ObjStm"
PLAIN_OBJECTS: Final = PlainObjects(
    (name[1:] for name in {*_TELLING, *_SHORT, _OBJECT_STREAM} - {"/OpenAction"}),
    with_page="OpenAction",
)

_FILE_KEYS: Final = frozenset({"/F", "/UF", "/DOS", "/Mac", "/Unix"})

_WRITTEN: Final = (
    b"(?:%s|XFA)(?![^\\x00\\t\\n\\f\\r ()<>\\[\\]{}/%%])"
    % "|".join(sorted(name[1:] for name in _TELLING)).encode()
)
_PLAIN: Final = re.compile(b"/" + _WRITTEN)
# Finds what either of its neighbours would, in one pass and without saying which.
_EITHER: Final = re.compile(b"/(?:[A-Za-z0-9]{0,24}#[0-9A-Fa-f]{2}|%s)" % _WRITTEN)
# A name with at least one character written as #xx (ISO 32000-1, 7.3.5).
_ESCAPED: Final = re.compile(rb"/[A-Za-z0-9]{0,24}#[0-9A-Fa-f]{2}[A-Za-z0-9#]{0,96}")
_ESCAPE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_SHORT_ACTION: Final = re.compile(rb"/JS[\s(<\[]|/AA[\s<]")
# The beginning of an object, up to its first byte that is neither space nor comment.
_NUMBERS: Final = rb"(?<![0-9])[0-9]{1,10}\s++[0-9]{1,5}\s++"
_WORD: Final = rb"obj(?![a-z])(?:[\s\x00]|%[^\r\n]*+[\r\n])*+"
_OBJECT: Final = re.compile(_NUMBERS + _WORD)
# The same in two steps, for the quick search: the word first, then the numbers before it.
_QUICK_WORD: Final = re.compile(_WORD)
_QUICK_NUMBERS: Final = re.compile(_NUMBERS + rb"\Z")
_ANY_WORD: Final = re.compile(rb"obj")
_ONLY_NUMBERS: Final = re.compile(rb"[0-9\s]*+")
_NEAR: Final = 24
_REACH: Final = 128

# Far beyond a certificate of some pages; a search that goes on for ever is no search.
MOST_OBJECTS: Final = 20_000
MOST_VALUES: Final = 400_000
_MOST_HOPS: Final = 16


class TooMuch(Exception):
    """The document has more in it than is looked at."""


def is_active(reader: PdfReader, raw: bytes) -> bool:
    """Return whether the file runs, opens or carries something.

    Raises TooMuch, and what pypdf raises on an object that it cannot read.
    """
    return names_it(raw) or _Search(reader, raw).finds()


def names_it(data: bytes) -> bool:
    """Return whether a telling name is written in these bytes, plainly or escaped."""
    if not _EITHER.search(data):
        return False
    if _PLAIN.search(data):
        return True
    return any(
        _PLAIN.match(_ESCAPE.sub(_unescaped, match[0]) + b" ")
        for match in _ESCAPED.finditer(data)
    )


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


def headings(raw: bytes) -> list[tuple[int, int]]:
    """Return where the heading of each object (`1 0 obj`) begins, and where it ends.

    The word is found ten times sooner than the numbers before it. Where these could begin
    out of reach, everything is searched as slowly as it takes.
    """
    found: list[tuple[int, int]] = []
    ended, at = 0, raw.find(b"obj")
    while at >= 0:
        if raw[max(at - 1, 0) : at].isspace():  # `endobj` is half of what is found
            before = raw[max(ended, at - _NEAR) : at]
            numbers = _QUICK_NUMBERS.search(before)
            if len(before) == _NEAR and (numbers is None or not numbers.start()):
                before = raw[max(ended, at - _REACH) : at]
                if len(before) == _REACH and _ONLY_NUMBERS.fullmatch(before):
                    return [match.span() for match in _OBJECT.finditer(raw)]
                numbers = _QUICK_NUMBERS.search(before)
            word = _QUICK_WORD.match(raw, at)
            if numbers is not None and word is not None:
                ended = word.end()
                found.append((at - len(before) + numbers.start(), ended))
        at = raw.find(b"obj", max(at + 3, ended))
    return found


class _Search:
    """One pass over everything in a file, within bounds."""

    def __init__(self, reader: PdfReader, raw: bytes, *, skips: bool = True) -> None:
        self._reader = reader
        self._raw = raw
        self._values = 0
        self._skips = skips
        # Where an `obj` stands that is the heading or the end of a plain object.
        self._words: set[int] = set()

    def finds(self) -> bool:
        try:
            return self._finds()
        except TooMuch:
            if not self._words:
                raise
        # What is skipped is counted by its bytes, which are more than its values.
        return _Search(self._reader, self._raw, skips=False).finds()

    def _finds(self) -> bool:
        if any(self._acts(value) for value in self._listed()):
            return True
        return any(self._acts(value) for value in self._unlisted())

    def _listed(self) -> Iterator[object]:
        yield self._reader.trailer
        references = [(number, generation) for number, generation, _ in self._in_use()]
        references += [(number, 0) for number in self._reader.xref_objStm]
        if len(references) > MOST_OBJECTS:
            raise TooMuch
        for number, generation in references:
            if not self._skip(number, generation):
                yield IndirectObject(number, generation, self._reader).get_object()

    def _in_use(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, generation and place of each object that no table calls free.

        In a hybrid file (ISO 32000-1, 7.5.8.4) a table calls free what its `/XRefStm` calls in
        use: such an object is not listed, so it is looked at like any other that is not.
        """
        for generation, entries in self._reader.xref.items():
            free = self._reader.xref_free_entry.get(generation, {})
            for number, at in entries.items():
                if not free.get(number, False):
                    yield number, generation, at

    def _skip(self, number: int, generation: int) -> bool:
        """Return whether the object is plain and still unread. Notes where a plain one is."""
        begin = self._reader.xref.get(generation, {}).get(number)
        if not self._skips or begin is None or number in self._reader.xref_objStm:
            return False
        plain = PLAIN_OBJECTS.at(self._raw, begin, (number, generation))
        if plain is None:
            return False
        self._words |= {plain.word, plain.last}
        # What was read before need not be what stands there.
        if (generation, number) in self._reader.resolved_objects:
            return False
        self._values += plain.size
        if self._values > MOST_VALUES:
            raise TooMuch
        return True

    def _unlisted(self) -> Iterator[object]:
        if len(_ANY_WORD.findall(self._raw)) == len(self._words):
            return  # each heading in the file is that of a listed object
        listed = {at for _, _, at in self._in_use()}
        stream = io.BytesIO(self._raw)
        for count, (begin, end) in enumerate(headings(self._raw)):
            if count > MOST_OBJECTS:
                raise TooMuch
            if begin in listed:
                continue
            stream.seek(end)
            try:
                yield read_object(stream, self._reader)
            except LimitReachedError:
                raise
            except (PyPdfError, ValueError, AttributeError, KeyError, TypeError, IndexError):
                continue  # chance bytes, or garbage that no viewer reads either

    def _acts(self, top: object) -> bool:
        for value in self._within(top):
            if isinstance(value, NameObject) and value in _TELLING:
                return True
            if isinstance(value, DictionaryObject) and self._dictionary_acts(value):
                return True
        return False

    def _within(self, top: object) -> Iterator[object]:
        """Yield a value and all that is written inside it; references are not followed."""
        left = [top]
        while left:
            value = left.pop()
            self._values += 1
            if self._values > MOST_VALUES:
                raise TooMuch
            yield value
            if isinstance(value, DictionaryObject):
                left += dict.keys(value)
                left += dict.values(value)
            elif isinstance(value, ArrayObject):
                left += list.__iter__(value)

    def _dictionary_acts(self, found: DictionaryObject) -> bool:
        if isinstance(found, StreamObject) and self._at(found, "/Type") == _OBJECT_STREAM:
            data = found.get_data()
            if names_it(data) or _SHORT_ACTION.search(data):
                return True
        return any(self._short_name_acts(found, key) for key in _SHORT & dict.keys(found))

    def _short_name_acts(self, found: DictionaryObject, key: str) -> bool:
        value = self._at(found, key)
        match key:
            case "/OpenAction":
                return isinstance(value, DictionaryObject) and not self._only_goes_to(value)
            case "/JS":
                return isinstance(value, TextStringObject | ByteStringObject | StreamObject)
            case "/XFA":
                return isinstance(value, ArrayObject | StreamObject | TextStringObject)
            case "/AA":
                return self._any_has(self._entries(value), "/S")
            case "/EF":
                return isinstance(value, DictionaryObject) and bool(
                    _FILE_KEYS & dict.keys(value)
                )
            case _:  # /AF, PDF 2.0: a file specification or an array of them
                entries = self._entries(value) if isinstance(value, ArrayObject) else [value]
                return self._any_has(entries, "/EF", "/F", "/UF")

    def _only_goes_to(self, action: DictionaryObject) -> bool:
        """Return whether an action shows a page of this document and does nothing after."""
        return self._at(action, "/S") == "/GoTo" and "/Next" not in dict.keys(action)

    def _any_has(self, values: Iterable[object], *keys: str) -> bool:
        return any(
            isinstance(value, DictionaryObject) and dict.keys(value) & set(keys)
            for value in values
        )

    def _entries(self, value: object) -> list[object]:
        if isinstance(value, DictionaryObject):
            return [self._resolved(entry) for entry in dict.values(value)]
        if isinstance(value, ArrayObject):
            return [self._resolved(entry) for entry in list.__iter__(value)]
        return []

    def _at(self, found: DictionaryObject, key: str) -> object:
        return self._resolved(dict.get(found, NameObject(key)))

    def _resolved(self, value: PdfObject | None) -> PdfObject | None:
        for _ in range(_MOST_HOPS):
            if not isinstance(value, IndirectObject):
                return value
            value = self._reader.get_object(value)
        raise TooMuch
