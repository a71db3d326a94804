"""Files designed to exhaust time or memory, or to crash their parser."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from files import pdf, word_with

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
MULTIPLYING = f'<!DOCTYPE x [<!ENTITY e0 "boom">{ENTITIES}]>'.encode()
"""A document type in which ``&e11;`` expands to a hundred billion words."""


def docx_of(body: bytes, before: bytes = b"") -> bytes:
    """Return a DOCX whose document has this body."""
    document = b"%s<w:document xmlns:w='%s'><w:body>%s</w:body></w:document>" % (before, WORD.encode(), body)
    return word_with("word/document.xml", document)


def docx_of_entities() -> bytes:
    """Return a DOCX of a few kilobytes that expands to a hundred billion words."""
    return docx_of(b"<w:p><w:r><w:t>&e11;</w:t></w:r></w:p>", MULTIPLYING)


def docx_of_styles(count: int) -> bytes:
    """Return a DOCX with a chain of paragraph styles: each is based on the next, the last is a heading."""
    chain = "".join(
        f'<w:style w:type="paragraph" w:styleId="s{n}"><w:name w:val="s{n}"/><w:basedOn w:val="s{n + 1}"/></w:style>'
        for n in range(count)
    )
    last = f'<w:style w:type="paragraph" w:styleId="s{count}"><w:name w:val="heading 1"/></w:style>'
    return word_with("word/styles.xml", f'<w:styles xmlns:w="{WORD}">{chain}{last}</w:styles>'.encode())


def pdf_of_pages(depth: int, kids: int) -> bytes:
    """Return a PDF whose page tree has ``depth`` levels; each node refers ``kids`` times to the next level."""
    levels = {n: b"<< /Type /Pages /Count 9 /Kids [%s] >>" % (b"%d 0 R " % (n + 1) * kids) for n in range(6, 6 + depth)}
    first = {2: b"<< /Type /Pages /Count 9 /Kids [6 0 R] >>", 6 + depth: b"<< /Type /Page >>"}
    return pdf("x", extra=levels | first)


def parquet_of_one_text(characters: int, rows: int) -> bytes:
    """Return a Parquet file of some kilobytes whose rows all have the same long text."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(["x" * characters] * rows).dictionary_encode()}), buffer)
    return buffer.getvalue()


def parquet_of_zeros(megabytes: int) -> bytes:
    """Return a Parquet file of a few kilobytes that unpacks to this many megabytes."""
    column = pa.array([b"\0" * 1_000] * (1_000 * megabytes), type=pa.binary())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": column}), buffer, use_dictionary=False, compression="zstd")
    return buffer.getvalue()


def parquet_of_forged_size(megabytes: int) -> bytes:
    """Return the file of ``parquet_of_zeros``, changed to declare that its column unpacks to one byte."""
    content = parquet_of_zeros(megabytes)
    declared = pq.read_metadata(io.BytesIO(content)).row_group(0).column(0).total_uncompressed_size
    number, rest = bytearray(), 2 * declared  # a Thrift varint: seven bits a byte, lowest first
    while rest:
        number.append(0x80 | rest & 0x7F)
        rest >>= 7
    number[-1] &= 0x7F
    assert bytes(number) in content
    forged = content.replace(bytes(number), b"\x82" + b"\x80" * (len(number) - 2) + b"\x00")
    assert pq.read_metadata(io.BytesIO(forged)).row_group(0).column(0).total_uncompressed_size == 1
    return forged
