"""Hostile files are refused in time and in little memory, and say why."""

import re
import sys
from collections.abc import Callable

import pytest

from bombs import (
    MULTIPLYING,
    WORD,
    docx_of,
    docx_of_entities,
    docx_of_styles,
    parquet_of_one_text,
    parquet_of_zeros,
    pdf_of_pages,
)
from files import pdf, pdf_of_stream, word_with
from mcp_server_embeddings.reading.document import Parsing, UnreadableError
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import ReadingLimits
from test_tables import sheet, xlsx

_MEMORY = 500_000_000
_BAD = "or a corrupt one"
_DEEP = "nested too deep; save it as text"
_WITHOUT_END = "repeats without end"


def outcome(name: str, content: bytes, limits: ReadingLimits) -> str:
    """What becomes of a file: its number of sections, or the reason why it is not read."""
    try:
        return f"{len(read_documents(name, content, Parsing(limits=limits))[0].sections)} sections"
    except UnreadableError as error:
        return error.reason


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.skipif(sys.platform == "win32", reason="the system limits memory")
@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("comments.html", lambda: b"<p>x" + b"<!-- " * 3_800_000, "1 sections"),
        ("deep.html", lambda: b"<i>" * 1_000_000 + b"x", "1 sections"),
        ("cells.csv", lambda: b"a,b\n" + b"," * 10_000_000 + b"x", "a row of 10,000,001 columns; at most 10,000"),
        ("names.csv", lambda: b"a," * 9_000_000 + b"\nx", "a row of 9,000,001 columns; at most 10,000"),
        ("headings.md", lambda: b"# a\n" * 110_000, "more than 100,000 headings"),
        ("heading.md", lambda: b"# " + b"*a_[" * 500_000, "1 sections"),
        ("links.md", lambda: b"# " + b"[a](" * 500_000 + b"\n\n[a]: b", "1 sections"),
        ("quotes.md", lambda: b"> " * 500_000 + b"x", "1 sections"),
        ("styles.docx", lambda: docx_of_styles(60_000), "1 sections"),
        ("tables.docx", lambda: docx_of(b"<w:tbl><w:tr><w:tc>" * 100_000), _BAD),
        ("entities.docx", docx_of_entities, _BAD),
        ("bomb.docx", lambda: docx_of(b" " * 101_000_000), "unpacks to 101,824,743 bytes; at most 100,000,000"),
        ("paragraphs.docx", lambda: docx_of(b"<w:p/>" * 9_000_000), "bytes of memory"),
        ("entities.xlsx", lambda: xlsx(MULTIPLYING + sheet("<row><c><is><t>&e11;</t></is></c></row>")), _BAD),
        ("deep.xlsx", lambda: xlsx(sheet("<row>" + "<a>" * 100_000)), _BAD),
        ("bomb.xlsx", lambda: xlsx(sheet(" " * 101_000_000)), "at most 100,000,000"),
        ("stream.pdf", lambda: pdf_of_stream(b" " * 200_000_000), _WITHOUT_END),
        ("loop.pdf", lambda: pdf("x", extra={2: b"<< /Type /Pages /Count 9 /Kids [2 0 R 4 0 R] >>"}), _BAD),
        ("pages.pdf", lambda: pdf_of_pages(24, 10), _WITHOUT_END),
        ("deep.pdf", lambda: pdf_of_pages(5_000, 1), _WITHOUT_END),
        ("arrays.pdf", lambda: pdf("x", extra={2: b"[" * 200_000}), _DEEP),
        ("one_text.parquet", lambda: parquet_of_one_text(100_000, 10_000), "bytes of memory"),
        ("zeros.parquet", lambda: parquet_of_zeros(101), "more than 100,000 rows"),
        ("values.parquet", lambda: parquet_of_zeros(90), "bytes of memory"),
    ],
)
def test_a_hostile_file_is_refused_or_read_in_time_and_little_memory(
    name: str, made: Callable[[], bytes], said: str
) -> None:
    assert re.search(said, outcome(name, made(), ReadingLimits(seconds=60.0, memory_bytes=_MEMORY)))


def test_a_style_is_a_heading_through_others_and_circles_end() -> None:
    based = {"Heading1": "b", "b": "c", "d": "Heading2", "Heading2": "e", "e": "Heading2"}
    styles = "".join(
        f'<w:style w:styleId="{style}"><w:name w:val="{style}"/><w:basedOn w:val="{on}"/></w:style>'
        for style, on in based.items()
    )
    heading = '<w:style w:styleId="c"><w:name w:val="heading 2"/></w:style>'
    content = word_with("word/styles.xml", f'<w:styles xmlns:w="{WORD}">{styles}{heading}</w:styles>'.encode())
    (document,) = read_documents("a.docx", content)
    assert [section.heading for section in document.sections] == ["", "Install"]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", b"* a\n" * 400_000),
        ("a.html", b"<p>a" * 1_000_000),
        ("a.csv", b"a,b\n" * 90_000),
        ("a.jsonl", b'{"text": "a"}\n' * 90_000),
        ("a.html", b"<b>" * 140_000 + b"</i>" * 4_000_000 + b"x"),
        ("a.docx", docx_of(b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 50_000)),
    ],
)
def test_the_time_of_one_file_is_limited_in_every_format(name: str, content: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"longer than 0.05 s; split the file"):
        read_documents(name, content, Parsing(limits=ReadingLimits(seconds=0.05)))
