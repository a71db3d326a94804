"""Markdown: the source as it is, cut at its headings."""

import functools
import itertools
import re
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.documents import Document, Parsing, whole
from mcp_server_embeddings.reading.outline import Outline

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LINE_END = re.compile(r"\r\n?|\n")  # what CommonMark, and markdown-it's line numbers, count as lines
_FRONT_MATTER = re.compile(r"---[ \t]*(?:\r\n?|\n)(?:[^\r\n]*(?:\r\n?|\n))*?---[ \t]*(?=\r|\n|\Z)")


def markdown_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """The file as one document; a section begins at each heading that is in no list, quote or code.

    Raises:
        UnreadableError: It is binary, blank or too long.
    """
    text = decoded(content)
    parsing.check_characters(len(text))
    outline = Outline()
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    for line, level, heading in _headings(_without_front_matter(text)):
        outline.heading(starts[line], level, heading)
    return whole(text, outline.sections(text))


def _headings(text: str) -> list[tuple[int, int, str]]:
    """Line, level and words of each heading."""
    found: list[tuple[int, int, str]] = []
    blocks, inline = _parsers()
    tokens = blocks.parse(text)
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            spans = inline.parseInline(content.content)[0].children or []
            words = "".join(span.content or " " for span in spans if span.type != "html_inline")
            found.append((token.map[0], int(token.tag[1:]), words))
    return found


def _without_front_matter(text: str) -> str:
    """Its lines blank: the last key would be read as a heading, underlined by the closing ``---``."""
    front = _FRONT_MATTER.match(text)
    if front is None:
        return text
    return re.sub(r"[^\r\n]", " ", front[0]) + text[front.end() :]


@functools.cache
def _parsers() -> "tuple[MarkdownIt, MarkdownIt]":
    """One for blocks alone, which is most of the time saved; one for the words of a heading."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").disable(["inline", "reference"]), MarkdownIt("commonmark")
