"""HTML: the visible text, one line per block."""

import re

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, whole_document
from mcp_server_embeddings.reading.outline import OutlinedText

_DROPPED = frozenset({"script", "style", "noscript", "template"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    {
        *_HEADINGS,
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog"),
        *("dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "header"),
        *("hgroup", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "option", "p"),
        *("pre", "search", "section", "select", "summary", "table", "tbody", "textarea", "tfoot", "thead", "title"),
        *("tr", "ul"),
    }
)
_CELLS = frozenset({"td", "th"})
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,400}?(?:charset|encoding)\s{0,9}=\s{0,9}["']?\s{0,9}([\w.:-]{1,40})""", re.IGNORECASE
)


def html_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a page into one document; a section starts at each heading from ``h1`` to ``h6``.

    libxml2 parses the page as a stream: it builds no tree in memory and loads no resource of the page.

    Raises:
        UnreadableError: It is binary, without text or too long, or has too many headings.
    """
    from lxml import etree  # type: ignore[import-untyped]

    declared = _DECLARED.search(content, 0, 2_048)
    source = decoded(content, declared[1].decode("ascii", "replace") if declared else "")
    page = _Page(parsing)
    # huge_tree: by default libxml2 abandons a comment after 10 MB and restarts at the next "<!--" in it, so that an
    # unclosed comment takes hours. The size of the file is limited elsewhere.
    parser = etree.HTMLParser(target=page, huge_tree=True)
    parser.feed(source)
    parser.close()
    return whole_document(*page.text.finished(), page.title)


class _Page:
    """Receives the parser's events; lxml defines the names of its methods."""

    def __init__(self, parsing: Parsing) -> None:
        self.title = ""
        self.text = OutlinedText(parsing)
        self._line: list[str] = []
        self._dropped = 0
        self._preformatted = 0
        self._in_title = False
        self._heading: tuple[str, int] = ("", 0)

    def start(self, tag: str, attributes: object) -> None:
        del attributes
        if tag in _DROPPED:
            self._dropped += 1
        if tag in _BLOCKS:
            self._end_line()
        if tag == "pre":
            self._preformatted += 1
        self._in_title = tag == "title"
        if tag in _HEADINGS:
            self._heading = (tag, len(self.text.lines))

    def end(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped -= 1
        if tag in _CELLS:
            self._line.append(" ")
        if tag in _BLOCKS:
            self._end_line()
        if tag == "pre":
            self._preformatted -= 1
        self._in_title = False
        if tag == self._heading[0]:
            if len(self.text.lines) > self._heading[1]:
                self.text.heading(self._heading[1], _HEADINGS[tag])
            self._heading = ("", 0)

    def data(self, data: str) -> None:
        """Handle characters; may be called several times in a row."""
        if self._in_title:
            self.title = (self.title + data)[:1_000]
        elif not self._dropped:
            self._line.append(data)

    def close(self) -> None:
        self._end_line()

    def _end_line(self) -> None:
        raw, self._line = "".join(self._line), []
        line = raw.strip("\r\n") if self._preformatted else " ".join(raw.split())
        if line.strip():
            self.text.add(line)
