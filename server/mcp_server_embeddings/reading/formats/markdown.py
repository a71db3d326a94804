"""Markdown: the unchanged source, divided at its headings."""

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, whole_document
from mcp_server_embeddings.reading.outline import Outline

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_LINE_END = re.compile(r"\r\n?|\n")  # the line endings of CommonMark, which markdown-it's line numbers count
_FRONT_MATTER_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)

_MAX_HEADING_SOURCE = 1_000
"""Characters of a heading that are parsed for emphasis, links and code; the heading of a section has fewer."""


def markdown_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document; a section starts at each heading outside lists, quotes and code.

    Raises:
        UnreadableError: It is binary, blank or too long, or has too many headings.
    """
    text = decoded(content)
    parsing.check_characters(len(text))
    outline = Outline(parsing)
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    for line, level, heading in _headings(_without_front_matter(_LINE_END.sub("\n", text)), parsing):
        outline.heading(starts[line], level, heading)
    return whole_document(text, outline.sections(text))


def _headings(source: str, parsing: Parsing) -> Iterator[tuple[int, int, str]]:
    """Yield line, level and text of each heading; lines of ``source`` end with a line feed."""
    blocks, inline = _parsers()
    tokens = _HeadingTokens(parsing)
    blocks.block.parse(source, blocks, {}, tokens)
    for opening, content in zip(tokens[::2], tokens[1::2], strict=True):
        spans = inline.parseInline(content.content[:_MAX_HEADING_SOURCE])[0].children or []
        words = "".join(span.content or " " for span in spans if span.type != "html_inline")
        yield opening.map[0] if opening.map else 0, int(opening.tag[1:]), words


def _without_front_matter(source: str) -> str:
    """Blank out front matter: its last line would be parsed as a heading, underlined by the closing ``---``."""
    fences = _FRONT_MATTER_FENCE.finditer(source)
    opening, closing = next(fences, None), next(fences, None)
    if opening is None or opening.start() > 0 or closing is None:
        return source
    return "\n" * source.count("\n", 0, closing.end()) + source[closing.end() :]


class _HeadingTokens(list["Token"]):
    """Keeps only top-level headings and their content: the tokens of 2 MB of list items take a gigabyte."""

    def __init__(self, parsing: Parsing) -> None:
        super().__init__()
        self._parsing = parsing
        self._in_heading = False

    def append(self, token: "Token") -> None:
        """Keep or drop a token; the parser's rules for CommonMark never reread the dropped ones."""
        opens = token.type == "heading_open" and token.level == 0
        if opens or self._in_heading:
            self._parsing.check_sections(len(self) // 2)
            super().append(token)
        self._in_heading = opens


@functools.cache
def _parsers() -> "tuple[MarkdownIt, MarkdownIt]":
    """Return a parser for blocks only, which saves most of the time, and one for the text of a heading."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").disable(["inline", "reference"]), MarkdownIt("commonmark")
