"""Extract the running text of a document: its paragraphs, each on one line, without headings, tables and code."""

import re
from collections.abc import Iterator, Sequence

from mcp_server_embeddings.tools.sentences import STATEMENT_END

# All of these are matched against stripped lines.
_FENCE = re.compile(r"\A(```|~~~)")
_UNDERLINE = re.compile(r"\A(=+|-+)\Z")
_NOT_PROSE = re.compile(r"\A(#{1,6}(?!\S)|\||<!--|\[\w+\]:|[-=*_~+|: \t]+\Z)")
"""Headings, table rows and frames, comments, link definitions."""

_QUOTE = re.compile(r"\A(?:>[ \t]?)+")
_MARKER = re.compile(r"\A(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[a-z]\))[ \t]+(?=\S)")

_WRAP_TOLERANCE = 12
"""Characters by which a wrapped line may fall short of its width, because of the editor or a hyphenated word."""

_MAX_HEADING = 100
"""Maximum number of characters in a heading."""


def paragraphs(text: str) -> list[str]:
    r"""Return the paragraphs and list items of a text, each on one line.

    Lines that were wrapped at a width are joined. Headings, tables, fenced code and frames are left out: those with
    Markdown syntax, and short lines that do not end a sentence if other paragraphs do.

    Example:
        >>> paragraphs("# Refunds\n\nYou get a refund\nwithin 3.5 days.")
        ['You get a refund within 3.5 days.']
    """
    found = [paragraph for block in _blocks(text.splitlines()) for paragraph in _join_lines(block)]
    prose = [paragraph for paragraph in found if STATEMENT_END.search(paragraph) or len(paragraph) > _MAX_HEADING]
    return prose or found


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield blocks of consecutive prose lines, separated by blank lines and lines that are not prose."""
    block: list[str] = []
    fence = ""
    for raw in [*lines, ""]:
        line = _QUOTE.sub("", raw.strip()).strip()
        mark = _FENCE.match(line)
        if mark:
            fence = "" if fence == mark[1] else fence or mark[1]
        if len(block) == 1 and _UNDERLINE.match(line) and len(block[0]) <= _MAX_HEADING:
            block = []  # an underlined heading
        elif fence or mark or not line or _NOT_PROSE.match(line):
            if block:
                yield block
            block = []
        else:
            block.append(line)


def _join_lines(block: Sequence[str]) -> Iterator[str]:
    """Yield the paragraphs of a block, joining each wrapped line with the next one."""
    width = max(map(len, block))
    paragraph = ""
    for line, following in zip(block, [*block[1:], ""], strict=True):
        paragraph = _append(paragraph, " ".join(_MARKER.sub("", line).split()))
        if not following or _MARKER.match(following) or not _is_wrapped(line, following, width):
            yield paragraph
            paragraph = ""


def _is_wrapped(line: str, following: str, width: int) -> bool:
    """Return whether a line was wrapped: the next one begins in lower case, or its first word did not fit."""
    first = following.split(maxsplit=1)[0]
    return first[0].islower() or line.endswith((",", "-")) or len(line) + 1 + len(first) + _WRAP_TOLERANCE > width


def _append(paragraph: str, words: str) -> str:
    if not paragraph or (paragraph.endswith("-") and words[0].islower()) or _is_wide(paragraph[-1]):
        return paragraph + words
    return f"{paragraph} {words}"


def _is_wide(character: str) -> bool:
    """Return whether a character belongs to a script without spaces between words."""
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
