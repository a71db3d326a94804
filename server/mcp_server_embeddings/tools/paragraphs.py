"""The running text of a document: its paragraphs, each on one line, without what is no prose."""

import re
from collections.abc import Iterator, Sequence

from mcp_server_embeddings.tools.sentences import STATEMENT_END

# All of these are matched with lines without white space around them.
_FENCE = re.compile(r"\A(```|~~~)")
_UNDERLINE = re.compile(r"\A(=+|-+)\Z")
_NO_PROSE = re.compile(r"\A(#{1,6}(?!\S)|\||<!--|\[\w+\]:|[-=*_~+|: \t]+\Z)")
"""Headings, rows and frames of tables, comments, definitions of links."""

_QUOTE = re.compile(r"\A(?:>[ \t]?)+")
_MARKER = re.compile(r"\A(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[a-z]\))[ \t]+(?=\S)")

_RAGGED = 12
"""Characters by which a wrapped line may be shorter than its width: an editor's or a hyphenated word's."""

_HEADING = 100
"""Characters of a heading at most."""


def paragraphs(text: str) -> list[str]:
    r"""Return the paragraphs and list items of a text, each on one line.

    Lines that were wrapped at a width are joined. Headings, tables, code in fences and frames are left out: what is
    marked as one, and a short line that ends no sentence beside paragraphs that do.

    Example:
        >>> paragraphs("# Refunds\n\nYou get a refund\nwithin 3.5 days.")
        ['You get a refund within 3.5 days.']
    """
    found = [paragraph for block in _blocks(text.splitlines()) for paragraph in _joined(block)]
    prose = [paragraph for paragraph in found if STATEMENT_END.search(paragraph) or len(paragraph) > _HEADING]
    return prose or found


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines between blank lines and what is no prose."""
    block: list[str] = []
    fence = ""
    for raw in lines:
        line = _QUOTE.sub("", raw.strip()).strip()
        mark = _FENCE.match(line)
        if mark:
            fence = "" if fence == mark[1] else fence or mark[1]
        if len(block) == 1 and _UNDERLINE.match(line) and len(block[0]) <= _HEADING:
            block = []  # an underlined heading
        elif fence or mark or not line or _NO_PROSE.match(line):
            if block:
                yield block
            block = []
        else:
            block.append(line)
    if block:
        yield block


def _joined(block: Sequence[str]) -> Iterator[str]:
    """Yield the paragraphs of a block: a line is joined with the next where it was wrapped."""
    width = max(map(len, block))
    paragraph = ""
    for line, following in zip(block, [*block[1:], ""], strict=True):
        paragraph = _appended(paragraph, " ".join(_MARKER.sub("", line).split()))
        if not following or _MARKER.match(following) or not _is_wrapped(line, following, width):
            yield paragraph
            paragraph = ""


def _is_wrapped(line: str, following: str, width: int) -> bool:
    """Tell whether the sentence goes on: the next line begins in lower case, or its first word did not fit."""
    first = following.split(maxsplit=1)[0]
    return first[0].islower() or line.endswith((",", "-")) or len(line) + 1 + len(first) + _RAGGED > width


def _appended(paragraph: str, words: str) -> str:
    if not paragraph or (paragraph.endswith("-") and words[0].islower()) or _is_wide(paragraph[-1]):
        return paragraph + words
    return f"{paragraph} {words}"


def _is_wide(character: str) -> bool:
    """Tell characters of scripts without spaces between words."""
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
