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
_BREAKS: Final = dict.fromkeys(_LINE, "\n") | dict.fromkeys(_PARAGRAPH, "\n\n")
# The second character of a tag that may begin or end a cited reply.
_QUOTE_BEGINS: Final = frozenset("bB/")
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
    for piece, name in _pieces(markup):
        if name is None:
            lines.append(piece)
            continue
        if piece[1] in _QUOTE_BEGINS:
            depth = _cited(piece, depth)
        if line := _BREAKS.get(name):
            lines.append(line.replace("\n", "\n> ") if depth else line)
    return "".join(lines)


def _cited(tag: str, depth: int) -> int:
    """Return how deep in cited replies the text after `tag` lies."""
    begin = tag[: len("</blockquote")].lower()
    if begin.startswith("</blockquote"):
        return max(0, depth - 1)
    opens = begin.startswith("<blockquote")
    return depth + 1 if opens and (depth or "cite" in tag or "quote" in tag[11:]) else depth


def _pieces(markup: str) -> Iterator[tuple[str, str | None]]:
    """Yield runs of text as they are seen, and tags with their names, in order."""
    position, pre = 0, False
    while (start := markup.find("<", position)) >= 0:
        if start > position:
            yield _seen(markup[position:start], pre), None
        position = _end_of(markup, start)
        if position == start + 1:
            yield "<", None
            continue
        tag = markup[start : min(position, start + _REACH)]
        found = _NAME.match(tag)
        name = found[1].lower() if found else ""
        if name == "pre":
            pre = not tag.startswith("</")
        if name in _UNSEEN and not tag.startswith("</"):
            end = _UNSEEN_END.search(markup, position)
            position = end.start() if end else len(markup)
        yield tag, name
    yield _seen(markup[position:], pre), None


def _seen(text: str, pre: bool) -> str:
    # What is printable has no white space but blanks.
    if not pre and ("  " in text or not text.isprintable()):
        text = _SPACES.sub(" ", text)
    return html.unescape(_ABSURD.sub("\ufffd", text)) if "&" in text else text


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
