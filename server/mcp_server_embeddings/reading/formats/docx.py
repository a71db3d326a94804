"""DOCX: paragraphs and tables in document order, with heading styles as headings."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import Document, Parsing, whole_document
from mcp_server_embeddings.reading.formats.packed import check_packed
from mcp_server_embeddings.reading.outline import OutlinedText

if TYPE_CHECKING:
    from docx.oxml.xmlchemy import BaseOxmlElement

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH, _ROW, _CELL, _TEXT = (f"{_W}{tag}" for tag in ("p", "tr", "tc", "t"))
_CHARACTERS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_DROPPED = frozenset(
    # Deleted text, the old place of moved text, and the second copy of a text box for old programs.
    {f"{_W}del", f"{_W}moveFrom", "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
)
_PROPERTIES = f"{_W}pPr"


def docx_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document; a table row becomes a line with tabs between the cells.

    Raises:
        UnreadableError: It has no text, or is too long when unpacked.
    """
    import docx

    check_packed(content, parsing)
    document = docx.Document(io.BytesIO(content))
    levels = _levels(document.styles.element)
    text = OutlinedText(parsing)
    for element in _elements(document.element.body, (_PARAGRAPH, _ROW)):
        _add(text, element, levels)
    return whole_document(*text.finished(), clean(document.core_properties.title or ""))


def _levels(styles: "BaseOxmlElement") -> dict[str, int]:
    """Map each paragraph style that is a heading or based on one to its level; a title has level 0."""
    levels: dict[str, int] = {}
    parents: dict[str, str] = {}
    for style in styles.iterchildren(f"{_W}style"):
        identity = style.get(f"{_W}styleId", "")
        name = (_value(style, "name") or "").lower()
        if name == "title":
            levels[identity] = 0
        elif name.startswith("heading ") and name[8:] in "123456789":
            levels[identity] = int(name[8:])
        parents[identity] = _value(style, "basedOn") or ""
    for identity in list(parents):
        # All styles of a chain get their level at once, so that each chain is followed only once.
        chain = [identity]
        while (ancestor := parents.pop(chain[-1], "")) and chain[-1] not in levels:
            chain.append(ancestor)
        if chain[-1] in levels:
            levels.update(dict.fromkeys(chain, levels[chain[-1]]))
    return levels


def _value(element: "BaseOxmlElement", tag: str) -> str | None:
    child = element.find(f"{_W}{tag}")
    return None if child is None else child.get(f"{_W}val")


def _elements(element: "BaseOxmlElement", tags: tuple[str, ...]) -> Iterator["BaseOxmlElement"]:
    """Yield the outermost elements with these tags, including those in content controls and tracked insertions."""
    for child in element.iterchildren():
        if child.tag in tags:
            yield child
        elif child.tag not in _DROPPED:
            yield from _elements(child, tags)


def _add(text: OutlinedText, element: "BaseOxmlElement", levels: dict[str, int]) -> None:
    if element.tag == _ROW:
        cells = (" ".join("".join(_texts(cell)).split()) for cell in _elements(element, (_CELL,)))
        line, level = "\t".join(cells), None
    else:
        properties = element.find(_PROPERTIES)
        level = None if properties is None else levels.get(_value(properties, "pStyle") or "")
        line = "".join(_texts(element))
    if not line.strip():
        return
    text.add(clean(line))
    if level is not None:
        text.heading(len(text.lines) - 1, level)


def _texts(element: "BaseOxmlElement") -> Iterator[str]:
    """Yield the text of a paragraph or cell; a nested paragraph ends with a line feed."""
    for child in element.iterchildren():
        if child.tag == _TEXT:
            yield child.text or ""
        elif child.tag in _CHARACTERS:
            yield _CHARACTERS[child.tag]
        elif child.tag != _PROPERTIES and child.tag not in _DROPPED:
            yield from _texts(child)
            if child.tag == _PARAGRAPH:
                yield "\n"
