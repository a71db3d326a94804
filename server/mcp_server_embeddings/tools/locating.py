"""Say where a passage is in its document: lines of a text, pages of a PDF."""

import re
from dataclasses import dataclass

_PAGE = re.compile(r"(?:^| > )page (\d+)$")

_CONVERTED = (".pdf", ".docx", ".html", ".htm", ".xhtml")
"""Of these files the text has other lines than the file."""

_HEADING = 80
"""Characters of a heading path that an answer shows: its end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a text, first and last, counted from 1; or the page of a PDF; or neither."""

    lines: tuple[int, int] | None = None
    page: int | None = None


def lines_or_page(document: str, text: str, start: int, end: int, heading: str, *, row: bool = False) -> Place:
    r"""Return where characters ``start`` to ``end`` of a document are.

    Args:
        document: Its id; the suffix of a path tells its format.
        text: All of it, as stored: of plain text and Markdown exactly the file.
        start: The first character.
        end: The one after the last.
        heading: Of the passage; of a PDF ``page 3``.
        row: It is a table's row, which has neither.

    Example:
        >>> lines_or_page("notes.md", "one\ntwo\nthree", 4, 7, "")
        Place(lines=(2, 2), page=None)
    """
    page = page_of(heading)
    if page is not None and document.lower().endswith(".pdf"):
        return Place(page=page)
    if row or "\n" not in text.rstrip() or document.lower().endswith(_CONVERTED):
        return Place()
    first = text.count("\n", 0, start) + 1
    return Place(lines=(first, first + text[start:end].rstrip().count("\n")))


def page_of(heading: str) -> int | None:
    """Return the page that a heading path of a PDF names."""
    found = _PAGE.search(heading)
    return int(found[1]) if found else None


def heading_of(heading: str) -> str:
    """Return a heading path as an answer shows it: pages are shown as ``page``, of a long path the end."""
    heading = _PAGE.sub("", heading)
    return heading if len(heading) <= _HEADING else "…" + heading[1 - _HEADING :]
