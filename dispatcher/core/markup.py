"""Turns an HTML body into the lines that a reader would see.

Not by the standard library's parser: 48 kB of unfinished tags keep it busy for 20 s, and
`<![` makes it raise. This one goes through the text once.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

_TAG: Final = re.compile(r"""<[/!?A-Za-z][^>"']*+(?:(?:"[^"]*+"|'[^']*+')[^>"']*+)*+>""")
_NAME: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
# A tag with quoted attributes is looked for this far; a longer one ends at the first `>`.
_REACH: Final = 4096

_LINE: Final = frozenset({"br", "div", "li", "dt", "dd", "hr", "section", "center"})
_PARAGRAPH: Final = frozenset(
    {"p", "pre", "tr", "td", "th", "table", "ul", "ol", "dl", "blockquote"}
    | {"h1", "h2", "h3", "h4", "h5", "h6"}
)
_BEGINS: Final = re.compile(r"[/!?A-Za-z]")
_UNSEEN: Final = frozenset({"script", "style", "title"})
_UNSEEN_END: Final = re.compile(r"</(?:script|style|title)\b", re.IGNORECASE | re.ASCII)

_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
# int() refuses numbers of more than 4,300 digits.
_ABSURD: Final = re.compile(r"&#[xX]?[0-9A-Fa-f]{8,};?")


def text_of(markup: str) -> str:
    """Return the visible text: scripts, styles, comments dropped, blocks on lines of their own.

    Cells and paragraphs are set apart by an empty line. Lines of a cited reply begin with
    `>`, as they do in plain text.
    """
    depth = 0
    lines: list[str] = []
    for piece in _pieces(markup):
        if not piece.startswith("<"):
            lines.append(html.unescape(_ABSURD.sub("\ufffd", piece[1:])))
            continue
        depth = _cited(piece, depth)
        lines.append(_break(piece).replace("\n", "\n> " if depth else "\n"))
    return "".join(lines)


def _cited(tag: str, depth: int) -> int:
    """Return how deep in cited replies the text after `tag` lies."""
    if tag.lower().startswith("</blockquote"):
        return max(0, depth - 1)
    opens = tag.lower().startswith("<blockquote")
    return depth + 1 if opens and (depth or "cite" in tag or "quote" in tag[11:]) else depth


def _break(tag: str) -> str:
    found = _NAME.match(tag)
    name = found[1].lower() if found else ""
    return "\n\n" if name in _PARAGRAPH else "\n" if name in _LINE else ""


def _pieces(markup: str) -> Iterator[str]:
    """Yield tags (beginning with `<`) and runs of text (behind one blank), in order."""
    position, pre = 0, False
    while (start := markup.find("<", position)) >= 0:
        yield _data(markup[position:start], pre)
        position = _end_of(markup, start)
        if position == start + 1:
            yield " <"
            continue
        tag = markup[start : min(position, start + _REACH)]
        found = _NAME.match(tag)
        name = found[1].lower() if found else ""
        if name == "pre":
            pre = not tag.startswith("</")
        if name in _UNSEEN and not tag.startswith("</"):
            end = _UNSEEN_END.search(markup, position)
            position = end.start() if end else len(markup)
        yield tag
    yield _data(markup[position:], pre)


def _data(text: str, pre: bool) -> str:
    return " " + (text if pre else _SPACES.sub(" ", text))


def _end_of(markup: str, start: int) -> int:
    """Return where the tag or comment at `start` ends; `start + 1` if it is a mere `<`."""
    if markup.startswith("<!--", start):
        end = markup.find("-->", start + 4)
        return end + 3 if end >= 0 else len(markup)
    following = markup[start + 1 : start + 2]
    if not (
        (following and following in "/!?") or (following.isascii() and following.isalpha())
    ):
        return start + 1
    found = _TAG.match(markup, start, start + _REACH)
    if found:
        return found.end()
    end = markup.find(">", start)
    return end + 1 if end >= 0 else len(markup)
