"""Locate a passage in its document: by lines of a text or the page of a PDF."""

import re
from dataclasses import dataclass

_PAGE = re.compile(r"(?:^| > )page (\d+)$")

_CONVERTED_SUFFIXES = (".pdf", ".docx", ".html", ".htm", ".xhtml")
"""Formats whose extracted text has other lines than the file."""

_MAX_HEADING = 80
"""Maximum number of characters of a heading path in an answer; longer ones keep their end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a text, first and last, counted from 1; or the page of a PDF; or neither."""

    lines: tuple[int, int] | None = None
    page: int | None = None


def lines_or_page(document: str, text: str, start: int, end: int, heading: str, *, row: bool = False) -> Place:
    r"""Return the lines or the page that the characters ``start`` to ``end`` of a document are on.

    Args:
        document: Id of the document; the suffix of a path tells its format.
        text: The whole stored text, which for plain text and Markdown equals the file.
        start: Offset of the first character.
        end: Offset after the last character.
        heading: Heading path of the passage; ends in ``page 3`` or the like for a PDF.
        row: Whether the document is a table's row, which has neither lines nor a page.

    Example:
        >>> lines_or_page("notes.md", "one\ntwo\nthree", 4, 7, "")
        Place(lines=(2, 2), page=None)
    """
    page = page_of(heading)
    if page is not None and document.lower().endswith(".pdf"):
        return Place(page=page)
    if row or "\n" not in text.rstrip() or document.lower().endswith(_CONVERTED_SUFFIXES):
        return Place()
    first = text.count("\n", 0, start) + 1
    return Place(lines=(first, first + text[start:end].rstrip().count("\n")))


def page_of(heading: str) -> int | None:
    """Return the page number at the end of a PDF's heading path, or None."""
    found = _PAGE.search(heading)
    return int(found[1]) if found else None


def heading_of(heading: str) -> str:
    """Return a heading path for an answer: without the page, which is a field of its own, and cut at its beginning."""
    heading = _PAGE.sub("", heading)
    return heading if len(heading) <= _MAX_HEADING else "…" + heading[1 - _MAX_HEADING :]
