"""Knows objects that are written so plainly that pypdf need not read them.

Such an object is read by pypdf without an error, whatever else the file holds, and nothing in
it runs, opens or carries something. Both follow from its own bytes alone: it refers to
nothing that has to be looked up to read it, and none of its names is one that `active` asks
about. What is written otherwise may be just as good: it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# Fewer than pypdf takes for white space and for the ends of words, so that what is one word
# here is one word there.
_SPACE: Final = r"[\t\n\r ]"
_END: Final = r"(?=[\t\n\r ()<>\[\]/])"
# No `#`: a name with an escaped character is not plain.
_REGULAR: Final = r"[!\"$&'*-.0-;=?-Z\\^-z|~]"


@dataclass(frozen=True, slots=True)
class Plain:
    """Where a plain object lies.

    `word` and `last` are where the two `obj` of its heading and of its end begin, `size` is
    how many bytes it has without its stream: it has no more values than that.
    """

    word: int
    last: int
    size: int


class PlainObjects:
    """Looks for plain objects that bear none of these names (each without its slash).

    `with_page` may stand before an array, which then names a page and runs nothing.
    """

    def __init__(self, unwanted: Iterable[str], *, with_page: str) -> None:
        names = "|".join(sorted(unwanted))
        # A type is a name, so that it can be no other object and no text that reads `/ObjStm`.
        known = rf"(?!(?:{names})(?![A-Za-z0-9]))(?!{with_page}(?!{_SPACE}*+\[))"
        name = rf"/{known}(?!Type{_END}(?!{_SPACE}*+/)){_REGULAR}{{1,127}}+{_END}"
        value = (
            rf"(?:{name}"
            rf"|[0-9]{{1,7}}+{_SPACE}[0-9]{{1,5}}+{_SPACE}R{_END}"
            rf"|[+-]?(?:[0-9]{{1,9}}+(?:\.[0-9]{{0,8}}+)?|\.[0-9]{{1,8}}+){_END}"
            rf"|\((?:[ -'*-\[\]-~]++|\\[()\\nrt]){{0,2000}}\)"
            rf"|<[0-9A-Fa-f]{{0,2000}}+>"
            rf"|(?:true|false|null){_END})"
        )
        array = rf"\[(?:{_SPACE}*+{value}){{0,2000}}{_SPACE}*+\]"
        key = rf"{_SPACE}*+(?!/Length{_END}){name}{_SPACE}*+"
        innermost = rf"<<(?:{key}(?:{value}|{array})){{0,200}}{_SPACE}*+>>"
        inner = rf"<<(?:{key}(?:{value}|{array}|{innermost})){{0,200}}{_SPACE}*+>>"
        entry = rf"{key}(?:{value}|{array}|{inner})"
        # Written out, and of less than pypdf takes at most (10 MB).
        size = rf"{_SPACE}++(?P<length>[0-9]{{1,7}}+)(?={_SPACE}*+[/>])"
        length = rf"{_SPACE}*+(?P<key>/Length){size}"
        head = r"(?<![0-9])(?P<number>[0-9]{1,9}+) (?P<generation>[0-9]{1,5}+) (?P<word>obj)"
        text = (
            rf"{head}{_SPACE}*+<<(?:{entry}|{length}){{0,200}}{_SPACE}*+>>"
            rf"{_SPACE}*+(?:end(?P<last>obj)|(?P<stream>stream)\r?\n)"
        )
        self._object = re.compile(text.encode())
        self._opening = re.compile(rf"{_SPACE}*+<<".encode())
        self._entry = re.compile(
            rf"{_SPACE}*+({name}){_SPACE}*+({value}|{array}|{inner})".encode()
        )
        self._closing = re.compile(rf"{_SPACE}*+>>".encode())
        self._after = re.compile(rf"{_SPACE}{{0,2}}endstream{_SPACE}++end(obj)".encode())

    def at(self, raw: bytes, begin: int, key: tuple[int, int]) -> Plain | None:
        """Return where the object of this number and generation lies, if it is plain.

        `begin` is where the cross-reference has it, in bytes.
        """
        if not 0 <= begin < len(raw):
            return None
        found = self._object.match(raw, begin)
        if found is None or (int(found["number"]), int(found["generation"])) != key:
            return None
        size = found.end() - begin
        if found["stream"] is None:
            return Plain(found.start("word"), found.start("last"), size)
        # The first length counts, and there is only one.
        if found["length"] is None or raw.find(b"/Length", begin, found.start("key")) >= 0:
            return None
        after = self._after.match(raw, found.end() + int(found["length"]))
        return None if after is None else Plain(found.start("word"), after.start(1), size)

    def dictionary(self, raw: bytes, begin: int) -> tuple[dict[bytes, bytes], int] | None:
        """Return the entries of the dictionary that begins there, as written, and its end.

        None: it is not plain, or bears a name twice.
        """
        found = self._opening.match(raw, begin)
        entries: dict[bytes, bytes] = {}
        while found is not None:
            end = found.end()
            found = self._entry.match(raw, end)
            if found is None:
                closing = self._closing.match(raw, end)
                return None if closing is None else (entries, closing.end())
            if found[1] in entries:
                return None
            entries[found[1]] = found[2]
        return None
